"""The databases and the browsers that the reader study is tested on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browser import BROWSERS, firefox
from postgres import emptied_database, running_postgres

from scansynth.dicom.deidentify import KEY_VARIABLE

DATABASES = ("sqlite", "postgresql")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """An institution's key of its own, for the tests of a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_VARIABLE, str(tmp_path_factory.mktemp("keys") / "institution.key"))
        yield patch


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """One PostgreSQL for each worker of the tests."""
    with running_postgres() as server:
        yield server


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str | None:
    """Where readings go: none is SQLite in the worklist."""
    if request.param == "sqlite":
        return None
    return emptied_database(request.getfixturevalue("postgres_server"))


@pytest.fixture(params=BROWSERS)
def any_browser(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Each browser in turn; Chromium is the one that is open already."""
    if request.param == "chromium":
        yield request.getfixturevalue("browser")
        return
    with firefox() as found:
        yield found
