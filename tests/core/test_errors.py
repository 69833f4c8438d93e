"""UserError: one sentence for people, its parts for the faces."""

from __future__ import annotations

import pickle

import pytest

from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.frames import FrameChoice, FramesDoNotFit
from napari_stem_orient.detection.probe import synthetic_probe
from napari_stem_orient.io.scan_source import NeedsScanShape, PatternsElsewhere, WrongFrameCount


def test_an_error_is_one_sentence_that_names_value_and_remedy() -> None:
    error = UserError(
        "a disk of radius 90 px does not suit a detector of 64 x 64 px", fix="give 0.7 to 21 px"
    )
    assert str(error) == "a disk of radius 90 px does not suit a detector of 64 x 64 px: give 0.7 to 21 px"
    assert str(UserError("the scan is empty")) == "the scan is empty"


def test_science_names_the_field_and_the_value_and_no_option() -> None:
    with pytest.raises(UserError) as raised:
        synthetic_probe(90.0, (64, 64))
    assert (raised.value.field, raised.value.value) == ("radius_px", 90.0)
    assert "--" not in str(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        UserError("what", value=(3, 4), fix="fix", field="scan_shape"),
        WrongFrameCount("scan.npy", FramesDoNotFit((3, 4), 13, FrameChoice(), [(1, 13)])),
        NeedsScanShape("scan.npy", 12),
        PatternsElsewhere("gone", "3-4", (1, 12)),
    ],
)
def test_an_error_that_comes_from_another_process_has_all_its_parts(error: UserError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - made in the line above
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.field == error.field == "scan_shape" or isinstance(error, PatternsElsewhere)
    assert {name: repr(value) for name, value in vars(again).items() if name != "fit"} == {
        name: repr(value) for name, value in vars(error).items() if name != "fit"
    }
