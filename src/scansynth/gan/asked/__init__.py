"""What a generator is asked for besides the noise: the label, and conditions."""
