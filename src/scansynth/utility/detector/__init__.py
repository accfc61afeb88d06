"""The detector of a trial: networks, training, what it says and shows."""
