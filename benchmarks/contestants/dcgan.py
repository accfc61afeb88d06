"""scansynth's recipe `dcgan`, the published baseline: trained as `compact.py` trains."""

from __future__ import annotations

from batches import Given
from compact import Recipe


def start(given: Given) -> Recipe:
    """A training; the recipe's size is the only one."""
    return Recipe(given, "dcgan")
