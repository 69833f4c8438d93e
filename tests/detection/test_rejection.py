"""Every maximum that is no disk has a reason, with the value against the limit."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from detection_frames import disk_image, known_frames
from napari_stem_orient.detection.correlation import detect_in_frames
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import synthetic_probe
from napari_stem_orient.detection.rejected_maxima import Explained, RejectedMaxima, Rejection
from napari_stem_orient.detection.rejection import LEAST_SIGNIFICANCE, MOST_REJECTED, explain_frame

PROBE = synthetic_probe(3.0, (96, 96))


def parameters_with(**changes: object) -> DetectionParameters:
    return DetectionParameters(**{"min_spacing_px": 6, "edge_px": 3, **changes})


def scene(*disks: tuple[float, float, float], background: float = 20.0) -> NDArray[np.float32]:
    """A frame without noise with disks (row, column, counts) of radius 3 px."""
    y, x, counts = np.array(disks, dtype=np.float64).T
    return (disk_image((96, 96), y, x, counts, 3.0) + background).astype(np.float32)


def told_at(explained: Explained, y: float, x: float) -> tuple[Rejection, str]:
    rejected = explained.rejected
    assert rejected is not None
    distance = np.hypot(rejected.y_px - y, rejected.x_px - x)
    nearest = int(np.argmin(distance))
    assert distance[nearest] < 1.5
    return rejected.reasons[nearest], rejected.words[nearest]


def test_the_disks_are_those_of_the_detector() -> None:
    known = known_frames(4, disks=8)
    for frame in known.frames:
        found = detect_in_frames(frame, probe=PROBE, parameters=parameters_with())
        explained = explain_frame(frame, probe=PROBE, parameters=parameters_with())
        assert np.array_equal(explained.x_px, found.x_px)
        assert np.array_equal(explained.significance, found.significance)
        assert list(explained.offsets) == list(found.offsets)


def test_a_weak_disk_is_told_with_its_significance_against_the_limit() -> None:
    frame = scene((48, 48, 9000), (20, 60, 130))
    explained = explain_frame(frame, probe=PROBE, parameters=parameters_with(min_significance=6))
    assert explained.rejected is not None
    reason, words = told_at(explained, 20, 60)
    assert reason is Rejection.BELOW_THRESHOLD
    significance = explained.rejected.significance[
        int(np.argmin(np.hypot(explained.rejected.y_px - 20, explained.rejected.x_px - 60)))
    ]
    assert words == f"{significance:.1f} σ, needs 6.0"
    assert 3 < significance < 6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"min_contrast": 0.9}, r"contrast 0\.[56]\d*, needs 0\.9"),
        ({"min_absolute_intensity": 500}, r"4\d\d counts, needs 500"),
        ({"min_relative_intensity": 0.1}, r"4\.\d % of the reference disk, needs 10 %"),
    ],
)
def test_each_threshold_names_itself(changes: dict[str, float], words: str) -> None:
    frame = scene((48, 48, 9000), (20, 60, 400))
    reason, said = told_at(explain_frame(frame, probe=PROBE, parameters=parameters_with(**changes)), 20, 60)
    assert reason is Rejection.BELOW_THRESHOLD
    assert re.fullmatch(words, said)


def test_a_disk_beside_a_brighter_one_is_told_its_distance() -> None:
    frame = scene((48, 48, 9000), (48, 58, 4000))
    reason, words = told_at(
        explain_frame(frame, probe=PROBE, parameters=parameters_with(min_spacing_px=15)), 48, 58
    )
    assert reason is Rejection.TOO_CLOSE
    assert re.fullmatch(r"10\.[01] px from a brighter disk, needs 15\.0", words)


def test_a_disk_at_the_border_is_told_how_near_it_is() -> None:
    frame = scene((48, 48, 9000), (5, 40, 4000))
    reason, words = told_at(explain_frame(frame, probe=PROBE, parameters=parameters_with(edge_px=8)), 5, 40)
    assert (reason, words) == (Rejection.EDGE, "5.0 px from the edge, needs 8.0")


def test_a_disk_under_the_mask_is_told_how_much_of_it_is_covered() -> None:
    frame = scene((48, 48, 9000), (20, 60, 4000))
    mask = np.zeros((96, 96), dtype=bool)
    mask[:, 59:70] = True
    explained = explain_frame(frame, probe=PROBE, parameters=parameters_with(), mask=mask)
    assert explained.rejected is not None
    assert Rejection.MASKED in explained.rejected.reasons
    where = explained.rejected.reasons.index(Rejection.MASKED)
    assert "masked, at most 50 %" in explained.rejected.words[where]
    assert len(explained.x_px) == 1


def test_disks_beyond_the_most_are_told_their_number() -> None:
    frame = scene((48, 48, 9000), (20, 60, 4000), (70, 20, 3000))
    reason, words = told_at(
        explain_frame(frame, probe=PROBE, parameters=parameters_with(max_peaks=2)), 70, 20
    )
    assert (reason, words) == (Rejection.BEYOND_MOST, "number 3 by brightness, at most 2")


def test_only_maxima_worth_showing_are_told_and_not_those_on_a_disk() -> None:
    known = known_frames(3, shape=(192, 192), disks=8, background=30)
    probe = synthetic_probe(3.0, (192, 192))
    for frame in known.frames:
        explained = explain_frame(frame, probe=probe, parameters=parameters_with())
        rejected = explained.rejected
        assert isinstance(rejected, RejectedMaxima)
        assert 0 < len(rejected.x_px) <= MOST_REJECTED
        assert rejected.significance.min() >= LEAST_SIGNIFICANCE
        distance = np.hypot(rejected.x_px[:, None] - explained.x_px, rejected.y_px[:, None] - explained.y_px)
        assert distance.min() > 1.5


def test_an_empty_frame_has_neither_disks_nor_reasons() -> None:
    explained = explain_frame(np.zeros((96, 96), np.uint16), probe=PROBE, parameters=parameters_with())
    assert explained.rejected is not None
    assert len(explained.x_px) == len(explained.rejected.x_px) == 0
