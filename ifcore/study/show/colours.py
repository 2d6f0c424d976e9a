"""One colour a method, in every figure, table and card of the book."""

# Okabe and Ito's colours, which colour-blind readers can tell apart; one a method in the whole book.
COLOURS = {
    "repsim": "#0072B2",
    "gradsim": "#E69F00",
    "datainf": "#009E73",
    "lissa": "#CC79A7",
    "exact": "#D55E00",
}
