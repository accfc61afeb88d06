"""Whom a set leaves out: shares, reach, likeness and copies by group of patients."""
