"""The list of virtual detectors: names are unique, colours differ, and another detector empties it."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.gui.virtual.detectors import DetectorEntry, VirtualDetectors, virtual_detectors_of
from napari_stem_orient.gui.virtual.jobs import beam_radius_px, origin_at, scan_origins
from napari_stem_orient.gui.virtual.text import length_text, place_text
from napari_stem_orient.session.session import Session
from napari_stem_orient.virtual.detector import VirtualDetector, annular_dark_field, bright_field


def scan(size: int, **calibration: object) -> DataCube:
    return DataCube(da.zeros((2, 3, size, size), chunks=-1), Calibration(**calibration))


@pytest.fixture
def session() -> Session:
    session = Session()
    session.set_datacube(scan(32))
    return session


@pytest.fixture
def detectors(session: Session) -> VirtualDetectors:
    return virtual_detectors_of(session)


def test_the_list_outlives_what_shows_it(session: Session, detectors: VirtualDetectors) -> None:
    detectors.add(bright_field(3))
    assert virtual_detectors_of(session) is detectors
    assert virtual_detectors_of(Session()) is not detectors


def test_names_are_unique_and_colours_differ(detectors: VirtualDetectors) -> None:
    entries = [detectors.add(bright_field(radius)) for radius in (2, 3, 4)]
    assert [e.detector.name for e in entries] == ["Bright field", "Bright field 2", "Bright field 3"]
    assert len({e.colour for e in entries}) == 3
    detectors.change(entries[2].key, entries[2].detector.updated(name="Bright field"))
    assert detectors.entries[2].detector.name == "Bright field 3"
    detectors.remove(entries[0].key)
    assert detectors.add(bright_field(9)).colour == entries[0].colour


def test_a_change_is_told_once_and_a_selection_follows_what_is_removed(detectors: VirtualDetectors) -> None:
    first, second = detectors.add(bright_field(3)), detectors.add(annular_dark_field(4, 9))
    told: list[DetectorEntry] = []
    detectors.changed.connect(told.append)
    moved = first.detector.updated(centre_px=(1, 2))
    detectors.change(first.key, moved)
    detectors.change(first.key, moved)
    assert [entry.detector for entry in told] == [moved]
    assert detectors.selected == second
    detectors.remove(second.key)
    assert detectors.selected == told[0]
    detectors.remove(first.key)
    assert detectors.selected is None


def test_another_detector_empties_the_list_and_another_scan_of_the_same_one_does_not(
    session: Session, detectors: VirtualDetectors
) -> None:
    detectors.add(bright_field(3))
    session.set_datacube(None)
    session.set_datacube(scan(32))
    assert len(detectors.entries) == 1
    session.set_datacube(scan(64))
    assert detectors.entries == ()
    assert detectors.selected is None


def test_the_beam_is_where_the_peaks_the_calibration_or_the_mean_pattern_say(session: Session) -> None:
    assert scan_origins(Session()) is None
    assert scan_origins(session).tolist() == [15.5, 15.5]  # type: ignore[union-attr]
    rows, columns = np.indices((32, 32))
    session.update(mean_pattern=(np.hypot(rows - 12, columns - 18) <= 4).astype(np.float32))
    assert scan_origins(session) == pytest.approx([12, 18], abs=0.1)
    assert beam_radius_px(session) == pytest.approx(4, abs=0.4)
    rows, columns = np.indices((900, 900))
    session.set_datacube(scan(900))
    session.update(mean_pattern=(np.hypot(rows - 410, columns - 480) <= 30).astype(np.float32))
    assert scan_origins(session) == pytest.approx([410, 480], abs=1)
    assert beam_radius_px(session) == pytest.approx(30, abs=1)
    session.set_calibration(Calibration(origin_px=(10, 11)))
    assert scan_origins(session).tolist() == [10, 11]  # type: ignore[union-attr]
    per_position = np.array([[10.0, 11.0], [12.0, 11.0]])
    assert origin_at(per_position, (0, 1), (1, 2)) == (12, 11)
    assert origin_at(per_position, None, (1, 2)) == (11, 11)


def test_lengths_are_told_in_the_units_that_are_known() -> None:
    assert length_text(5, Calibration()) == ""
    assert length_text(5, Calibration(pixel_size_inv_angstrom=0.02)) == "0.1\u00a01/Å"
    known = Calibration(pixel_size_inv_angstrom=0.02, voltage_kv=300)
    assert length_text(5, known) == "0.1\u00a01/Å, 1.97\u00a0mrad"  # 0.019687 Å
    disk = VirtualDetector(centre_px=(3, 4))
    assert place_text(disk, known) == "5.0 px from the direct beam: 0.1 1/Å, d 10 Å"
    assert place_text(bright_field(3), known) == "on the direct beam"
    assert place_text(disk.updated(follows_beam=False), None) == "at row 3.0, column 4.0 px"
