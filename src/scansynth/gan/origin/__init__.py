"""Weights of another run from which a training starts."""
