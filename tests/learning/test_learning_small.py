"""The moving average, the choice of the device, and taking Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

import pytest
import torch
from torch import nn

from scansynth.config import DEVICE
from scansynth.errors import ConfigError
from scansynth.learning import ema
from scansynth.learning.device import Device, pick_device
from scansynth.learning.interruption import interruption


def network(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 3))
        layers(torch.randn(2, 1, 8, 8))
    return layers


def test_a_weight_counts_half_after_the_half_life() -> None:
    assert ema.decay_for(16, 16) == 0.5
    assert ema.decay_for(16, 5000) ** (5000 / 16) == pytest.approx(0.5)
    assert ema.decay_for(8, 5000) ** 2 == pytest.approx(ema.decay_for(16, 5000))


def test_the_average_is_the_formula_running_statistics_included() -> None:
    average, new = network(0), network(1)
    before = {name: value.clone() for name, value in average.state_dict().items()}
    target = {name: value.clone() for name, value in new.state_dict().items()}
    ema.update(average, new, 0.9)
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value, 0.9 * before[name] + 0.1 * target[name], atol=1e-7), name
    assert all(torch.equal(target[name], value) for name, value in new.state_dict().items())


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_the_ends_of_the_average(decay: float) -> None:
    average, new = network(0), network(1)
    expected = (average if decay else new).state_dict()
    expected = {name: value.clone() for name, value in expected.items() if value.is_floating_point()}
    ema.update(average, new, decay)
    assert all(torch.equal(average.state_dict()[name], value) for name, value in expected.items())


def test_the_device_is_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEVICE, raising=False)
    first = pick_device()
    assert first == pick_device()
    assert first.kind == ("cuda" if torch.cuda.is_available() else "cpu")
    assert first.precision in ("bfloat16", "float32")


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Two GPUs that only the calls of `pick_device` can tell from real ones."""
    for name, value in (
        ("is_available", lambda: True),
        ("device_count", lambda: 2),
        ("device", lambda index: contextlib.nullcontext()),
        ("is_bf16_supported", lambda including_emulation: True),
        ("get_device_name", lambda index: f"GPU {index}"),
    ):
        monkeypatch.setattr(torch.cuda, name, value)
    return monkeypatch


@pytest.mark.parametrize(
    ("asked", "place", "name"),
    [("", "cuda:0", "GPU 0"), ("auto", "cuda:0", "GPU 0"), ("cuda", "cuda:0", "GPU 0"), ("cuda:1", "cuda:1", "GPU 1")],
)
def test_a_gpu_is_taken_by_its_number(two_gpus: pytest.MonkeyPatch, asked: str, place: str, name: str) -> None:
    two_gpus.setenv(DEVICE, asked)
    found = pick_device()
    assert (str(found.torch_device), found.name, found.precision) == (place, name, "bfloat16")


def test_the_cpu_can_be_asked_for_beside_gpus(two_gpus: pytest.MonkeyPatch) -> None:
    two_gpus.setenv(DEVICE, "cpu")
    assert str(pick_device().torch_device) == "cpu"


@pytest.mark.parametrize(
    ("count", "asked", "said"),
    [
        (0, "cuda", "device cuda is not there: this machine has no GPU"),
        (1, "cuda:1", "device cuda:1 is not there: this machine has one GPU, cuda:0"),
        (2, "cuda:2", "device cuda:2 is not there: this machine has the GPUs cuda:0 to cuda:1"),
        (2, "tpu", "SCANSYNTH_DEVICE is 'tpu'"),
    ],
)
def test_a_device_that_is_not_there_is_refused(two_gpus: pytest.MonkeyPatch, count: int, asked: str, said: str) -> None:
    two_gpus.setattr(torch.cuda, "device_count", lambda: count)
    two_gpus.setenv(DEVICE, asked)
    with pytest.raises(ConfigError, match=said) as fault:
        pick_device()
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_convolutions_run_in_the_devices_precision(precision: str, dtype: torch.dtype) -> None:
    with Device("cpu", "test", precision, True).autocast():
        assert nn.Conv2d(1, 2, 3)(torch.zeros(1, 1, 4, 4)).dtype == dtype
    assert nn.Conv2d(1, 2, 3)(torch.zeros(1, 1, 4, 4)).dtype == torch.float32


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_is_noticed_and_does_not_break_in(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with interruption() as asked:
        assert not asked()
        os.kill(os.getpid(), number)
        assert asked()
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_ends_at_once_and_the_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT)

    def twice() -> None:
        with interruption():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            pytest.fail("the second one must break in")

    with pytest.raises(KeyboardInterrupt):
        twice()
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_is_never_stopped() -> None:
    answers: list[bool] = []

    def work() -> None:
        with interruption() as asked:
            answers.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]
