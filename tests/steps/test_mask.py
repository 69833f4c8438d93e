"""The detector mask that follows from a choice: found, with or without the beam stop, of a file, painted, or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_stem_orient.core.errors import UserError
from napari_stem_orient.detection.bad_pixels import find_bad_pixels
from napari_stem_orient.detection.suggestion import sample_frames
from napari_stem_orient.steps.mask import (
    NO_MASK,
    FoundMask,
    MaskChoice,
    chosen_mask,
    find_mask,
    mask_from_file,
    painted_mask,
    save_mask,
)
from napari_stem_orient.steps.open import OpenChoice, open_scan

SHAPE = (48, 48)


@pytest.fixture
def found(stopped_scan_file: Path) -> FoundMask:
    return find_mask(sample_frames(open_scan(stopped_scan_file, OpenChoice())))


def some_mask(*pixels: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    for pixel in pixels:
        mask[pixel] = True
    return mask


def test_a_beam_stop_is_found_and_left_out_only_where_it_is_chosen(
    found: FoundMask, stopped_scan_file: Path
) -> None:
    rows, columns = np.ogrid[:48, :48]
    stop = np.hypot(rows - 24, columns - 24) < 7
    # by itself it looks like a dead patch
    assert find_bad_pixels(sample_frames(open_scan(stopped_scan_file, OpenChoice()))).dead[stop].all()
    assert found.beam_stop[stop].all()
    assert not found.bad.mask.any()
    assert chosen_mask(MaskChoice(), found, SHAPE) is None
    mask = chosen_mask(MaskChoice(beam_stop=True), found, SHAPE)
    assert mask is not None
    assert np.array_equal(mask, found.beam_stop)


def test_all_that_is_named_is_left_out_together(found: FoundMask, tmp_path: Path) -> None:
    save_mask(some_mask((1, 2)), tmp_path / "mask.npy")
    choice = mask_from_file(tmp_path / "mask.npy")
    assert choice.kind == "file"
    mask = chosen_mask(choice.changed(beam_stop=True), found, SHAPE)
    assert mask is not None
    assert np.array_equal(mask, found.beam_stop | some_mask((1, 2)))
    assert chosen_mask(NO_MASK, found, SHAPE) is None
    assert NO_MASK.kind == "none"


def test_a_file_that_has_changed_or_is_of_another_detector_is_refused(
    found: FoundMask, tmp_path: Path
) -> None:
    path = save_mask(some_mask((1, 2)), tmp_path / "mask.npy")
    choice = mask_from_file(path)
    save_mask(some_mask((1, 3)), path, overwrite=True)
    with pytest.raises(UserError, match=r"mask.npy has changed since it was chosen") as raised:
        chosen_mask(choice, found, SHAPE)
    assert raised.value.field == "mask"
    with pytest.raises(UserError, match="48 x 48 px but the detector 96 x 96"):
        chosen_mask(mask_from_file(path), found, (96, 96))


def test_a_painted_mask_goes_with_its_fingerprint(found: FoundMask) -> None:
    painted = some_mask((5, 5))
    choice = painted_mask(painted)
    assert choice.kind == "painted"
    mask = chosen_mask(choice, found, SHAPE, painted=painted)
    assert mask is not None
    assert np.array_equal(mask, painted)
    for other in (None, some_mask((5, 6))):
        with pytest.raises(UserError, match="is not there: paint it again"):
            chosen_mask(choice, found, SHAPE, painted=other)
    assert painted_mask(some_mask()) == NO_MASK
