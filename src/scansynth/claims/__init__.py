"""Claims: what one is, the rules, and the verdict of each question."""
