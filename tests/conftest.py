"""Fixtures that all tests share: the real scans, where they are there, tiny DICOM files, and a browser."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

# Workers share the cores; set before torch is imported, and inherited by the children that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

import hypothesis
import pytest
from browser import chromium
from pydicom.dataset import Dataset
from scans import save_dicom, write_tiny_scans

pytest_plugins = ["given", "in_memory"]

# The examples are drawn by the test's name too; none is given up because the machine was busy.
hypothesis.settings.register_profile("given", derandomize=True, deadline=None)
hypothesis.settings.load_profile("given")

_FORKED = ["scansynth.pipeline.supply", "scansynth.utility.job", "scansynth.utility.external", "torch._dynamo"]
_preload = forkserver.set_forkserver_preload
forkserver.set_forkserver_preload = lambda names: _preload([*names, *_FORKED])
"""A command has one kind of jobs, tests have all: the process from which their workers are forked imports them once.
So with what torch imports when memory is counted, two seconds of each worker that trains."""

_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


_LONGEST_FIRST = (
    "gan/test_gan_ranks.py",
    "test_docs_blocks.py",
    "pipeline/test_pipeline_utility.py",
    "audit/test_audit_folders.py",
    "gan/test_gan_training.py",
    "test_end_to_end.py",
    "pipeline/test_pipeline_demonstration.py",
    "release/test_release_register.py",
    "release/test_release_gate.py",
    "audit/test_audit_discrimination.py",
    "reader/test_reader_page_network.py",
    "reader/test_reader_page_marks.py",
    "reader/test_reader_page_unaware.py",
    "gan/test_gan_memory.py",
    "test_identifiers.py",
    "release/test_release_bundle.py",
    "data/test_data_attacks.py",
    "reader/test_reader_serve.py",
    "audit/test_audit_telltales.py",
    "reader/test_reader_page_comfort.py",
    "reader/test_reader_page_look.py",
    "reader/test_reader_close.py",
    "gan/test_gan_going_back.py",
    "dicom/test_dicom_archive_orthanc.py",
    "dicom/test_dicom_sandbox.py",
    "utility/test_utility_known_answers.py",
    "reader/test_reader_page_study.py",
    "release/test_release_verify.py",
    "gan/test_gan_collapse.py",
    "reader/test_reader_analysis.py",
    "audit/test_audit_run.py",
    "test_engine_nodes.py",
    "test_engine.py",
    "utility/test_utility_grid.py",
    "dicom/test_dicom_archive_faults.py",
    "audit/test_audit_fairness.py",
    "reader/test_reader_unaware.py",
    "gan/test_gan_scores.py",
    "test_cli.py",
)
"""Files that take ten seconds or more: begun first, so that all workers end at about the same time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first; the others stay in their order."""
    tests = Path(__file__).parent
    places = {tests / name: place for place, name in enumerate(_LONGEST_FIRST)}
    assert all(path.is_file() for path in places), "a file was renamed"
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """What the tests import stays, and is not searched for garbage: that was a third of collecting them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real DICOM, beside the repository; read only."""
    if not _SHARED.is_dir():
        pytest.skip("the real DICOM of ../shared/data is not on this machine")
    return _SHARED


@pytest.fixture
def open_path() -> Iterator[Path]:
    """An empty folder that any user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def write_dicom() -> Callable[..., Dataset]:
    """Writes one small DICOM image; see `save_dicom`."""
    return save_dicom


@pytest.fixture
def tiny_dicom_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes folders of small DICOM images by their `name`; see `write_tiny_scans`."""
    return lambda name="scans", **asked: write_tiny_scans(tmp_path / name, **asked)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, open for all tests of a file."""
    with chromium() as found:
        yield found
