"""Arrays to numbers, and nothing else."""
