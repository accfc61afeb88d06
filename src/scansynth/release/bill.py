"""The bill of materials: what software and which weights a release was made with, as CycloneDX 1.6 JSON."""

from __future__ import annotations

import re
import uuid
from importlib import metadata
from typing import Any

from scansynth import __version__

BILL = "sbom.cdx.json"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def bill(weights_sha256: str, made: str) -> dict[str, Any]:
    """The bill of a release.

    Args:
        weights_sha256: Of the generator.
        made: When, ISO 8601.
    """
    packages = [_package(name, version) for name, version in sorted(installed("scansynth").items())]
    model = {
        "type": "machine-learning-model",
        "bom-ref": "generator",
        "name": "generator",
        "hashes": [{"alg": "SHA-256", "content": weights_sha256}],
    }
    program = {"type": "application", "bom-ref": "scansynth", "name": "scansynth", "version": __version__}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, weights_sha256 + made)}",
        "version": 1,
        "metadata": {"timestamp": made, "component": program},
        "components": [model, *packages],
        "dependencies": [{"ref": "scansynth", "dependsOn": [item["bom-ref"] for item in packages]}],
    }


def installed(root: str) -> dict[str, str]:
    """Version of each package that a package needs, directly or not, by its name; extras and `root` itself left out."""
    found: dict[str, str] = {}
    todo = [root]
    while todo:
        try:
            here = metadata.distribution(todo.pop())
        except metadata.PackageNotFoundError:  # needed on another system alone
            continue
        name = re.sub(r"[-_.]+", "-", here.metadata["Name"]).lower()
        if name in found:
            continue
        found[name] = here.version
        for needed in here.requires or ():
            start = _NAME.match(needed)
            if start and "extra ==" not in needed:
                todo.append(start[0])
    found.pop(root, None)
    return found


def _package(name: str, version: str) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{version}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
