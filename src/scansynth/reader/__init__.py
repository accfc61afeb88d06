"""The blinded reader study from draw to verdict: who sees what, what is sealed, and what it came to."""
