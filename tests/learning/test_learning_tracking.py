"""Trackers, against the real libraries: what they hold, and what they must not hold."""

from __future__ import annotations

import getpass
import io
import json
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
from tensorboard.util.tensor_util import make_ndarray

from scansynth.config import TrackingSettings
from scansynth.errors import ConfigError, StorageError
from scansynth.gan.watching.collapse import STATISTICS
from scansynth.gan.watching.health import Level
from scansynth.learning.tracking import TITLES, TensorBoardTracker, Tracker, open_trackers

VALUES = {name: 0.1 + number for number, name in enumerate(TITLES)}
PICTURE = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
ALARMS = {
    "warning": "average: effective rank 0.61 of that of real images, below the 0.70 that chance allows",
    "critical": "generator: median distance 0.20 of that of real images, below 0.60\nBack to 4,000 images.",
}
CONFIG = {"name": "dcgan", "network": {"width": 64, "noise": 100}}


def alarm_twice(tracker: Tracker) -> None:
    for number, (title, text) in enumerate(ALARMS.items()):
        tracker.alarm(20 + number, title, text, PICTURE - number)


def test_every_figure_of_the_monitor_has_a_title_of_its_own() -> None:
    assert len(set(TITLES.values())) == len(TITLES)
    assert TITLES["generator_near_pairs"] == "diversity of the generator/near pairs (5%)"
    assert TITLES["average_z_sensitivity"] == "diversity of the average/step in noise"
    for network in ("generator", "average"):
        assert {f"{network}_{statistic}" for statistic in STATISTICS} <= TITLES.keys()
    levels = ", ".join(f"{number} {level}" for number, level in enumerate(Level))
    assert TITLES["level_number"] == f"health/level ({levels})"


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={IMAGES: 0}).Reload()


def test_tensorboard_reads_back_every_curve_and_picture(tmp_path: Path) -> None:
    folder = tmp_path / "tensorboard" / "attempt-1"
    with open_trackers(TrackingSettings(), tmp_path, CONFIG, 0, "offline") as trackers:
        (tracker,) = trackers
        for images in (10, 20):
            tracker.figures(images, {**VALUES, "loss_d": float(images), "not shown": 1.0})
        tracker.picture(20, "generated images", PICTURE)
        assert len(read(folder).Scalars("loss/generator")) == 2  # watched while it trains
    found = read(folder)
    assert set(found.Tags()["scalars"]) == set(TITLES.values())
    assert [(point.step, point.value) for point in found.Scalars("loss/discriminator")] == [(10, 10.0), (20, 20.0)]
    for name, title in TITLES.items():
        if name != "loss_d":
            assert found.Scalars(title)[0].value == pytest.approx(VALUES[name])
    (shown,) = found.Images("generated images")
    assert (shown.step, shown.height, shown.width) == (20, 6, 8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(shown.encoded_image_string))), PICTURE)


def test_tensorboard_reads_back_an_alarm_with_its_text_and_images(tmp_path: Path) -> None:
    with open_trackers(TrackingSettings(), tmp_path, CONFIG, 0, "offline") as (tracker,):
        alarm_twice(tracker)
    found = read(tmp_path / "tensorboard" / "attempt-1")
    assert set(found.PluginTagToContent("text")) == {"alarm/warning", "alarm/critical"}  # the text tab shows them
    for number, (title, text) in enumerate(ALARMS.items()):
        (said,) = found.Tensors(f"alarm/{title}")
        assert said.step == 20 + number
        assert make_ndarray(said.tensor_proto).item().decode() == text
        (shown,) = found.Images(f"alarm/{title}/images")
        assert shown.step == 20 + number
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(shown.encoded_image_string))), PICTURE - number)


def test_a_rolled_back_part_of_the_curve_stays_beside_the_new_one(tmp_path: Path) -> None:
    for attempt, seen, points in ((1, 0, (10, 20, 30)), (2, 10, (20, 30, 40)), (2, 30, (40,))):
        with open_trackers(TrackingSettings(), tmp_path, CONFIG, seen, "offline", attempt) as (tracker,):
            for images in points:
                tracker.figures(images, {"loss_d": images + seen})
    curves = {
        folder.name: [(point.step, point.value) for point in read(folder).Scalars("loss/discriminator")]
        for folder in (tmp_path / "tensorboard").iterdir()
    }
    assert curves == {
        "attempt-1": [(10, 10.0), (20, 20.0), (30, 30.0)],
        "attempt-2": [(20, 30.0), (30, 40.0), (40, 70.0)],
    }


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
    alarm_twice(tracker)
    tracker.close()
    (file,) = (tmp_path / "deep" / "folder").iterdir()
    assert all(text.encode() in file.read_bytes() for text in ALARMS.values())
    for secret in secrets(tmp_path):
        assert secret.encode() not in file.name.encode() + file.read_bytes()


def test_a_full_disk_under_tensorboard_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = TensorBoardTracker(tmp_path, 0)

    def refuse(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tracker._records, "write", refuse)
    with pytest.raises(StorageError, match="free some space"):
        tracker.figures(1, VALUES)
    with pytest.raises(StorageError, match="free some space"):
        alarm_twice(tracker)


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
        alarm_twice(tracker)
    return folder


def records(folder: Path) -> list[Any]:
    """The records of the run's `.wandb` file: a 7-byte header, then LevelDB-style blocks of 32 KiB."""
    import wandb  # noqa: PLC0415 (an extra)
    from wandb.proto.wandb_internal_pb2 import Record  # noqa: PLC0415 (an extra)

    wandb.teardown()  # its process may write the file after `finish` came back, and is waited for here
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


def rows(found: list[Any]) -> list[dict[str, str]]:
    """What was logged, step by step."""
    return [
        {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
        for record in found
        if record.WhichOneof("record_type") == "history"
    ]


def test_wandb_holds_figures_pictures_and_the_recipe(wandb_run: Path) -> None:
    found = records(wandb_run)
    config = {item.key: item.value_json for record in found for item in record.run.config.update}
    assert config["name"] == '"dcgan"'
    assert '"width": 64' in config["network"].replace('":64', '": 64')
    history = rows(found)
    losses = [float(row["loss/discriminator"]) for row in history if "loss/discriminator" in row]
    assert losses == [10.0, 20.0]
    row = next(row for row in history if "loss/discriminator" in row)
    for name, title in TITLES.items():
        if name != "loss_d":
            assert math.isclose(float(row[title]), VALUES[name])
    (picture,) = wandb_run.glob("wandb/offline-run-*/files/media/images/*.png")
    assert np.array_equal(np.asarray(Image.open(picture).convert("L")), PICTURE)


def test_wandb_holds_an_alert_and_its_images_for_each_alarm(wandb_run: Path) -> None:
    found = records(wandb_run)
    alerts = [record.alert for record in found if record.WhichOneof("record_type") == "alert"]
    assert {alert.title: (alert.text, alert.level) for alert in alerts} == {
        "warning": (ALARMS["warning"], "WARN"),
        "critical": (ALARMS["critical"], "ERROR"),
    }
    for number, title in enumerate(ALARMS):
        place = f"alarm/{title}/images/path"
        (row,) = [row for row in rows(found) if place in row]
        assert int(row["_step"]) == 20 + number
        (run,) = wandb_run.glob("wandb/offline-run-*")
        picture = Image.open(run / "files" / json.loads(row[place]))
        assert np.array_equal(np.asarray(picture.convert("L")), PICTURE - number)


@pytest.mark.parametrize(("attempt", "name"), [(1, "first"), (3, "first-attempt-3")])
def test_wandb_keeps_the_attempts_of_a_run_in_one_group(tmp_path: Path, attempt: int, name: str) -> None:
    pytest.importorskip("wandb")
    folder = tmp_path / "first"
    settings = TrackingSettings(tensorboard=False, wandb=True)
    with open_trackers(settings, folder, CONFIG, 0, "offline", attempt) as (tracker,):
        tracker.alarm(1, "a title that goes on for longer than wandb takes: " + 5 * "more ", "text", PICTURE)
    found = records(folder)
    (run,) = [record.run for record in found if record.WhichOneof("record_type") == "run"]
    assert (run.display_name, run.run_group) == (name, "first")
    (alert,) = [record.alert for record in found if record.WhichOneof("record_type") == "alert"]
    assert len(alert.title) < 64


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
    assert all(text.encode() in whole for text in ALARMS.values())  # alerts were looked through, too
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
