"""The chapters of the book, a folder a notebook: what each measures, and what it shows."""
