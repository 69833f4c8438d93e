"""What was measured, in words: as many digits as the error leaves, numbers that belong together in one line."""

from __future__ import annotations

import math

import pytest

from napari_stem_orient.calibration.measured import Doubt, DoubtKind, Measurand, Measured
from napari_stem_orient.calibration.measured_quantities import (
    measured_ellipse,
    measured_pixel_size,
    values_of,
)
from napari_stem_orient.calibration.words import DOUBTS, doubts_in_words, lines_of, with_error
from napari_stem_orient.core.calibration import Calibration


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.0328149, 0.000041, "0.03281 ± 0.00004"),
        (0.0328149, 0.000097, "0.0328 ± 0.0001"),
        (31.21, 0.4, "31.2 ± 0.4"),
        (31.21, 0.0, "31.21"),
        (31.21, None, "31.21"),
        (31.21, math.inf, "31.21"),
    ],
)
def test_a_number_has_as_many_digits_as_its_error_leaves(
    value: float, error: float | None, text: str
) -> None:
    assert with_error(value, error) == text


ROW, COLUMN = Measurand.ORIGIN_ROW, Measurand.ORIGIN_COLUMN


@pytest.mark.parametrize(
    ("measured", "lines"),
    [
        (
            [measured_pixel_size(0.0252, 0.0001, 0.025)],
            [("Pixel size", "0.0252 ± 0.0001 1/Å (+0.80\u00a0%)")],
        ),
        (
            measured_ellipse((1.0203, 29.6), 0.0005),
            [("Ellipse", "1.0203 ± 0.0005, major axis at 29.6 ± 0.7°")],
        ),
        (
            measured_ellipse((1.0, 0.0), 0.0005),
            [("Ellipse", "1.0000 ± 0.0005: round within twice its error")],
        ),
        (
            [Measured(ROW, 31.2, 0.02, "px"), Measured(COLUMN, 30.5, 0.02, "px")],
            [("Direct beam", "row 31.20, column 30.50 ± 0.02 px")],
        ),
        (
            [Measured(ROW, 31.2, 0.02, "px"), Measured(COLUMN, 30.5, 0.3, "px")],
            [("Direct beam", "row 31.20 ± 0.02, column 30.5 ± 0.3 px")],
        ),
        (
            [
                Measured(Measurand.SCORE, 0.75, before=0.5),
                Measured(Measurand.EXPLAINED_DISKS, 1200, before=900),
                Measured(Measurand.POSITIONS, 24),
                Measured(Measurand.ROTATION, math.nan, unit="°"),
            ],
            [
                ("Score", "0.500 → 0.750"),
                ("Explained disks", "900 → 1,200 at 24 positions"),
                ("Rotation", "cannot be told from the disks: it turns all orientations with it"),
            ],
        ),
    ],
)
def test_what_was_measured_is_told_in_lines(measured: list[Measured], lines: list[tuple[str, str]]) -> None:
    assert list(lines_of(measured)) == lines


def test_what_a_calibration_has_is_told_without_errors() -> None:
    known = Calibration(pixel_size_inv_angstrom=0.025, scan_rotation_deg=12, flip=True, ellipse_ratio=1.02)
    told = {q: lines_of(values_of(known, q)) for q in ("origin", "ellipse", "pixel size", "rotation")}
    assert told == {
        "origin": (),
        "ellipse": (("Ellipse", "ratio 1.0200 at 0.0°"),),
        "pixel size": (("Pixel size", "0.025 1/Å"),),
        "rotation": (("Rotation", "12°, mirrored"),),
    }


def test_every_doubt_has_words() -> None:
    assert set(DOUBTS) == set(DoubtKind)
    several = [Doubt(DoubtKind.RIVAL_PIXEL_SIZE, 0.0271), Doubt(DoubtKind.RINGS_OFF_CENTRE, 0.4)]
    assert doubts_in_words(several) == (
        "A pixel size of 0.0271 1/Å fits about as well: the rings alone cannot tell. "
        "The rings' centre lies 0.40 px from the direct beam: fit the origin first."
    )
