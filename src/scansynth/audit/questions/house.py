"""What must stay where the training images are: what the discriminator and the encoders reveal of who was trained on.

The claims `house.discriminator` and `house.encoders`. Both speak of files that are never released, so they count for
none of the five questions. Members are the patients of train, the others those of calibrate and test.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from scansynth.audit.compared import Compared, Images, Reals
from scansynth.audit.context import Context, at_most
from scansynth.audit.encoders import LEARNED, Encoder
from scansynth.audit.questions.membership import (
    LEAST_PATIENTS,
    Suspects,
    Wording,
    assess,
    aucs,
    too_few,
)
from scansynth.claims.claim import Finding, not_assessable
from scansynth.console import Progress
from scansynth.metrics.distortions import Ranges, distorted
from scansynth.metrics.membership import group_means
from scansynth.seeds import derive_seed

DISCRIMINATOR, ENCODERS = "house.discriminator", "house.encoders"
CLAIMS = (DISCRIMINATOR, ENCODERS)

MOST_PATIENTS, MOST_EACH, VIEWS = 200, 2, 4
"""Patients on a side and images of each that are shown to the encoders, and distorted views of each image."""

CONTROL_DRAWS = 50
EFFECT = 1.0
"""Shift of planted scores, in standard deviations."""

NO_SCORES = "No discriminator scores belong to this set: it was made elsewhere, or its run has no scores."
NO_ENCODER = "No encoder was trained on these images."

_OF_DISCRIMINATOR = Wording(
    "rated more real by the run's discriminator",
    "the discriminator reveals who was trained on: keep it, and every checkpoint, where the training images are kept",
    " This says nothing about the images themselves.",
)
_OF_ENCODERS = Wording(
    "for which the encoders change less when an image is distorted",
    "the encoders reveal who was trained on: keep the folder encoders where the training images are kept",
    " This says nothing about the images themselves.",
)

Floats = NDArray[np.float64]


def answer(context: Context, progress: Progress) -> tuple[Finding, ...]:
    """Both claims."""
    found = [too_few(context.compared, name) for name in CLAIMS]
    progress(0, 2, "discriminator")
    of_discriminator = found[0] or by_discriminator(context)
    progress(1, 2, "encoders")
    return of_discriminator, found[1] or by_encoders(context)


def by_discriminator(context: Context) -> Finding:
    """The claim on the discriminator's scores."""
    compared = context.compared
    members, images = _rated(compared, compared.train)
    others, other_images = _rated(compared, compared.calibrate, compared.test)
    n = {
        "training images": images,
        "training patients": len(members),
        "other images": other_images,
        "other patients": len(others),
    }
    if min(len(members), len(others)) < LEAST_PATIENTS:
        return Finding(not_assessable(DISCRIMINATOR, NO_SCORES, n if compared.scores else {}))
    return _by_scores(DISCRIMINATOR, Suspects(members, others), n, context, _OF_DISCRIMINATOR)


def _rated(compared: Compared, *parts: Reals) -> tuple[Floats, int]:
    """Mean score of each patient of some parts, and the number of images that have one."""
    cases = [case for part in parts for case in part.cases if case.case in compared.scores]
    if not cases:
        return np.empty(0), 0
    values = np.array([compared.scores[case.case] for case in cases])
    return group_means(values, np.array([case.patient for case in cases])), len(cases)


def by_encoders(context: Context) -> Finding:
    """The claim on the encoders: images that an encoder learned from change less for it under distortion.

    The attack on contrastive encoders of Liu et al. (EncoderMI, CCS 2021, arXiv:2108.11023): the likeness of an
    encoder's answers to distorted views of one image.
    """
    compared = context.compared
    encoders = [view.encode for view in context.views if view.judge == LEARNED]
    encoders += [] if context.embed is None else [context.embed]
    if not encoders:
        return Finding(not_assessable(ENCODERS, NO_ENCODER, {}))
    rng = context.rng("encoders")
    shown = [_drawn((compared.train,), rng), _drawn((compared.calibrate, compared.test), rng)]
    images = np.concatenate([images for images, _ in shown])
    random = torch.Generator().manual_seed(derive_seed(context.seed, "evidence", "encoders"))
    whole = torch.from_numpy(np.ascontiguousarray(images))[:, None]
    views = [distorted(whole, Ranges(), random)[:, 0].numpy() for _ in range(VIEWS)]
    steady = np.mean([_standard(_steadiness(encode, images, views)) for encode in encoders], axis=0)
    first = len(shown[0][0])
    suspects = Suspects(group_means(steady[:first], shown[0][1]), group_means(steady[first:], shown[1][1]))
    n = {
        "training images": first,
        "training patients": len(suspects.members),
        "other images": len(images) - first,
        "other patients": len(suspects.others),
    }
    return _by_scores(ENCODERS, suspects, n, context, _OF_ENCODERS)


def _drawn(parts: tuple[Reals, ...], rng: np.random.Generator) -> tuple[Images, NDArray[np.int64]]:
    """Some images of some patients of one side, and the place of each image's patient."""
    images = np.concatenate([part.images for part in parts])
    place = np.unique(np.concatenate([part.patients for part in parts]), return_inverse=True)[1]
    chosen = [
        np.flatnonzero(place == patient)[at_most(int((place == patient).sum()), MOST_EACH, rng)]
        for patient in at_most(int(place.max()) + 1, MOST_PATIENTS, rng)
    ]
    kept = np.concatenate(chosen)
    return images[kept], place[kept]


def _steadiness(encode: Encoder, images: Images, views: list[Images]) -> Floats:
    """Mean cosine between what an encoder says of an image and of its distorted views, (n,)."""

    def unit(batch: Images) -> Floats:
        features = encode(batch)
        return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12))

    own = unit(images)
    return np.asarray(np.mean([(own * unit(view)).sum(axis=1) for view in views], axis=0), dtype=np.float64)


def _standard(values: Floats) -> Floats:
    """Values at mean 0 and spread 1, so that two encoders count alike."""
    return np.asarray((values - values.mean()) / max(float(values.std()), 1e-12))


def _by_scores(name: str, suspects: Suspects, n: Mapping[str, int], context: Context, wording: Wording) -> Finding:
    """A claim from scores, with scores shifted by `EFFECT` as its control."""
    planted = aucs(plant_scores(suspects, context.rng("planted scores", name)))
    return assess(name, suspects, ("scores shifted by one standard deviation", planted), n, context, wording)


def plant_scores(suspects: Suspects, rng: np.random.Generator) -> tuple[Suspects, ...]:
    """Patients split at random, with the scores of one side raised by `EFFECT`."""
    pool = np.concatenate([suspects.members, suspects.others])
    low, high = np.quantile(pool, (0.25, 0.75))
    shift = EFFECT * (high - low) / 1.349  # the quartiles of a normal lie 1.349 standard deviations apart
    members, found = len(suspects.members), []
    for _ in range(CONTROL_DRAWS):
        mixed = rng.permutation(pool)
        found.append(Suspects(mixed[:members] + shift, mixed[members:]))
    return tuple(found)
