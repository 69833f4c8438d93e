"""The table of what an error of the pixel size would do."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from calibration_scenes import TRUE, distorted_scan
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.indexing import index, sensitivity, template_plan
from napari_stem_orient.indexing.index import index_bragg_peaks
from napari_stem_orient.indexing.parameters import IndexParameters
from napari_stem_orient.indexing.pattern_indexer import PatternIndexer
from napari_stem_orient.indexing.sensitivity import (
    SensitivityParameters,
    SensitivityTable,
    _sample,
    _squares,
    calibration_sensitivity,
)
from napari_stem_orient.indexing.template_matching import index_by_template_matching
from napari_stem_orient.indexing.template_parameters import TemplateMatchingParameters


def finish(job: Any) -> tuple[list[Any], Any]:
    records = []
    while True:
        try:
            records.append(next(job))
        except StopIteration as stop:
            return records, stop.value


@cache
def indexed() -> tuple[BraggPeaks, OrientationMap]:
    peaks, _ = distorted_scan(scan_shape=(8, 8), n_grains=6, calibration=TRUE.updated(ellipse_ratio=1.0))
    job = index_bragg_peaks(
        peaks, (load_crystal("Ni"),), parameters=IndexParameters(neighbours=False), device="cpu"
    )
    return peaks, finish(job)[1]


@cache
def table() -> tuple[list[Any], SensitivityTable]:
    peaks, found = indexed()
    parameters = SensitivityParameters(changes_percent=(-6.0, 0.5), n_positions=40)
    return finish(calibration_sensitivity(peaks, found, device="cpu", parameters=parameters))


def test_without_a_change_the_map_comes_out_again_and_with_large_ones_it_does_not() -> None:
    _, result = table()
    changes = [entry.change_percent for entry in result.entries]
    assert changes == [-6.0, 0.0, 0.5]
    far, none, near = result.entries
    assert none.median_disorientation_deg < 0.1
    assert none.moved_5_deg == 0
    assert near.moved_5_deg < 0.1
    assert far.mean_score < near.mean_score < none.mean_score
    assert far.median_disorientation_deg > none.median_disorientation_deg


def test_the_table_reads_as_text_and_the_steps_tell_which_change_it_is_at() -> None:
    records, result = table()
    assert len(result.header()) == len(result.rows()[0]) == 7
    assert len(result.header(phases=False)) == len(result.rows(phases=False)[0]) == 6
    assert [row[0] for row in result.rows()] == ["-6 %", "as it is", "+0.5 %"]
    assert {record.note for record in records} == {
        "pixel size -6 %",
        "pixel size as it is",
        "pixel size +0.5 %",
    }
    done = [record.progress.done for record in records]
    assert done == sorted(done)
    assert result.n_positions == 64  # the only square of the scan


def test_each_pixel_size_is_set_up_once_by_the_whole_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the sample, whose disks may reach less far."""
    peaks, found = indexed()
    made = []
    original = sensitivity.make_pattern_indexer

    def recorded(whole: BraggPeaks, *args: Any, **keywords: Any) -> PatternIndexer:
        made.append((whole.scan_shape, whole.calibration.pixel_size_inv_angstrom))
        return original(whole, *args, **keywords)

    monkeypatch.setattr(sensitivity, "make_pattern_indexer", recorded)
    monkeypatch.setattr(index, "make_pattern_indexer", recorded)
    parameters = SensitivityParameters(changes_percent=(1.0,), n_positions=10)
    records, _ = finish(calibration_sensitivity(peaks, found, device="cpu", parameters=parameters))
    size = peaks.calibration.pixel_size_inv_angstrom
    assert size is not None
    assert made == [((8, 8), size), ((8, 8), pytest.approx(1.01 * size))]
    assert records[0].sample == "64 of 64 positions are indexed again with 2 pixel sizes"


@pytest.mark.usefixtures("py4dstem")
def test_templates_are_made_once_for_all_pixel_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks, _ = indexed()
    coarse = TemplateMatchingParameters(angle_step_zone_axis_deg=5, angle_step_in_plane_deg=5)
    found = finish(index_by_template_matching(peaks, (load_crystal("Ni"),), parameters=coarse))[1]
    made = []
    original = template_plan.build_template_plan

    def recorded(*args: Any, **keywords: Any) -> Any:
        made.append(keywords["q_max"])
        return original(*args, **keywords)

    monkeypatch.setattr(template_plan, "build_template_plan", recorded)
    parameters = SensitivityParameters(changes_percent=(-0.01, 0.01), n_positions=10)
    records, result = finish(calibration_sensitivity(peaks, found, parameters=parameters))
    assert len(made) == 1
    assert result.entries[1].median_disorientation_deg < 0.1
    done = [record.progress.done for record in records]
    assert done == sorted(done)


def test_squares_are_indexed_with_their_neighbours_and_each_position_counts_once() -> None:
    """Of each chosen square, the positions around it are there too and do not count."""
    peaks, _ = distorted_scan(scan_shape=(20, 30), n_grains=4)
    found = OrientationMap.empty(peaks, (load_crystal("Ni"),), method="transformer", parameters={})
    found.phase_id[:] = 0
    found.phase_id[:5] = -1
    layout = _squares(found, SensitivityParameters(n_positions=100), halo=2)
    counted = layout.position[layout.counted]
    assert len(set(counted.tolist())) == len(counted) >= 100
    assert counted.min() >= 5
    for place in np.argwhere(layout.counted):
        y, x = divmod(int(layout.position[tuple(place)]), 30)
        for step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            there = layout.position[tuple(place + step)]
            inside = 0 <= y + step[0] < 20 and 0 <= x + step[1] < 30
            assert there == ((y + step[0]) * 30 + x + step[1] if inside else -1)
    sample = _sample(peaks, layout.position)
    row, column = np.argwhere(layout.counted)[7]
    y, x = divmod(int(layout.position[row, column]), 30)
    np.testing.assert_array_equal(sample.at(row, column), peaks.at(y, x))
    assert not sample.detected[layout.position.ravel() < 0].any()


def test_an_empty_map_is_refused() -> None:
    peaks, found = indexed()
    empty = OrientationMap.empty(peaks, found.crystals, method="transformer", parameters={})
    with pytest.raises(ValueError, match="nothing is indexed"):
        finish(calibration_sensitivity(peaks, empty))
