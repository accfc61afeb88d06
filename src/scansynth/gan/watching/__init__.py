"""How good and how varied a training is while it lasts, what is done about a collapse, and which state is kept."""
