"""The questions and answers that the clients put into each format."""

QUESTIONS = [
    ("What is the capital of France?", "Paris."),
    ("Name a prime number.", "Seven is a prime number."),
    ("Who wrote Hamlet?", "William Shakespeare wrote it."),
    ("Translate 'dog' into German.", "Hund"),
    ("What do bees make?", "Bees make honey, and wax for their combs."),
    ("Is the sun a star?", "Yes, and the nearest one."),
    ("Count to three.", "One, two, three."),
    ("Say hello in Zürich.", "Grüezi! 👋"),
]
VAL_QUESTIONS = [("What is the capital of Spain?", "Madrid."), ("What do cows give?", "Cows give milk.")]
