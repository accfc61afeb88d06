"""The audit on the page: sentences, pictures, numbers."""
