"""Lesions put into real clear scans: for use inside the house, since the background is a patient."""
