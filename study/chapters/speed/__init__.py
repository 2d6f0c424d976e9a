"""Beyond the paper: how fast attribution is, and what bounds it."""
