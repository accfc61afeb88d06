"""Mean spectrum and grey levels of the images for the report, beside a band of real patients. No verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansynth.audit.compared import LEAST_SYNTHETIC, Compared
from scansynth.metrics.appearance import grey_shares, radial_power
from scansynth.seeds import generator
from scansynth.statistics import Mask, patient_halves

NAME = "appearance"
"""Name of the row in distributions.json; not a claim."""

DRAWS = 100
BINS = 64
MOST_IMAGES = 500
"""On each side: the means of more images would not differ visibly."""

_LEAST_POWER = 1e-12  # keeps the logarithm of a constant image finite

Floats = NDArray[np.float64]


def row(compared: Compared, seed: int) -> list[dict[str, Any]]:
    """The row of distributions.json, or none where there are too few images of either side.

    Spectrum: logarithm (base 10) of the mean power of all images. Histogram: mean share of the pixels. The band
    spans the minimum to the maximum over `DRAWS` random splits of the test patients into halves.
    """
    if len(compared.synthetic) < LEAST_SYNTHETIC or compared.test.lack() or compared.synthetic.shape[1] < 4:
        return []
    rng = generator(seed, "evidence", NAME)
    made = compared.synthetic[np.sort(rng.permutation(len(compared.synthetic))[:MOST_IMAGES])]
    places = np.sort(rng.permutation(len(compared.test.images))[:MOST_IMAGES])
    images, patients = compared.test.images[places], compared.test.patients[places]
    halves = patient_halves(patients, DRAWS, rng)
    frequency, of_made = radial_power(made)
    grey, shares = grey_shares(made, BINS)
    figures = {
        "spectrum": _curves(frequency, of_made, radial_power(images)[1], halves, logarithm=True),
        "histogram": _curves(grey, shares, grey_shares(images, BINS)[1], halves, logarithm=False),
        "synthetic_images": len(made),
        "real_images": len(images),
        "real_patients": len(np.unique(patients)),
    }
    return [{"claim": NAME, "judge": "", "attribute": "", "figures": figures}]


def _curves(x: Floats, made: Floats, real: Floats, halves: Mask, *, logarithm: bool) -> Mapping[str, Any]:
    """The synthetic curve and the band of the halves.

    Args:
        x: Frequencies or grey levels (b,).
        made: Curve of each synthetic image (m, b).
        real: The same of each test image (n, b).
        halves: First half of the patients in each draw (draws, n).
        logarithm: Of the mean, base 10.
    """

    def level(curves: Floats) -> Floats:
        found: Floats = np.log10(np.maximum(curves, _LEAST_POWER)) if logarithm else curves
        return found

    sides = np.concatenate([halves, ~halves]).astype(np.float64)
    band = level(sides @ real / sides.sum(axis=1, keepdims=True))
    low, high, curve = band.min(axis=0), band.max(axis=0), level(made.mean(axis=0))
    curves = {"x": x, "synthetic": curve, "low": low, "high": high}
    return {key: [round(float(value), 6) for value in values] for key, values in curves.items()}
