"""The layer of the virtual dark field goes from scan to scan, and never shows one for another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from example_maps import example_map
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.scan_summary import SummaryBlock
from napari_stem_orient.gui.canvas.map_layers import MapLayers, map_layers_of
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.gui.open.sample_data import PLACEHOLDER
from napari_stem_orient.session.session import Session
from napari_stem_orient.session.state import ScanState, Stage

DARK_FIELD = "Virtual dark field"


class Reading:
    """Stands for the job that reads a scan."""

    def discard(self) -> None:
        pass


@pytest.fixture
def viewer(qtbot: QtBot) -> Iterator[ViewerModel]:
    viewer = ViewerModel()
    yield viewer
    map_layers_of(viewer, session_of(viewer)).close()  # type: ignore[arg-type]


@pytest.fixture
def session(viewer: ViewerModel) -> Session:
    return session_of(viewer)  # type: ignore[arg-type]


@pytest.fixture
def maps(viewer: ViewerModel, session: Session) -> MapLayers:
    return map_layers_of(viewer, session)  # type: ignore[arg-type]


def scan(seed: int, shape: tuple[int, int] = (3, 4), step_nm: float = 2.0) -> DataCube:
    frames = np.random.default_rng(seed).poisson(3, (*shape, 8, 8)).astype(np.uint16)
    return DataCube(da.from_array(frames), Calibration(scan_step_nm=step_nm), name=f"scan {seed}")


def open_scan(session: Session, cube: DataCube) -> Reading:
    """Open a scan as the Open stage does: the job that reads it begins as soon as it is there."""
    reading = Reading()

    def begin(before: ScanState, after: ScanState) -> None:
        if after.opening != before.opening:
            session.begin(Stage.OPEN, reading)

    session.changed.connect(begin)
    session.set_datacube(cube)
    session.changed.disconnect(begin)
    return reading


def read_first(session: Session, cube: DataCube, value: float) -> None:
    """Have all positions of a scan sum up to a value, but the first, which is one more."""
    n_positions = int(np.prod(cube.scan_shape))
    sums = np.full(n_positions, value, dtype=np.float32)
    sums[0] += 1
    session.fill_summary(
        SummaryBlock(
            np.arange(n_positions),
            sums,
            sums,
            np.zeros(cube.detector_shape, dtype=np.float32),
            Progress(n_positions, n_positions, "patterns"),
        )
    )


def show(session: Session, cube: DataCube, value: float) -> None:
    reading = open_scan(session, cube)
    read_first(session, cube, value)
    session.end(Stage.OPEN, reading)


@pytest.mark.usefixtures("maps")
def test_a_second_scan_gets_the_layer_of_the_first(viewer: ViewerModel, session: Session) -> None:
    show(session, scan(0), 10)
    (layer,) = viewer.layers
    layer.colormap = "magma"
    second = scan(1, (5, 6), 7.0)
    show(session, second, 500)
    assert list(viewer.layers) == [layer]
    assert layer.name == DARK_FIELD
    assert layer.visible
    assert layer.data.shape == (5, 6)
    assert layer.data[0, 0] == 501
    assert tuple(layer.scale) == (7.0, 7.0)
    assert layer.contrast_limits[0] >= 500
    assert layer.metadata["napari_stem_orient"]["scan"] == session.source.token
    assert layer.colormap.name == "magma"  # how the user made it look stays


@pytest.mark.usefixtures("maps")
def test_until_there_is_something_of_the_second_scan_nothing_of_the_first_is_left(
    viewer: ViewerModel, session: Session, qtbot: QtBot
) -> None:
    show(session, scan(0), 10)
    reading = open_scan(session, scan(1))
    (layer,) = viewer.layers
    assert not layer.visible
    assert not np.any(layer.data)
    assert "scan" not in layer.metadata["napari_stem_orient"]
    session.end(Stage.OPEN, reading)  # stopped before the first pattern
    qtbot.waitUntil(lambda: len(viewer.layers) == 0)


@pytest.mark.usefixtures("maps")
def test_a_layer_that_the_user_has_renamed_stays_as_it_is(viewer: ViewerModel, session: Session) -> None:
    show(session, scan(0), 10)
    (kept,) = viewer.layers
    kept.name = "mine"
    show(session, scan(1), 500)
    assert kept in viewer.layers
    assert kept.visible
    assert kept.data[0, 0] == 11
    (other,) = (layer for layer in viewer.layers if layer is not kept)
    assert other.name == DARK_FIELD
    assert other.data[0, 0] == 501


@pytest.mark.usefixtures("maps")
def test_a_duplicate_stays_as_it_is(viewer: ViewerModel, session: Session) -> None:
    show(session, scan(0), 10)
    (layer,) = viewer.layers
    copy = type(layer).create(*layer.as_layer_data_tuple())
    viewer.layers.append(copy)
    show(session, scan(1), 500)
    assert copy in viewer.layers
    assert copy.data[0, 0] == 11
    assert layer.data[0, 0] == 501


def map_of(cube: DataCube, seed: int, **keywords: object) -> OrientationMap:
    return replace(example_map((3, 4), **keywords), name=cube.name, source_fingerprint=f"scan {seed}")


def test_the_map_of_another_scan_takes_over_the_layers_and_leaves_none_of_the_first(
    viewer: ViewerModel, session: Session, maps: MapLayers
) -> None:
    first, second = map_of(scan(0), 0), map_of(scan(1), 1, crystals=("Cu",))
    session.open_map(first)
    maps.show_all()
    before = {layer.name: layer for layer in viewer.layers}
    assert "Phase probability" in before
    session.open_map(second)
    maps.show_all()
    after = {layer.name: layer for layer in viewer.layers}
    assert set(after) == set(before) - {"Phase probability"}  # of one crystal the phase is sure
    for name, layer in after.items():
        assert layer is before[name]
        assert layer.metadata["napari_stem_orient"]["scan"] == session.source.token


def test_what_napari_was_given_for_the_sample_becomes_its_dark_field(
    viewer: ViewerModel, session: Session, maps: MapLayers
) -> None:
    placeholder = viewer.add_image(
        np.zeros((2, 2)), name="sample", metadata=dict(PLACEHOLDER), visible=False, units=("nm", "nm")
    )
    session.begin(Stage.OPEN, Reading())
    maps.take_placeholders(PLACEHOLDER)
    assert list(viewer.layers) == [placeholder]
    show(session, scan(0), 10)
    assert list(viewer.layers) == [placeholder]
    assert placeholder.name == DARK_FIELD
    assert placeholder.data[0, 0] == 11


def test_where_a_dark_field_is_shown_the_sample_takes_its_layer(
    viewer: ViewerModel, session: Session, maps: MapLayers
) -> None:
    show(session, scan(0), 10)
    (layer,) = viewer.layers
    viewer.add_image(np.zeros((2, 2)), metadata=dict(PLACEHOLDER), visible=False)
    session.begin(Stage.OPEN, Reading())
    maps.take_placeholders(PLACEHOLDER)
    assert list(viewer.layers) == [layer]
    assert layer.visible
