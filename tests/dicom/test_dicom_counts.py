"""Counted values against numpy's own percentiles."""

from __future__ import annotations

import numpy as np
import pytest

from scansynth.dicom.counts import Counts, Ranks, together

DRAWS = {
    "CT": lambda draw: draw.integers(-1024, 3072, (31, 17)),
    "sparse": lambda draw: (draw.random((40, 40)) > 0.99) * draw.integers(1, 900, (40, 40)),
    "two values": lambda draw: draw.integers(0, 2, (9, 9)) * 7 - 3,
    "one value": lambda draw: np.full((5, 6), -12),
}


@pytest.mark.parametrize("what", DRAWS)
def test_ranks_are_numpys_to_the_bit(what: str) -> None:
    images = [DRAWS[what](np.random.default_rng(seed)).astype(np.int16) for seed in range(3)]
    counts = together([Counts.of(image) for image in images])
    values = np.concatenate([image.ravel() for image in images])
    assert (counts.least, counts.most, counts.total) == (values.min(), values.max(), values.size)
    ranks = Ranks(counts)
    for percentile in (0.0, 0.5, 12.3, 50.0, 99.5, 100.0):
        assert ranks.percentile(percentile) == np.percentile(values.astype(np.float64), percentile)
        assert ranks.occurring(percentile, up=False) == np.percentile(values, percentile, method="lower")
        assert ranks.occurring(percentile, up=True) == np.percentile(values, percentile, method="higher")
