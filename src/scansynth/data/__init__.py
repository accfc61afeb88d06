"""Scans made ready, and every set of images."""
