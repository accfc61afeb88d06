"""What every chapter of the report draws and says with: figures, intervals, pictures, words."""
