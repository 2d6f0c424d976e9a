"""The study: "Do Influence Functions Work on Large Language Models?", recomputed with the engine."""
