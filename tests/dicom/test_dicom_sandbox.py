"""What one hostile file breaks, costs only that file."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from attacks import mutate

from scansynth.dicom.children import Answer, Outcome, Sandbox
from scansynth.dicom.forks import close_all
from scansynth.dicom.header import Header
from scansynth.dicom.read import Limits, read_header
from scansynth.dicom.sandbox import Decoded, DecodePool, scan_all
from scansynth.errors import DicomError
from scansynth.files import sha256_file
from scansynth.seeds import generator

_PACKAGED = Path(pydicom.__file__).parent / "data" / "test_files"
_MUTATED = (
    "CT_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPGExtended.dcm", "JPEG2000.dcm",
    "image_dfl.dcm", "UN_sequence.dcm",
)  # fmt: skip


def _run(jobs: Iterable[str], workers: int = 1, seconds: float = 20.0) -> list[tuple[str, Outcome]]:
    with Sandbox[str]("hostile_tasks:misbehave", lambda job: {"path": job}, workers, 1 << 28, seconds) as sandbox:
        return list(sandbox.run(jobs))


def _reasons(outcomes: list[tuple[str, Outcome]]) -> list[str]:
    return [outcome.reason if isinstance(outcome, DicomError) else "ok" for _, outcome in outcomes]


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        ("kill", "decoder crashed"),
        ("segfault", "decoder crashed"),
        ("eat", "decoding needs too much memory"),
        ("hoard", "decoding needs too much memory"),
        ("raise", "cannot be decoded"),
        ("refuse", "no pixel data"),
    ],
)
def test_a_broken_file_costs_only_itself(job: str, reason: str) -> None:
    outcomes = _run(["a", job, "b"])
    assert [item for item, _ in outcomes] == ["a", job, "b"]
    assert _reasons(outcomes) == ["ok", reason, "ok"]
    assert "PLANTED" not in str(outcomes[1][1])
    assert str(outcomes[1][1]).isprintable()


def test_a_hanging_decoder_is_ended_in_time() -> None:
    began = time.monotonic()
    assert _reasons(_run(["a", "hang", "b"], seconds=3.0)) == ["ok", "decoding took too long", "ok"]
    assert time.monotonic() - began < 300, "it hangs for 600 s"


@pytest.mark.parametrize("job", ["kill", "die later", "hoard"])
def test_jobs_that_wait_in_a_failed_child_are_done_by_another(job: str) -> None:
    outcomes = _run(["a", job, *"bcdefg"], workers=2)
    assert [item for item, _ in outcomes] == ["a", job, *"bcdefg"]
    assert _reasons(outcomes)[:1] + _reasons(outcomes)[2:] == ["ok"] * 7


def test_the_time_of_a_job_begins_when_the_one_before_is_done() -> None:
    outcomes = _run(["nap", "nap"], seconds=2.8)  # both are in the child at once, and together they take longer
    assert _reasons(outcomes) == ["ok"] * 2


def test_a_request_larger_than_a_socket_holds_waits_until_the_child_is_free() -> None:
    jobs = [f"{number}".ljust(1 << 19) for number in range(4)]  # its answer is large, too
    assert _reasons(_run(jobs)) == ["ok"] * 4


def test_a_slow_consumer_costs_no_file() -> None:
    with Sandbox[str]("hostile_tasks:misbehave", lambda job: {"path": job}, 2, 1 << 28, 3.0) as sandbox:
        outcomes = []
        for pair in sandbox.run("abcdef"):
            outcomes.append(pair)
            time.sleep(3.5 if len(outcomes) == 1 else 0.0)
    assert _reasons(outcomes) == ["ok"] * 6


def test_results_come_in_the_order_of_the_jobs_and_stay_few() -> None:
    handed_out = 0

    def jobs() -> Iterable[str]:
        nonlocal handed_out
        for number in range(60):
            handed_out += 1
            yield f"job {number}"

    with Sandbox[str]("hostile_tasks:misbehave", lambda job: {"path": job}, 2, 1 << 28, 20.0) as sandbox:
        for taken, (job, outcome) in enumerate(sandbox.run(jobs())):
            assert isinstance(outcome, Answer)
            assert (job, outcome.value["path"], outcome.payload) == (f"job {taken}",) * 2 + (job.encode() * 3,)
            assert handed_out <= taken + 1 + 4


def test_the_verdict_does_not_depend_on_the_files_before() -> None:
    """A child that fails on its second file has that file tried by a fresh child."""
    outcomes = _run(["a", "die later", "b"])
    assert _reasons(outcomes) == ["ok", "ok", "ok"]
    assert isinstance(outcomes[1][1], Answer)
    assert outcomes[1][1].value["seen"] == 1


def test_a_child_writes_no_file(tmp_path: Path) -> None:
    assert _reasons(_run([f"write {tmp_path / 'written'}"])) == ["cannot be decoded"]
    assert (tmp_path / "written").stat().st_size == 0


def test_children_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    _run(["a", "segfault", "raise"])
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_a_missing_task_is_a_fault_and_no_verdict(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        Sandbox[str]("hostile_tasks:absent", lambda job: {"path": job}, 1, 1 << 28, 5.0) as sandbox,
        pytest.raises(RuntimeError, match="does not start"),
    ):
        list(sandbox.run(["a"]))
    assert "absent" in capfd.readouterr().err


def test_an_abandoned_run_ends_its_children() -> None:
    with Sandbox[str]("hostile_tasks:misbehave", lambda job: {"path": job}, 1, 1 << 28, 30.0) as sandbox:
        run = sandbox.run(["a", "hang"])
        _, outcome = next(run)
        assert isinstance(outcome, Answer)
    with pytest.raises(ProcessLookupError):
        os.kill(outcome.value["process"], 0)


def test_interrupt_ends_children_without_a_word(tmp_path: Path) -> None:
    """Ctrl-C reaches the whole foreground group: the parent ends, the children with it, in silence."""
    program = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "from scansynth.dicom.children import Sandbox\n"
        "box = Sandbox('hostile_tasks:misbehave', lambda job: {'path': job}, 2, 1 << 28, 60.0)\n"
        "try:\n"
        "    with box:\n"
        "        for job, answer in box.run(['a', 'hang', 'hang']):\n"
        "            print(answer.value['process'], flush=True)\n"
        "except KeyboardInterrupt:\n"
        "    print('ended', flush=True)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.killpg(parent.pid, signal.SIGINT)
    out, err = parent.communicate(timeout=60)
    assert (out.strip(), err) == ("ended", "")
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_importing_the_sandbox_does_not_load_torch() -> None:
    program = (
        "import sys, scansynth.dicom.sandbox, scansynth.dicom.deidentify;"
        "print(sorted({'torch', 'monai', 'imagecodecs'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_pool_decodes_what_the_plain_function_decodes(write_dicom: Callable[..., Any], tmp_path: Path) -> None:
    draw = generator(1, "pool")
    images = [draw.integers(0, 4096, (20 + k, 30)) for k in range(6)]
    paths = [tmp_path / f"{k}.dcm" for k in range(6)]
    for path, image in zip(paths, images, strict=True):
        write_dicom(path, image)
    headers = [found for found in scan_all(paths, Limits()) if isinstance(found, Header)]
    assert headers == [read_header(path, Limits()) for path in paths]
    with DecodePool(2) as pool:
        jobs = list(zip(paths, headers, strict=True))
        for _ in range(2):  # a pool serves more than one run
            for image, found in zip(images, pool.decode_all(jobs), strict=True):
                assert isinstance(found, Decoded)
                np.testing.assert_array_equal(found.values, image)
            digests = [found.file_sha256 for found in pool.decode_all(jobs) if isinstance(found, Decoded)]
            assert digests == [sha256_file(path) for path in paths]


def _attack(folder: Path, count: int) -> tuple[list[Header | DicomError], list[Decoded | DicomError]]:
    """Reads and decodes `count` mutated files in the sandbox."""
    draw = generator(7, "mutations")
    bases = [(_PACKAGED / name).read_bytes() for name in _MUTATED]
    paths = [folder / f"{number:04d}" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(mutate(bases[number % len(bases)], draw))
    found = list(scan_all(paths, Limits(), seconds=20.0))
    jobs = [(path, header) for path, header in zip(paths, found, strict=True) if isinstance(header, Header)]
    with DecodePool(2, seconds=20.0) as pool:
        return found, list(pool.decode_all(jobs))


def tell_of_attack(folder: Path, count: int) -> None:
    """Prints what came of an attack, and the memory of the largest child in KiB."""
    headers, images = _attack(folder, count)
    decoded = [image.values for image in images if isinstance(image, Decoded)]
    refusals = [found for found in (*headers, *images) if isinstance(found, DicomError)]
    close_all()  # a process counts for its parent when it has ended
    told = {
        "headers": len(headers),
        "refusals": [str(refusal) for refusal in refusals],
        "reasons": sorted({refusal.reason for refusal in refusals}),
        "decoded": len(decoded),
        "finite": all(image.dtype in (np.float32, np.int16) and bool(np.isfinite(image).all()) for image in decoded),
        "peak_kib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
    }
    print(json.dumps(told))


def test_a_thousand_mutated_files(tmp_path: Path) -> None:
    """Each is read or refused in one line; no child takes 1 GB; the sandbox has the last word on none.

    In a process of its own: Linux counts for a child what its parent held when the child began.
    """
    program = "import sys, pathlib, test_dicom_sandbox as t; t.tell_of_attack(pathlib.Path(sys.argv[1]), 1000)"
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1]), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["headers"] == 1000
    assert len(found["refusals"]) > 150
    assert all("\n" not in refusal and 0 < len(refusal) < 200 for refusal in found["refusals"])
    assert len(found["reasons"]) < 25
    assert found["decoded"] > 200
    assert found["finite"]
    assert 0 < found["peak_kib"] < 1 << 20
