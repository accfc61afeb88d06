"""Trackers, against the real libraries: what they hold, and what they must not hold."""

from __future__ import annotations

import getpass
import io
import math
import platform
import socket
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import IMAGES, EventAccumulator

from scansynth.config import TrackingSettings
from scansynth.errors import ConfigError, StorageError
from scansynth.learning.tracking import TITLES, TensorBoardTracker, open_trackers

VALUES = {name: 0.1 + number for number, name in enumerate(TITLES)}
PICTURE = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
CONFIG = {"name": "dcgan", "network": {"width": 64, "noise": 100}}


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={IMAGES: 0}).Reload()


def test_tensorboard_reads_back_every_curve_and_picture(tmp_path: Path) -> None:
    with open_trackers(TrackingSettings(), tmp_path, CONFIG, 0, "offline") as trackers:
        (tracker,) = trackers
        for images in (10, 20):
            tracker.figures(images, {**VALUES, "loss_d": float(images), "not shown": 1.0})
        tracker.picture(20, "generated images", PICTURE)
        assert len(read(tmp_path / "tensorboard").Scalars("loss/generator")) == 2  # watched while it trains
    found = read(tmp_path / "tensorboard")
    assert set(found.Tags()["scalars"]) == set(TITLES.values())
    assert [(point.step, point.value) for point in found.Scalars("loss/discriminator")] == [(10, 10.0), (20, 20.0)]
    for name, title in TITLES.items():
        if name != "loss_d":
            assert found.Scalars(title)[0].value == pytest.approx(VALUES[name])
    (shown,) = found.Images("generated images")
    assert (shown.step, shown.height, shown.width) == (20, 6, 8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(shown.encoded_image_string))), PICTURE)


def test_a_continued_run_replaces_the_points_after_its_checkpoint(tmp_path: Path) -> None:
    for seen, points in ((0, (10, 20, 30)), (20, (30, 40)), (0, (10,))):
        tracker = TensorBoardTracker(tmp_path, seen)
        for images in points:
            tracker.figures(images, {"loss_d": images + seen})
        tracker.close()
        found = [(point.step, point.value) for point in read(tmp_path).Scalars("loss/discriminator")]
        if seen:
            assert found == [(10, 10.0), (20, 20.0), (30, 50.0), (40, 60.0)]
    assert found == [(10, 10.0)]


def test_tensorboard_files_do_not_name_the_machine(tmp_path: Path) -> None:
    tracker = TensorBoardTracker(tmp_path / "deep" / "folder", 0)
    tracker.figures(1, VALUES)
    tracker.close()
    (file,) = (tmp_path / "deep" / "folder").iterdir()
    for secret in secrets(tmp_path):
        assert secret.encode() not in file.name.encode() + file.read_bytes()


def test_a_full_disk_under_tensorboard_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = TensorBoardTracker(tmp_path, 0)

    def refuse(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tracker._records, "write", refuse)
    with pytest.raises(StorageError, match="free some space"):
        tracker.figures(1, VALUES)


def test_no_tracker_is_asked_for(tmp_path: Path) -> None:
    with open_trackers(TrackingSettings(tensorboard=False), tmp_path, CONFIG, 0, "offline") as trackers:
        assert trackers == []
    assert list(tmp_path.iterdir()) == []


def test_trackers_are_closed_after_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    monkeypatch.setattr(TensorBoardTracker, "close", lambda _: closed.append("tensorboard"))
    with pytest.raises(ValueError, match="planted"), open_trackers(TrackingSettings(), tmp_path, CONFIG, 0, "offline"):
        raise ValueError("planted")
    assert closed == ["tensorboard"]


def secrets(folder: Path) -> list[str]:
    """What no tracker may hold: the host's and the user's names, paths, and what is installed."""
    host = {socket.gethostname(), platform.node()}
    names = [*host, str(folder.resolve()), str(Path.home()), f"torch=={metadata.version('torch')}", "pydicom=="]
    if len(getpass.getuser()) > 4:  # a shorter name, such as root, may stand in other words
        names.append(getpass.getuser())
    return [name for name in names if len(name) > 2]


@pytest.fixture(scope="module")
def wandb_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an offline run of the real wandb."""
    pytest.importorskip("wandb")
    folder = tmp_path_factory.mktemp("planted-study-name") / "gan" / "first"
    folder.mkdir(parents=True)
    settings = TrackingSettings(tensorboard=False, wandb=True)
    with open_trackers(settings, folder, CONFIG, 0, "offline") as trackers:
        (tracker,) = trackers
        tracker.picture(0, "generated images", PICTURE)
        for images in (10, 20):
            tracker.figures(images, {**VALUES, "loss_d": float(images)})
    return folder


def records(folder: Path) -> list[Any]:
    """The records of the run's `.wandb` file: a 7-byte header, then LevelDB-style blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record  # noqa: PLC0415 (an extra)

    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    found, place, pending = [], 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        pending += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last piece of one
            found.append(Record.FromString(pending))
            pending = b""
    assert not pending
    return found


def test_wandb_holds_figures_pictures_and_the_recipe(wandb_run: Path) -> None:
    found = records(wandb_run)
    config = {item.key: item.value_json for record in found for item in record.run.config.update}
    assert config["name"] == '"dcgan"'
    assert '"width": 64' in config["network"].replace('":64', '": 64')
    history = [
        {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
        for record in found
        if record.WhichOneof("record_type") == "history"
    ]
    losses = [float(row["loss/discriminator"]) for row in history if "loss/discriminator" in row]
    assert losses == [10.0, 20.0]
    row = next(row for row in history if "loss/discriminator" in row)
    for name, title in TITLES.items():
        if name != "loss_d":
            assert math.isclose(float(row[title]), VALUES[name])
    (picture,) = wandb_run.glob("wandb/offline-run-*/files/media/images/*.png")
    assert np.array_equal(np.asarray(Image.open(picture).convert("L")), PICTURE)


def test_wandb_does_not_hold_the_host_the_user_a_path_or_the_packages(wandb_run: Path) -> None:
    whole = b"".join(record.SerializeToString() for record in records(wandb_run))
    texts = {"the .wandb file": whole}
    for path in wandb_run.rglob("*"):
        texts[path.name] = path.name.encode()
        if path.is_file() and path.suffix != ".wandb":
            texts[path.name] += path.read_bytes()
    for secret in secrets(wandb_run):
        for name, text in texts.items():
            assert secret.encode() not in text, f"{secret} stands in {name}"
    assert b"planted-study-name" not in whole
    names = {path.name for path in wandb_run.rglob("*")}
    assert not names & {"requirements.txt", "wandb-metadata.json", "debug.log", "debug-internal.log"}


def test_no_dead_link_is_left(wandb_run: Path) -> None:
    assert all(path.exists() for path in wandb_run.rglob("*"))


def test_wandb_missing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    settings = TrackingSettings(tensorboard=False, wandb=True)
    with (
        pytest.raises(ConfigError, match="pip install 'scansynth"),
        open_trackers(settings, tmp_path, CONFIG, 0, "offline"),
    ):
        pass
