"""The audit of one synthetic set: images in, claims out."""
