"""Section 4.3: what the change of parameters has to do with the change of behaviour."""
