"""Artefacts -> one page for a review board."""
