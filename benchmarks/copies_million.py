"""The search for near copies among a million images, by approximate neighbours: what it takes and what it loses.

    python benchmarks/copies_million.py --out docs/results/copies_million.json [--images 1000000] [--study STUDY]

Needs `pip install faiss-cpu==1.15.1`, which is no dependency of the project: the audit compares every pair, exactly.
Here each image becomes 196 numbers: the band of detail that the exact search compares, its middle 56 x 56 pixels in
means of 4 x 4, about 0 and of length 1, so that a product of two is a correlation. Faiss keeps them as bytes in 1,024
cells (IVF, SQ8). A query is looked up as it is and in its mirror images, as it lies and moved by 3 pixels (1 or 3 steps
a direction); the 20 nearest of each are the candidates, and only they get the exact score. Where the original
is among them, the score of a copy is that of the exact search. So the loss is the share that is not.

* index: seconds and bytes; `described_microseconds` is the audit's own way from pixels to the numbers, an image.
* planted: the audit's planted copies of images in the index, near and far kinds: share whose original is a candidate.
* exact: new images against so many references, exact and approximate: the share with the same nearest one, and by how
  much the best score falls.
* study, with `--study`: the same two on the train images of an ingested study (a small index, real pixels).

The million are made up: smooth noise that is linear in 144 numbers, so that their band follows from two small matrices
(`checked` is the largest difference to the audit's own `prepare`). How much is lost on scans hangs on how alike scans
are; on a cohort of that size it must be measured again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from copies_speed import gibibytes
from numpy.typing import NDArray
from simulation import write_simulation

from scansynth.data.permission import permission
from scansynth.data.tensors import load_cohort, select, to_signed
from scansynth.ledger import Use
from scansynth.metrics import planted
from scansynth.metrics.ncc import RADIUS, WORKING, Flip, aligned, nearest, prepare

GRID, CELL, CELLS, KEPT, VISITED = 12, 4, 1024, 20, 16
INNER = WORKING - 2 * RADIUS
SHIFTS: Mapping[int, tuple[int, ...]] = {1: (0,), 3: (-3, 0, 3)}
CHUNK = 20_000
_AXES = {Flip.NONE: (), Flip.LEFT_RIGHT: (2,), Flip.TOP_BOTTOM: (1,), Flip.BOTH: (1, 2)}

Images = NDArray[np.float32]
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class MadeUp:
    """Smooth images A N A' of 144 normal numbers N each, and the matrices of their band.

    Attributes:
        paint: (64, 12) from numbers to pixels.
        fine: (64, 12) the same, blurred as `prepare` blurs for the fine side.
        coarse: (64, 12) for the coarse side.
    """

    paint: NDArray[np.float64]
    fine: NDArray[np.float64]
    coarse: NDArray[np.float64]

    def numbers(self, first: int, count: int) -> NDArray[np.float64]:
        """(count, 12, 12) of the images from `first`, a multiple of the chunk."""
        return np.random.default_rng([7, first]).normal(size=(count, GRID, GRID))

    def images(self, numbers: NDArray[np.float64]) -> Images:
        """(n, 64, 64), nearly all within -1 and 1."""
        return np.asarray(self.paint @ numbers @ self.paint.T, np.float32)

    def bands(self, numbers: NDArray[np.float64]) -> Images:
        """What `prepare` makes of the images."""
        side = self.fine @ numbers @ self.fine.T - self.coarse @ numbers @ self.coarse.T
        return np.asarray(side, np.float32)

    def described(self, numbers: NDArray[np.float64]) -> Rows:
        """The numbers that are indexed, without the pixels in between."""
        pool = pooling()
        one, two = pool @ self.fine[RADIUS:-RADIUS], pool @ self.coarse[RADIUS:-RADIUS]
        return unit(one @ numbers @ one.T - two @ numbers @ two.T)


def made_up() -> MadeUp:
    """The painter; its blurs are taken from `prepare`'s own filter, one dimension at a time."""
    from scipy import ndimage  # noqa: PLC0415

    from scansynth.metrics.ncc import _COARSE, _FINE  # noqa: PLC0415 - the widths that the search itself uses

    places = (np.arange(WORKING) + 0.5) / WORKING * GRID
    paint = np.exp(-((places[:, None] - np.arange(GRID) - 0.5) ** 2) / (2 * 0.6**2))
    paint *= 0.5 / np.sqrt((paint**2).sum(1).mean())
    fine, coarse = (ndimage.gaussian_filter1d(paint, width * WORKING, axis=0) for width in (_FINE, _COARSE))
    return MadeUp(paint, fine, coarse)


def pooling() -> NDArray[np.float64]:
    """(14, 56): means of four neighbours."""
    return np.kron(np.eye(INNER // CELL), np.full((1, CELL), 1 / CELL))


def unit(pooled: NDArray[Any]) -> Rows:
    """(n, 14, 14) to rows about 0 of length 1."""
    rows = pooled.reshape(len(pooled), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), np.float32)


def describe(bands: Images, rows: int = 0, columns: int = 0) -> Rows:
    """What of prepared images is indexed: their middle, moved by so many pixels."""
    pool, top, left = pooling(), RADIUS + rows, RADIUS + columns
    return unit(pool @ bands[:, top : top + INNER, left : left + INNER] @ pool.T)


def indexed(parts: Iterator[Rows], learned_from: Rows, cells: int = CELLS) -> tuple[Any, dict[str, Any]]:
    """The index, and what it took."""
    import faiss  # noqa: PLC0415 - no dependency of the project

    faiss.omp_set_num_threads(1)
    began = time.process_time()
    index = faiss.index_factory(learned_from.shape[1], f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.train(learned_from)
    trained, adding = time.process_time() - began, 0.0
    for rows in parts:
        began = time.process_time()
        index.add(rows)
        adding += time.process_time() - began
    index.nprobe = VISITED
    size = len(faiss.serialize_index(index))
    return index, {
        "images": index.ntotal,
        "seconds_learning_cells": round(trained, 1),
        "seconds_adding": round(adding, 1),
        "mebibytes": round(size / 2**20, 1),
    }


def candidates(index: Any, bands: Images, flips: tuple[Flip, ...], steps: int) -> list[NDArray[np.int64]]:
    """The candidates of each prepared query."""
    found: list[list[NDArray[np.int64]]] = [[] for _ in bands]
    for flip in flips:
        turned = np.ascontiguousarray(np.flip(bands, _AXES[flip]))
        for rows in SHIFTS[steps]:
            for columns in SHIFTS[steps]:
                _, places = index.search(describe(turned, rows, columns), KEPT)
                for own, near in zip(found, places, strict=True):
                    own.append(near)
    return [np.setdiff1d(np.concatenate(own), [-1]) for own in found]


def planted_recall(index: Any, originals: Images, places: NDArray[np.int64], flips: tuple[Flip, ...]) -> dict[str, Any]:
    """Share of the planted copies of each kind whose original is a candidate, by steps of the shift."""
    rng = np.random.default_rng(11)
    top_bottom = Flip.TOP_BOTTOM in flips
    kinds = {**planted.copies(originals, top_bottom, rng), **planted.far_copies(originals, originals[::-1], rng)}
    result: dict[str, Any] = {}
    for steps in SHIFTS:
        began, shares, numbers = time.process_time(), {}, []
        for kind, images in kinds.items():
            found = candidates(index, prepare(images), flips, steps)
            shares[kind] = round(float(np.mean([place in own for place, own in zip(places, found, strict=True)])), 3)
            numbers += [len(own) for own in found]
        count = len(kinds) * len(originals)
        result[f"{steps} steps"] = {
            "milliseconds_a_query": round(1000 * (time.process_time() - began) / count, 2),
            "candidates": round(float(np.mean(numbers))),
            "recall": shares,
        }
    return result


def beside_exact(index: Any, bands: Images, queries: Images, flips: tuple[Flip, ...]) -> dict[str, Any]:
    """The exact nearest of new images beside the best of their candidates."""
    began = time.process_time()
    exact = nearest(queries, bands, flips)
    of_exact, result = time.process_time() - began, {}
    for steps in SHIFTS:
        began = time.process_time()
        same, falls = [], []
        for query, own, score, place in zip(
            queries, candidates(index, queries, flips, steps), exact.score, exact.index, strict=True
        ):
            again = aligned(np.repeat(query[None], len(own), 0), bands[own], flips).score
            same.append(bool(place in own))
            falls.append(float(score - again.max()))
        result[f"{steps} steps"] = {
            "same_nearest": round(float(np.mean(same)), 3),
            "mean_fall_of_score": round(float(np.mean(falls)), 4),
            "largest_fall": round(max(falls), 4),
            "milliseconds_a_query": round(1000 * (time.process_time() - began) / len(queries), 1),
        }
    milliseconds = round(1000 * of_exact / len(queries), 1)
    return {"references": len(bands), "queries": len(queries), "exact_milliseconds_a_query": milliseconds, **result}


def million(options: argparse.Namespace) -> dict[str, Any]:
    """The made-up part."""
    painter, flips = made_up(), tuple(Flip)
    some = painter.numbers(0, CHUNK)
    few = painter.images(some[:200])
    began = time.process_time()
    through_pixels = describe(prepare(few))
    described = 1e6 * (time.process_time() - began) / len(few)
    checked = float(np.abs(through_pixels - painter.described(some[:200])).max())
    firsts = range(0, options.images, CHUNK)
    parts = (painter.described(painter.numbers(first, CHUNK)) for first in firsts)
    learned_from = np.concatenate([painter.described(painter.numbers(first, CHUNK)) for first in firsts[:5]])
    index, took = indexed(parts, learned_from)
    places = np.sort(np.random.default_rng(3).permutation(CHUNK)[: options.planted])
    last = firsts[-1]  # copies of the last chunk, which the cells were not learned from
    originals = np.clip(painter.images(painter.numbers(last, CHUNK)[places]), -1, 1)
    recall = planted_recall(index, originals, places + last, flips)
    bands = painter.bands(some[: options.exact])
    small, _ = indexed(iter([describe(bands)]), describe(bands), 64)
    queries = painter.bands(painter.numbers(options.images, 40))
    return {
        "index": {**took, "described_microseconds": round(described), "cells": CELLS, "visited": VISITED},
        "checked": checked,
        "planted": {"copies_of_each_kind": len(places), **recall},
        "exact": beside_exact(small, bands, queries, flips),
        "peak_gib": round(gibibytes(), 2),
    }


def of_study(study: Path, count: int) -> dict[str, Any]:
    """The same on the train images of a study."""
    cohort = load_cohort(study / "cohort")
    flips = permission("", cohort.facts.view).searched
    train, new = (to_signed(select(cohort, use).planes) for use in (Use.COPY_SEARCH, Use.COPY_THRESHOLD))
    bands = prepare(train)
    rows = describe(bands)
    index, _ = indexed(iter([rows]), rows, 32)
    index.nprobe = 2  # as small a part of the cells as is asked of the million, or nearly
    places = np.sort(np.random.default_rng(3).permutation(len(train))[:count])
    return {
        "images": len(train),
        "cells": 32,
        "visited": 2,
        "planted": planted_recall(index, train[places], places, flips),
        "exact": beside_exact(index, bands, prepare(new[:count]), flips),
    }


def main() -> None:
    """Both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000, help=f"a multiple of {CHUNK:,}")
    parser.add_argument("--planted", type=int, default=40, help="images that copies are planted of")
    parser.add_argument("--exact", type=int, default=4000, help="references of the comparison with the exact search")
    parser.add_argument("--study", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    started = time.process_time()
    figures = {"faiss": metadata.version("faiss-cpu"), **million(options)}
    if options.study:
        figures["study"] = of_study(options.study, options.planted)
    study = " --study STUDY" if options.study else ""
    command = (
        f"python benchmarks/copies_million.py --images {options.images}{study} --out docs/results/{options.out.name}"
    )
    write_simulation(options.out, started, command=command, **figures)
    print(figures)


if __name__ == "__main__":
    main()
