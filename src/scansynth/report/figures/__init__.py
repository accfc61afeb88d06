"""What all parts of the report draw with: figures, intervals, pictures, words."""
