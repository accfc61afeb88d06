"""How a training went: its course, its curves, its words."""
