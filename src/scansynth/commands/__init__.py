"""The commands, by what they are for; thin, and quick to start."""
