"""The reader study on the page."""
