"""Synthetic medical scans from a small private cohort, and proof of what they are worth."""

__version__ = "0.1.0"
