"""What a release may leave open: a file of the institution's own; without one, nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from scansynth.claims.rules import EVERY_RULE
from scansynth.config import UNFILLED, Settings, parse, read_toml

_OWED = frozenset({"todo", "tbd", "tba", "fixme", "xxx"})


class Policy(Settings):
    """How strict the gate is; the defaults are the strictest."""

    copies: Literal["shown", "not refuted"] = Field(
        "shown", description="What the claims on copies must be: shown, or at least not refuted."
    )
    refuted: tuple[str, ...] = Field(
        (), description="Claims that may be refuted, and are then named on every card; never one on copies."
    )
    decided_by: str = Field("", description="Who decided; needed as soon as one of the others is set.")

    @model_validator(mode="after")
    def _answered_for(self) -> Self:
        unknown = sorted(set(self.refuted) - EVERY_RULE.keys())
        if unknown:
            raise ValueError(f"there is no claim {unknown[0]}")
        if any(name.startswith("copies.") for name in self.refuted):
            raise ValueError("a set with copies is not released by policy; remove them, or override by name")
        if (self.refuted or self.copies != "shown") and not written(self.decided_by):
            raise ValueError("decided_by must name who decided")
        return self


def written(text: str) -> bool:
    """Whether a person has written a text: it is not empty, a placeholder, or what people put where they owe a text."""
    words = re.findall(r"[^\W_]+", text.casefold())
    return bool(words) and UNFILLED.casefold() not in text.casefold() and words[0] not in _OWED


def read_policy(path: Path | None) -> Policy:
    """The policy in a TOML file; the strictest without one.

    Raises:
        ConfigError: The file is missing, not TOML, or a key is wrong.
    """
    return Policy() if path is None else parse(Policy, read_toml(path), path.name)
