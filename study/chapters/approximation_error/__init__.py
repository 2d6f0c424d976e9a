"""Section 4.1: how far the approximations are from the exact influence, and that from the truth."""
