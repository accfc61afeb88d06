"""Three attacks on a released set, in the words of the law's tests: singling out, linkability, inference.

The tests are those of the Article 29 Working Party (Opinion 05/2014 on anonymisation techniques, WP216, section 2.2);
that an attack counts only as far as it succeeds more often on people who are in the data than on people who are not
is the control attack of Giomi et al. (PoPETs 2023, arXiv:2211.10459). There they are attacks on tables; these are
attacks on images. Everybody here, training patients and others, stands with one image; the functions are not told
who is who, so under the hypothesis that the set knows nobody both succeed equally often.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


TWICE = 2.0
"""A description, or a guess, must be so many times nearer than what is known without the person."""


@dataclass(frozen=True)
class Likeness:
    """How alike images are, of one part of the image: correlations, 1 for the same.

    Attributes:
        to_set: Each person with each synthetic image (p, m).
        to_people: Each person with each other (p, p); what stands on the diagonal is not used.
    """

    to_set: Floats
    to_people: Floats


def singled_out(to_set: Floats, limits: Floats) -> Mask:
    """Who is the only one of whom something is true that was read from the set alone (p,).

    For each synthetic image the attacker says: "there is one person whose scan is `TWICE` as near to this image as the
    nearest other synthetic image is" (distance 1 - correlation). Without a real image at hand the spread of the set is
    all that tells how narrow a description is.

    Args:
        to_set: Likeness of each person to each synthetic image (p, m).
        limits: Likeness of each synthetic image to the nearest other one (m,).
    """
    true_of = TWICE * (1.0 - to_set) < 1.0 - limits
    alone: Mask = (true_of & (true_of.sum(axis=0) == 1)).any(axis=1)
    return alone


def linked(first: Floats, second: Floats) -> Mask:
    """Whose two parts lead to the same synthetic image (p,).

    The attacker holds one part of a scan from one source and the other part from another, and takes them for one
    person's when the same synthetic image is the nearest to both.

    Args:
        first: Likeness of each person's first part to that of each synthetic image (p, m).
        second: The same of the second part (p, m).
    """
    same: Mask = first.argmax(axis=1) == second.argmax(axis=1)
    return same


def inferred(known: Likeness, hidden: Likeness) -> Mask:
    """Whose hidden part the set tells better than other people's scans do (p,).

    The attacker holds one part of a scan and guesses the other: that of the synthetic image whose known part is the
    nearest. It succeeds when it is `TWICE` as near to the truth as the same guess from the scans of all other people.
    """
    everyone = np.arange(len(known.to_set))
    guess = hidden.to_set[everyone, known.to_set.argmax(axis=1)]
    among = known.to_people.copy()
    np.fill_diagonal(among, -np.inf)
    without = hidden.to_people[everyone, among.argmax(axis=1)]
    better: Mask = TWICE * (1.0 - guess) < 1.0 - without
    return better
