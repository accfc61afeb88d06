"""One study and one release of it for all tests that change neither."""

from __future__ import annotations

from pathlib import Path

import pytest
from releasable_study import KEPT_BACK, make_releasable, write_keys

from scansynth.release.package import Released, Wishes, release
from scansynth.release.signature import load_private
from scansynth.study import Study


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A private and a public key."""
    return write_keys(tmp_path_factory.mktemp("keys"), 7)


@pytest.fixture(scope="session")
def whole_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study against whose release nothing speaks."""
    return make_releasable(tmp_path_factory.mktemp("study") / "study", images=40, kept_back=KEPT_BACK)


@pytest.fixture(scope="session")
def released(whole_study: Study, keys: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its release, signed, with PNG files."""
    out = tmp_path_factory.mktemp("release") / "out"
    done = release(whole_study, Wishes(out, png=True, key=load_private(keys[0])))
    assert isinstance(done, Released)
    return out
