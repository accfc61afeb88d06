"""The release as an RO-Crate 1.1: every file of it, what made it, and who answers for it.

Source: RO-Crate Metadata Specification 1.1; the run of the program as its section "Provenance of entities" asks. Hashes
are under schema.org's `sha256`, which the context of 1.1 lacks: its section "Extending RO-Crate" says how to add it.
"""

from __future__ import annotations

import mimetypes
from typing import Any

from scansynth import __version__
from scansynth.release.candidate import Candidate
from scansynth.release.cards import EXPLANATION
from scansynth.release.manifest import GENERATOR, MANIFEST, Manifest
from scansynth.study import WEIGHTS

CRATE = "ro-crate-metadata.json"
_VERSION = "https://w3id.org/ro/crate/1.1"
_KINDS = {".dcm": "application/dicom", ".safetensors": "application/octet-stream", ".md": "text/markdown"}


def crate(candidate: Candidate, about: Manifest) -> dict[str, Any]:
    """The crate as JSON-LD.

    Args:
        candidate: What is released.
        about: Its manifest, with every file but the crate's own and itself.
    """
    governance = candidate.study.config.governance
    weights = f"{GENERATOR}/{WEIGHTS}"
    names = [*sorted(about.files), MANIFEST]
    return {
        "@context": [f"{_VERSION}/context", {"sha256": "https://schema.org/sha256"}],
        "@graph": [
            {
                "@id": CRATE,
                "@type": "CreativeWork",
                "conformsTo": {"@id": _VERSION},
                "about": {"@id": "./"},
            },
            {
                "@id": "./",
                "@type": "Dataset",
                "name": f"Synthetic {candidate.cohort.facts.modality} images of {about.study}",
                "description": f"{about.images} synthetic images with their generator and evidence. {EXPLANATION}",
                "datePublished": about.made,
                "license": {"@id": "#licence"},
                "author": {"@id": "#responsible"},
                "publisher": {"@id": "#responsible"},
                "usageInfo": governance.data_use_terms,
                "hasPart": [{"@id": name} for name in names],
                "mentions": {"@id": "#drawing"},
            },
            {"@id": "#licence", "@type": "CreativeWork", "name": governance.licence, "description": governance.licence},
            {"@id": "#responsible", "@type": "Person", "name": governance.responsible_person},
            {"@id": "#scansynth", "@type": "SoftwareApplication", "name": "scansynth", "softwareVersion": __version__},
            {
                "@id": "#drawing",
                "@type": "CreateAction",
                "name": f"Images drawn with the seed {about.drawing.seed}",
                "endTime": about.made,
                "instrument": {"@id": "#scansynth"},
                "agent": {"@id": "#responsible"},
                "object": {"@id": weights},
                "result": [{"@id": name} for name in names if name.endswith(".dcm")],
            },
            *(_file(name, about) for name in names),
        ],
    }


def _file(name: str, about: Manifest) -> dict[str, Any]:
    suffix = name[name.rfind(".") :]
    kind = _KINDS.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    entity = {"@id": name, "@type": "File", "name": name.rsplit("/", 1)[-1], "encodingFormat": kind}
    return entity | ({"sha256": about.files[name]} if name in about.files else {})
