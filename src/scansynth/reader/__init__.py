"""The blinded reader study, from what is drawn to the verdict."""
