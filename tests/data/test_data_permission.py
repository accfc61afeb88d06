import itertools

import pytest

from scansynth.data.permission import PERMITTED_AUGMENTATION, Permission, permission
from scansynth.metrics.ncc import Flip

FLIPS = (Flip.LEFT_RIGHT, Flip.TOP_BOTTOM, Flip.BOTH)


def flips_of(allowed: Permission) -> tuple[bool, bool, bool]:
    return allowed.flip_left_right, allowed.flip_up_down, allowed.flip_left_right and allowed.flip_up_down


def test_copies_are_looked_for_in_every_mirror_image_where_the_view_is_not_known() -> None:
    assert permission("", "any").searched == tuple(Flip)
    assert permission("CT", "patch").searched == tuple(Flip)
    assert permission("MR", "chest").searched == (Flip.NONE, Flip.LEFT_RIGHT)


def test_the_table_of_permissions() -> None:
    for modality, view in itertools.product(("MR", "CT", "PT", "XX"), ("chest", "patch", "any")):
        allowed = permission(modality, view)
        assert not allowed.intensity  # never: the published work forbids it
        assert 0 < allowed.rotation_degrees <= 15
        made = {Flip.NONE} | {flip for flip, may in zip(FLIPS, flips_of(allowed), strict=True) if may}
        assert made <= set(allowed.searched)  # a search misses nothing that augmentation makes
        assert allowed.axes == tuple(
            axis for axis, may in ((1, allowed.flip_up_down), (2, allowed.flip_left_right)) if may
        )
        refused = {name for name in ("flip_left_right", "flip_up_down", "intensity") if not getattr(allowed, name)}
        assert refused <= allowed.reasons.keys()
        assert all(allowed.reasons.values())
    assert "heart" in permission("MR", "chest").reasons["flip_left_right"]
    assert not permission("CT", "chest").flip_left_right
    assert permission("CT", "patch").flip_left_right
    assert permission("CT", "patch").flip_up_down
    assert not permission("MR", "any").flip_left_right
    assert permission("MR", "chest").rotation_degrees <= 5
    with pytest.raises(TypeError):
        PERMITTED_AUGMENTATION["MR", "chest"] = permission("MR", "patch")  # type: ignore[index]
