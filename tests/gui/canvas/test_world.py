"""Clicks, hover, marker and regions are right whatever other layers are open, and however a map was moved."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from napari.utils.interactions import mouse_press_callbacks, mouse_release_callbacks

from inspect_scene import PLAIN_CALIBRATION, make_scene, show_map
from napari_stem_orient.gui.canvas.map_layers import map_layers_of
from napari_stem_orient.gui.canvas.scan_region import DIFFRACTION_REGION
from napari_stem_orient.gui.canvas.world import layer_to_world, world_to_layer
from napari_stem_orient.gui.detect.mask_painting import MaskPainter
from napari_stem_orient.gui.inspect.colour_key_widget import ColourKeyWidget
from napari_stem_orient.gui.inspect.pattern_matcher import PatternMatcher
from napari_stem_orient.gui.jobs.sessions import session_of

STEP_NM = 2.5
OTHERS = {
    "angstrom": 60.0,
    "pm": 6000.0,
    "um": 0.004,
    "nm": 3.0,
    "pixel": 1.0,
}
NM = {"angstrom": 10.0, "pm": 1000.0}
"""How many of the smallest unit that is open 1 nm is, where that is not nm; pixels and nm cannot be compared."""


@pytest.fixture(scope="module")
def scene():
    return make_scene(calibration=PLAIN_CALIBRATION)


@pytest.fixture
def session(viewer, scene):
    session = session_of(viewer)
    map_layers_of(viewer, session)
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    return session


def add_other(viewer, unit: str, *, visible: bool, ndim: int = 2):
    keywords = {"scale": (OTHERS[unit],) * ndim, "units": (unit,) * ndim, "visible": visible, "name": unit}
    layer = viewer.add_image(np.zeros((5,) * ndim), **keywords)
    viewer.layers.selection.active = next(other for other in viewer.layers if other.name == "IPF-Z")
    return layer


def click(viewer, world, *, direction=None) -> None:
    event = SimpleNamespace(
        type="mouse_press",
        position=tuple(world),
        modifiers=[],
        button=1,
        is_dragging=True,
        dims_displayed=list(viewer.dims.displayed),
        view_direction=direction,
    )
    mouse_press_callbacks(viewer, event)
    event.type = "mouse_release"
    mouse_release_callbacks(viewer, event)


@pytest.mark.parametrize("visible", [True, False])
@pytest.mark.parametrize("unit", list(OTHERS))
def test_a_click_takes_the_position_under_the_cursor_whatever_units_others_have(
    viewer, session, unit, visible, qtbot
):
    add_other(viewer, unit, visible=visible)
    factor = NM.get(unit, 1.0)
    for position in ((3, 5), (11, 15), (0, 0)):
        world = np.array(position) * STEP_NM * factor
        click(viewer, world)
        assert session.position == position
        qtbot.waitUntil(lambda at=position: tuple(viewer.layers["Inspected position"].data[0]) == at)
        marker = viewer.layers["Inspected position"]
        np.testing.assert_allclose(layer_to_world(viewer, marker, position), world)


def test_a_click_on_a_tilted_map_takes_the_position_in_the_line_of_sight(viewer, session):
    """In three dimensions, the place that the mouse is told to be at lies before or behind the map, not on it."""
    add_other(viewer, "angstrom", visible=False, ndim=3)
    viewer.dims.ndisplay = 3
    on_map = np.array([0.0, 3, 5]) * STEP_NM * NM["angstrom"]
    for direction in ((0.6, 0.8, 0.0), (0.48, -0.64, 0.6), (-1.0, 0.0, 0.0)):
        viewer.scene.camera.set_view_direction(direction)
        before = on_map - 70.0 * np.array(direction)
        session.set_position(None)
        click(viewer, before, direction=np.array(direction))
        assert session.position == (3, 5)
        assert map_layers_of(viewer, session).pointer.position_at(before) == (3, 5)  # as the status bar asks
    session.set_position(None)
    click(viewer, on_map, direction=np.array([0.0, 1.0, 0.0]))  # along the map
    assert session.position is None


@pytest.mark.parametrize("direction", [(0.6, 0.8, 0.0), (0.48, -0.64, 0.6), (-1.0, 0.0, 0.0)])
def test_a_click_on_a_tilted_map_is_right_where_napari_tells_no_depth(viewer, session, direction):
    """Of flat layers alone it tells row and column on the plane of the canvas, through the camera's centre."""
    viewer.dims.ndisplay = 3
    viewer.scene.camera.center = (0.0, 12.0, 20.0)
    viewer.scene.camera.set_view_direction(direction)
    on_map, centre, sight = np.array([0.0, 7.5, 12.5]), np.array([0.0, 12.0, 20.0]), np.array(direction)
    on_canvas = on_map - sight * (sight @ (on_map - centre))
    click(viewer, on_canvas[1:])
    assert session.position == (3, 5)


def test_the_status_bar_tells_the_position_under_the_cursor_beside_a_layer_in_pm(viewer, session):
    add_other(viewer, "pm", visible=False)
    viewer.mouse_over_canvas = True
    viewer.cursor.position = (3 * STEP_NM * 1000, 5 * STEP_NM * 1000)
    status = viewer.status
    assert "row 3, column 5" in (status["coordinates"] if isinstance(status, dict) else status)


@pytest.mark.parametrize("ndim", [3, 4])
def test_a_click_is_right_beside_a_layer_of_more_axes(viewer, session, ndim):
    add_other(viewer, "angstrom", visible=True, ndim=ndim)
    click(viewer, (*[0.0] * (ndim - 2), 3 * 25.0, 5 * 25.0))
    assert session.position == (3, 5)


def test_a_map_that_the_user_has_turned_and_moved_is_clicked_where_it_is_seen(viewer, session, qtbot):
    """By 90 degrees, which takes rows to columns, and by (100, 200) nm, as napari's transform tool does it."""
    active = viewer.layers.selection.active
    active.affine = np.array([[0.0, -1.0, 100.0], [1.0, 0.0, 200.0], [0.0, 0.0, 1.0]])
    click(viewer, (100 - 5 * STEP_NM, 200 + 3 * STEP_NM))
    assert session.position == (3, 5)
    qtbot.waitUntil(lambda: "Inspected position" in viewer.layers)
    marker = viewer.layers["Inspected position"]
    np.testing.assert_allclose(marker.data_to_world((3, 5)), (100 - 5 * STEP_NM, 200 + 3 * STEP_NM))


def rows_and_columns(mask: np.ndarray) -> tuple[set[int], set[int]]:
    return set(np.flatnonzero(mask.any(axis=1))), set(np.flatnonzero(mask.any(axis=0)))


@pytest.mark.parametrize("unit", ["angstrom", "pm", "um", "nm", "pixel"])
def test_a_region_counts_where_it_is_seen_whatever_units_others_have(viewer, session, scene, unit):
    """Rows 2 to 4 and columns 6 to 9, drawn in layers of three kinds of units."""
    add_other(viewer, unit, visible=False)
    corners = np.array([[1.6, 5.6], [1.6, 9.4], [4.4, 9.4], [4.4, 5.6]])
    for own, factor in (("nm", 1.0), ("angstrom", 10.0), ("um", 0.001)):
        if unit == "pixel" and own != "nm":
            continue  # napari compares nothing then, and draws all in numbers
        drawn = viewer.add_shapes([corners * STEP_NM * factor], units=(own, own))
        viewer.layers.selection.active = drawn
        mask = DIFFRACTION_REGION.drawn(viewer, (12, 16), calibration=scene.datacube.calibration)
        assert rows_and_columns(mask) == ({2, 3, 4}, {6, 7, 8, 9})
        viewer.layers.remove(drawn)


def test_the_tool_for_regions_draws_where_the_mouse_is_beside_a_layer_in_angstrom(viewer, session, scene):
    """napari's tools take the cursor, in the viewer's units, for a place in the layer's: they must be the same."""
    before = DIFFRACTION_REGION.start_drawing(viewer, scene.datacube.calibration)
    for unit in ("angstrom", "pm"):
        add_other(viewer, unit, visible=False)
        layer = DIFFRACTION_REGION.start_drawing(viewer, scene.datacube.calibration)
        assert layer is before
        cursor = np.array([3.0, 5.0]) * STEP_NM * NM[unit]
        np.testing.assert_allclose(layer.world_to_data(cursor), (3, 5))
        np.testing.assert_allclose(world_to_layer(viewer, layer, cursor), (3, 5))


def test_a_region_follows_a_map_that_was_moved_and_one_outside_holds_nothing(viewer, session, scene):
    calibration = scene.datacube.calibration
    for layer in viewer.layers:
        layer.translate = (1000.0, 0.0)
    corners = np.array([[1.6, 5.6], [1.6, 9.4], [4.4, 9.4], [4.4, 5.6]]) * STEP_NM
    viewer.layers.selection.active = viewer.add_shapes([corners], units=("nm", "nm"))
    with pytest.raises(ValueError, match="no region is drawn"):
        DIFFRACTION_REGION.drawn(viewer, (12, 16), calibration=calibration)
    viewer.layers.selection.active = viewer.add_shapes([corners + np.array([1000, 0])], units=("nm", "nm"))
    mask = DIFFRACTION_REGION.drawn(viewer, (12, 16), calibration=calibration)
    assert rows_and_columns(mask) == ({2, 3, 4}, {6, 7, 8, 9})


def test_a_region_of_the_user_with_our_name_is_left_when_another_scan_is_opened(viewer, session, scene):
    ours = DIFFRACTION_REGION.start_drawing(viewer, scene.datacube.calibration)
    theirs = viewer.add_shapes(name="Diffraction region")
    assert DIFFRACTION_REGION.layer(viewer) is ours
    DIFFRACTION_REGION.forget(viewer)
    assert ours not in viewer.layers
    assert theirs in viewer.layers


def test_a_mask_is_painted_where_the_mouse_is_beside_a_layer_in_pm(viewer, session):
    add_other(viewer, "pm", visible=False)
    painter = MaskPainter(viewer)
    painter.start(np.ones((64, 64), dtype=np.float32), None)
    labels = viewer.layers["Detector mask"]
    assert {str(unit) for unit in labels.units} == {str(unit) for unit in viewer.layers.units}
    cursor = layer_to_world(viewer, labels, (10, 20))
    np.testing.assert_allclose(labels.world_to_data(cursor), (10, 20))
    painter.stop()


def test_a_step_of_one_nm_is_not_one_pixel(viewer, session):
    session.set_calibration(session.calibration.updated(scan_step_nm=None))
    session.set_calibration(session.calibration.updated(scan_step_nm=1.0))
    assert {str(unit) for layer in viewer.layers for unit in layer.units} == {"nanometer"}


def test_a_smaller_scan_after_a_larger_one_forgets_where_the_cursor_and_the_marker_were(viewer, session):
    maps = map_layers_of(viewer, session)
    keys = ColourKeyWidget(viewer)
    viewer.mouse_over_canvas = True
    maps.pointer._on_move(viewer, SimpleNamespace(position=(11 * STEP_NM, 15 * STEP_NM)))
    session.set_position((11, 15))
    assert maps.pointer.hovered_position == (11, 15)
    small = make_scene(scan_shape=(6, 8), calibration=PLAIN_CALIBRATION)
    session.set_map(small.truth)
    assert maps.pointer.hovered_position is session.position is None
    keys._mark()
    answer = PatternMatcher(session, lambda: None).answer((11, 15))
    assert answer.solution is None
    session.set_peaks(small.peaks)
    assert maps.layer("ipf_z", "transformer").data.shape[:2] == (6, 8)
    maps.pointer._on_move(viewer, SimpleNamespace(position=(11 * STEP_NM, 15 * STEP_NM)))
    assert maps.pointer.hovered_position is None
    keys.disconnect_all()
    keys.deleteLater()
