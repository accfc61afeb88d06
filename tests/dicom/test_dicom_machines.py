"""Files read on two workers of Ray: the same answers in the same order, the same cohort, and a lost worker."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from typing import Any

import pytest

from scansynth.config import EngineSettings, StudyConfig
from scansynth.data.ingest import ingest
from scansynth.dicom import machines
from scansynth.dicom.deidentify import InstitutionKey
from scansynth.dicom.machines import ClusterPool, Reader
from scansynth.dicom.read import Limits
from scansynth.dicom.sandbox import DecodePool
from scansynth.errors import DicomError
from scansynth.files import sha256_file
from scansynth.phantom.cohort import write_phantom_cohort
from scansynth.study import Study

KEY = InstitutionKey(b"k" * 32)
ENGINE = EngineSettings(address="local", workers=2)

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray (an extra) is not installed")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 files of 10 patients, and two that are no images."""
    folder = tmp_path_factory.mktemp("machines") / "scans"
    write_phantom_cohort(folder, patients=10, size=32, seed=3)
    (folder / "dicom" / "noise.dcm").write_bytes(b"no DICOM at all")
    (folder / "dicom" / "empty.dcm").write_bytes(b"")
    return folder / "dicom"


def made(study: Study) -> dict[str, str]:
    """SHA-256 of each file of a cohort but its record."""
    return {path.name: sha256_file(path) for path in study.cohort.iterdir() if path.name != "stage.json"}


def test_an_ingest_on_ray_gives_the_same_cohort_byte_for_byte(scans: Path, tmp_path: Path) -> None:
    cohorts = []
    for name, engine in (("here", {}), ("ray", {"address": "local", "workers": 2})):
        values = {"cohort": {"dicom": str(scans), "unlabelled": True, "size": 32, "modality": "MR"}, "engine": engine}
        study = Study(tmp_path / name, StudyConfig.model_validate(values))
        ingest(study, KEY)
        cohorts.append(made(study))
    assert cohorts[0] == cohorts[1]
    assert "images.npy" in cohorts[0]


class Here:
    """A crew without Ray: it asks at once, and notes who was asked, and how many answers wait."""

    def __init__(self, kind: Any, arguments: tuple[Any, ...], _: EngineSettings) -> None:
        self.size, self.asked, self.waiting, self.most = 2, [], 0, 0
        self._readers = itertools.cycle([kind(*arguments) for _ in range(2)])

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, method: str, *arguments: Any) -> Any:
        self.asked.append(len(arguments[1]))
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        return getattr(next(self._readers), method)(*arguments)

    def answer(self, asked: Any) -> Any:
        self.waiting -= 1
        return asked


def test_answers_come_in_order_a_few_at_a_time_and_refusals_are_whole(
    scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "Crew", Here)
    monkeypatch.setattr(machines, "_PIXELS", 3 * 32 * 32)
    paths = sorted(path for path in scans.rglob("*") if path.is_file())
    with DecodePool(1) as plain, ClusterPool(ENGINE, 1 << 29, 30.0) as pool:
        wanted = list(plain.scan_all(paths, Limits()))
        found = list(pool.scan_all(paths, Limits()))
        assert [str(one) for one in found] == [str(one) for one in wanted]
        refused = [one for one in found if isinstance(one, DicomError)]
        assert {(one.reason, one.detail) for one in refused} == {("not DICOM", ""), ("not DICOM", "the file is empty")}
        jobs = [(path, one) for path, one in zip(paths, wanted, strict=True) if not isinstance(one, DicomError)]
        pairs = zip(plain.decode_all(jobs), pool.decode_all(jobs), strict=True)
        for one, two in pairs:
            assert not isinstance(one, DicomError)
            assert not isinstance(two, DicomError)
            assert one.file_sha256 == two.file_sha256
            assert (one.values == two.values).all()
        crew: Any = pool._crew
        assert max(crew.asked) == 16
        assert crew.asked[-1] <= 3
        assert crew.most <= 2 * crew.size + 1


def test_a_reader_keeps_both_texts_of_a_refusal(scans: Path) -> None:
    reader = Reader(1 << 29, 30.0)
    try:
        assert reader.read("scan_all", [scans / "empty.dcm"], {"limits": Limits()}) == [
            ("not DICOM", "the file is empty")
        ]
    finally:
        reader._pool.__exit__(None, None, None)
