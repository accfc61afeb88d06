"""The forger and the inspector."""
