"""What there is to compute, how long it takes, and how much memory."""
