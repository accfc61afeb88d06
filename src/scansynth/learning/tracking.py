"""Training figures for the eye: TensorBoard, and Weights & Biases.

The run's own `log.jsonl` is written by the training loop; these two show the same figures. Neither gets a host
name, a path, a package list or, unless the study says so, the image of a real case.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.record_writer import RecordWriter

from scansynth.config import TrackingSettings
from scansynth.errors import ConfigError
from scansynth.files import storage_faults

_STATISTICS: Mapping[str, str] = {
    "nearest": "nearest neighbour",
    "near_pairs": "near pairs (5%)",
    "median_pair": "median pair",
    "vendi": "Vendi score",
    "rank": "effective rank",
    "coverage": "coverage",
    "z_sensitivity": "step in noise",
}

TITLES: Mapping[str, str] = {
    "loss_d": "loss/discriminator",
    "loss_g": "loss/generator",
    "d_real": "discriminator says real/of real images",
    "d_fake": "discriminator says real/of generated images",
    "diversity": "diversity/generated against real",
    "images_per_second": "speed/images per second",
    "balance": "loss/generator over discriminator",
    "level_number": "health/level (0 warming, 1 healthy, 2 warning, 3 critical)",
    **{
        f"{network}_{statistic}": f"diversity of the {network}/{words}"
        for network in ("generator", "average")
        for statistic, words in _STATISTICS.items()
    },
}
"""Names under which the log's figures are shown; what has none is not shown."""

_ALERT_TITLE = 63
"""Most characters of an alert's title that wandb takes."""


class Tracker(Protocol):
    """Shows figures and pictures against the number of real images seen."""

    def figures(self, images: int, values: Mapping[str, float]) -> None:
        """Adds one point to each curve."""

    def picture(self, images: int, title: str, grey: NDArray[np.uint8]) -> None:
        """Adds one picture, (rows, columns)."""

    def alarm(self, images: int, title: str, text: str, grey: NDArray[np.uint8]) -> None:
        """Says that the training goes wrong, and shows what the generator makes.

        Args:
            images: Real images seen.
            title: A few words that a file name may hold; one that begins with "warning" is the milder kind.
            text: What was found and what is done about it; no path, no name of a machine.
            grey: Sample grid, (rows, columns).
        """

    def close(self) -> None:
        """Writes out what is pending."""


class TensorBoardTracker:
    """Event files that `tensorboard --logdir` reads.

    Written record by record: torch's `SummaryWriter` puts the host's name into the file's, and meets a full
    disk in a thread of its own.
    """

    def __init__(self, folder: Path, seen: int) -> None:
        self._path = folder / f"events.out.tfevents.{time.time_ns()}.scansynth"
        with storage_faults(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._records = RecordWriter(self._path.open("wb"))
        self._add(file_version="brain.Event:2")
        # Hides points of a run that was killed after its last checkpoint.
        self._add(step=seen + 1 if seen else 0, session_log=SessionLog(status=SessionLog.START))

    def _add(self, **content: Any) -> None:
        with storage_faults(self._path):
            self._records.write(Event(wall_time=time.time(), **content).SerializeToString())
            self._records.flush()

    def _show(self, images: int, value: Summary.Value) -> None:
        self._add(step=images, summary=Summary(value=[value]))

    def figures(self, images: int, values: Mapping[str, float]) -> None:
        """Adds one point to each curve."""
        for key, title in TITLES.items():
            if key in values:
                self._show(images, Summary.Value(tag=title, simple_value=values[key]))

    def picture(self, images: int, title: str, grey: NDArray[np.uint8]) -> None:
        """Adds one picture, (rows, columns)."""
        png = io.BytesIO()
        Image.fromarray(grey).save(png, format="PNG")
        rows, columns = grey.shape
        image = Summary.Image(height=rows, width=columns, colorspace=1, encoded_image_string=png.getvalue())
        self._show(images, Summary.Value(tag=title, image=image))

    def alarm(self, images: int, title: str, text: str, grey: NDArray[np.uint8]) -> None:
        """Adds a text and a sample grid, (rows, columns), under `alarm/<title>`."""
        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
        shown_as = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        self._show(images, Summary.Value(tag=f"alarm/{title}", metadata=shown_as, tensor=tensor))
        self.picture(images, f"alarm/{title}/images", grey)

    def close(self) -> None:
        """Writes out what is pending."""
        self._records.close()


class WandbTracker:
    """A Weights & Biases run; offline unless the environment's WANDB_MODE says `online`."""

    def __init__(self, folder: Path, config: Mapping[str, Any], mode: str, attempt: int = 1) -> None:
        try:
            import wandb  # noqa: PLC0415 (an extra: only those who ask for it have it)
        except ImportError:
            raise ConfigError(
                "tracking.wandb is on and wandb is not installed; run: pip install 'scansynth[wandb]'"
            ) from None
        folder.mkdir(parents=True, exist_ok=True)
        self._wandb = wandb
        self._folder = folder
        self._run = wandb.init(
            project="scansynth",
            name=folder.name if attempt == 1 else f"{folder.name}-attempt-{attempt}",
            group=folder.name,
            config=dict(config),
            settings=wandb.Settings(**_private(folder, mode)),
        )

    def figures(self, images: int, values: Mapping[str, float]) -> None:
        """Adds one point to each curve."""
        shown = {title: values[key] for key, title in TITLES.items() if key in values}
        self._run.log({"images": images, **shown}, step=images)

    def picture(self, images: int, title: str, grey: NDArray[np.uint8]) -> None:
        """Adds one picture, (rows, columns)."""
        self._run.log({title: self._wandb.Image(grey)}, step=images)

    def alarm(self, images: int, title: str, text: str, grey: NDArray[np.uint8]) -> None:
        """Sends an alert, and adds a sample grid, (rows, columns), under `alarm/<title>`."""
        level = "WARN" if title.startswith("warning") else "ERROR"
        self._run.alert(title=title[:_ALERT_TITLE], text=text, level=level)
        self.picture(images, f"alarm/{title}/images", grey)

    def close(self) -> None:
        """Writes out what is pending, and removes wandb's own debug logs: they name the study's path."""
        self._run.finish()
        for logs in self._folder.glob("wandb/*/logs"):
            shutil.rmtree(logs, ignore_errors=True)
        for link in self._folder.glob("wandb/debug*.log"):
            link.unlink(missing_ok=True)


def _private(folder: Path, mode: str) -> dict[str, Any]:
    """Settings under which wandb records neither host, user, paths, packages, code nor hardware."""
    return {
        "mode": mode,
        "root_dir": str(folder),
        "host": "withheld",
        "username": "withheld",
        "email": "withheld",
        "x_executable": "withheld",
        "program": "scansynth",
        "console": "off",
        "silent": True,
        "disable_git": True,
        "disable_code": True,
        "save_code": False,
        "x_disable_meta": True,
        "x_disable_stats": True,
        "x_disable_machine_info": True,
        "x_save_requirements": False,
    }


@contextlib.contextmanager
def open_trackers(
    settings: TrackingSettings,
    folder: Path,
    config: Mapping[str, Any],
    seen: int,
    wandb_mode: str,
    attempt: int = 1,
) -> Iterator[list[Tracker]]:
    """The trackers that the study asks for; closed however the block ends.

    Args:
        settings: Which ones.
        folder: The run's folder; its name is the run's name.
        config: The recipe, shown beside the curves.
        seen: Images seen at the checkpoint from which the run goes on; 0 for a new one.
        wandb_mode: `offline`, `online` or `disabled`.
        attempt: 1 for a fresh run, one more after each roll-back. Each has curves of its own, so that the part
            that was rolled back stays visible beside the new one.

    Raises:
        ConfigError: W&B is asked for and not installed.
    """
    with contextlib.ExitStack() as ending:
        trackers: list[Tracker] = []
        if settings.tensorboard:
            trackers.append(TensorBoardTracker(folder / "tensorboard" / f"attempt-{attempt}", seen))
            ending.callback(trackers[-1].close)
        if settings.wandb:
            trackers.append(WandbTracker(folder, config, wandb_mode, attempt))
            ending.callback(trackers[-1].close)
        yield trackers
