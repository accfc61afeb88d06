"""A utility trial from a study: the generators it needs, its jobs in order, and its result."""
