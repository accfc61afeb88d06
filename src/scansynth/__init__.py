"""Synthetic medical scans from a small private cohort, with evidence of what they are worth."""

__version__ = "0.1.0"
