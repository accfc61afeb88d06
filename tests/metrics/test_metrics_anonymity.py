"""The three attacks: closed forms, and that nobody is favoured where the set knows nobody."""

from __future__ import annotations

import numpy as np
import pytest

from scansynth.metrics.anonymity import Likeness, inferred, linked, singled_out


def test_only_who_is_alone_and_twice_as_near_is_singled_out() -> None:
    limits = np.array([0.5, 0.5, 0.5])
    to_set = np.array(
        [
            [0.76, 0.0, 0.8],  # nearer than twice to the first, and not alone at the third
            [0.70, 0.0, 0.8],  # nearer than the limit, but not twice
            [0.00, 0.75, 0.0],  # twice exactly is not enough
        ]
    )
    assert singled_out(to_set, limits).tolist() == [True, False, False]


def test_parts_are_linked_by_the_same_nearest_image() -> None:
    first = np.array([[0.9, 0.1], [0.2, 0.3]])
    second = np.array([[0.5, 0.4], [0.6, 0.1]])
    assert linked(first, second).tolist() == [True, False]


def test_a_guess_counts_when_it_is_twice_as_near_as_without_the_set() -> None:
    people = np.array([[1.0, 0.8, 0.1], [0.8, 1.0, 0.2], [0.1, 0.2, 1.0]])
    known = Likeness(np.array([[0.9, 0.0], [0.9, 0.0], [0.0, 0.9]]), people)
    # without the set persons 0 and 1 guess from each other (0.4), person 2 from person 1 (0.6)
    hidden = Likeness(
        np.array([[0.71, 1.0], [0.69, 1.0], [1.0, 0.81]]), np.array([[1, 0.4, 0], [0.4, 1, 0.6], [0, 0.6, 1]])
    )
    assert inferred(known, hidden).tolist() == [True, False, True]
    assert known.to_people[0, 0] == 1.0, "what is handed over is not changed"


@pytest.mark.parametrize("attack", ["singled_out", "linked", "inferred"])
def test_where_the_set_knows_nobody_both_sides_succeed_alike(attack: str) -> None:
    rng = np.random.default_rng(5)
    rates = []
    for _ in range(60):
        people, set_ = rng.normal(size=(80, 4)), rng.normal(size=(60, 4))

        def like(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return 1.0 - np.linalg.norm(a[:, None] - b[None, :], axis=2) / 4.0

        upper, lower = slice(0, 2), slice(1, 4)
        if attack == "singled_out":
            among = like(set_, set_)
            np.fill_diagonal(among, -np.inf)
            found = singled_out(like(people, set_), among.max(axis=1))
        elif attack == "linked":
            found = linked(like(people[:, upper], set_[:, upper]), like(people[:, lower], set_[:, lower]))
        else:
            found = inferred(
                Likeness(like(people[:, upper], set_[:, upper]), like(people[:, upper], people[:, upper])),
                Likeness(like(people[:, lower], set_[:, lower]), like(people[:, lower], people[:, lower])),
            )
        rates.append((found[:50].mean(), found[50:].mean()))
    members, others = np.mean(rates, axis=0)
    assert 0 < members < 1
    assert members == pytest.approx(others, abs=0.03)
