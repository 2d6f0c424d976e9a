"""The columns of a tidy table, and a word that stands in one."""

COLUMNS = ["dataset", "method", "metric", "value", "ci_low", "ci_high", "n_train", "n_val"]
RUN_COLUMNS = ["seed", "profile", "model"]  # added where the rows of several runs stand in one table
ITSELF = "nothing"  # in the column `against`: the row is a method's own value, not a difference
