"""The set that a study asks for: whole images, or lesions in clear scans."""

from __future__ import annotations

from collections.abc import Callable

from scansynth.config import SyntheticSettings
from scansynth.console import Progress
from scansynth.data.sets import origins_of
from scansynth.data.tensors import load_cohort
from scansynth.errors import ConfigError
from scansynth.gan.generate import generate
from scansynth.gan.insertion.inserted import insert
from scansynth.gan.insertion.scenes import train_images
from scansynth.learning.device import Device
from scansynth.stage import StageRecord
from scansynth.study import Study


def make_set(
    study: Study,
    count: int,
    device: Device,
    progress: Progress,
    note: Callable[[str], None],
    *,
    even_if_collapsed: bool = False,
) -> StageRecord:
    """Draws the set of a study with its generator.

    Args:
        study: Its run, its set, and what is asked of that.
        count: Images.
        device: Where the generator runs.
        progress: Told how many are done.
        note: Told what should be known of the set.
        even_if_collapsed: Draw from a generator that had collapsed when its training ended.

    Raises:
        ConfigError: Lesions are to be put into scans, and labels or conditions are asked for.
        ScansynthError: See `generate.generate` and `inserted.insert`.
    """
    cohort, asked, own, seed = (
        load_cohort(study.cohort),
        study.config.synthetic,
        study.config.generator,
        study.config.seed,
    )
    if asked.into:
        _check_alone(asked)
        train = train_images(cohort, own.fraction, seed, own.without)
        origins, drawn_by = study.linkage / origins_of(asked.name), (seed, count)
        places = study.run(), study.synthetic(), origins
        return insert(places, cohort, train, drawn_by, device, progress, note, even_if_collapsed=even_if_collapsed)
    return generate(
        study.run(),
        study.synthetic(),
        cohort.facts,
        seed,
        count,
        device,
        progress,
        labels=asked.labels,
        asked=asked.asked,
        even_if_collapsed=even_if_collapsed,
        note=note,
    )


def _check_alone(asked: SyntheticSettings) -> None:
    if asked.labels or asked.asked:
        raise ConfigError(
            "synthetic.into takes neither labels nor asked: it makes lesions of the positive label, of the size of "
            "train lesions and where these lie"
        )
