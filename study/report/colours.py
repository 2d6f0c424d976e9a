"""One colour a method, in every figure, table and card of the book."""

# One a method in the whole book; the first five, which share figures, are Okabe and Ito's, which colour-blind readers
# can tell apart. Controls are grey.
COLOURS = {
    "repsim": "#0072B2",
    "gradsim": "#E69F00",
    "datainf": "#009E73",
    "lissa": "#CC79A7",
    "exact": "#D55E00",
    "cosine": "#A6761D",
    "relatif": "#56B4E9",
    "adam": "#7A378B",
    "ekfac": "#3B7A57",
    "tracin": "#000000",
    "repsim_before": "#505050",
    "tfidf": "#777777",
    "tfidf_response": "#888888",
    "bm25": "#999999",
    "random": "#BBBBBB",
}
