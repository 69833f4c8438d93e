"""The probe template that follows from a choice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.progress import result_of
from napari_stem_orient.detection.probe import probe_from_vacuum
from napari_stem_orient.steps.detect import DetectChoice, DetectPlan, plan_detection
from napari_stem_orient.steps.mask import painted_mask
from napari_stem_orient.steps.open import OpenChoice, open_scan
from napari_stem_orient.steps.probe import ProbeChoice, vacuum_choice


@pytest.fixture
def scan(scan_file: Path) -> DataCube:
    return open_scan(scan_file, OpenChoice())


def planned(scan: DataCube, probe: ProbeChoice) -> DetectPlan:
    return result_of(plan_detection(DetectChoice(probe=probe), scan))


def test_a_radius_alone_stands_for_a_synthetic_disk_and_positions_for_vacuum() -> None:
    assert ProbeChoice(radius_px=3.0) == ProbeChoice(source="synthetic", radius_px=3.0)
    assert ProbeChoice(vacuum="4-6").source == "vacuum"
    region = np.zeros((2, 4), dtype=bool)
    region[1, :2] = True
    assert vacuum_choice(region) == ProbeChoice(vacuum="5-6")


def test_the_template_of_each_source(scan: DataCube) -> None:
    measured = planned(scan, ProbeChoice())
    assert measured.probe.source == "aligned direct beams"
    assert measured.probe.radius_px == pytest.approx(3.0, abs=0.2)
    synthetic = planned(scan, ProbeChoice(radius_px=2.5))
    assert (synthetic.probe.source, synthetic.probe.radius_px) == ("synthetic", 2.5)
    flat = planned(scan, ProbeChoice(source="synthetic"))
    assert (flat.probe.source, flat.probe.radius_px) == ("synthetic", measured.probe.radius_px)
    region = np.zeros((8, 10), dtype=bool)
    region[:2] = True
    vacuum = planned(scan, vacuum_choice(region))
    assert np.array_equal(vacuum.probe.image, probe_from_vacuum(scan, region).image)


def test_the_mean_pattern_is_read_where_nobody_has_it_and_makes_the_same_template(scan: DataCube) -> None:
    mean = scan.data.mean(axis=(0, 1)).compute().astype(np.float32)
    choice = DetectChoice(probe=ProbeChoice(source="mean"))
    records = []
    job = plan_detection(choice, scan)
    while True:
        try:
            records.append(next(job))
        except StopIteration as finished:
            read = finished.value
            break
    assert records[-1].progress.fraction == 1
    handed = result_of(plan_detection(choice, scan, mean_pattern=mean))
    assert read.probe.source == handed.probe.source == "mean pattern"
    np.testing.assert_allclose(read.probe.image, handed.probe.image, atol=1e-7)


def test_parameters_suit_the_template_that_is_chosen(scan: DataCube) -> None:
    assert planned(scan, ProbeChoice(radius_px=5.0)).parameters.min_spacing_px == 10.0  # two radii
    assert planned(scan, ProbeChoice(radius_px=2.5)).parameters.edge_px == 2.5


def test_what_does_not_suit_the_scan_is_refused_with_its_field(scan: DataCube) -> None:
    with pytest.raises(UserError, match=r"radius 20 px does not suit a detector of 48 x 48") as raised:
        planned(scan, ProbeChoice(radius_px=20.0))
    assert raised.value.field == "radius_px"
    with pytest.raises(
        UserError, match="position 81 of the vacuum region lies outside the scan of 80"
    ) as raised:
        planned(scan, ProbeChoice(vacuum="1-81"))
    assert raised.value.field == "vacuum"
    empty = DataCube(scan.data * 0, scan.calibration)
    with pytest.raises(UserError, match="no direct beam found") as raised:
        planned(empty, ProbeChoice())
    assert raised.value.field == "radius_px"


def test_a_mask_over_the_direct_beam_makes_no_template_of_what_is_left_of_it(scan: DataCube) -> None:
    """Half a disk is no disk: all others are whole."""
    mask = np.zeros((48, 48), dtype=bool)
    mask[18:31, 24:31] = True
    whole = planned(scan, ProbeChoice())
    choice = DetectChoice(mask=painted_mask(mask))
    covered = result_of(plan_detection(choice, scan, painted=mask))
    assert covered.probe.radius_px == pytest.approx(whole.probe.radius_px, abs=0.01)
    assert covered.mask is not None
    assert np.array_equal(covered.mask, mask)
