"""Beyond the paper: the methods held against controls that cannot know of influence."""
