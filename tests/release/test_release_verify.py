"""A release, verified with no study at hand."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from command_line import scansynth
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from PIL import Image
from releasable_study import KEPT_BACK, write_keys

from scansynth.data.tensors import load_cohort
from scansynth.dicom.released import faults_of, read_released
from scansynth.errors import ReleaseError
from scansynth.files import read_csv, read_json, sha256_file, write_json
from scansynth.release.manifest import MANIFEST, PUBLIC_KEY, SIGNATURE, differences, listing, read_manifest
from scansynth.release.package import Wishes, release
from scansynth.release.signature import PASSPHRASE, key_name, load_private, load_public, sign, signed_by
from scansynth.release.verify import verify
from scansynth.report.figures.pictures import to_grey
from scansynth.report.render import write_report
from scansynth.study import PAGE, Study, open_study


@pytest.fixture(scope="module")
def study(whole_study: Study) -> Study:
    return whole_study


@pytest.fixture(scope="module")
def made(released: Path) -> Path:
    return released


@pytest.fixture
def changed(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "release"))


def seal(folder: Path) -> None:
    """What a forger without the key can do: hashes that fit what lies there, and no signature."""
    values = read_json(folder / MANIFEST)
    values["files"] = {name: sha256_file(path) for name, path in listing(folder).items()}
    write_json(folder / MANIFEST, values)
    (folder / SIGNATURE).unlink(missing_ok=True)
    (folder / PUBLIC_KEY).unlink(missing_ok=True)


def test_a_release_is_verified_with_no_study(made: Path, keys: tuple[Path, Path]) -> None:
    found = verify(made, keys[1], images=1000)
    assert found.faults == ()
    assert (found.images, found.drawn) == (38, 38)
    assert [note for note in found.notes if "key that you gave" in note] == list(found.notes)


def test_it_holds_what_it_should_and_nothing_else(made: Path, study: Study) -> None:
    names = set(listing(made))
    rows = read_csv(made / "images.csv")
    assert {name.split("/")[0] for name in names} >= {"dicom", "png", "generator", "report", "evidence", "images.csv"}
    assert {name for name in names if name.startswith("generator/")} == {
        "generator/generator.safetensors",
        "generator/generator.json",
    }
    assert not {f"{number:06d}" for number in KEPT_BACK} & {row["id"] for row in rows}
    assert not [name for name in names if any(f"{number:06d}" in name for number in KEPT_BACK)]
    assert {row["mask"] for row in rows} - {""} <= names
    assert len({row["mask"] for row in rows} - {""}) > 0
    for row in rows:
        png = np.asarray(Image.open(made / row["png"]))
        assert png.dtype == np.uint16
        assert pydicom.dcmread(made / row["file"]).SOPInstanceUID == row["sop_instance_uid"]


def test_no_byte_of_patient_or_place_leaves(made: Path, study: Study) -> None:
    cases = load_cohort(study.cohort).cases
    wanted = {text.encode() for case in cases for text in (case.patient, case.case)} | {str(study.folder).encode()}
    for path in made.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not any(text in data for text in wanted), path.name


def pictures(page: str) -> list[np.ndarray]:
    found = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("L")) for text in found]


def rows_shown(page: str, images: np.ndarray) -> int:
    """How many of the images have a row of pixels somewhere in the page's pictures, at one or more times their size."""
    tiles = to_grey(images)
    strips = [picture.tobytes() for picture in pictures(page)]
    found = 0
    for tile in tiles:
        needles = [np.repeat(tile[tile.shape[0] // 2], factor).tobytes() for factor in range(1, 9)]
        found += any(needle in strip for needle in needles for strip in strips)
    return found


def test_the_public_page_shows_no_real_image_and_none_kept_back(made: Path, study: Study) -> None:
    write_report(study)
    private, public = (study.report / PAGE).read_text(), (made / "report" / PAGE).read_text()
    real = load_cohort(study.cohort).images.images[:, 0]
    synthetic = np.load(study.synthetic() / "images.npy")[:, 0]
    kept = synthetic[list(KEPT_BACK)]
    assert rows_shown(private, real) > 0, "the search finds real images where they are"
    assert rows_shown(public, real) == 0
    assert rows_shown(public, kept) == 0
    assert rows_shown(public, np.delete(synthetic, KEPT_BACK, 0)) == 36
    assert "shows no image of a real case" in public
    assert "contains images of real cases" not in public


def extra(folder: Path) -> str:
    (folder / "dicom" / "notes.txt").write_text("x")
    return "extra file: dicom/notes.txt"


def missing(folder: Path) -> str:
    (folder / "dicom" / "000003.dcm").unlink()
    return "missing file: dicom/000003.dcm"


def link(folder: Path) -> str:
    (folder / "report" / PAGE).unlink()
    (folder / "report" / PAGE).symlink_to("/etc/hostname")
    return "not a plain file: report/index.html"


def linked_folder(folder: Path) -> str:
    (folder / "more").symlink_to("/")
    return "extra file: more"


def other_weights(folder: Path) -> str:
    path = folder / "generator" / "generator.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    return "changed file: generator/generator.safetensors"


@pytest.mark.parametrize("change", [extra, missing, link, linked_folder, other_weights], ids=lambda one: one.__name__)
def test_a_file_that_differs_is_named(
    changed: Path, change: Callable[[Path], str], capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = change(changed)
    assert wanted in verify(changed).faults
    assert scansynth("verify", changed) == 2
    assert wanted in capsys.readouterr().err


def test_every_flipped_byte_of_a_sample_is_found(made: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    files = read_manifest(made).files
    data = {name: bytearray((made / name).read_bytes()) for name in files}
    where = [(name, place) for name in sorted(data) for place in random.integers(0, len(data[name]), 12)]
    chosen = [where[index] for index in random.choice(len(where), 500, replace=len(where) < 500)]
    target = tmp_path / "one"
    target.mkdir()
    for name, place in chosen:
        flipped = bytearray(data[name])
        flipped[place] ^= 1 << int(random.integers(8))
        path = target / name.replace("/", "-")
        path.write_bytes(flipped)
        assert differences(target, {path.name: files[name]}) == [f"changed file: {path.name}"]
        path.write_bytes(data[name])
        assert differences(target, {path.name: files[name]}) == []
        path.unlink()


def test_each_byte_of_the_manifest_counts(made: Path, keys: tuple[Path, Path], changed: Path) -> None:
    data = (made / MANIFEST).read_bytes()
    for place in np.random.default_rng(6).integers(0, len(data), 50):
        flipped = bytearray(data)
        flipped[place] ^= 1
        (changed / MANIFEST).write_bytes(flipped)
        assert faults_or_refusal(changed, keys[1])


def faults_or_refusal(folder: Path, key: Path) -> tuple[str, ...]:
    try:
        return verify(folder, key, images=0).faults
    except ReleaseError as refusal:
        return (str(refusal),)


def test_files_changed_with_their_hashes_are_found_by_the_key_alone(changed: Path, keys: tuple[Path, Path]) -> None:
    (changed / "report" / PAGE).write_text("all is well")
    seal(changed)
    assert verify(changed, keys[1], images=0).faults == (f"not signed: there is no {SIGNATURE}",)
    found = verify(changed, images=0)
    assert found.faults == ()
    assert "not signed" in found.notes[0]


def test_a_signature_of_another_key_is_named(changed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, _ = write_keys(tmp_path, 9)
    sign(changed, load_private(private))
    assert "another key than yours" in verify(changed, keys[1], images=0).faults[0]
    assert verify(changed, images=0).faults == ()


def test_a_public_key_that_was_exchanged_is_named(changed: Path, tmp_path: Path) -> None:
    _, public = write_keys(tmp_path, 9)
    shutil.copyfile(public, changed / PUBLIC_KEY)
    assert verify(changed, images=0).faults == (f"wrong signature: {PUBLIC_KEY} is not the key that signed",)


def test_each_byte_of_a_signature_counts(changed: Path, keys: tuple[Path, Path]) -> None:
    data = (changed / SIGNATURE).read_bytes()
    ends = [place for place in range(1, len(data)) if data[place : place + 1] == b'"']  # last letters of base64 too
    random = np.random.default_rng(8)
    for place in [*random.integers(0, len(data), 100), *(end - 1 for end in ends), *ends]:
        flipped = bytearray(data)
        flipped[place] ^= 1 << int(random.integers(8))
        (changed / SIGNATURE).write_bytes(flipped)
        for key in (keys[1], None):
            fault = said_of_signature(changed, key)
            assert fault.startswith("wrong signature: "), (place, fault)
            assert "\n" not in fault


def said_of_signature(folder: Path, key: Path | None) -> str:
    with pytest.raises(ReleaseError) as refused:
        signed_by(folder, key)
    return str(refused.value)


def test_a_file_that_is_not_what_was_signed_is_named_by_its_hash_and_by_the_signature(
    changed: Path, keys: tuple[Path, Path]
) -> None:
    (changed / "images.csv").write_text("all is well")
    assert verify(changed, keys[1], images=0).faults == (
        "wrong signature: the files are not those that were signed",
        "changed file: images.csv",
    )


def test_a_signature_holds_for_its_release_alone(changed: Path, keys: tuple[Path, Path]) -> None:
    values = read_json(changed / MANIFEST)
    write_json(changed / MANIFEST, {**values, "study": "Another"})
    assert verify(changed, keys[1], images=0).faults == ("wrong signature: the files are not those that were signed",)


def test_model_signing_itself_accepts_a_release_and_finds_a_change(changed: Path, keys: tuple[Path, Path]) -> None:
    """A stranger needs nothing of ours to check who signed which files, and no network."""
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(changed)]
    command += ["--signature", str(changed / SIGNATURE), "--public_key", str(keys[1])]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    (changed / "images.csv").write_text("all is well")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert "images.csv" in done.stdout + done.stderr


def test_an_image_that_the_weights_did_not_draw_is_found(changed: Path) -> None:
    names = [row["file"] for row in read_csv(changed / "images.csv")]
    for name in names:
        found = pydicom.dcmread(changed / name)
        pixels = np.frombuffer(found.PixelData, "<u2").copy()
        pixels[100] ^= 64
        found.PixelData = pixels.tobytes()
        found.save_as(changed / name)
    seal(changed)
    found = verify(changed, images=1000)
    assert len(found.faults) == len(names)
    assert all("weights and seed draw another image" in fault for fault in found.faults)


@pytest.mark.parametrize(
    ("keyword", "value", "wanted"),
    [
        ("PatientName", "Miller^Anna", "PatientName is not an invented one"),
        ("PatientBirthDate", "19570301", "PatientBirthDate is filled in"),
        ("InstitutionName", "St. Elsewhere", "unexpected attribute (0008,0080)"),
        ("PatientIdentityRemoved", "NO", "Patient Identity Removed"),
        ("SyntheticData", None, "SyntheticData"),
        ("ContributingEquipmentSequence", None, "Contributing Equipment"),
        ("SOPInstanceUID", "2.25.1", "its UID does not follow from"),
        ("private", "Anna", "unexpected attribute (0011,0010)"),
    ],
)
def test_a_file_without_its_marks_or_with_an_identifier_is_found(
    changed: Path, keyword: str, value: str | None, wanted: str
) -> None:
    path = changed / "dicom" / "000003.dcm"
    found = pydicom.dcmread(path)
    if keyword == "SyntheticData":
        del found[0x0008, 0x001C]
    elif keyword == "private":
        found.private_block(0x11, "scanner", create=True).add_new(1, "LO", value)
    elif value is None:
        delattr(found, keyword)
    else:
        setattr(found, keyword, value)
    if keyword == "SOPInstanceUID":
        found.file_meta.MediaStorageSOPInstanceUID = value
    found.save_as(path)
    seal(changed)
    faults = verify(changed, images=0).faults
    assert any(wanted in fault for fault in faults), faults
    assert value is None or value not in " ".join(faults) or len(value) < 4


def test_a_preamble_is_no_place_for_a_name(made: Path, tmp_path: Path) -> None:
    data = (made / "dicom" / "000003.dcm").read_bytes()
    (tmp_path / "x.dcm").write_bytes(b"Miller".ljust(128, b"\0") + data[128:])
    found = read_released(tmp_path / "x.dcm")
    assert found is not None
    assert faults_of(found) == ["the preamble is not empty"]


def test_a_manifest_that_leads_outside_is_refused(changed: Path) -> None:
    values = read_json(changed / MANIFEST)
    for name in ("../x", "/etc/passwd", "a\\b", "dicom/../../x"):
        write_json(changed / MANIFEST, {**values, "files": {name: "0" * 64}})
        with pytest.raises(ReleaseError, match="outside"):
            verify(changed)


def test_what_is_no_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="not a release"):
        verify(tmp_path)


def test_a_folder_that_exists_is_refused_and_left_alone(study: Study, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ReleaseError, match="exists"):
        release(study, Wishes(tmp_path / "mine"))
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    with pytest.raises(ReleaseError, match="within the study"):
        release(study, Wishes(study.folder / "release"))


def test_a_file_altered_in_the_study_stops_the_release_whole(study: Study, tmp_path: Path) -> None:
    shutil.copytree(study.folder, tmp_path / "study")
    copy = open_study(tmp_path / "study")
    before = copy.releases
    path = copy.synthetic() / "dicom" / "000005.dcm"
    path.write_bytes(path.read_bytes()[:-1] + b"\7")
    with pytest.raises(Exception, match="was altered"):
        release(copy, Wishes(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    assert copy.releases == before


def write_private(path: Path, key: object, phrase: bytes = b"") -> Path:
    lock = BestAvailableEncryption(phrase) if phrase else NoEncryption()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))  # type: ignore[attr-defined]
    path.chmod(0o600)
    return path


def test_keys_of_another_kind_are_refused(tmp_path: Path) -> None:
    private, _ = write_keys(tmp_path, 7)
    private.chmod(0o644)
    with pytest.raises(ReleaseError, match="read by others"):
        load_private(private)
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    odd = ec.derive_private_key(7, ec.SECP256K1())
    for key in (other, odd):
        with pytest.raises(ReleaseError, match="not an EC key on P-256"):
            load_private(write_private(tmp_path / "other.pem", key))
        (tmp_path / "other.pub.pem").write_bytes(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        with pytest.raises(ReleaseError, match="not an EC key on P-256"):
            load_public(tmp_path / "other.pub.pem")
    for load in (load_private, load_public):
        with pytest.raises(ReleaseError, match="cannot be read"):
            load(tmp_path / "none.pem")
        (tmp_path / "text.pem").write_text("no key")
        with pytest.raises(ReleaseError, match="not a PEM"):
            load(tmp_path / "text.pem")


def test_an_encrypted_key_signs_with_its_passphrase(
    changed: Path, tmp_path: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PASSPHRASE, raising=False)
    locked = write_private(tmp_path / "locked.pem", load_pem_private_key(keys[0].read_bytes(), None), b"open")
    with pytest.raises(ReleaseError, match="passphrase"):
        load_private(locked)
    monkeypatch.setenv(PASSPHRASE, "wrong")
    with pytest.raises(ReleaseError, match="passphrase"):
        load_private(locked)
    monkeypatch.setenv(PASSPHRASE, "open")
    assert sign(changed, load_private(locked)) == key_name(load_public(keys[1]))
    assert verify(changed, keys[1], images=0).faults == ()


@pytest.mark.parametrize("curve", ["P-256", "P-384", "P-521"])
def test_a_key_by_openssl_signs(changed: Path, tmp_path: Path, curve: str) -> None:
    private, public = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    make = ["genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-out", str(private)]
    for words in (make, ["pkey", "-in", str(private), "-pubout", "-out", str(public)]):
        subprocess.run(["openssl", *words], check=True, capture_output=True)
    private.chmod(0o600)
    assert sign(changed, load_private(private)) == sha256_file(public), "people compare it by sha256sum"
    assert verify(changed, public, images=0).faults == ()


def test_the_commands_release_and_verify(
    study: Study, tmp_path: Path, keys: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert scansynth("release", study.folder, "--out", out, "--sign", keys[0]) == 0
    assert f"next: scansynth verify {out}" in capsys.readouterr().out
    assert scansynth("verify", out, "--public-key", keys[1]) == 0
    assert "verified 38 images" in capsys.readouterr().out
    assert scansynth("release", study.folder, "--out", out) == 2
    assert "exists" in capsys.readouterr().err
    assert scansynth("release", study.folder, "--out", tmp_path / "new", "--by", "A. Person") == 2
    assert "needs a reason and a name" in capsys.readouterr().err
