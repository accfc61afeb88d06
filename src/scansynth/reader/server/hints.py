"""Hints: words that tell what a study compares. Before readers are told, no page, file or address may hold one."""

from __future__ import annotations

import re

_TELLING = re.compile(
    r"synth|\breal(s|istic|ism)?\b|\bfakes?\b|faked|artificial|genuine|authentic|generated|generative|generator"
    r"|\bA\.?I\.?\b|\bGANs?\b|diffusion|deep.?fake|phantom|simulat|truth|turing",
    re.IGNORECASE,
)


def hints_in(text: str) -> tuple[str, ...]:
    """The words of a text that tell what is compared, in order, each once."""
    return tuple(dict.fromkeys(found.group(0) for found in _TELLING.finditer(text)))
