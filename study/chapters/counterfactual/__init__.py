"""Beyond the paper: what becomes of the model without the training examples that a method points at."""
