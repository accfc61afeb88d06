import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from scansynth.errors import ConfigError
from scansynth.files import read_csv
from scansynth.phantom.anatomy import draw_anatomy
from scansynth.phantom.cohort import (
    COLUMNS,
    PhantomCohort,
    PhantomImage,
    PhantomPatient,
    draw_images,
    draw_patient,
    write_phantom_cohort,
)
from scansynth.phantom.nodules import LARGEST, SMALLEST, NoduleType, Seat, draw_nodule, paint_nodule, place
from scansynth.phantom.scanner import MANUFACTURERS, draw_scanner
from scansynth.phantom.shapes import Grid
from scansynth.phantom.slices import draw_slice
from scansynth.seeds import generator


def tree(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> PhantomCohort:
    return write_phantom_cohort(tmp_path_factory.mktemp("phantom") / "cohort", patients=3, size=64, seed=5)


@pytest.fixture(scope="module")
def images() -> list[tuple[PhantomPatient, PhantomImage]]:
    patients = [draw_patient(number, 1) for number in range(1, 9)]
    return [(patient, image) for patient in patients for image in draw_images(patient, 256, 1)]


def test_same_seed_same_bytes_and_a_larger_cohort_begins_with_the_smaller(
    cohort: PhantomCohort, tmp_path: Path
) -> None:
    again = write_phantom_cohort(tmp_path / "again", patients=3, size=64, seed=5)
    first = tree(cohort.folder)
    assert tree(again.folder) == first
    write_phantom_cohort(tmp_path / "larger", patients=4, size=64, seed=5)
    larger = tree(tmp_path / "larger")
    assert {name: larger[name] for name in first if name != "labels.csv"} == {
        name: digest for name, digest in first.items() if name != "labels.csv"
    }
    rows = read_csv(tmp_path / "larger" / "labels.csv")
    assert rows[: cohort.images] == read_csv(cohort.labels)


def test_another_seed_gives_another_cohort(cohort: PhantomCohort, tmp_path: Path) -> None:
    other = tree(write_phantom_cohort(tmp_path / "other", patients=1, size=64, seed=6).folder)
    first = tree(cohort.folder)
    assert all(first.get(name) != digest for name, digest in other.items())


def test_labels_name_every_file_and_only_positives_have_masks(cohort: PhantomCohort) -> None:
    rows = read_csv(cohort.labels)
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == cohort.images == len(list(cohort.folder.glob("dicom/*/*.dcm")))
    assert cohort.positives == sum(row["label"] == "nodule" for row in rows) == len(list(cohort.folder.glob("masks/*")))
    for row in rows:
        read = pydicom.dcmread(cohort.folder / row["path"])
        assert read.PatientID == row["patient_id"]
        assert read.pixel_array.shape == (64, 64)
        assert bool(row["mask"]) == bool(row["diameter_mm"]) == bool(row["nodule_type"]) == (row["label"] == "nodule")
        if row["mask"]:
            mask = np.asarray(Image.open(cohort.folder / row["mask"]))
            assert mask.shape == (64, 64)
            assert set(np.unique(mask)) == {0, 255}
            assert SMALLEST <= float(row["diameter_mm"]) <= LARGEST


def test_a_patients_slices_share_one_series_and_climb(cohort: PhantomCohort) -> None:
    for folder in sorted((cohort.folder / "dicom").iterdir()):
        read = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
        assert len({file.SeriesInstanceUID for file in read}) == len({file.FrameOfReferenceUID for file in read}) == 1
        assert len({file.SOPInstanceUID for file in read}) == len(read)
        heights = [float(file.ImagePositionPatient[2]) for file in read]
        assert heights == sorted(heights, reverse=True)
        assert len({(file.PatientSex, file.PatientAge, file.Manufacturer) for file in read}) == 1
        # de-identification keeps only makers that it knows: the phantom's must survive it
        assert "phantom" in read[0].Manufacturer
        assert read[0].Manufacturer.removesuffix(" (phantom)") in MANUFACTURERS


def test_progress_is_told(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_phantom_cohort(tmp_path / "x", 2, 32, 0, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize(("patients", "size"), [(0, 64), (100_001, 64), (1, 16), (1, 4096)])
def test_numbers_out_of_range_are_refused(tmp_path: Path, patients: int, size: int) -> None:
    with pytest.raises(ConfigError):
        write_phantom_cohort(tmp_path / "x", patients, size, 0)


def test_a_folder_that_holds_something_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(ConfigError, match="not an empty folder"):
        write_phantom_cohort(tmp_path, 1, 32, 0)
    assert (tmp_path / "mine").read_text() == "keep"


@pytest.mark.parametrize("seed", [0, 1])
def test_prevalences_are_skewed_as_stated(seed: int) -> None:
    patients = [draw_patient(number, seed) for number in range(1, 201)]
    makers = Counter(patient.manufacturer for patient in patients)
    assert 2.6 < makers["Siemens"] / makers["Philips"] < 3.4
    assert 2.6 < makers["Siemens"] / makers["GE"] < 3.4
    assert np.mean([patient.sex == "M" for patient in patients]) == pytest.approx(0.6, abs=0.03)
    assert np.mean([patient.field_strength == 3.0 for patient in patients]) == pytest.approx(0.35, abs=0.03)
    assert np.mean([bool(patient.affected) for patient in patients]) == pytest.approx(0.75, abs=0.03)
    assert np.mean([patient.age for patient in patients]) == pytest.approx(62, abs=3)
    assert {len(patient.affected) for patient in patients} == {0, 1, 2, 3}


def test_the_heart_lies_on_the_patients_left(images: list[tuple[PhantomPatient, PhantomImage]]) -> None:
    """Blood and heart muscle outshine lung: beside the midline, the viewer's right is the brighter lower slice."""
    for _, image in images:
        if 20 < image.level < 50:
            n = image.pixels.shape[0]
            column = np.abs(np.arange(n) - n / 2) * image.spacing
            band = image.pixels[n // 2 - 25 : n // 2 + 5]  # from the front of the heart to behind it
            left = band[:, (np.arange(n) > n / 2) & (column > 45) & (column < 75)].mean()
            right = band[:, (np.arange(n) < n / 2) & (column > 45) & (column < 75)].mean()
            assert left > 1.15 * right


def test_lungs_are_dark_the_wall_is_bright_the_air_holds_noise(
    images: list[tuple[PhantomPatient, PhantomImage]],
) -> None:
    above_the_liver = [image.level <= 40 for _, image in images]
    assert np.mean(above_the_liver) > 0.5
    for (_, image), above in zip(images, above_the_liver, strict=True):
        n = image.pixels.shape[0]
        top = np.percentile(image.pixels, 99.5)
        field = image.pixels[n // 2 - 20 : n // 2 + 20, int(n * 0.28) : int(n * 0.36)]
        lung = np.percentile(field, 20)  # between the vessels
        corner = image.pixels[:16, :16]
        if above:
            assert lung < 0.3 * top
        assert corner.mean() < 0.12 * top
        assert corner.std() > 0
        # magnitude of complex noise in air is Rayleigh: mean over spread is 1.91, and 0.8 for rectified real noise
        assert corner.mean() / corner.std() == pytest.approx(1.91, abs=0.3)


def test_masks_have_the_area_of_their_diameter(images: list[tuple[PhantomPatient, PhantomImage]]) -> None:
    found = [image for _, image in images if image.nodule is not None and image.mask is not None]
    assert len(found) > 8
    for image in found:
        assert image.nodule is not None
        assert image.mask is not None
        measured = 2 * np.sqrt(image.mask.sum() * image.spacing**2 / np.pi)
        assert measured == pytest.approx(image.nodule.diameter, abs=0.75 * image.spacing)


@pytest.mark.parametrize("seat", list(Seat))
def test_nodules_sit_in_the_lung_or_on_its_lining_and_outshine_it(seat: Seat) -> None:
    rng = generator(3, "test", seat)
    anatomy = draw_anatomy(rng, "M", 60)
    contrast = draw_scanner(rng, "Siemens", 3.0).contrast
    grid = Grid.make(256, 370.0)
    placed = 0
    for level in (-40.0, 0.0, 40.0):
        piece = draw_slice(anatomy, level, 6.0, contrast, grid, rng)
        before = piece.signal.copy()
        nodule = draw_nodule(rng)
        while nodule.seat != seat:
            nodule = draw_nodule(rng)
        centre = place(nodule, piece, grid, rng)
        if centre is None:
            continue
        placed += 1
        mask = paint_nodule(piece, nodule, centre, contrast, grid, rng) >= 0.5
        reach = 0.2 * nodule.diameter + 2 * grid.pixel if seat == Seat.PLEURA else grid.pixel
        assert piece.lung[mask].max() <= reach
        assert (piece.lung[mask] < 0).mean() > 0.6
        assert piece.signal[mask].mean() > before[mask].mean()
        far = np.hypot(grid.x - centre[0], grid.y - centre[1]) > 2.4 * nodule.diameter + 12
        np.testing.assert_array_equal(piece.signal[far], before[far])
    assert placed


def test_nodules_span_sizes_and_kinds() -> None:
    nodules = [draw_nodule(generator(0, k)) for k in range(400)]
    sizes = np.array([nodule.diameter for nodule in nodules])
    assert sizes.min() >= SMALLEST
    assert sizes.max() == LARGEST
    assert (sizes < 8).mean() > 0.03
    assert {nodule.kind for nodule in nodules} == set(NoduleType)
    assert {nodule.seat for nodule in nodules} == set(Seat)


def test_stronger_field_is_less_noisy() -> None:
    weak = [draw_scanner(generator(k), "Siemens", 1.5).noise for k in range(30)]
    strong = [draw_scanner(generator(k), "Siemens", 3.0).noise for k in range(30)]
    np.testing.assert_allclose(np.array(weak) / np.array(strong), 2.0)


def test_headers_show_in_the_image(images: list[tuple[PhantomPatient, PhantomImage]]) -> None:
    """Field strength in the noise of air, the maker in fat against blood, sex in the outline."""
    air: dict[float, list[float]] = {1.5: [], 3.0: []}
    for patient, image in images:
        top = np.percentile(image.pixels, 99.5)
        air[patient.field_strength].append(float(image.pixels[:24, :24].mean() / top))
    assert min(np.mean(air[1.5]), np.median(air[1.5])) > 1.3 * np.mean(air[3.0])
    contrasts = {maker: draw_scanner(generator(0), maker, 1.5).contrast for maker in ("Siemens", "Philips", "GE")}
    assert contrasts["Siemens"].fat > contrasts["Siemens"].blood
    assert contrasts["Philips"].fat < contrasts["Philips"].blood
    assert contrasts["GE"].fluid > contrasts["GE"].blood
    bodies = {sex: [draw_anatomy(generator(k), sex, 60) for k in range(20)] for sex in ("F", "M")}
    assert np.mean([b.cavity[0] for b in bodies["F"]]) < np.mean([b.cavity[0] for b in bodies["M"]])
    assert all(body.breast > 0 for body in bodies["F"])
    assert all(body.breast == 0 for body in bodies["M"])
