"""How the book looks: names, colours, tables, plots, the box that opens a chapter, what is published."""
