import builtins
import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from scansynth.audit.encoders import FIXED, LEARNED, OWN, make_encoders
from scansynth.audit.standing import audit_settings
from scansynth.config import EvidenceSettings
from scansynth.errors import EvidenceError
from scansynth.metrics import contrastive
from scansynth.stage import StageRecord, plain


def scans(count: int, seed: int, side: int = 32) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(ndimage.gaussian_filter(rng.normal(size=(count, side, side)), (0, 2, 2)) * 4, -1, 1).astype("f4")


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contrastive, "STEPS", 3)


def test_two_judges_at_scale_and_vectors_for_copies(tmp_path: Path) -> None:
    train = scans(160, 0)
    encoders = make_encoders(train, tmp_path)
    assert [judge.name for judge in encoders.judges] == [FIXED, LEARNED]
    assert not encoders.lacking
    for judge in encoders.judges:
        features = judge.encode(train)
        assert features.shape == (160, 40)
        assert np.abs(features).max() <= 2
        np.testing.assert_allclose(features.mean(axis=0), 0, atol=0.1)
    assert encoders.embed is not None
    np.testing.assert_allclose(np.linalg.norm(encoders.embed(train), axis=1), 1)
    assert len(list(tmp_path.iterdir())) == 1


def test_few_training_images_leave_one_judge_and_say_so() -> None:
    encoders = make_encoders(scans(31, 0))
    assert [judge.name for judge in encoders.judges] == [FIXED]
    assert encoders.embed is None
    assert "31 training images are too few" in encoders.lacking


def network(path: Path, channels: int = 1, side: int | None = None, **how: Any) -> Path:
    """A tiny network as ONNX."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    model = how.get("model") or torch.nn.Sequential(
        torch.nn.Conv2d(channels, 24, 5, stride=3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    axes: dict[int, str] = {} if how.get("fixed") else {0: "n"}
    if side is None:
        axes |= {2: "height", 3: "width"}
    stream = io.BytesIO()
    example = torch.zeros(how.get("fixed", 2), channels, side or 32, side or 32)
    torch.onnx.export(
        model.eval(), (example,), stream, dynamo=False, input_names=["x"], output_names=["y"],
        dynamic_axes={"x": axes, "y": {} if how.get("fixed") else {0: "n"}},
    )  # fmt: skip
    path.write_bytes(stream.getvalue())
    return path


@pytest.mark.filterwarnings("ignore")  # of the old exporter, which needs nothing else to be installed
@pytest.mark.parametrize(
    ("channels", "side", "fixed"), [(1, None, 0), (3, None, 0), (1, 20, 0), (3, 48, 0), (1, 32, 1)]
)
def test_an_own_network_is_the_third_judge(tmp_path: Path, channels: int, side: int | None, fixed: int) -> None:
    own = network(tmp_path / "own.onnx", channels, side, fixed=fixed)
    train = scans(40, 0)
    encoders = make_encoders(train, tmp_path, own)
    assert [judge.name for judge in encoders.judges] == [FIXED, LEARNED, OWN]
    features = encoders.judges[-1].encode(train)
    assert features.shape == (40, 10)
    np.testing.assert_allclose(encoders.judges[-1].encode(train[7:8])[0], features[7], atol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_networks_of_another_form_are_refused(tmp_path: Path) -> None:
    flat = torch.nn.Conv2d(1, 4, 3)  # gives images, not rows of numbers
    blind = torch.nn.Conv2d(1, 4, 1)
    torch.nn.init.zeros_(blind.weight)
    constant = torch.nn.Sequential(blind, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    refused = {
        "two channels": (network(tmp_path / "a.onnx", 2), "must have"),
        "maps": (network(tmp_path / "b.onnx", model=flat), "must have"),
        "batch of four": (network(tmp_path / "c.onnx", side=32, fixed=4), "must have"),
        "constant": (network(tmp_path / "d.onnx", model=constant), "the same features for every"),
    }
    for path, words in refused.values():
        with pytest.raises(EvidenceError, match=words) as fault:
            make_encoders(scans(20, 0), None, path)
        assert "\n" not in str(fault.value)
        assert fault.value.exit_code == 2


def test_files_that_are_no_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="no file"):
        make_encoders(scans(20, 0), None, tmp_path / "none.onnx")
    with pytest.raises(EvidenceError, match="no file"):
        make_encoders(scans(20, 0), None, tmp_path)
    pytest.importorskip("onnxruntime")
    for data in (b"", b"\x80\x04 something else", bytes(range(256))):
        (tmp_path / "x.onnx").write_bytes(data)
        with pytest.raises(EvidenceError, match=r"x\.onnx is not an ONNX network|must have"):
            make_encoders(scans(20, 0), None, tmp_path / "x.onnx")


def test_without_onnxruntime_the_refusal_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.onnx").write_bytes(b"x")
    whole = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name == "onnxruntime":
            raise builtins.ModuleNotFoundError(name)
        return whole(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(EvidenceError, match=r"pip install 'scansynth\[onnx\]'"):
        make_encoders(scans(20, 0), None, tmp_path / "x.onnx")


def test_the_network_counts_and_not_its_place(tmp_path: Path) -> None:
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    a, b, c, none = (
        audit_settings(EvidenceSettings(encoder=path)) for path in (*(tmp_path / name for name in "abc"), None)
    )
    assert a == b == plain(a)
    assert a["encoder"] != c["encoder"]
    assert none["encoder"] is None
    record = StageRecord("audit", {}, a, {}, 0)
    assert record.differs({}, c) == ["setting encoder"]
    assert audit_settings(EvidenceSettings(encoder=tmp_path / "none"))["encoder"] == "missing"


def test_paths_are_plain_text_and_nothing_else_is() -> None:
    assert plain({"path": Path("a/b"), "many": (1, 2)}) == {"path": "a/b", "many": [1, 2]}
    with pytest.raises(TypeError, match="set is not a JSON value"):
        plain({"x": {1}})
