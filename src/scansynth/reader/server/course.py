"""The course of one reader: what the page is told of the study, and how far the reader is in the part at hand."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from scansynth.reader.server import marking
from scansynth.reader.server.served import Order
from scansynth.reader.server.worklist import Worklist


def study_of(worklist: Worklist, told: bool) -> dict[str, Any]:
    """What the page needs to know of the study.

    Args:
        worklist: Of the study.
        told: Whether the reader knows what is compared; else the finding alone is asked, and nothing stands beside.
    """
    second = worklist.second_question if told else None
    return {
        "title": worklist.title,
        "image": asdict(worklist.image),
        "presets": [asdict(preset) for preset in worklist.presets],
        "scale": worklist.scale if told or not worklist.first else worklist.first.scale,
        "second_question": asdict(second) if second else None,
        "break_every": worklist.break_every,
        "comments": worklist.comments,
        "references": len(worklist.references) if told else 0,
        "marking": marking.asked(worklist) if told else None,
        "teaching": worklist.teaching,
        "told": told,
    }


def counts_of(order: Order, place: int) -> dict[str, int]:
    """Images of the part and of the practice; before the reader is told, there is no other part."""
    if place < order.told:
        unaware = len(order.seat.unaware)
        return {"done": min(place, unaware), "total": unaware, "practice_done": 0, "practice_total": 0}
    practice, here = order.practice, place - order.told
    return {
        "done": max(0, here - practice),
        "total": len(order.places) - order.told - practice,
        "practice_done": min(here, practice),
        "practice_total": practice,
    }
