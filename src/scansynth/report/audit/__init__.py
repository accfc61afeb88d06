"""What each part of a study left, and how the report tells it: sentence, pictures, numbers."""
