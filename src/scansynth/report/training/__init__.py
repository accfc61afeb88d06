"""The training run on the page: course, curves, words."""
