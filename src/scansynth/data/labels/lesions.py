"""Where a lesion lies, as one row of labels.csv says: a file, or a box in four columns.

A box is given in one of three ways: by a corner and its size, by two corners, or by its centre and its size. Numbers
are pixels of the source image, or fractions of it; which, is seen by the whole table and never by one row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from scansynth.data.labels.table import plain_name
from scansynth.errors import CohortError

CORNER, CORNERS, CENTRE = "corner and size", "two corners", "centre and size"

_FORMS = (
    (CORNER, ("x", "y", "width", "height")),
    (CORNER, ("x", "y", "w", "h")),
    (CORNER, ("left", "top", "width", "height")),
    (CORNERS, ("xmin", "ymin", "xmax", "ymax")),
    (CORNERS, ("x1", "y1", "x2", "y2")),
    (CORNERS, ("x0", "y0", "x1", "y1")),
    (CORNERS, ("left", "top", "right", "bottom")),
    (CORNERS, ("minx", "miny", "maxx", "maxy")),
    (CORNERS, ("xtl", "ytl", "xbr", "ybr")),
    (CORNERS, ("colmin", "rowmin", "colmax", "rowmax")),
    (CORNERS, ("mincol", "minrow", "maxcol", "maxrow")),
    (CORNERS, ("columnmin", "rowmin", "columnmax", "rowmax")),
    (CENTRE, ("xcenter", "ycenter", "width", "height")),
    (CENTRE, ("xcentre", "ycentre", "width", "height")),
    (CENTRE, ("centerx", "centery", "width", "height")),
    (CENTRE, ("xcenter", "ycenter", "w", "h")),
    (CENTRE, ("cx", "cy", "width", "height")),
    (CENTRE, ("cx", "cy", "w", "h")),
    (CENTRE, ("xc", "yc", "w", "h")),
)
"""Names of the four columns in the form of `table.plain_name`: as challenges, Pascal VOC, COCO and YOLO do."""

_ONE_CELL = frozenset({"bbox", "bboxes", "box", "boxes", "boundingbox", "boundingboxes", "rect"})
_NAMES = frozenset(name for _, names in _FORMS for name in names)
_SAFE = frozenset({"x", "y", "w", "h", "width", "height", "left", "right", "top", "bottom"})  # may mean something else
_PARTS = _NAMES - _SAFE | {"x1", "y1", "coordx", "coordy"}
_BEFORE = ("boundingbox", "bbox", "box")  # before a name of the four: bbox_xmin
_WANTED = "x, y, width and height in pixels of the source image, or x_min, y_min, x_max and y_max"
_FLAT = frozenset({".png", ".tif", ".tiff", ".jpg", ".jpeg", ".json", ".xml"})
_MOST = 1e6
_ENDS_AT_ONE = 1.001  # programs round the edge of the image up


@dataclass(frozen=True)
class Box:
    """A box by its edges, from the upper left corner of the image.

    Attributes:
        left: Of the first column's left edge it is 0.
        top: Of the first row's upper edge it is 0.
        right: Where the box ends, to the right.
        bottom: Where it ends, below.
        fraction: The edges are fractions of the image's width and height, not pixels.
    """

    left: float
    top: float
    right: float
    bottom: float
    fraction: bool = False


@dataclass(frozen=True)
class Lesion:
    """What one row says of where a lesion lies: a file or a box.

    Attributes:
        row: The row's number in a spreadsheet.
        file: Relative to the DICOM folder or the folder of labels.csv; none: a box.
        part: Segment, structure or category to take from the file; none: the only one.
        box: The box, or none.
    """

    row: int
    file: str | None = None
    part: str | None = None
    box: Box | None = None

    @property
    def of_one_image(self) -> bool:
        """Whether it can say in which image of a multi-frame file it lies: a box and a picture cannot."""
        return self.file is not None and PurePosixPath(self.file).suffix.casefold() not in _FLAT


@dataclass(frozen=True)
class BoxForm:
    """Which columns of a table give a box, and how.

    Attributes:
        kind: CORNER, CORNERS or CENTRE.
        columns: The four columns as the table names them.
    """

    kind: str
    columns: tuple[str, str, str, str]

    @property
    def words(self) -> str:
        """The columns in a sentence."""
        return f"{', '.join(self.columns[:3])} and {self.columns[3]}"


def box_form(name: str, columns: Sequence[str]) -> BoxForm | None:
    """How a table gives boxes; none when it gives none.

    Args:
        name: The table's file name, for messages.
        columns: Its columns.

    Raises:
        CohortError: Columns look like boxes and are not four of one form.
    """
    plain: dict[str, str] = {}
    for column in columns:
        bare = _bare(plain_name(column))
        if plain.setdefault(bare, column) != column and bare in _NAMES:
            raise CohortError(f"{name} gives boxes in two forms; remove the columns of one of them")
    found = [(kind, names) for kind, names in _FORMS if set(names) <= plain.keys()]
    if len(found) > 1:
        used = " and ".join("(" + ", ".join(plain[name] for name in names) + ")" for _, names in found[:2])
        raise CohortError(f"{name} gives boxes in two forms, {used}; remove the columns of one of them")
    strange = sorted(plain[one] for one in plain if one in _ONE_CELL or (not found and one in _PARTS))
    if strange:
        raise CohortError(f"{name}: the column {strange[0]} looks like a box; give four columns: {_WANTED}")
    if not found:
        return None
    kind, names = found[0]
    first, second, third, fourth = (plain[one] for one in names)
    return BoxForm(kind, (first, second, third, fourth))


def _bare(plain: str) -> str:
    """The name of one of four columns without a word for the box before it."""
    start = next((word for word in _BEFORE if plain.startswith(word)), "")
    rest = plain.removeprefix(start)
    return rest if rest in _NAMES else plain


def read_box(where: str, cell: Mapping[str, str], form: BoxForm | None) -> Box | None:
    """The box of one row, in the numbers of the table; none when its four cells are empty.

    Args:
        where: File and row, for messages.
        cell: The row's cells by column.
        form: How the table gives boxes.

    Raises:
        CohortError: The cells are no box.
    """
    texts = [] if form is None else [cell[column] for column in form.columns]
    if form is None or not any(texts):
        return None
    try:
        a, b, c, d = (float(text) for text in texts)
    except ValueError:
        raise CohortError(f"{where}: {form.words} must all be numbers (pixels), or all empty") from None
    if form.kind == CORNERS:
        box = Box(a, b, c, d)
    elif form.kind == CENTRE:
        box = Box(a - c / 2, b - d / 2, a + c / 2, b + d / 2)
    else:
        box = Box(a, b, a + c, b + d)
    slack = 1e-6 * max(abs(box.right), abs(box.bottom), 1.0)  # a centre and a half size need not add up to 0 exactly
    if not (-slack <= box.left < box.right < _MOST and -slack <= box.top < box.bottom < _MOST):
        raise CohortError(f"{where}: the box must start at 0 or more, and its width and height be above 0; correct it")
    return Box(max(box.left, 0.0), max(box.top, 0.0), box.right, box.bottom)


def in_one_unit(name: str, lesions: Collection[Lesion], form: BoxForm | None) -> bool:
    """Whether the boxes of a table are fractions of the image: then all of them end at 1, and some lie within a pixel.

    Args:
        name: The table's file name, for messages.
        lesions: All lesions of the table.
        form: How it gives boxes.

    Raises:
        CohortError: They are fractions of which it is not said what they mean, or one box lies within a pixel.
    """
    boxes = [(lesion.row, lesion.box) for lesion in lesions if lesion.box is not None]
    thin = [row for row, box in boxes if box.right - box.left < 1.0 or box.bottom - box.top < 1.0]
    if form is None or not thin:
        return False
    if all(max(box.right, box.bottom) <= _ENDS_AT_ONE for _, box in boxes):
        if form.kind != CORNER:
            return True
        raise CohortError(
            f"{name} row {thin[0]}: the boxes are fractions of the image, and nothing says whether {form.columns[0]} "
            f"and {form.columns[1]} are a corner or the centre; give x, y, width and height in pixels, or name the "
            "columns x_center, y_center, width, height or x_min, y_min, x_max, y_max"
        )
    raise CohortError(f"{name} row {thin[0]}: the box is narrower than a pixel; give {form.words} in pixels")


def paint_box(row: int, box: Box, shape: tuple[int, int]) -> np.ndarray:
    """Every pixel that a box touches, uint8 (rows, columns), 0 or 1.

    Args:
        row: The row of labels.csv, for messages.
        box: The box.
        shape: (rows, columns) of the source image.

    Raises:
        CohortError: The box leaves the image.
    """
    rows, columns = shape
    across, down = (columns, rows) if box.fraction else (1, 1)
    # what a fraction of the image gives is a whole pixel to within the digits that it was written with
    left, right = (round(edge * across, 3) for edge in (box.left, box.right))
    top, bottom = (round(edge * down, 3) for edge in (box.top, box.bottom))
    if box.fraction:
        right, bottom = min(right, float(columns)), min(bottom, float(rows))
    if right > columns or bottom > rows:
        raise CohortError(
            f"labels.csv row {row}: the box extends beyond the image of {columns} x {rows} pixels; give {_WANTED}"
        )
    mask = np.zeros(shape, np.uint8)
    mask[int(np.floor(top)) : int(np.ceil(bottom)), int(np.floor(left)) : int(np.ceil(right))] = 1
    return mask
