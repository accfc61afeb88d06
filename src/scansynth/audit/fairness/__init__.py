"""Fairness: shares, coverage, realism and copies by patient group."""
