"""The utility trial on the page."""
