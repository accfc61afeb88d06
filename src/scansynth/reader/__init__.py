"""The blinded reader study: who sees what in which order, what nobody may know before the end, and what it came to."""
