"""The reader: whatever is dropped goes to the Open stage of the viewer, or is left to others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import napari
import numpy as np
import pytest

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.gui.open.docking import open_widget_of
from napari_stem_orient.gui.open.reader import NO_LAYER, get_reader, read
from napari_stem_orient.gui.open.widget import OpenWidget
from napari_stem_orient.io.peaks import save_bragg_peaks
from patience import Until

pytestmark = pytest.mark.bindings

PLUGIN = "napari-stem-orient"


def write_scan(path: Path, *, scan_shape: tuple[int, ...] = (4, 5)) -> Path:
    frames = np.random.default_rng(0).poisson(2, (*scan_shape, 16, 16)).astype(np.uint16)
    frames[..., 6:10, 6:10] += 50
    np.save(path, frames)
    return path


def test_only_what_may_be_ours_is_accepted(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "scan.npy")
    (tmp_path / "photo.png").write_bytes(b"png")
    (tmp_path / "page.xml").write_text("<html/>")
    assert get_reader(str(scan)) is read
    assert get_reader([str(scan)]) is read
    assert get_reader([str(scan), str(scan)]) is None
    assert get_reader(str(tmp_path / "photo.png")) is None
    assert get_reader(str(tmp_path / "page.xml")) is None
    assert get_reader(str(tmp_path)) is None


def test_a_picture_that_was_saved_from_a_layer_is_left_to_napari(tmp_path: Path) -> None:
    for name, shape in (("dark_field", (12, 16)), ("ipf", (12, 16, 4)), ("ipf_rgb", (12, 16, 3))):
        np.save(tmp_path / f"{name}.npy", np.zeros(shape, dtype=np.uint8))
        assert get_reader(str(tmp_path / f"{name}.npy")) is None


def test_without_a_viewer_the_patterns_come_as_a_lazy_layer(tmp_path: Path) -> None:
    assert napari.current_viewer() is None
    ((data, keywords, kind),) = read(str(write_scan(tmp_path / "scan.npy")))
    assert kind == "image"
    assert keywords["name"] == "scan"
    assert isinstance(data, da.Array)
    assert data.shape == (4, 5, 16, 16)


def test_a_dropped_scan_opens_in_the_session_of_the_viewer(
    make_napari_viewer_proxy: Callable[..., Any], until: Until, tmp_path: Path
) -> None:
    viewer = make_napari_viewer_proxy()
    assert viewer.open(str(write_scan(tmp_path / "scan.npy")), plugin=PLUGIN) == []
    session = session_of(viewer)
    until(lambda: session.summary is not None)
    assert session.datacube is not None
    assert session.datacube.scan_shape == (4, 5)
    until(lambda: len(viewer.layers) == 1)
    assert viewer.layers[0].data.shape == (4, 5)


def test_the_open_step_is_docked_once(
    make_napari_viewer_proxy: Callable[..., Any], until: Until, tmp_path: Path
) -> None:
    viewer = make_napari_viewer_proxy()
    first = open_widget_of(viewer)
    assert isinstance(first, OpenWidget)
    assert open_widget_of(viewer) is first
    assert len(viewer.window.dock_widgets) == 1


def test_a_single_open_panel_is_used_where_there_is_one(make_napari_viewer_proxy: Callable[..., Any]) -> None:
    viewer = make_napari_viewer_proxy()
    _, panel = viewer.window.add_plugin_dock_widget(PLUGIN, "Open")
    assert open_widget_of(viewer) is panel


def test_a_dropped_stack_asks_for_its_scan_shape(
    make_napari_viewer_proxy: Callable[..., Any], until: Until, tmp_path: Path
) -> None:
    viewer = make_napari_viewer_proxy()
    assert read(str(write_scan(tmp_path / "stack.npy", scan_shape=(12,)))) == [NO_LAYER]
    panel = open_widget_of(viewer)
    until(lambda: not panel.shape_row.isHidden())
    assert panel.shape_box.itemText(0) == "3 x 4"


def test_dropped_peaks_open_as_peaks(
    make_napari_viewer_proxy: Callable[..., Any], until: Until, tmp_path: Path
) -> None:
    calibration = Calibration(voltage_kv=300, pixel_size_inv_angstrom=0.02, origin_px=(8, 8))
    peaks = BraggPeaks.from_lists([np.ones((2, 3))] * 6, (2, 3), calibration)
    path = save_bragg_peaks(peaks, tmp_path / "peaks.h5")
    viewer = make_napari_viewer_proxy()
    viewer.open(str(path), plugin=PLUGIN)
    session = session_of(viewer)
    until(lambda: session.peaks is not None)
    assert session.peaks is not None
    assert session.peaks.fingerprint == peaks.fingerprint


@pytest.mark.usefixtures("qtbot")
def test_a_damaged_file_is_refused_in_one_line(
    make_napari_viewer_proxy: Callable[..., Any], until: Until, errors: list[str], tmp_path: Path
) -> None:
    viewer = make_napari_viewer_proxy()
    (tmp_path / "scan.mib").write_text("no scan at all")
    viewer.open(str(tmp_path / "scan.mib"), plugin=PLUGIN)
    until(lambda: errors)
    assert "scan.mib" in errors[0]
    assert len(errors[0].splitlines()) == 1
    assert session_of(viewer).datacube is None
