"""Does it help? The utility trial."""
