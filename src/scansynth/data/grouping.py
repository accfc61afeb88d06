"""Pairs of things that belong together, brought to groups."""

from __future__ import annotations

from collections.abc import Iterable


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """All that a chain of pairs holds together: each name to the first of its group in the alphabet."""
    first: dict[str, str] = {}

    def root(name: str) -> str:
        while first.setdefault(name, name) != name:
            name = first[name]
        return name

    for one, two in pairs:
        low, high = sorted((root(one), root(two)))
        first[high] = low
    return {name: root(name) for name in list(first)}
