"""The cohort as a whole: its facts and counts, patients joined, removed and withdrawn."""
