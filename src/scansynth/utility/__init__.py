"""The utility trial: does a set help a detector."""
