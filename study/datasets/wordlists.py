"""Words and facts that fill the templates of the embedded data sets. Every row is true."""


def _rows(text: str) -> list[tuple[str, ...]]:
    """Semicolons or line ends separate rows, slashes separate cells."""
    rows = text.replace("\n", ";").split(";")
    return [tuple(cell.strip() for cell in row.split("/")) for row in rows if row.strip()]


CAPITALS = _rows("""
France/Paris/Europe; Italy/Rome/Europe; Spain/Madrid/Europe; Portugal/Lisbon/Europe; Germany/Berlin/Europe
Austria/Vienna/Europe; Poland/Warsaw/Europe; Greece/Athens/Europe; Norway/Oslo/Europe
Sweden/Stockholm/Europe; Finland/Helsinki/Europe; Denmark/Copenhagen/Europe; Ireland/Dublin/Europe
Hungary/Budapest/Europe; Belgium/Brussels/Europe; Croatia/Zagreb/Europe; Romania/Bucharest/Europe
Iceland/Reykjavik/Europe; Japan/Tokyo/Asia; China/Beijing/Asia; India/New Delhi/Asia
Thailand/Bangkok/Asia; Vietnam/Hanoi/Asia; Mongolia/Ulaanbaatar/Asia; Nepal/Kathmandu/Asia
Egypt/Cairo/Africa; Kenya/Nairobi/Africa; Ghana/Accra/Africa; Morocco/Rabat/Africa; Senegal/Dakar/Africa
Canada/Ottawa/North America; Mexico/Mexico City/North America; Cuba/Havana/North America
Brazil/Brasília/South America; Peru/Lima/South America; Argentina/Buenos Aires/South America
Colombia/Bogotá/South America; Australia/Canberra/Oceania; New Zealand/Wellington/Oceania
Uruguay/Montevideo/South America
""")

OPPOSITES = _rows("""
hot/cold; big/small; tall/short; fast/slow; light/dark; wet/dry; early/late; open/closed; full/empty
hard/soft; happy/sad; loud/quiet; young/old; rich/poor; strong/weak; clean/dirty; deep/shallow
wide/narrow; thick/thin; sweet/bitter; brave/cowardly; cheap/expensive; near/far; high/low; smooth/rough
simple/complicated; heavy/light; noisy/silent; polite/rude; true/false; modern/ancient; awake/asleep
straight/crooked; generous/stingy
""")

SYNONYMS = _rows("""
happy/glad/cheerful; big/large/huge; fast/quick/rapid; smart/clever/bright; begin/start/commence
end/finish/conclude; tired/weary/exhausted; angry/cross/furious; pretty/lovely/beautiful
strange/odd/peculiar; brave/bold/courageous; quiet/silent/hushed; rich/wealthy/affluent; small/little/tiny
funny/amusing/comical; easy/simple/effortless; difficult/hard/tricky; calm/peaceful/serene
help/assist/aid; shout/yell/cry; buy/purchase/acquire; choose/pick/select; answer/reply/respond
gift/present/offering; error/mistake/slip
""")

PLURALS = _rows("""
mouse/mice; child/children; foot/feet; tooth/teeth; goose/geese; leaf/leaves; knife/knives; wolf/wolves
life/lives; loaf/loaves; shelf/shelves; potato/potatoes; tomato/tomatoes; box/boxes; city/cities
baby/babies; lady/ladies; woman/women; man/men; bus/buses; dish/dishes; church/churches; hero/heroes
thief/thieves; party/parties; toy/toys
""")

YOUNG = _rows("""
sheep/lamb/lambs; cow/calf/calves; horse/foal/foals; cat/kitten/kittens; dog/puppy/puppies
pig/piglet/piglets; goat/kid/kids; duck/duckling/ducklings; goose/gosling/goslings; hen/chick/chicks
frog/tadpole/tadpoles; kangaroo/joey/joeys; bear/cub/cubs; deer/fawn/fawns; swan/cygnet/cygnets
owl/owlet/owlets; hare/leveret/leverets; eagle/eaglet/eaglets; spider/spiderling/spiderlings
seal/pup/pups
""")

PAST = _rows("""
go/went; eat/ate; see/saw; take/took; give/gave; write/wrote; sing/sang; swim/swam; run/ran; buy/bought
bring/brought; think/thought; teach/taught; catch/caught; find/found; sleep/slept; speak/spoke
drive/drove; fly/flew; know/knew; begin/began; draw/drew; choose/chose; forget/forgot; build/built
drink/drank; wear/wore; hear/heard
""")

UNITS = [
    (big, one, small, int(factor))
    for big, one, small, factor in _rows("""
kilometres/kilometre/metres/1000; metres/metre/centimetres/100; centimetres/centimetre/millimetres/10
kilograms/kilogram/grams/1000; tonnes/tonne/kilograms/1000; litres/litre/millilitres/1000
hours/hour/minutes/60; minutes/minute/seconds/60; days/day/hours/24; weeks/week/days/7; yards/yard/feet/3
feet/foot/inches/12; decades/decade/years/10; centuries/century/years/100; pounds/pound/ounces/16
miles/mile/yards/1760; euros/euro/cents/100
""")
]

CATEGORIES = {
    "fruits": "pear apple mango cherry banana plum lemon grape".split(),
    "animals": "tiger otter zebra camel rabbit badger fox lion".split(),
    "trees": "oak willow birch maple elm pine beech cedar".split(),
    "tools": "hammer saw chisel wrench drill pliers rake spade".split(),
    "musical instruments": "violin flute drum piano harp trumpet cello guitar".split(),
    "vehicles": "truck bicycle tram car van ferry bus scooter".split(),
    "colours": "yellow blue red green purple brown white pink".split(),
    "vegetables": "carrot onion spinach leek cabbage turnip broccoli celery".split(),
    "birds": "sparrow eagle robin pigeon crow swallow heron gull".split(),
    "clothes": "shirt coat sock glove hat jacket trousers dress".split(),
    "pieces of furniture": "table chair sofa bed wardrobe desk shelf stool".split(),
    "sports": "tennis hockey rugby golf cricket judo rowing boxing".split(),
}

SPELLING = """
garden window bottle candle pencil rabbit kitchen blanket station harbour morning journey bridge
forest planet silver orange doctor market summer winter letter
""".split()

MONTHS = "January February March April May June July August September October November December".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()

SENTENCES = _rows("""
She/walks/walked/to the park every morning; The children/play/played/in the garden after lunch
He/cooks/cooked/soup for the family; They/visit/visited/the old museum
The dog/barks/barked/at the postman; We/travel/travelled/by train along the coast
The baker/opens/opened/his shop at six; Anna/paints/painted/the wooden fence
The river/flows/flowed/through the valley; My uncle/repairs/repaired/clocks
The team/wins/won/the final match; The cat/sleeps/slept/on the warm sofa
Tom/reads/read/a story to his son; The bus/stops/stopped/near the school; You/make/made/a good cup of tea
The farmer/grows/grew/potatoes and beans; I/write/wrote/a letter to my aunt; The bells/ring/rang/at noon
""")

ARTICLES = _rows("""
apple/an; hour/an; university/a; umbrella/an; house/a; honest answer/an; uniform/a; egg/an
European city/a; orange/an; yellow hat/a; onion/an; one-way street/a; island/an; useful tool/a; owl/an
""")
