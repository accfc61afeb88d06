"""Which images are drawn, in which numbers, in which orders: by seed and secret, matched, and far apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from image_sets import change_set
from study_factory import LABELS, make_study, small

from scansynth.data.imageset import open_set
from scansynth.errors import ReaderError
from scansynth.files import write_csv
from scansynth.reader.design import SPARE_SEATS, draw, most_of_a_kind
from scansynth.reader.pool import Pool, gather
from scansynth.study import QUARANTINE


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return gather(make_study(tmp_path_factory.mktemp("design") / "study", quarantine=(0, 7, 11)))


def test_one_image_of_each_test_patient_and_none_that_is_kept_back(pool: Pool) -> None:
    for secret in range(5):
        design = draw(pool, small(), 3, secret)
        reals = [subject for subject in design.subjects if not subject.synthetic]
        made = [subject for subject in design.subjects if subject.synthetic]
        assert len(reals) + len(made) == 50
        assert len({subject.patient for subject in reals}) == len(reals)
        assert {int(subject.patient[:4], 16) for subject in reals} <= set(range(40)), "only the test role"
        assert len({subject.case for subject in made}) == len(made)
        assert not {0, 7, 11} & {int(subject.case) for subject in (*made, *design.practice) if subject.synthetic}


def test_practice_shows_train_patients_and_synthetic_images_that_are_not_read(pool: Pool) -> None:
    design = draw(pool, small(practice=7), 3, 1)
    assert len(design.practice) == 7
    read = {subject.case for subject in design.subjects}
    assert not read & {subject.case for subject in design.practice}
    patients = {subject.patient for subject in design.practice if not subject.synthetic}
    assert len(patients) in {3, 4}
    assert all(int(patient[:4], 16) >= 40 for patient in patients), "only the train role"


def test_both_kinds_have_the_labels_in_the_same_shares(pool: Pool) -> None:
    for secret in range(5):
        design = draw(pool, small(), 3, secret)
        for synthetic in (False, True):
            counts = Counter(subject.label for subject in design.subjects if subject.synthetic is synthetic)
            assert abs(counts[LABELS[0]] - counts[LABELS[1]]) <= 1


def test_images_follow_from_the_seed_alone_and_numbers_and_orders_from_the_secret(pool: Pool) -> None:
    one, again, other = draw(pool, small(), 3, 1), draw(pool, small(), 3, 1), draw(pool, small(), 3, 2)
    assert one == again
    assert one.orders != other.orders
    for synthetic in (False, True):
        for label in LABELS:
            drawn = [
                {s.case for s in d.subjects if s.synthetic is synthetic and s.label == label} for d in (one, other)
            ]
            fewer, more = sorted(drawn, key=len)
            assert fewer <= more, "another number of images takes more or fewer of the same list"
    assert draw(pool, small(), 4, 1).subjects != one.subjects


def test_the_hidden_share_varies_between_forty_and_sixty_percent_and_the_balanced_one_does_not(pool: Pool) -> None:
    counts = {sum(s.synthetic for s in draw(pool, small(), 3, secret).subjects) for secret in range(40)}
    assert min(counts) >= 20
    assert max(counts) <= 30
    assert len(counts) >= 6
    assert {sum(s.synthetic for s in draw(pool, small(mix="balanced"), 3, secret).subjects) for secret in range(5)} == {
        25
    }


def test_each_reader_has_an_order_of_everything_and_repeats_lie_far_apart(pool: Pool) -> None:
    design = draw(pool, small(readers=6), 3, 9)
    assert len(set(design.orders)) == 6 + SPARE_SEATS
    assert len(design.repeated) == len(set(design.repeated)) == 10
    for order in design.orders:
        assert sorted(order) == list(range(60))
        position = np.argsort(order)
        gaps = [abs(position[place] - position[50 + number]) for number, place in enumerate(design.repeated)]
        assert min(gaps) >= 12


def test_orders_favour_no_kind_at_the_beginning(pool: Pool) -> None:
    first = [
        design.subject_of(presentation).synthetic
        for secret in range(30)
        for design in (draw(pool, small(readers=4, repeats=0.5), 3, secret),)
        for order in design.orders
        for presentation in order[:10]
    ]
    share, error = np.mean(first), 0.5 / np.sqrt(len(first))
    assert abs(share - 0.5) < 6 * error


def test_a_tiny_reading_still_finds_an_order(pool: Pool) -> None:
    design = draw(pool, small(images=25, repeats=0.5), 3, 1)
    assert all(sorted(order) == list(range(25 + 12)) for order in design.orders)


def test_too_few_test_patients_are_refused_with_the_numbers(pool: Pool) -> None:
    with pytest.raises(
        ReaderError, match=r"there are 40 test patients .* 70 images may need 42, .* to 68 or fewer"
    ) as no:
        draw(pool, small(images=70), 3, 1)
    assert "plan reader" in str(no.value)
    assert draw(pool, small(images=68), 3, 1).subjects


def test_a_refusal_never_depends_on_the_hidden_number(pool: Pool) -> None:
    """Whether it is refused, and in which words, is the same for every secret."""
    for settings in (small(images=70), small(images=66, practice=40), small(images=60, practice=50)):
        outcomes = set()
        for secret in range(12):
            try:
                draw(pool, settings, 3, secret)
                outcomes.add("drawn")
            except ReaderError as refusal:
                outcomes.add(str(refusal))
        assert len(outcomes) == 1


def test_too_few_synthetic_images_of_one_label_are_refused(pool: Pool) -> None:
    kept = [s for s in pool.synthetic if s.label != LABELS[0]] * 2
    few = [s for s in pool.synthetic if s.label == LABELS[0]][:5]
    with pytest.raises(ReaderError, match=r"5 images with the label nodule, and \d+ may be needed"):
        draw(replace(pool, synthetic=(*kept, *few)), small(), 3, 1)
    with pytest.raises(ReaderError, match="5 synthetic images after 3 that are too close to real ones"):
        draw(replace(pool, synthetic=tuple(few)), small(), 3, 1)


def test_too_few_images_say_nothing(pool: Pool) -> None:
    with pytest.raises(ReaderError, match="plan reader shows how many"):
        draw(pool, small(images=20), 3, 1)
    assert most_of_a_kind(small(images=25)) == 15


def test_practice_needs_train_patients(pool: Pool) -> None:
    with pytest.raises(ReaderError, match=r"20 train patients .* reader.practice to 40 or fewer"):
        draw(pool, small(practice=42, images=30), 3, 1)


def test_a_set_without_an_audit_of_its_present_state_is_refused(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    (study.evidence() / QUARANTINE).unlink()
    with pytest.raises(ReaderError, match="was not audited; run: scansynth audit"):
        gather(study)
    write_csv(study.evidence() / QUARANTINE, ("image",), [])
    record = study.synthetic() / "stage.json"
    record.write_text(record.read_text().replace('"set.json": "', '"set.json": "0'))
    with pytest.raises(ReaderError, match="changed since its audit"):
        gather(study)


def test_a_generator_that_does_not_tell_labels_apart_is_matched_as_a_whole(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", labels=("nodule",))
    rows = open_set(study.synthetic()).rows
    change_set(study.synthetic(), rows=[{**row, "label": "nodule|nodule"} for row in rows])
    found = gather(study)
    assert found.labels == ("nodule",)
    assert {subject.stratum for subject in (*found.reals, *found.synthetic)} == {""}
    assert len(draw(found, small(), 3, 1).subjects) == 50


def test_a_cohort_without_labels_is_matched_as_a_whole(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    for folder in (study.cohort, study.synthetic()):
        change_set(folder, rows=[{**row, "label": ""} for row in open_set(folder).rows])
    facts = study.cohort / "cohort.json"
    facts.write_text(facts.read_text().replace('"unlabelled": false', '"unlabelled": true'))
    found = gather(study)
    assert found.labels == ()
    assert len(draw(found, small(), 3, 1).subjects) == 50


def test_the_pool_holds_the_roles_that_the_ledger_permits(pool: Pool) -> None:
    assert {int(subject.patient[:4], 16) < 40 for subject in pool.reals} == {True}
    assert {int(subject.patient[:4], 16) < 40 for subject in pool.practice} == {False}
    assert pool.quarantined == 3
    assert len(pool.synthetic) == 57
