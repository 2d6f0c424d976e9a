"""Extensions of Sphinx: cards, links, and descriptions of shared links."""
