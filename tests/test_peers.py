"""The side by side with peers: its rule, its intervals, and what it may and may not depend on; the GPU's script."""

from __future__ import annotations

import itertools
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from scansynth.metrics.kid import kid

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def scripts() -> Iterator[None]:
    """Benchmarks import each other as scripts of one folder do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield


@pytest.fixture
def peers() -> ModuleType:
    import peers  # noqa: PLC0415 - a script

    return peers


def pair(*intervals: tuple[float, float], mine: bool = False, theirs: bool = False, **more: Any) -> dict[str, Any]:
    """A difference of one seed, with the interval of each encoder."""
    kids = {str(place): {"value": sum(two) / 2, "interval": list(two)} for place, two in enumerate(intervals)}
    return {"over": "other", "minutes": 60, "kid": kids, "copies_refuted": [mine, theirs], **more}


BELOW, ACROSS, ABOVE = (-0.3, -0.1), (-0.1, 0.2), (0.1, 0.3)


@pytest.mark.parametrize(
    ("pairs", "found"),
    [
        ([pair(BELOW, BELOW), pair(BELOW, BELOW)], "ahead"),
        ([pair(BELOW, BELOW), pair(BELOW, ACROSS)], "level"),
        ([pair(BELOW, ABOVE)], "level"),
        ([pair(ABOVE, ABOVE)], "behind"),
        ([pair(BELOW, BELOW, mine=True)], "behind"),
        ([pair(ABOVE, ABOVE, theirs=True)], "ahead"),
        ([pair(ABOVE, ABOVE, mine=True, theirs=True)], "behind"),
    ],
)
def test_verdict_needs_every_seed_and_encoder_and_no_copies(
    peers: ModuleType, pairs: list[dict[str, Any]], found: str
) -> None:
    assert peers.verdict(pairs) == found


def test_target_is_asked_of_a_whole_run_alone(peers: ModuleType) -> None:
    def runs(minutes: list[float], seeds: int, last: tuple[float, float] = BELOW) -> list[dict[str, Any]]:
        return [pair(last if now == 60 else ACROSS, BELOW, minutes=now) for now in minutes for _ in range(seeds)]

    lower = [pair((-0.2, 0.1), BELOW, minutes=30) for _ in range(3)] + runs([60], 3)
    assert peers.target(lower, 1, [30, 60], 3) == "met"
    assert peers.target(runs([30, 60], 3), 1, [30, 60], 3) == "missed"  # at 30 minutes one KID is higher
    assert peers.target(runs([60], 3, ACROSS), 1, [60], 3) == "missed"
    assert peers.target(runs([30], 3), 1, [30], 3) == "not asked"
    assert peers.target(runs([60], 2), 1, [60], 2) == "not asked"
    assert peers.target(runs([60], 3), 2, [60], 3) == "not asked"  # a peer is missing


def test_no_peer_is_a_dependency_and_each_is_pinned(peers: ModuleType) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = itertools.chain.from_iterable(project["optional-dependencies"].values())
    wanted = " ".join([*project["dependencies"], *optional])
    for peer in peers.PEERS:
        source = (BENCHMARKS / "contestants" / f"{peer.name}.py").read_text(encoding="utf-8")
        assert re.search(r"^def start\(given: Given\) -> ", source, re.MULTILINE), peer.name
        assert peers.lines_of(peer) >= peers.COMMANDS
        assert all("==" in package for package in peer.packages)
        if peer.name not in peers.OURS:
            assert peer.packages, peer.name
            assert "scansynth" not in source.partition('"""\n')[2], f"{peer.name} runs where scansynth is not"
            assert peer.packages[-1].partition("==")[0] not in wanted.replace("monai", "") or peer.name[:5] == "monai"


def test_paired_difference_is_that_of_two_kids_and_finds_the_nearer_set() -> None:
    import peers_judge  # noqa: PLC0415 - a script

    rng = np.random.default_rng(5)
    real, near, far = rng.normal(size=(60, 8)), rng.normal(size=(50, 8)), rng.normal(0.8, 1, size=(40, 8))
    patients = np.arange(60) // 2
    value, (low, high) = peers_judge.paired(real, patients, near, far)
    assert value == pytest.approx(kid(near, real, None, patients) - kid(far, real, None, patients))
    assert low < value < high < 0
    other, (other_low, other_high) = peers_judge.paired(real, patients, far, near)
    assert (other, other_low, other_high) == pytest.approx((-value, -high, -low))
    _, (same_low, same_high) = peers_judge.paired(real, patients, near, rng.normal(size=(50, 8)))
    assert same_low < 0 < same_high


def test_page_says_what_was_not_run() -> None:
    import peers_page  # noqa: PLC0415 - a script

    result = {"minutes": [5, 15], "seeds": 1, "size": "narrow", "not_run": {"stylegan2": "no wheel"}}
    result |= {"runs": [{"peer": "compact"}], "peers": {"compact": {}, "stylegan2": {}, "monai_gan": {}}}
    said = peers_page._left_out(result)
    for words in (
        "30, 60 minutes",
        "1 seed in place of 3",
        "`stylegan2` did not run: no wheel",
        "`monai_gan`. The same",
    ):
        assert words in said
    assert "`compact`" not in said


def test_numbers_of_made_up_images_are_those_of_their_pixels() -> None:
    import copies_million  # noqa: PLC0415 - a script

    from scansynth.metrics.ncc import prepare  # noqa: PLC0415 - beside it

    painter = copies_million.made_up()
    numbers = painter.numbers(0, 6)
    bands = prepare(painter.images(numbers))
    np.testing.assert_allclose(painter.bands(numbers), bands, atol=1e-5)
    rows = copies_million.describe(bands)
    np.testing.assert_allclose(painter.described(numbers), rows, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_gpu_script_refuses_without_a_gpu_and_goes_on_with_a_rehearsal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import gpu  # noqa: PLC0415 - a script

    monkeypatch.setenv("SCANSYNTH_DEVICE", "cpu")
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(out)])
    assert gpu.main() == 2
    assert "no GPU" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(out), "--rehearse", "--parts", "sampling"])
    assert gpu.main() == 0
    assert "sampling" in capsys.readouterr().out
    page = out.with_suffix(".md").read_text(encoding="utf-8")
    assert "Open: no GPU was at hand" in page
    assert re.search(r"`sampling` \| .* \| ran \|", page)
    assert gpu.main() == 0
    assert capsys.readouterr().out == ""  # the part is there
