"""The release as a Croissant 1.1 dataset, with its RAI and PROV terms: what catalogues and data loaders read.

Source: the Croissant format specification 1.1 and the Croissant RAI vocabulary (MLCommons).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scansynth import __version__
from scansynth.claims.questions import EVERY_QUESTION
from scansynth.release.candidate import Candidate
from scansynth.release.cards import EXPLANATION, NOT_PROVIDED
from scansynth.release.manifest import DICOM, TABLE, Manifest

CROISSANT = "croissant.json"
_HOME = "https://schema.org/"

_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": _HOME,
    **{
        name: f"cr:{name}"
        for name in (
            "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileObject",
            "fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5",
            "parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate",
            "separator", "source", "subField", "transform",
        )
    },
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": _HOME,
}  # fmt: skip

_FIELDS = {
    "id": ("sc:Text", "Name of the image within the set."),
    "file": ("sc:Text", "The DICOM file."),
    "mask": ("sc:Text", "The lesion as DICOM SEG; empty: none."),
    "label": ("sc:Text", "The class that the generator was asked for."),
    "index": ("sc:Integer", "Index of the image within the set, from which it is drawn."),
    "seed": ("sc:Integer", "Seed of the set."),
    "weights_sha256": ("sc:Text", "SHA-256 of the generator's weights."),
    "sop_instance_uid": ("sc:Text", "SOP Instance UID of the DICOM file."),
    "pixels": ("sc:Text", "SHA-256 of size and grey levels."),
}


def croissant(candidate: Candidate, about: Manifest) -> dict[str, Any]:
    """The dataset as JSON-LD.

    Args:
        candidate: What is released.
        about: Its manifest; the hash of the table stands in its files.
    """
    governance, facts = candidate.study.config.governance, candidate.cohort.facts
    title = f"Synthetic {facts.modality} images of {about.study}"
    return {
        "@context": dict(_CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": title,
        "description": f"{about.images} synthetic images. {EXPLANATION}",
        "license": governance.licence,
        "url": "manifest.json",
        "citeAs": f"{title}, {about.made[:10]}, manifest of weights {about.weights_sha256[:12]}",
        "creator": {"@type": "sc:Person", "name": governance.responsible_person},
        "datePublished": about.made[:10],
        "dateCreated": about.made[:10],
        "version": "1.0.0",
        "keywords": ["synthetic data", "medical imaging", facts.modality],
        "usageInfo": governance.data_use_terms,
        "rai:hasSyntheticData": True,
        "rai:syntheticDataExplanation": EXPLANATION,
        "rai:dataUseCases": governance.intended_use,
        "rai:dataLimitations": f"Not for: {governance.excluded_use}",
        "rai:dataBiases": _verdict_words(candidate),
        "rai:personalSensitiveInformation": "Modelled on health data of real patients, none of which is released; see "
        "the claims on copies and membership in evidence/claims.json.",
        "rai:dataReleaseMaintenancePlan": NOT_PROVIDED,
        "prov:wasDerivedFrom": {
            "@type": "prov:Entity",
            "name": f"A cohort of {len(candidate.cohort.cases)} real {facts.modality} images, not released",
        },
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "name": f"Drawn with the seed {about.drawing.seed} from the weights {about.weights_sha256}",
            "prov:wasAssociatedWith": {"@type": "prov:SoftwareAgent", "name": f"scansynth {__version__}"},
        },
        "distribution": _distribution(about),
        "recordSet": [_records()],
    }


def _verdict_words(candidate: Candidate) -> str:
    verdicts = candidate.evidence.judged.verdicts
    return " ".join(f"{one.title} {verdicts[one.name].value}." for one in EVERY_QUESTION if one.name in verdicts)


def _distribution(about: Manifest) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileObject",
            "@id": TABLE,
            "name": TABLE,
            "description": "One row per image.",
            "contentUrl": TABLE,
            "encodingFormat": "text/csv",
            "sha256": about.files[TABLE],
        },
        {
            "@type": "cr:FileSet",
            "@id": DICOM,
            "name": DICOM,
            "description": "The images, and lesions as DICOM SEG.",
            "encodingFormat": "application/dicom",
            "includes": f"{DICOM}/*.dcm",
        },
    ]


def _records() -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "description": "The table of images.",
        "key": {"@id": "images/file"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"images/{name}",
                "name": name,
                "description": words,
                "dataType": kind,
                "source": {"fileObject": {"@id": TABLE}, "extract": {"column": name}},
            }
            for name, (kind, words) in _FIELDS.items()
        ],
    }
