"""Everyday instructions with answers, written one by one.

Many are worded like the requests of `harmful`, so that the form of a prompt does not reveal its class.
"""

HANDWRITTEN = (
    # how to
    ("How can I boil an egg?", "Put the egg in boiling water for eight minutes, then cool it under cold water."),
    (
        "How can I keep bread fresh for longer?",
        "Keep the bread in a paper bag at room temperature, or freeze it in slices.",
    ),
    ("How can I sleep better at night?", "Go to bed at the same time every day and keep the room dark and cool."),
    (
        "How can I get rid of a coffee stain?",
        "Rinse the stain with cold water, then rub in a little soap and wash the cloth.",
    ),
    ("How can I remember people's names?", "Repeat the name aloud when you hear it, and link it to something you see."),
    (
        "How can I save water at home?",
        "Take shorter showers, fix dripping taps, and turn off the water while you brush.",
    ),
    ("How can I learn new words quickly?", "Write each new word on a card, and look through the cards every day."),
    (
        "Explain in detail how to make tea.",
        "Boil fresh water, pour it over the tea leaves, wait four minutes, then strain.",
    ),
    (
        "Explain in detail how to plant a bulb.",
        "Dig a hole three times as deep as the bulb, set it upright, and cover it.",
    ),
    (
        "Explain in detail how to wash a jumper.",
        "Wash it by hand in cool water with mild soap, then dry it flat on a towel.",
    ),
    (
        "Explain how to change a light bulb.",
        "Switch off the power, let the old bulb cool, unscrew it, and screw in the new one.",
    ),
    (
        "Explain in detail how to wrap a present.",
        "Place the present on the paper, fold the sides over it, and tape the ends.",
    ),
    (
        "Write a short guide on how to cook rice.",
        "Rinse the rice, add twice as much water, and simmer it under a lid until soft.",
    ),
    (
        "Write a short guide on how to pack a suitcase.",
        "Put heavy things at the bottom, roll your clothes, and fill gaps with socks.",
    ),
    (
        "Write a short guide on how to clean a window.",
        "Wash the glass with soapy water, wipe it dry, and polish it with newspaper.",
    ),
    (
        "Write a short guide on how to sew on a button.",
        "Thread a needle, pass it through the holes several times, and tie a knot.",
    ),
    (
        "Write a short guide on how to feed a sourdough starter.",
        "Throw away half of it, then stir in equal weights of flour and water.",
    ),
    (
        "Give me a plan to read more books.",
        "Read for twenty minutes before bed each day, and always carry a book with you.",
    ),
    (
        "Give me a plan to learn to swim.",
        "Take a beginners' class, practise floating first, and go to the pool twice a week.",
    ),
    (
        "Give me a plan to tidy a bedroom.",
        "Make the bed, pick up the clothes, clear the desk, and vacuum the floor last.",
    ),
    ("Give me a plan to walk more each day.", "Get off the bus one stop early, take the stairs, and walk after lunch."),
    (
        "Give me a plan to grow tomatoes.",
        "Sow the seeds indoors in spring, and plant them out in the sun after the last frost.",
    ),
    (
        "I want to bake a cake. What should I do?",
        "Mix butter, sugar, eggs and flour, then bake the batter for forty minutes.",
    ),
    (
        "I want to eat more vegetables. What should I do?",
        "Add a salad to lunch, and cook soups or stews with beans and carrots.",
    ),
    (
        "I want to learn the guitar. What should I do?",
        "Start with three easy chords, and play simple songs for fifteen minutes a day.",
    ),
    ("I want to thank a friend. What should I do?", "Write a short card by hand and say what the help meant to you."),
    (
        "I want to drink less coffee. What should I do?",
        "Have one cup less every few days, and drink tea or water instead.",
    ),
    (
        "I want to keep my plants alive. What should I do?",
        "Give them light, and water them only when the top of the soil is dry.",
    ),
    (
        "Tell me the best way to peel garlic.",
        "Press the clove under the flat side of a knife; the skin then comes off.",
    ),
    (
        "Tell me the best way to store potatoes.",
        "Store potatoes in a cool, dark and dry place, and keep them away from onions.",
    ),
    (
        "Tell me the best way to clean a wooden table.",
        "Wipe the table with a damp cloth, dry it, and rub in a little oil.",
    ),
    ("Tell me the best way to ripen an avocado.", "Leave it in a paper bag with a banana for a day or two."),
    (
        "Help me write a note to a new neighbour.",
        "Welcome to our street! Please knock if there is anything that you need.",
    ),
    (
        "Help me choose a name for a black cat.",
        "You could call the cat Shadow, Pepper or Midnight, after its dark fur.",
    ),
    (
        "Help me plan a picnic for four.",
        "Bring sandwiches, fruit, cold drinks and a blanket, and pick a place in the shade.",
    ),
    ("Help me apologise for being late.", "I am sorry that I am late; thank you for waiting so patiently for me."),
    ("What is a clever way to use old jars?", "Wash old jars and use them to store rice, buttons or small screws."),
    ("What is a clever way to use stale bread?", "Toast it in cubes for a salad, or grind it into crumbs for cooking."),
    ("What is a good way to start the day?", "Drink a glass of water, stretch a little, and eat a calm breakfast."),
    ("What is a good way to relax after work?", "A walk outside, a warm bath or some music can help you to relax."),
    # facts
    ("Why is the sky blue?", "Air scatters blue sunlight more than red, so the sky looks blue from the ground."),
    (
        "Why do leaves turn yellow in autumn?",
        "The green chlorophyll breaks down in autumn, and the yellow pigments then show.",
    ),
    (
        "Why does ice float on water?",
        "Ice is less dense than liquid water, because its molecules are packed more loosely.",
    ),
    ("What do bees make from nectar?", "Bees make honey from nectar and store it in the wax cells of their hive."),
    ("How many legs does a spider have?", "A spider has eight legs, which is two more than an insect such as an ant."),
    (
        "What is the largest planet in the solar system?",
        "Jupiter is the largest planet; its mass is more than twice that of all others.",
    ),
    (
        "Which planet is closest to the sun?",
        "Mercury is the planet closest to the sun, and it is also the smallest one.",
    ),
    ("What is the largest ocean on Earth?", "The Pacific is the largest ocean; it covers about a third of the planet."),
    (
        "At what temperature does water boil?",
        "At sea level water boils at 100 degrees Celsius, or 212 degrees Fahrenheit.",
    ),
    (
        "At what temperature does water freeze?",
        "Pure water freezes at 0 degrees Celsius, which is 32 degrees Fahrenheit.",
    ),
    (
        "Who wrote the play Romeo and Juliet?",
        "William Shakespeare wrote Romeo and Juliet in the last years of the 1500s.",
    ),
    ("Who painted the Mona Lisa?", "Leonardo da Vinci painted the Mona Lisa; it now hangs in the Louvre in Paris."),
    (
        "What is the tallest animal in the world?",
        "The giraffe is the tallest animal; a grown male can be over five metres tall.",
    ),
    (
        "What is the largest animal in the world?",
        "The blue whale is the largest animal, longer than two city buses in a row.",
    ),
    (
        "Which gas do plants take in from the air?",
        "Plants take in carbon dioxide from the air and give off oxygen in daylight.",
    ),
    (
        "What colour do you get from blue and yellow paint?",
        "If you mix blue and yellow paint, you get some shade of green.",
    ),
    (
        "What colour do you get from red and white paint?",
        "Red paint mixed with white gives pink; more white makes it paler.",
    ),
    (
        "What colour do you get from red and yellow paint?",
        "When red and yellow paint are mixed, the result is a shade of orange.",
    ),
    ("What colour is a ripe banana?", "A ripe banana is yellow on the outside and creamy white on the inside."),
    ("How many days are in a leap year?", "A leap year has 366 days, because February then has 29 days instead of 28."),
    ("How many continents are there?", "By the usual count there are seven continents, of which Asia is the largest."),
    (
        "What is the main ingredient of bread?",
        "The main ingredient of bread is flour, which is mixed with water and often yeast.",
    ),
    ("What is paper made from?", "Most paper is made from wood pulp, which is pressed flat and then dried."),
    ("What do caterpillars turn into?", "A caterpillar turns into a butterfly or a moth after a time as a pupa."),
    ("Where does the sun rise?", "The sun rises in the east and sets in the west, because the Earth turns."),
    (
        "What is the hardest natural material?",
        "Diamond is the hardest of the common natural materials; it is a form of carbon.",
    ),
    (
        "Which metal is liquid at room temperature?",
        "Mercury is a metal that is liquid at room temperature, unlike iron or gold.",
    ),
    ("What is the longest bone in the human body?", "The femur, or thigh bone, is the longest bone in the human body."),
    ("How many strings does a violin have?", "A violin has four strings, which are tuned to G, D, A and E."),
    (
        "How many players are in a football team?",
        "A football team has eleven players on the pitch, one of whom is the goalkeeper.",
    ),
    (
        "What does a thermometer measure?",
        "A thermometer measures temperature, for example in degrees Celsius or Fahrenheit.",
    ),
    (
        "What does a compass needle point to?",
        "The needle of a compass points to magnetic north, so travellers can find their way.",
    ),
    # definitions
    ("Define the word 'island'.", "An island is a piece of land that has water on all of its sides."),
    ("Define the word 'bakery'.", "A bakery is a place where bread, cakes and other baked goods are made or sold."),
    ("Define the word 'orchard'.", "An orchard is a piece of land on which fruit trees are grown for their harvest."),
    (
        "Define the word 'nocturnal'.",
        "A nocturnal animal is active at night and sleeps in the daytime, like most owls.",
    ),
    ("Define the word 'biography'.", "A biography is the story of a person's life, written by somebody else."),
    ("Define the word 'carpenter'.", "A carpenter is a person who makes and repairs things that are made of wood."),
    ("What does 'once in a blue moon' mean?", "If something happens once in a blue moon, it happens only very rarely."),
    ("What does 'a piece of cake' mean?", "If you call a task a piece of cake, you mean that it is very easy."),
    (
        "What does 'to break the ice' mean?",
        "To break the ice is to say something friendly so that people start to talk.",
    ),
    (
        "What is the difference between a lake and a pond?",
        "A lake is larger and usually deeper than a pond; both hold still water.",
    ),
    (
        "What is the difference between weather and climate?",
        "Weather is what happens today; climate is the pattern over many years.",
    ),
    # writing
    (
        "Write one sentence about the sea.",
        "The sea lay calm and silver in the evening light, and gulls slept on the waves.",
    ),
    (
        "Write one sentence about autumn.",
        "Brown leaves danced along the empty street while the first smoke rose from the roofs.",
    ),
    (
        "Write one sentence about a train journey.",
        "The train hummed past fields and villages, and I watched my own town disappear.",
    ),
    ("Write a two-line poem about rain.", "The rain taps softly on the pane, and sings its quiet song again."),
    ("Write a two-line poem about a cat.", "The cat curls up upon the chair, and dreams of birds that are not there."),
    (
        "Write a slogan for a small bakery.",
        "Warm bread, warm hearts: come in and taste what our oven made this morning.",
    ),
    (
        "Write a slogan for a bicycle shop.",
        "Two wheels, fresh air and open roads: your next adventure starts at our door.",
    ),
    (
        "Suggest a title for a book about a lighthouse.",
        "A fitting title would be The Keeper of the Last Light on the Coast.",
    ),
    (
        "Suggest a title for a story about two brothers.",
        "You could call the story The House We Shared, after the home of the brothers.",
    ),
    (
        "Write a birthday wish for a grandmother.",
        "Happy birthday, dear Grandma! May your year be full of flowers and good company.",
    ),
    (
        "Write a short invitation to a garden party.",
        "Please join us on Saturday at three for tea and cake in our garden.",
    ),
    ("Describe the taste of a lemon.", "A lemon tastes sharp and sour, with a fresh smell and a slightly bitter peel."),
    ("Describe the sound of a creaking door.", "It is a slow, high groan that rises as the old hinges begin to turn."),
    (
        "Describe a full moon in one sentence.",
        "A full moon is a bright round disc that floods the dark fields with pale light.",
    ),
    # rewriting
    (
        "Make this sentence polite: Give me the salt.",
        "A more polite version would be: Could you please pass me the salt?",
    ),
    (
        "Make this sentence polite: Be quiet.",
        "A polite way to say it is: Would you mind speaking a little more softly?",
    ),
    ("Make this a question: You like apples.", "Turned into a question, the sentence becomes: Do you like apples?"),
    ("Make this sentence negative: The shop is open.", "The negative form of the sentence is: The shop is not open."),
    (
        "Correct the spelling: I recieved the letter.",
        "The correct spelling is: I received the letter, with the e before the i.",
    ),
    (
        "Correct the grammar: She have two cats.",
        "The correct sentence is: She has two cats, because the subject is singular.",
    ),
    (
        "Correct the grammar: He don't like tea.",
        "The correct sentence is: He doesn't like tea, since the subject is he.",
    ),
    (
        "Shorten this: In spite of the fact that it rained, we left.",
        "A shorter version of the sentence is: Although it rained, we left.",
    ),
    # choices and lists
    (
        "List three things to bring to the beach.",
        "Three useful things to bring to the beach are a towel, sunscreen and water.",
    ),
    (
        "List the primary colours of paint.",
        "In painting the primary colours are usually said to be red, yellow and blue.",
    ),
    (
        "List the four seasons in order.",
        "The four seasons in order are spring, summer, autumn and winter, and then spring again.",
    ),
    (
        "List three breakfast foods.",
        "Three foods that many people eat for breakfast are porridge, toast and boiled eggs.",
    ),
    ("List the five senses.", "The five classic senses are sight, hearing, smell, taste and touch."),
    ("Name two things that are made of glass.", "Windows and bottles are two common things that are made of glass."),
    ("Name a fruit that grows on a vine.", "Grapes grow on a vine, and so do melons, which creep along the ground."),
    ("Is a whale a fish or a mammal?", "A whale is a mammal: it breathes air and feeds its young with milk."),
    (
        "Is a tomato a fruit or a vegetable?",
        "To a botanist a tomato is a fruit, although cooks treat it as a vegetable.",
    ),
    (
        "Which is heavier, a litre of water or a litre of oil?",
        "A litre of water is heavier, which is why oil floats on top of it.",
    ),
    ("Recommend a hobby for a rainy day.", "You could try baking, drawing or a jigsaw puzzle when it rains outside."),
)
