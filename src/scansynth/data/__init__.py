"""Scans made ready: sources, labels, roles, arrays."""
