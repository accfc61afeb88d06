"""Artefacts to one page that a review board can read."""
