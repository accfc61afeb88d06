"""Lesions in the formats in which the field keeps them, laid on one source image."""
