"""Places in an image where text may stand in the pixels: found by arithmetic, read by somebody else.

Text has what anatomy seldom has together in a spot of 8 x 32 pixels: many steep edges along the rows and down the
columns, and between them pixels as flat as their neighbours. Faint text is looked for in the border alone, where
scanners and screens write. Larger text is found in an image made smaller by leaving out rows and columns.

Measured in docs/dicom.md#text-in-the-pixels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Box = tuple[int, int, int, int]
"""First row, row after the last, first column, column after the last."""

MOST = 16
"""Places of one image; more are one place: the whole image."""

_BLOCK, _WINDOW = 8, 4  # pixels of a block's side, and blocks beside each other that are looked at together
_LEAST_SIDE = 32
_ENOUGH = 640  # pixels of the shorter side above which larger text is looked for too
_STEEP = 90  # grey levels of 256
_BORDER = 0.2
_FLAT, _SPARSE, _MANY = 5, 0.4, 0.07  # anywhere: nearly black between the letters
_FLAT_FAINT, _MANY_FAINT = 13, 0.08  # in the border: the grey scale is that of most pixels
_MARGIN = (4, 40)  # pixels, of rows and columns: a line goes on beside what was marked

Bytes = npt.NDArray[np.uint8]
Blocks = npt.NDArray[np.bool_]


def text_places(values: npt.NDArray[np.float32]) -> list[Box]:
    """Places where text may stand.

    Args:
        values: One image (rows, columns), any unit.

    Returns:
        Boxes within the image, which do not touch each other; none: nothing looks like text.
    """
    if min(values.shape) < _LEAST_SIDE:
        return []
    low, high = float(values.min()), float(values.max())
    if not low < high:
        return []
    usual = np.quantile(values[::4, ::4], (0.005, 0.995))
    grey = _grey(values, low, high)
    faint = _grey(values, float(usual[0]), float(usual[1])) if usual[0] < usual[1] else None
    boxes: list[Box] = []
    step = 1
    while True:
        marked = _marked(grey[::step, ::step], _FLAT, _MANY)
        if faint is not None:
            marked |= _border(_marked(faint[::step, ::step], _FLAT_FAINT, _MANY_FAINT))
        boxes += [_scaled(box, step, values.shape) for box in _together(marked)]
        step *= 2
        if min(values.shape) // step < _ENOUGH // 2:
            break
    boxes = _apart(boxes)
    return boxes if len(boxes) <= MOST else [(0, values.shape[0], 0, values.shape[1])]


def _grey(values: npt.NDArray[np.float32], low: float, high: float) -> Bytes:
    """256 grey levels from `low` to `high`."""
    grey: Bytes = np.clip((values - low) * (255.0 / (high - low)), 0.0, 255.0).astype(np.uint8)
    return grey


def _marked(grey: Bytes, flat: int, many: float) -> Blocks:
    """Blocks of 8 x 8 pixels that may be part of a text."""
    along = np.maximum(grey[:, 1:], grey[:, :-1]) - np.minimum(grey[:, 1:], grey[:, :-1])
    down = np.maximum(grey[1:], grey[:-1]) - np.minimum(grey[1:], grey[:-1])
    rows, columns = (grey.shape[0] - 1) // _BLOCK, (grey.shape[1] - 1) // _BLOCK
    found = np.zeros((max(rows, 0), max(columns, 0)), bool)
    if rows < 1 or columns < _WINDOW:
        return found
    steep = _share(along > _STEEP, rows, columns)
    across = _share(down > _STEEP, rows, columns)
    calm = _share(along < flat, rows, columns)
    text = (np.minimum(steep, 2.0 * across) >= many) & (calm >= _SPARSE)
    for place in range(_WINDOW):
        found[:, place : place + text.shape[1]] |= text
    return found


def _share(what: Blocks, rows: int, columns: int) -> npt.NDArray[np.float64]:
    """Share of pixels in each window of 8 x 32 pixels."""
    cut = what[: rows * _BLOCK, : columns * _BLOCK].view(np.uint8)
    # rows first: adding whole rows of bytes is quick, and 64 at most fit in a byte
    in_rows = cut.reshape(rows, _BLOCK, columns * _BLOCK).sum(1, dtype=np.uint8)
    blocks = in_rows.reshape(rows, columns, _BLOCK).sum(2, dtype=np.uint8).astype(np.int64)
    width = columns - _WINDOW + 1
    windows = np.stack([blocks[:, place : place + width] for place in range(_WINDOW)])
    share: npt.NDArray[np.float64] = windows.sum(0) / float(_BLOCK * _BLOCK * _WINDOW)
    return share


def _border(marked: Blocks) -> Blocks:
    """Only those in the outer fifth."""
    kept = marked.copy()
    rows, columns = (max(2, round(_BORDER * side)) for side in marked.shape)
    kept[rows:-rows, columns:-columns] = False
    return kept


def _together(marked: Blocks) -> list[Box]:
    """Boxes, in blocks, around marked blocks that lie within two blocks of each other."""
    left = {(int(row), int(column)) for row, column in np.argwhere(marked)}
    boxes = []
    while left:
        group, edge = [], [left.pop()]
        while edge:
            row, column = edge.pop()
            group.append((row, column))
            near = {(row + down, column + along) for down in (-1, 0, 1) for along in (-2, -1, 0, 1, 2)} & left
            left -= near
            edge += near
        rows, columns = zip(*group, strict=True)
        boxes.append((min(rows), max(rows) + 1, min(columns), max(columns) + 1))
    return boxes


def _scaled(box: Box, step: int, shape: tuple[int, ...]) -> Box:
    """A box of blocks as pixels of the whole image, with a margin for the letters' ends."""
    top, bottom, first, last = (side * _BLOCK * step for side in box)
    tall, wide = (margin * step for margin in _MARGIN)
    return (
        max(0, top - tall - _BLOCK * step // 2),
        min(shape[0], bottom + tall + _BLOCK * step // 2),
        max(0, first - wide),
        min(shape[1], last + wide),
    )


def _apart(boxes: list[Box]) -> list[Box]:
    """Boxes that overlap as one, until none do."""
    done: list[Box] = []
    for box in sorted(boxes):
        merged = box
        while touching := [other for other in done if _touch(merged, other)]:
            done = [other for other in done if other not in touching]
            every = [merged, *touching]
            tops, bottoms, firsts, lasts = zip(*every, strict=True)
            merged = (min(tops), max(bottoms), min(firsts), max(lasts))
        done.append(merged)
    return sorted(done)


def _touch(one: Box, other: Box) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]
