"""What the book calls its data sets."""

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
