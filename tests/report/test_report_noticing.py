"""What the report says of the first part: on a grid of results, each sentence and cell fits the numbers behind it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from scansynth.reader.statistics.noticing import noticing
from scansynth.reader.statistics.said import Said
from scansynth.report.reader.figures import reader_forest
from scansynth.report.reader.noticing import first_part, noticed

AT = "2026-11-27T12:00:00+00:00"
TINY = (-0.2, -0.0049, -0.00049, -1e-7, 0.0, 1e-7, 0.00049, 0.0049, 0.2)


def found(yes: int, of: int, control_yes: int, controls: int) -> dict[str, Any]:
    """So many readers and controls, of whom so many noticed something; nobody read enough for a figure."""
    people = [Said(f"r{n:02d}", False, n < yes, n < yes, 5 * n, "", AT) for n in range(of)]
    people += [Said(f"x{n:02d}", True, n < control_yes, None, None, "", AT) for n in range(controls)]
    return noticing([], people, "nodule", 20, 0.95) | {"question": "Is there a nodule?"}


def sides(text: str) -> tuple[bool, ...]:
    """Of each number that is printed: whether it is below 0, and above."""
    numbers = [float(part.replace("−", "-")) for part in text.split(" to ")]
    return tuple(flag for one in numbers for flag in (one < 0.0, one > 0.0))


def truly(values: list[float]) -> tuple[bool, ...]:
    return tuple(flag for one in values for flag in (one < 0.0, one > 0.0))


def test_shares_and_differences_fit_their_counts() -> None:
    for yes, of, control_yes, controls in itertools.product(range(0, 18, 4), (5, 17), (0, 1, 3), (0, 3)):
        if yes > of or control_yes > controls:
            continue
        values = found(yes, of, control_yes, controls)
        told = first_part(values)
        assert told is not None
        row = told["asked"][0]
        share = values["readers"]["noticed"]
        assert row["readers"][0] == f"{yes} of {of}"
        low, high = (float(end.rstrip("%")) for end in row["readers"][1].removesuffix(" of such readers").split(" to "))
        assert low <= 100 * share["value"] + 0.5
        assert 100 * share["value"] - 0.5 <= high
        assert (row["controls"][0] == "—") == (controls == 0)
        if controls:
            apart = values["difference"]["noticed"]
            assert row["controls"][0] == f"{control_yes} of {controls}"
            assert sides(row["difference"][0].removesuffix(" points")) == truly([apart["value"]])
            between, _, p = row["difference"][1].partition("; p ")
            assert sides(between) == truly(apart["interval"])
            assert float(p) == pytest.approx(apart["p"], abs=5e-4)
            assert told["asked"][1]["controls"] == ("—", "nobody was asked")
        percents = [5 * n for n in range(of)]
        assert f"thought of {percents[len(percents) // 2]}% (median; 0% to {percents[-1]}%)" in told["thought"]


def test_no_interval_is_rounded_over_zero() -> None:
    for low, value, high in itertools.combinations_with_replacement(TINY, 3):
        values = found(2, 5, 1, 3)
        for name in values["figures"]:
            values["figures"][name] |= {
                "real": 0.5, "synthetic": 0.5 - value, "difference": value, "interval": [low, high], "why": "",
            }  # fmt: skip
        values["difference"]["noticed"] |= {"value": value, "interval": [low, high]}
        told = first_part(values)
        assert told is not None
        row = told["figures"][0]
        assert sides(row["difference"]) == truly([value]), row
        assert sides(row["between"]) == truly([low, high]), row
        between = told["asked"][0]["difference"][1].partition(";")[0]
        assert sides(between) == truly([low, high])
        assert "−0 " not in f"{between} "


def test_that_nothing_is_said_of_places_is_said_where_marks_came_later() -> None:
    for where in (None, {"kinds": []}):
        told = noticed({"unaware": found(1, 5, 0, 0), "screens": [], "where": where})
        assert told["first"]["marks_later"] is (where is not None)


@pytest.mark.parametrize(
    ("finished", "counts", "note"),
    [
        (True, True, ""),
        (True, False, "left out: not in the mean"),
        (False, True, "did not finish"),
        (False, False, "did not finish: not in the mean"),
    ],
)
def test_who_is_in_the_mean_is_said_by_who_counts(finished: bool, counts: bool, note: str) -> None:
    row = {
        "reader": "r01", "finished": finished, "counts": counts, "auc": 0.6, "auc_interval": [0.5, 0.7],
        "verdict": {"outcome": "inconclusive"},
    }  # fmt: skip
    (person,) = reader_forest({"margin": 0.1, "readers": [row], "primary": None}, {})["people"]
    assert person["note"] == note
