"""py4DSTEM's detector behind our interface, and ours beside it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from detection_frames import as_datacube, known_frames
from napari_stem_orient.detection import py4dstem
from napari_stem_orient.detection.correlation import detect_in_frames
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import synthetic_probe
from napari_stem_orient.detection.py4dstem import detect_with_py4dstem, find_in_frames_with_py4dstem

PROBE = synthetic_probe(3.0, (96, 80))
PARAMETERS = DetectionParameters(min_spacing_px=6, edge_px=4)


pytestmark = pytest.mark.usefixtures("py4dstem")


@pytest.mark.parametrize(("subpixel", "tolerance"), [("none", 0.01), ("parabola", 0.1), ("upsampled", 0.1)])
def test_both_detectors_agree_on_strong_disks(subpixel: str, tolerance: float) -> None:
    known = known_frames(12, shape=(96, 80), disks=4, counts=(1500, 6000))
    parameters = PARAMETERS.model_copy(update={"subpixel": subpixel, "min_absolute_intensity": 500.0})
    ours = detect_in_frames(known.frames, probe=PROBE, parameters=parameters)
    theirs = find_in_frames_with_py4dstem(known.frames, probe=PROBE, parameters=parameters)
    np.testing.assert_array_equal(ours.offsets, theirs.offsets)
    distances, ratios = [], []
    for start, stop in pairwise(ours.offsets):
        apart = np.hypot(
            ours.y_px[start:stop, None] - theirs.y_px[start:stop],
            ours.x_px[start:stop, None] - theirs.x_px[start:stop],
        )
        nearest = apart.argmin(axis=1)
        distances += apart.min(axis=1).tolist()
        ratios += (ours.intensity[start:stop] / theirs.intensity[start:stop][nearest]).tolist()
    assert np.sqrt(np.mean(np.square(distances))) < tolerance
    assert np.median(ratios) == pytest.approx(1, abs=0.05)


def test_axes_are_swapped_once_and_intensities_are_counts() -> None:
    known = known_frames(1, shape=(96, 80), disks=1, counts=(4000, 4001), direct=9000)
    found = find_in_frames_with_py4dstem(known.frames, probe=PROBE, parameters=PARAMETERS)
    np.testing.assert_allclose(found.y_px[:2], known.y_px[0], atol=0.25)
    np.testing.assert_allclose(found.x_px[:2], known.x_px[0], atol=0.25)
    np.testing.assert_allclose(found.intensity[:2], known.counts[0], rtol=0.1)


def test_a_scan_goes_through_py4dstem_and_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    known = known_frames(12, shape=(96, 80), disks=3, counts=(1500, 6000))
    frames = known.frames.copy()
    frames[3] = 0
    frames[4] = np.nan
    datacube = as_datacube(frames, (3, 4))
    monkeypatch.setattr(py4dstem, "SECONDS_PER_RECORD", 0.0)
    job = detect_with_py4dstem(datacube, probe=PROBE, parameters=PARAMETERS)
    blocks = []
    while True:
        try:
            blocks.append(next(job))
        except StopIteration as stop:
            peaks = stop.value
            break
    assert [block.progress.done for block in blocks] == list(range(1, 13))
    assert peaks.detected.all()
    assert peaks.counts()[3] == peaks.counts()[4] == 0
    assert peaks.parameters["unreadable_frames"] == 1
    assert peaks.parameters["detector"] == "py4DSTEM"
    job = detect_with_py4dstem(datacube, probe=PROBE, parameters=PARAMETERS, resume_from=peaks)
    with pytest.raises(StopIteration):
        next(job)
