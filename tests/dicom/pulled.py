"""Pulls from an archive that are killed and repeated; shared by a test and `make drill`.

python tests/dicom/pulled.py FOLDER [--kills N]: by each way, and prints what came of it as JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from moments import in_forks
from orthanc import PASSWORD, USER, Orthanc, own_network, running_orthanc
from scans import save_dicom

from scansynth.files import sha256_file

WAYS = ("dicomweb", "get", "move")

PULL = """
import contextlib, json
from scansynth.dicom.archive.address import Login, Node, tls_context
from scansynth.dicom.archive.dimse import DimseArchive
from scansynth.dicom.archive.pull import pull
from scansynth.dicom.archive.remote import Pace
from scansynth.dicom.archive.retrieval import Retrieval
from scansynth.dicom.archive.wanted import Wanted
from scansynth.dicom.archive.web import WebArchive
from scansynth.errors import ScansynthError
from moments import Moments, serve

way, archive, user, password = sys.argv[1], json.loads(sys.argv[2]), *sys.argv[3:]


def opened():
    if way == "dicomweb":
        url = f"http://127.0.0.1:{archive['http_port']}/dicom-web"
        return WebArchive(url, Login(user=user, password=password), Pace(0), tls_context(None))
    own = Node("SCANSYNTH", "127.0.0.1", archive["move_port"])
    remote = Node.parse(f"ORTHANC@127.0.0.1:{archive['dimse_port']}")
    return DimseArchive(remote, own, Retrieval(way), Pace(0))


def work(folder, dies_at):
    moments = Moments(folder, dies_at)

    @contextlib.contextmanager
    def bar(title):
        yield moments.passed

    try:
        with opened() as connection:
            return pull(connection, "the archive", Wanted(since="20000101"), folder, bar).images, moments.count
    except ScansynthError as refusal:
        return "refused", str(refusal)


serve(work)
"""
"""Pulls: images and moments, or that it was refused, and why."""


def fill(archive: Orthanc, place: Path) -> None:
    """Two series of six images in the archive."""
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 4000, (24, 32))
        uids = {"StudyInstanceUID": f"1.2.3.{number // 6}", "SeriesInstanceUID": f"1.2.3.{number // 6}.1"}
        save_dicom(
            place / f"{number}.dcm", pixels, PatientID=f"P{number // 6}", StudyDate="20210315",
            SOPInstanceUID=f"1.2.3.{number // 6}.1.{number}", **uids,
        )  # fmt: skip
    archive.fill(sorted(place.glob("*.dcm")))


def run_pulls(archive: Orthanc, way: str, jobs: Sequence[tuple[Path, int]], seconds: float) -> tuple[list[Any], str]:
    """Pulls into folders, one after the other, each killed at a moment (0: not at all); how each ended, and stderr.

    Raises:
        subprocess.TimeoutExpired: They hang.
    """
    ended, said = in_forks(PULL, (way, json.dumps(asdict(archive)), USER, PASSWORD), jobs, seconds)
    return [(code, *(told or ())) for code, told in ended], said


def outputs(folder: Path) -> dict[str, str]:
    """SHA-256 of each file that a pull left."""
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


def kill_and_repeat(archive: Orthanc, way: str, place: Path, kills: int) -> dict[str, Any]:
    """Kills pulls at moments spread over the whole, and repeats each; which of them gave another result."""
    place.mkdir(parents=True)
    ended, said = run_pulls(archive, way, [(place / "whole", 0)], 120)
    assert [one[:2] for one in ended] == [(0, 12)], (ended, said)
    whole = ended[0]
    wanted = outputs(place / "whole")
    moments = [int(at) for at in np.linspace(1, whole[2], kills).round()]
    jobs = [(place / f"killed-{at}", stop) for at in moments for stop in (at, 0)]
    ended, _ = run_pulls(archive, way, jobs, 120 + 60 * kills)
    different = [
        at
        for at, repeated in zip(moments, ended[1::2], strict=True)
        if repeated[:2] != (0, 12) or outputs(place / f"killed-{at}") != wanted
    ]
    return {"moments": whole[2], "killed": sum(one[0] == -9 for one in ended[::2]), "different": different}


def main() -> None:
    """The drill; exits with 1 when a repeated pull gave anything else."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=30)
    options = parser.parse_args()
    place = options.folder.resolve()
    shutil.rmtree(place, ignore_errors=True)
    with own_network(), running_orthanc() as archive:
        fill(archive, place / "source")
        found = {way: kill_and_repeat(archive, way, place / way, options.kills) for way in WAYS}
    print(json.dumps(found, indent=2))
    sys.exit(1 if any(one["different"] or one["killed"] < options.kills for one in found.values()) else 0)


if __name__ == "__main__":
    main()
