"""Choices are data: they go through JSON and YAML, say what was given and nothing else, and refuse nonsense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.steps.choice import Choice
from napari_stem_orient.steps.detect import DetectChoice, GivenDetectionParameters
from napari_stem_orient.steps.mask import MaskChoice
from napari_stem_orient.steps.open import GivenCalibration, OpenChoice
from napari_stem_orient.steps.probe import ProbeChoice

CHOICES = [
    OpenChoice(),
    OpenChoice(
        scan_shape=(3, 4),
        dataset="a/b",
        first_frame=2,
        last_frame=13,
        lost_frames="3, 7-9",
        pedestal=1.5,
        calibration=GivenCalibration({"voltage_kv": 300, "origin_px": [1, 2], "flip": True}),
    ),
    DetectChoice(),
    DetectChoice(
        probe=ProbeChoice(radius_px=2.5),
        mask=MaskChoice(found=True, beam_stop=True, file=Path("mask.npy"), fingerprint="ab12"),
        parameters=GivenDetectionParameters({"edge_px": 4, "mode": "spots"}),
        false_disks_per_pattern=0.5,
        detector="py4DSTEM",
        device="cpu",
    ),
    DetectChoice(probe=ProbeChoice(vacuum="1-4, 13-16")),
]


@pytest.mark.parametrize("choice", CHOICES)
def test_a_choice_goes_through_json_and_yaml_unchanged(choice: Choice) -> None:
    as_json = json.loads(choice.model_dump_json())
    assert type(choice).model_validate(as_json) == choice
    short = yaml.safe_load(yaml.safe_dump(choice.given_fields()))
    assert type(choice).model_validate(short) == choice
    assert hash(type(choice).model_validate(short)) == hash(choice)


def test_a_choice_says_what_was_given_and_nothing_else() -> None:
    assert DetectChoice().given_fields() == {}
    choice = DetectChoice(parameters=GivenDetectionParameters({"edge_px": 4}))
    assert choice.given_fields() == {"parameters": {"edge_px": 4.0}}
    # what equals a default is given all the same: on another scan something else would be measured
    default = DetectionParameters().edge_px
    assert DetectChoice(parameters=GivenDetectionParameters({"edge_px": default})) != DetectChoice()


def test_given_values_lie_over_measured_ones() -> None:
    measured = DetectionParameters(edge_px=3, min_spacing_px=6)
    given = GivenDetectionParameters({"edge_px": 4})
    assert given.over(measured) == DetectionParameters(edge_px=4, min_spacing_px=6)
    changed = measured.model_copy(update={"max_peaks": 7})
    assert given.with_changes(measured, changed).root == {"edge_px": 4.0, "max_peaks": 7}
    assert "max_peaks" not in given


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: GivenDetectionParameters({"edge_px": -1}), "edge_px -1"),
        (lambda: GivenDetectionParameters({"edge": 1}), "edge 1"),
        (lambda: OpenChoice(first_frame=0), "first_frame"),
        (lambda: OpenChoice(lost_frames="3-x"), "'3-x' is no position of the scan"),
        (lambda: ProbeChoice(source="mean", radius_px=3), "for a synthetic template"),
        (lambda: ProbeChoice(source="vacuum"), "needs the positions that show it"),
        (
            lambda: GivenCalibration({"pixel_angle_mrad": 1, "pixel_size_inv_angstrom": 0.01}),
            "say the same thing",
        ),
        (
            lambda: DetectChoice(
                false_disks_per_pattern=1, parameters=GivenDetectionParameters({"min_significance": 4})
            ),
            "say the same: leave one out",
        ),
    ],
)
def test_nonsense_is_refused_in_words(make: object, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        make()  # type: ignore[operator]


def test_the_pixel_size_that_was_given_last_counts() -> None:
    read = Calibration(voltage_kv=300, pixel_angle_mrad=0.5, pixel_size_inv_angstrom=0.0254)
    given = GivenCalibration({"voltage_kv": 200})
    # 2 sin(0.25 mrad) / 0.025079 Å at 200 kV
    assert given.over(read).pixel_size_inv_angstrom == pytest.approx(0.5e-3 / 0.0250793, rel=1e-4)
    given = given.with_values(pixel_size_inv_angstrom=0.03)
    assert given.over(read) == Calibration(voltage_kv=200, pixel_size_inv_angstrom=0.03)
    given = given.with_values(pixel_angle_mrad=0.5)
    assert given.root == {"voltage_kv": 200.0, "pixel_angle_mrad": 0.5}
    assert GivenCalibration({"voltage_kv": None}).over(read).voltage_kv is None  # the file is not believed
