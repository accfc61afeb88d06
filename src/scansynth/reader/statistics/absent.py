"""Readers who did not read all images: what a report must say of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from scansynth.reader.statistics.counting import LEAST_SHARE, finished
from scansynth.reader.statistics.readings import Reading, table


def about_absent(readings: Sequence[Reading], kept: Collection[str], invited: int, images: int) -> list[str]:
    """A note on the readers who did not read all images, those who never began among them; empty: all did.

    Who read all of them and was left out afterwards is none of these; a remark says so.

    Args:
        readings: Of all readers.
        kept: The readers who count.
        invited: In all, whoever came later among them.
        images: That each was asked for, repeats not counted.
    """
    began = len({reading.reader for reading in readings})
    ended = finished(table(readings), images)
    everyone = max(invited, began)
    absent, never = everyone - len(ended), everyone - began
    if not absent:
        return []
    partly = len(set(kept) - set(ended))
    told = f"{absent} of {everyone} readers did not read all images"
    if never == absent:
        return [f"{told}: {'none of them' if absent > 1 else 'that reader never'} began."]
    told += f" ({never} of them never began)" if never else ""
    if not partly:
        return [f"{told}. {'None of them is' if absent > 1 else 'That reader is no'} part of the primary result."]
    who = "That reader" if absent == 1 else "All of them" if partly == absent else f"{partly} of them"
    counts = "count" if who == "All of them" or partly > 1 else "counts"
    return [f"{told}. {who} answered at least {LEAST_SHARE:.0%} of the images and {counts} with what was answered."]
