"""Chapter 3: what the methods find."""
