"""A verdict on every claim of the paper, from the tables that the other chapters leave."""
