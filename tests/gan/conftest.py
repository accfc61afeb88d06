"""What tests of the generator share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tiny_training import remember_chance

from scansynth.gan.watching import collapse


@pytest.fixture(scope="session", autouse=True)
def chance_is_remembered() -> Iterator[None]:
    """Hundreds of trainings are watched against the same images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collapse, "_of_draw", collapse._of_draw)  # put back at the end
        remember_chance()
        yield
