"""What the verdicts of an audit depend on besides the images; quick to import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scansynth.claims.rules import RULE_VERSION
from scansynth.config import EvidenceSettings
from scansynth.files import sha256_file
from scansynth.stage import plain


def audit_settings(settings: EvidenceSettings) -> dict[str, Any]:
    """What the verdicts depend on besides the images: the settings and the rule version."""
    # the content of the user's network counts, not its path
    own = {"encoder": network_digest(settings.encoder)}
    return plain({**settings.model_dump(), **own, "rule_version": RULE_VERSION})


def network_digest(onnx: Path | None) -> str | None:
    """SHA-256 of the user's own network, on which the verdicts depend; a fixed word where the file cannot be read."""
    try:
        return None if onnx is None else sha256_file(onnx)
    except OSError:
        return "missing"  # `make_encoders` refuses it; a listing of stages does not
