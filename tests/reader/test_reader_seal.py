"""The seal opens with its key, and with nothing else; what was altered is found."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from scansynth.dicom.deidentify import KEY_VARIABLE
from scansynth.errors import ReaderError
from scansynth.reader.seal import default_seal_path, load_key, new_key, seal, unseal

TRUTH = {"secret": "s" * 32, "entries": [{"item": "a", "synthetic": True}]}
KEY = bytes(range(32))


def test_what_was_sealed_comes_out_and_two_seals_of_one_truth_differ() -> None:
    one, two = seal(TRUTH, KEY, "study"), seal(TRUTH, KEY, "study")
    assert unseal(one.data, KEY, "study", one.commitment) == TRUTH
    assert one.data != two.data
    assert one.commitment == two.commitment
    assert b"synthetic" not in one.data


@pytest.mark.parametrize("place", [0, 11, 12, 40, -1])
def test_a_changed_byte_is_found(place: int) -> None:
    sealed = seal(TRUTH, KEY, "study")
    spoiled = bytearray(sealed.data)
    spoiled[place] ^= 1
    with pytest.raises(ReaderError, match=r"sealed\.bin was altered"):
        unseal(bytes(spoiled), KEY, "study", sealed.commitment)


@pytest.mark.parametrize("data", [b"", b"x" * 11, b"x" * 12, b"x" * 27])
def test_a_file_that_was_cut_short_is_found(data: bytes) -> None:
    with pytest.raises(ReaderError, match=r"sealed\.bin was altered"):
        unseal(data, KEY, "study", "0" * 64)


def test_another_key_and_another_study_are_refused() -> None:
    sealed = seal(TRUTH, KEY, "study")
    with pytest.raises(ReaderError, match="key belongs to another study"):
        unseal(sealed.data, bytes(32), "study", sealed.commitment)
    with pytest.raises(ReaderError, match="key belongs to another study"):
        unseal(sealed.data, KEY, "another", sealed.commitment)


def test_another_truth_under_the_same_key_breaks_the_commitment() -> None:
    """Whoever has the key can seal another truth, but not one that the protocol was committed to."""
    promised, forged = seal(TRUTH, KEY, "study"), seal({**TRUTH, "entries": []}, KEY, "study")
    with pytest.raises(ReaderError, match="commitment"):
        unseal(forged.data, KEY, "study", promised.commitment)


def test_the_key_is_its_owners_alone_and_never_written_twice(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "one.seal"
    key = new_key(path, tmp_path / "study")
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(path) == key
    with pytest.raises(ReaderError, match="already exists"):
        new_key(path, tmp_path / "study")
    assert load_key(path) == key


def test_a_key_within_the_study_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "elsewhere").symlink_to(tmp_path / "study")
    for path in (tmp_path / "study" / "k", tmp_path / "study" / "reader" / "k", tmp_path / "elsewhere" / "k"):
        with pytest.raises(ReaderError, match="must not be in the study folder"):
            new_key(path, tmp_path / "study")
        assert not path.exists()


def test_a_key_that_others_may_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(ReaderError, match="there is no seal key"):
        load_key(path)
    for text in ("", "zz", "00" * 31, "é"):
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        with pytest.raises(ReaderError, match="is not a seal key"):
            load_key(path)
    path.write_text("00" * 32)
    path.chmod(0o644)
    with pytest.raises(ReaderError, match="chmod 600"):
        load_key(path)
    with pytest.raises(ReaderError, match=r"not a file|cannot be read"):
        load_key(tmp_path)


def test_the_key_stands_beside_the_institution_key_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, str(tmp_path / "institution.key"))
    assert default_seal_path("a" * 32) == tmp_path / f"reader-{'a' * 12}.seal"
