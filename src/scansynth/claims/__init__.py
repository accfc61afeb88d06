"""Lines of evidence: what a claim is, and the rules by which it is judged."""
