"""The stages of a study in order, a whole trial, the demonstration: the one folder that sees two wings."""
