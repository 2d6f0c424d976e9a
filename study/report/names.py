"""What the book calls things: methods, data sets, columns of a tidy table."""

from __future__ import annotations

NAMES = {  # the paper's methods and the exact inverse, further ones, controls: the order of rows
    "datainf": "DataInf",
    "lissa": "LiSSA",
    "gradsim": "GradSim",
    "exact": "Exact",
    "repsim": "RepSim",
    "cosine": "GradSim (cosine)",
    "relatif": "RelatIF",
    "adam": "GradSim (Adam)",
    "ekfac": "EK-FAC",
    "tracin": "TracIn",
    "repsim_before": "RepSim before",
    "tfidf": "TF-IDF",
    "tfidf_response": "TF-IDF (with response)",
    "bm25": "BM25",
    "random": "Random",
}
DATASETS = {
    "mixed_small": "Mixed (small)",
    "mixed_large": "Mixed (large)",
    "mixed_hard": "Mixed (hard)",
    "grammars": "Grammars",
    "grammars_rule": "Grammars (rule)",
    "mathqa": "MathQA",
    "harmfulcheck": "HarmfulCheck",
    "backdoor_1": "1 trigger",
    "backdoor_3": "3 triggers",
    "backdoor_5": "5 triggers",
    "facts": "Facts",
}
# A tidy row, and what `publish` adds to say which run it is of.
COLUMNS = ["dataset", "method", "metric", "value", "ci_low", "ci_high", "n_train", "n_val"]
RUN_COLUMNS = ["seed", "profile", "model"]
