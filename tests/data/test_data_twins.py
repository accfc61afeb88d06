from collections.abc import Sequence

import numpy as np
import pytest
from scipy import ndimage

from scansynth.data.cohort.twins import Pictures, find_twins
from scansynth.data.grouping import grouped


def scene(seed: int, side: int = 64) -> np.ndarray:
    """Smooth structure of several sizes, as in a scan, with grain; uint16 (side, side)."""
    draw = np.random.default_rng(seed)
    layers = [ndimage.gaussian_filter(draw.normal(size=(side, side)), s) * s for s in (1.5, 3, 6, 12)]
    image = sum(layers) + 0.05 * draw.normal(size=(side, side))
    return np.rint((image - image.min()) / np.ptp(image) * 60000).astype(np.uint16)


def pictures(images: Sequence[np.ndarray], patients: Sequence[str], digests: Sequence[str] | None = None) -> Pictures:
    return Pictures(np.stack(images), digests or [""] * len(images), patients)


BASE = [scene(seed) for seed in range(40)]
NAMES = [f"p{number // 2}" for number in range(40)]


def jittered(image: np.ndarray, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return np.clip(image + draw.normal(0, 0.05 * image.std(), image.shape), 0, 65535).astype(np.uint16)


CHANGED = {
    "as it is": lambda image: image,
    "8 bits, stretched": lambda image: (np.rint((image / image.max()) * 255) * 200).astype(np.uint16),
    "noise": lambda image: jittered(image, 1),
    "another window": lambda image: np.clip(image * 1.05, 1000, 55000).astype(np.uint16),
    "moved": lambda image: np.roll(image, (2, -3), (0, 1)),
    "mirrored": lambda image: image[:, ::-1],
    "gamma": lambda image: (65535 * (image / 65535.0) ** 0.8).astype(np.uint16),
}


@pytest.mark.parametrize("kind", CHANGED)
def test_a_copy_under_another_patient_is_found(kind: str) -> None:
    copies = [CHANGED[kind](BASE[place]) for place in (0, 7, 22)]
    found = find_twins(pictures([*BASE, *copies], [*NAMES, "q0", "q1", "q2"]))
    assert {(twin.first, twin.second) for twin in found.pairs} == {(0, 40), (7, 41), (22, 42)}
    assert found.searched


def test_different_patients_and_one_patients_own_images_are_no_twins() -> None:
    found = find_twins(pictures(BASE, NAMES))
    assert (found.pairs, found.searched) == ((), True)
    assert find_twins(pictures([*BASE, BASE[3]], [*NAMES, NAMES[3]])).pairs == ()


def test_equal_pixels_are_found_by_their_digest_at_any_size() -> None:
    small = [image[:12, :12] for image in BASE[:4]]
    found = find_twins(pictures(small, list("abca"), ["x", "y", "x", "x"]))
    assert [(twin.first, twin.second, twin.equal) for twin in found.pairs] == [(0, 2, True), (2, 3, True)]
    assert not found.searched


def test_a_whole_cohort_exported_twice(capsys: pytest.CaptureFixture[str]) -> None:
    again = [jittered(image, seed) for seed, image in enumerate(BASE)]
    found = find_twins(pictures([*BASE, *again], [*NAMES, *(f"q{name}" for name in NAMES)]))
    groups = grouped((f"{NAMES[twin.first]}", f"q{NAMES[twin.second - 40]}") for twin in found.pairs)
    assert len({(twin.first, twin.second) for twin in found.pairs} & {(n, n + 40) for n in range(40)}) == 40
    assert len(set(groups.values())) == 20


def test_patients_that_are_all_alike_are_not_made_one() -> None:
    alike = [jittered(BASE[0], seed) for seed in range(30)]
    found = find_twins(pictures(alike, [str(number) for number in range(30)]))
    assert found.pairs == ()


def test_another_study_and_another_size() -> None:
    theirs = [ndimage.zoom(BASE[place].astype(float), 0.5, order=1).astype(np.uint16) for place in (5, 9)]
    strange = scene(99, 32)
    found = find_twins(pictures(BASE, NAMES), pictures([*theirs, theirs[0], strange], ["a", NAMES[9], "b", "c"]))
    # the same patient's image is no twin, and pairs within the other study are not its business
    assert {(twin.first, twin.second) for twin in found.pairs} == {(5, 40), (5, 42)}


def test_groups_are_whole_whatever_the_order() -> None:
    pairs = [("b", "c"), ("e", "d"), ("c", "a"), ("x", "e")]
    for order in (pairs, pairs[::-1]):
        assert grouped(order) == {"a": "a", "b": "a", "c": "a", "d": "d", "e": "d", "x": "d"}
    assert grouped([]) == {}
