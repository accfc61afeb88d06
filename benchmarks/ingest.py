"""Ingest side by side with MONAI's reader: files per second, and memory at N and 4 N files.

    python benchmarks/ingest.py [--dicom FOLDER] [--files N] [--size PX] [--repeats R] [--jpeg-ls]
    python benchmarks/ingest.py --scale N [N ...] [--ray]: ours alone, over so many phantom files of 64 pixels

All sides get the same files in one run, by turns, each in a process of its own, and end with the same kind of
`images.npy`. MONAI's side is `LoadImaged` with `PydicomReader` and the same transforms: once in one process, as the
shortest program does it, and once in the workers of a `DataLoader`, one for each core, as a user in a hurry does it.
Ours has one decoding process for each core, and does more with each file: it reads every header in a confined process
first, decodes in another, hashes the file, groups series and patients, and writes the tables. The ratio by processor
time leaves out how many processes a side has. Where Tesseract is installed there is a fourth side: ours with the search
for text in the pixels, which MONAI does not do. With `--ray` each number of files is also ingested on two workers of a
Ray that is started here (its processor time is not counted), and the two cohorts are compared byte for byte.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib
import io
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_MEBI = 1024  # ru_maxrss counts KiB on Linux


def link_files(source: Path, target: Path, count: int) -> int:
    """Links the first `count` scans of `source` into `target`, and returns how many there are."""
    from scansynth.data.scans.sources import find_sources  # noqa: PLC0415 - keeps the parent small

    found = find_sources(source)[:count]
    for scan in found:
        place = target / scan.relative
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(scan.path.resolve())
    return len(found)


def compress(folder: Path) -> None:
    """Writes every scan of a folder again as JPEG-LS (lossless)."""
    import imagecodecs  # noqa: PLC0415 - keeps the parent small
    import pydicom  # noqa: PLC0415
    from pydicom.encaps import encapsulate  # noqa: PLC0415

    for path in folder.rglob("*"):
        if path.is_file() and path.suffix in {"", ".dcm"}:
            dataset = pydicom.dcmread(path)
            stream = imagecodecs.jpegls_encode(dataset.pixel_array.astype("u2"))
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
            dataset.PixelData = encapsulate([bytes(stream)])
            dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
            dataset.save_as(path, enforce_file_format=True)


def ours(folder: Path, work: Path, size: int) -> Callable[[], int]:
    """Our ingest of `folder`, without a search for text; ready to run, it returns the images kept."""
    from scansynth.data.scans import burned_in  # noqa: PLC0415 - each child imports only its side

    burned_in.TextSearch = functools.partial(burned_in.TextSearch, program=None)
    return ours_text(folder, work, size)


def ours_text(folder: Path, work: Path, size: int, **engine: object) -> Callable[[], int]:
    """Our ingest of `folder` as it is, ready to run; it returns the images kept."""
    from scansynth.config import StudyConfig  # noqa: PLC0415
    from scansynth.data.ingest import ingest  # noqa: PLC0415 - each child imports only its side
    from scansynth.dicom.deidentify import InstitutionKey  # noqa: PLC0415
    from scansynth.study import Study  # noqa: PLC0415

    importlib.import_module("monai.transforms")  # ready to run: else it comes with the first image that is resized
    cohort = {"dicom": str(folder), "unlabelled": True, "size": size}
    config = StudyConfig.model_validate({"cohort": cohort, "engine": engine})
    study = Study(work / "study", config)

    def tell(done: int, total: int, _note: str = "") -> None:
        if done == total:  # the decoding processes are still there
            _decoders.extend(children_peaks())

    return lambda: ingest(study, InstitutionKey(b"benchmark key" * 3), tell).cases


def ours_ray(folder: Path, work: Path, size: int) -> Callable[[], int]:
    """The same on two workers of Ray."""
    return ours_text(folder, work, size, address="local", workers=2)


def cohort_digest(work: Path) -> str:
    """SHA-256 of the cohort's images and table; empty for a side that makes none."""
    files = [work / "study" / "cohort" / name for name in ("images.npy", "cases.csv")]
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") if path.exists() else io.BytesIO() as stream:
            while part := stream.read(1 << 20):
                digest.update(part)
    return digest.hexdigest() if files[0].exists() else ""


_decoders: list[float] = []


def below(process: str) -> list[str]:
    """Living processes that a process started, and that these started."""
    places = Path(f"/proc/{process}/task").glob("*/children")
    children = [pid for place in places for pid in place.read_text().split()]
    return [*children, *(pid for child in children for pid in below(child))]


def children_peaks() -> list[float]:
    """Peak resident memory of each living process below this one, MiB; Linux alone tells.

    Not from `getrusage`: there a child inherits the peak of the parent that it was forked from.
    """
    status = [Path(f"/proc/{pid}/status").read_text() for pid in below("self")]
    return [int(line.split()[1]) / _MEBI for text in status for line in text.splitlines() if line.startswith("VmHWM")]


def monai(folder: Path, work: Path, size: int, workers: int = 0) -> Callable[[], int]:
    """MONAI's reader and the same transforms over `folder`, ready to run; it returns the images kept."""
    import numpy as np  # noqa: PLC0415
    from monai.data import PydicomReader  # noqa: PLC0415
    from monai.transforms import Compose, LoadImaged  # noqa: PLC0415
    from torch.utils.data import DataLoader  # noqa: PLC0415

    from scansynth.data.scans.sources import find_sources  # noqa: PLC0415
    from scansynth.data.stack import StackWriter  # noqa: PLC0415
    from scansynth.data.tensors import to_stored  # noqa: PLC0415
    from scansynth.data.transforms import resize, series_window, to_window  # noqa: PLC0415
    from scansynth.dicom.read import Limits, read_header  # noqa: PLC0415

    is_ct = read_header(find_sources(folder)[0].path, Limits()).modality == "CT"
    load = Compose([LoadImaged("image", reader=PydicomReader())])

    def ready(path: str) -> np.ndarray | None:
        image = load({"image": path})["image"]
        if image.ndim != 2:  # an ultrasound file in colour; ours leaves it out by its header
            return None
        values = np.asarray(image, np.float32)
        window = (-1000.0, 400.0) if is_ct else series_window([values], (0.5, 99.5))
        return to_stored(resize(to_window(values, *window), (size, size)))

    def run() -> int:
        paths = [str(scan.path) for scan in find_sources(folder)]
        # the list of paths is the dataset; each item is made ready in a worker, as a collate function
        images = DataLoader(paths, batch_size=None, num_workers=workers, collate_fn=ready)
        kept = 0
        with StackWriter(work / "images.npy", (size, size), "<u2") as stack:
            for place, image in enumerate(images):
                if image is not None:
                    stack.append(image)
                    kept += 1
                if place == len(paths) - 1:  # the workers are still there
                    _decoders.extend(children_peaks())
        return kept

    return run


def monai_workers(folder: Path, work: Path, size: int) -> Callable[[], int]:
    """The same in as many worker processes as ours has."""
    return monai(folder, work, size, len(os.sched_getaffinity(0)))


SIDES = {"ours": ours, "monai": monai, "monai_workers": monai_workers}
if shutil.which("tesseract"):
    SIDES["ours_text"] = ours_text
TITLES = {
    "ours": "ours",
    "monai": "MONAI, one process",
    "monai_workers": "MONAI, a worker a core",
    "ours_text": "ours, with Tesseract",
}


def child(side: str, folder: Path, size: int) -> None:
    """Runs one side and prints its figures as JSON."""
    with tempfile.TemporaryDirectory() as work:
        run = {**SIDES, "ours_ray": ours_ray}[side](folder, Path(work), size)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEBI
        started, worked = time.perf_counter(), cpu_seconds()
        kept = run()
        seconds, worked = time.perf_counter() - started, cpu_seconds() - worked
        cohort = cohort_digest(Path(work))
    figures = {
        "kept": kept,
        "seconds": seconds,
        "cpu_seconds": worked,
        "imports_mib": before,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEBI,
        "decoder_mib": max(_decoders, default=0.0),
        "cohort": cohort,
    }
    print(json.dumps(figures))


def cpu_seconds() -> float:
    """Processor time of this process and its children, which a busy machine does not lengthen much.

    Those that read files are ended by this, for what has not ended does not count.
    """
    from scansynth.dicom.forks import close_all  # noqa: PLC0415 - the parent stays small

    close_all()
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def measure(side: str, folder: Path, size: int) -> dict[str, Any]:
    """One run in a fresh process."""
    command = [sys.executable, __file__, "--child", side, "--dicom", str(folder), "--size", str(size)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    values: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return values


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values)}


def ratio(mine: list[float], theirs: list[float]) -> dict[str, float]:
    """Spread of the ratios of the runs that stood side by side."""
    return spread([one / other for one, other in zip(mine, theirs, strict=True)])


def compare(source: Path, count: int, size: int, repeats: int) -> dict[str, Any]:
    """All sides by turns on `count` files, and memory at `count` and 4 x `count`."""
    with tempfile.TemporaryDirectory() as place:
        few, many = Path(place) / "n", Path(place) / "4n"
        n, four_n = link_files(source, few, count), link_files(source, many, 4 * count)
        runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
        for _ in range(repeats):
            for side in SIDES:
                runs[side].append(measure(side, few, size))
        large = {side: measure(side, many, size) for side in SIDES}
    rates = {side: [n / run["seconds"] for run in runs[side]] for side in SIDES}
    per_cpu = {side: [n / run["cpu_seconds"] for run in runs[side]] for side in SIDES}
    others = [side for side in SIDES if side != "ours"]
    memory = {
        side: {
            "at_n_mib": statistics.median(run["peak_mib"] for run in runs[side]),
            "at_4n_mib": large[side]["peak_mib"],
            "imports_mib": large[side]["imports_mib"],
            "decoder_mib": large[side]["decoder_mib"],
        }
        for side in SIDES
    }
    return {
        "files": n,
        "files_4n": four_n,
        "size": size,
        "repeats": repeats,
        "kept": {side: int(runs[side][0]["kept"]) for side in SIDES},
        "files_per_second": {side: spread(values) for side, values in rates.items()},
        "files_per_cpu_second": {side: spread(values) for side, values in per_cpu.items()},
        "cpu_ms_per_file_at_4n": {side: 1000 * large[side]["cpu_seconds"] / four_n for side in SIDES},
        "files_per_second_at_4n": {side: four_n / large[side]["seconds"] for side in SIDES},
        "speed_ratio_ours_to": {side: ratio(rates["ours"], rates[side]) for side in others},
        "cpu_ratio_ours_to": {side: ratio(per_cpu["ours"], per_cpu[side]) for side in others},
        "memory": memory,
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}",
        "load_average": os.getloadavg()[0],
        "command": " ".join(["python", *sys.argv]),
    }


_SLICES, _PEOPLE = 4, 100  # of the phantom that `write_many` mixes


def write_many(folder: Path, count: int) -> None:
    """Writes many phantom files of 64 pixels cheaply: means of two patients' slices, each pair once, with new UIDs."""
    import itertools  # noqa: PLC0415
    import random  # noqa: PLC0415

    import numpy as np  # noqa: PLC0415
    import pydicom  # noqa: PLC0415

    from scansynth.phantom.cohort import write_phantom_cohort  # noqa: PLC0415

    write_phantom_cohort(folder / "base", patients=_PEOPLE, size=64, seed=0)
    paths = sorted((folder / "base" / "dicom").rglob("*.dcm"))
    headers, files = [pydicom.dcmread(path) for path in paths], [path.read_bytes() for path in paths]
    pixels = [np.frombuffer(header.PixelData, "<u2").astype(np.float32) for header in headers]
    pairs = list(itertools.combinations(range(_PEOPLE), 2))
    random.Random(0).shuffle(pairs)
    for patient, (one, two) in enumerate(pairs[: -(-count // _SLICES)]):
        place = folder / "scans" / f"{patient // 100:03d}" / f"{patient:05d}"
        place.mkdir(parents=True)
        for part in range(min(_SLICES, count - _SLICES * patient)):
            first, second = _SLICES * one + part, _SLICES * two + part
            mean = ((pixels[first] + pixels[second]) / 2).astype("<u2").tobytes()
            data = files[first].replace(headers[first].PixelData, mean)
            numbers = {"PatientID": patient, "SeriesInstanceUID": patient, "SOPInstanceUID": _SLICES * patient + part}
            for keyword, number in numbers.items():
                old = str(headers[first][keyword].value)
                start = "P" if keyword == "PatientID" else "1."
                new = start + str(10 ** (len(old) - len(start) - 1) + number)
                data = data.replace(old.encode(), new.encode())
            (place / f"{part}.dcm").write_bytes(data)


def scale(counts: list[int], size: int, on_ray: bool) -> dict[str, Any]:
    """Ours over more and more files: cost a file, and memory; on Ray, too, where that is wanted."""
    rows = []
    for count in counts:
        with tempfile.TemporaryDirectory() as place:
            program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import ingest; "
            program += f"from pathlib import Path; ingest.write_many(Path({place!r}), {count})"
            subprocess.run([sys.executable, "-c", program], check=True)
            run = measure("ours_text" if "ours_text" in SIDES else "ours", Path(place) / "scans", size)
            ray = measure("ours_ray", Path(place) / "scans", size) if on_ray else None
        rows.append(
            {
                "files": count,
                "kept": int(run["kept"]),
                "seconds": run["seconds"],
                "ms_a_file": 1000 * run["seconds"] / count,
                "cpu_ms_a_file": 1000 * run["cpu_seconds"] / count,
                "peak_mib": run["peak_mib"],
                "imports_mib": run["imports_mib"],
                "decoder_mib": run["decoder_mib"],
            }
        )
        if ray is not None:
            rows[-1] |= {"ray_ms_a_file": 1000 * ray["seconds"] / count, "ray_same": ray["cohort"] == run["cohort"]}
        print(json.dumps(rows[-1]), flush=True)
    return {
        "size": size,
        "runs": rows,
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}",
        "load_average": os.getloadavg()[0],
        "command": " ".join(["python", *sys.argv]),
    }


def show(result: dict[str, Any]) -> None:
    """Prints the figures as JSON and as a table."""
    print(json.dumps(result, indent=2))
    print(f"\n| {result['files']} files to {result['size']} px | {' | '.join(TITLES[side] for side in SIDES)} |")
    print("| --- " * (1 + len(SIDES)) + "|")
    memory, whole = result["memory"], "{median:.1f} ({least:.1f}-{greatest:.1f})"
    fine = "{median:.2f} ({least:.2f}-{greatest:.2f})"

    def ours_to(name: str) -> Callable[[str], str]:
        return lambda side: fine.format(**result[name][side]) if side in result[name] else "1"

    rows: list[tuple[str, Callable[[str], str]]] = [
        ("files/s, median (least-greatest)", lambda side: whole.format(**result["files_per_second"][side])),
        ("files a second of processor time", lambda side: whole.format(**result["files_per_cpu_second"][side])),
        ("ours to this, by the clock", ours_to("speed_ratio_ours_to")),
        ("ours to this, by processor time", ours_to("cpu_ratio_ours_to")),
        (f"files/s at {result['files_4n']} files", lambda side: f"{result['files_per_second_at_4n'][side]:.1f}"),
        (
            f"processor time at {result['files_4n']} files, ms a file",
            lambda side: f"{result['cpu_ms_per_file_at_4n'][side]:.1f}",
        ),
        ("peak memory, MiB", lambda side: f"{memory[side]['at_n_mib']:.0f}"),
        (f"peak memory at {result['files_4n']} files, MiB", lambda side: f"{memory[side]['at_4n_mib']:.0f}"),
        ("of that, imports, MiB", lambda side: f"{memory[side]['imports_mib']:.0f}"),
        ("largest decoding process, MiB", lambda side: f"{memory[side]['decoder_mib']:.0f}"),
        ("images kept", lambda side: str(result["kept"][side])),
    ]
    for name, cell in rows:
        print(f"| {name} | {' | '.join(cell(side) for side in SIDES)} |")
    print(f"\n{result['machine']}; load {result['load_average']:.1f}; {result['command']}")


def main() -> None:
    """Parses the command line; without --dicom a phantom is written first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dicom", type=Path)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jpeg-ls", action="store_true", help="compress the phantom's files first")
    parser.add_argument("--out", type=Path, help="also write the figures there, as JSON")
    parser.add_argument("--scale", type=int, nargs="+", help="ours alone, over so many files of 64 pixels each time")
    parser.add_argument("--ray", action="store_true", help="with --scale: also on two workers of Ray")
    parser.add_argument("--child", choices=sorted({*SIDES, "ours_ray"}), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.dicom.resolve(), options.size)
        return
    if options.scale:
        text = json.dumps(scale(options.scale, 64, options.ray), indent=2) + "\n"
        if options.out:
            options.out.write_text(text, encoding="utf-8")
        return
    with tempfile.TemporaryDirectory() as place:
        folder = options.dicom
        if folder is None:
            folder = Path(place) / "phantom"
            program = (
                "import sys; from scansynth.phantom.cohort import write_phantom_cohort; from pathlib import Path; "
            )
            program += "write_phantom_cohort(Path(sys.argv[1]), patients=int(sys.argv[2]), size=256, seed=0)"
            # in a process of its own, so that this one stays small and its children measure themselves
            subprocess.run([sys.executable, "-c", program, str(folder), str(options.files)], check=True)
            if options.jpeg_ls:
                program = "import sys, pathlib, ingest; ingest.compress(pathlib.Path(sys.argv[1]))"
                subprocess.run(
                    [sys.executable, "-c", program, str(folder / "dicom")], check=True, cwd=Path(__file__).parent
                )
        result = compare(folder.resolve(), options.files, options.size, options.repeats)
        show(result)
        if options.out:
            options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
