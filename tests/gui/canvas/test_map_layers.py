"""What the maps promise: they paint themselves, share one grid, take clicks, and tell what is under the cursor."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)

from inspect_scene import blocks, make_scene, show_map
from napari_stem_orient.core.ipf import map_colours
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.core.scan_summary import summarise
from napari_stem_orient.gui.canvas.layers import NOT_DONE_LABEL, LayerKind, layer_identity
from napari_stem_orient.gui.canvas.map_layers import map_layers_of
from napari_stem_orient.gui.jobs.sessions import session_of
from opened_scan import read_scan
from watched import watched

STEP_NM = 2.5


def names(viewer) -> list[str]:
    return [layer.name for layer in viewer.layers]


def mouse(event_type: str, position, *, modifiers=(), button=1, dragging=True) -> SimpleNamespace:
    return SimpleNamespace(
        type=event_type,
        position=tuple(position),
        modifiers=list(modifiers),
        button=button,
        is_dragging=dragging,
        dims_displayed=[0, 1],
        view_direction=None,
    )


def drag(viewer, path_nm, **options) -> None:
    """Press at the first place (y, x) in nm, move along the others, release at the last."""
    real = getattr(viewer, "__wrapped__", viewer)
    event = mouse("mouse_press", path_nm[0], **options)
    mouse_press_callbacks(real, event)
    for place in path_nm[1:]:
        event.type, event.position = "mouse_move", tuple(place)
        mouse_move_callbacks(real, event)
    event.type = "mouse_release"
    mouse_release_callbacks(real, event)


# --- painting ----------------------------------------------------------------------------------------------


def test_a_scan_shows_its_dark_field_from_the_first_block_on(maps, viewer, session, scene):
    session.set_datacube(scene.datacube)
    assert names(viewer) == []
    generator = summarise(scene.datacube)
    session.fill_summary(next(generator))
    layer = maps.layer(LayerKind.DARK_FIELD)
    assert layer.data.shape == (12, 16)
    assert not np.isnan(layer.data).any()
    assert viewer.canvas.overlays.scale_bar.visible
    try:
        while True:
            session.fill_summary(next(generator))
    except StopIteration as finished:
        session.set_summary(finished.value)
    np.testing.assert_allclose(maps.layer(LayerKind.DARK_FIELD).data, session.summary.dark_field)


def test_blocks_paint_themselves_while_the_job_runs(maps, viewer, session, scene, qtbot):
    session.set_peaks(scene.peaks)
    session.start_map(
        OrientationMap.empty(scene.peaks, scene.truth.crystals, method="transformer", parameters={})
    )
    layer = maps.layer("ipf_z", "transformer")
    assert not layer.data.any()
    vacuum = scene.truth.phase_id.reshape(scene.grain.shape) < 0
    made = blocks(scene.grain, vacuum)
    for block in made[:5]:
        session.fill_map(block)
    qtbot.waitUntil(lambda: bool(layer.data[4].any()))
    truth = map_colours(scene.truth).reshape(12, 16, 3)
    np.testing.assert_array_equal(layer.data[:5, :, :3], truth[:5])
    assert (layer.data[:5, :, 3] == 255).all()
    assert not layer.data[5:].any()
    phase = maps.layer("phase", "transformer")
    assert set(np.unique(phase.data)) == {0, 1, NOT_DONE_LABEL}
    maps.show_all()
    assert maps.layer("score", "transformer").colormap.low_color is not None
    for block in made[5:]:
        session.fill_map(block)
    session.set_map(session.current_map)
    np.testing.assert_array_equal(layer.data[..., :3], truth)
    assert maps.layer("score", "transformer").colormap.low_color is None
    assert set(np.unique(phase.data)) == {0, 1, 2}


def test_a_run_shows_the_out_of_plane_map_above_the_others(maps, viewer, session, scene):
    read_scan(session, scene.datacube)
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    hidden = ["Phase probability", "Expected error (°)", "Score", "Phase", "IPF-X"]
    assert names(viewer) == ["Virtual dark field", *hidden, "IPF-Z"]
    with_bar = [
        layer.name
        for layer in viewer.layers
        if getattr(layer, "colorbar", None) is not None and layer.colorbar.visible
    ]
    assert with_bar == hidden[:3]
    assert [layer.name for layer in viewer.layers if layer.visible] == ["Virtual dark field", "IPF-Z"]
    assert viewer.layers.selection.active.name == "IPF-Z"
    extents = {tuple(layer.extent.world.ravel()) for layer in viewer.layers}
    assert extents == {(0.0, 0.0, 11 * STEP_NM, 15 * STEP_NM)}


HIDDEN = ["Phase probability", "Expected error (°)", "Score", "Phase", "IPF-X"]


def test_the_layers_of_a_map_come_one_by_one_and_the_one_that_is_seen_first(
    maps, viewer, session, scene, qtbot
):
    inserted = []
    viewer.layers.events.inserted.connect(lambda event: inserted.append(event.value.name))
    session.set_map(scene.truth)
    assert names(viewer) == ["IPF-Z"]
    qtbot.waitUntil(lambda: len(viewer.layers) > 1)
    session.set_position((3, 4))
    qtbot.waitUntil(lambda: names(viewer) == [*HIDDEN, "IPF-Z", "Inspected position"])
    assert [name for name in inserted if name != "Inspected position"] == ["IPF-Z", *reversed(HIDDEN)]
    assert [layer.name for layer in viewer.layers if layer.visible] == ["IPF-Z", "Inspected position"]
    assert viewer.layers.selection.active.name == "IPF-Z"
    assert all(layer.thumbnail[..., :3].any() for layer in viewer.layers[:5])


def test_layers_that_the_user_has_selected_stay_so_while_others_come(maps, viewer, session, scene, qtbot):
    session.set_peaks(scene.peaks)
    session.set_map(scene.truth)
    chosen = {viewer.layers["Virtual dark field"], viewer.layers["IPF-Z"]}
    viewer.layers.selection.update(chosen)
    assert len(viewer.layers) == 2
    qtbot.waitUntil(lambda: len(viewer.layers) == 7)
    assert set(viewer.layers.selection) == chosen


def test_a_map_that_is_replaced_before_all_its_layers_are_there_leaves_none_of_them(
    maps, viewer, session, scene, qtbot
):
    other = make_scene(scan_shape=(6, 8))
    session.set_map(scene.truth)
    session.set_map(other.truth)
    qtbot.waitUntil(lambda: names(viewer) == [*HIDDEN, "IPF-Z"])
    qtbot.wait(20)
    assert {layer.data.shape[:2] for layer in viewer.layers} == {(6, 8)}
    session.set_map(scene.truth)
    session.set_peaks(other.peaks)  # lets it go
    qtbot.wait(20)
    assert names(viewer) == ["Virtual dark field"]


def test_a_viewer_that_is_closed_before_all_layers_are_there_gets_no_more(
    make_napari_viewer_proxy, scene, qtbot
):
    viewer = make_napari_viewer_proxy()
    maps = map_layers_of(viewer, session_of(viewer))
    session_of(viewer).set_map(scene.truth)
    viewer.close()
    qtbot.wait(20)
    assert len(viewer.layers) == 0
    maps.close()


def test_a_second_method_is_told_apart_and_a_second_run_uses_the_same_layers(maps, viewer, session, scene):
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    maps.layer("score", "transformer").name = "my score"
    show_map(session, scene, method="template")
    assert "IPF-Z (transformer)" in names(viewer)
    assert "IPF-Z (template)" in names(viewer)
    assert "Expected error (°) (template)" not in names(viewer)  # which it does not know
    assert "my score" in names(viewer)
    count = len(viewer.layers)
    show_map(session, scene, method="template")
    assert len(viewer.layers) == count


def test_a_layer_that_the_user_deleted_comes_back_with_the_next_run(maps, viewer, session, scene):
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    viewer.layers.remove(viewer.layers["IPF-X"])
    session.fill_map(blocks(scene.grain)[0])
    maps.refresh()
    assert "IPF-X" not in names(viewer)
    show_map(session, scene)
    assert "IPF-X" in names(viewer)


def test_ipf_y_is_made_when_asked_for(maps, viewer, session, scene):
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    maps.show_ipf("y")
    expected = map_colours(scene.truth, direction="y").reshape(12, 16, 3)
    np.testing.assert_array_equal(viewer.layers["IPF-Y"].data[..., :3], expected)
    assert not viewer.layers["IPF-Z"].visible
    show_map(session, scene)
    assert names(viewer).count("IPF-Y") == 1


def test_a_scan_of_another_shape_takes_the_old_maps_away(maps, viewer, session, scene):
    read_scan(session, scene.datacube)
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    read_scan(session, make_scene(scan_shape=(6, 8)).datacube)
    assert [name for name in names(viewer) if name != "Inspected position"] == ["Virtual dark field"]
    assert viewer.layers["Virtual dark field"].data.shape == (6, 8)


def test_another_scan_is_framed_and_its_marker_stands_on_its_own_grid(maps, viewer, session, scene, qtbot):
    """The scans differ in step and extent: what was framed and marked in the first means nothing in the second."""
    read_scan(session, scene.datacube)
    session.set_position((11, 15))
    assert "Inspected position" in names(viewer)
    other = make_scene(scan_shape=(6, 8)).datacube
    read_scan(session, other.with_calibration(other.calibration.updated(scan_step_nm=1.0)))
    assert names(viewer) == ["Virtual dark field"]
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], (2.5, 3.5))
    session.set_position((4, 5))
    qtbot.waitUntil(lambda: "Inspected position" in names(viewer))
    np.testing.assert_allclose(viewer.layers["Inspected position"].data_to_world((4, 5)), (4.0, 5.0))


def test_the_whole_scan_stays_in_view_when_the_canvas_gets_narrower_unless_the_user_chose_a_view(
    maps, viewer, session, scene, qtbot
):
    read_scan(session, scene.datacube)
    session.set_peaks(scene.peaks)
    camera = viewer.scene.camera
    zoom = camera.zoom
    viewer.canvas.size = (viewer.canvas.size[0] // 2, viewer.canvas.size[1] // 2)
    show_map(session, scene)
    qtbot.waitUntil(lambda: camera.zoom < 0.6 * zoom)
    camera.zoom = 3 * zoom
    show_map(session, scene, method="template")
    qtbot.waitUntil(lambda: not maps.framing.waiting)
    assert camera.zoom == 3 * zoom


def test_the_marker_of_a_click_before_the_run_is_not_hidden_by_the_maps(maps, viewer, session, scene):
    read_scan(session, scene.datacube)
    session.set_peaks(scene.peaks)
    session.set_position((3, 4))
    show_map(session, scene)
    assert names(viewer)[-1] == "Inspected position"
    assert viewer.layers.selection.active.name == "IPF-Z"


def test_maps_that_were_painted_while_hidden_show_in_the_layer_list(maps, viewer, session, scene):
    """napari makes no thumbnail of a hidden layer."""
    read_scan(session, scene.datacube)
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    hidden = [layer for layer in viewer.layers if not layer.visible]
    assert {layer.name for layer in hidden} == {
        "Phase probability",
        "Expected error (°)",
        "Score",
        "Phase",
        "IPF-X",
    }
    for layer in hidden:
        mine = layer.thumbnail.copy()
        assert mine[..., :3].any(), layer.name
        layer.visible = True  # napari's own now
        assert np.mean(np.abs(mine.astype(int) - layer.thumbnail) > 8) < 0.1, layer.name


def test_another_scan_step_rescales_every_layer(maps, viewer, session, scene):
    read_scan(session, scene.datacube)
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    session.set_position((3, 4))
    session.set_calibration(session.calibration.updated(scan_step_nm=7.0))
    assert {tuple(layer.scale) for layer in viewer.layers} == {(7.0, 7.0)}
    session.set_calibration(session.calibration.updated(scan_step_nm=None))
    assert {str(unit) for layer in viewer.layers for unit in layer.units} == {"pixel"}


def test_peaks_without_a_scan_can_be_clicked(maps, viewer, session, scene):
    session.set_peaks(scene.peaks)
    assert maps.layer(LayerKind.DARK_FIELD).data.shape == (12, 16)
    drag(viewer, [(2 * STEP_NM, 3 * STEP_NM)])
    assert session.position == (2, 3)


def test_maps_stand_side_by_side_and_go_back(maps, viewer, session, scene):
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    session.set_position((1, 1))
    before = {layer.name for layer in viewer.layers if layer.visible}
    maps.side_by_side(True)
    assert viewer.canvas.grid.enabled
    assert {layer.name for layer in viewer.layers if layer.visible} == {"IPF-Z", "IPF-X", "Phase"}
    maps.side_by_side(False)
    assert not viewer.canvas.grid.enabled
    assert "Inspected position" in before
    assert {layer.name for layer in viewer.layers if layer.visible} == before


def test_maps_that_stand_side_by_side_are_named_also_by_napari_s_own_button(maps, viewer, session, scene):
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    assert not any(layer.name_overlay.visible for layer in viewer.layers)
    viewer.canvas.grid.enabled = True
    show_map(session, scene, method="template")  # its layers come while the others stand there
    assert all(layer.name_overlay.visible for layer in viewer.layers)
    viewer.canvas.grid.enabled = False
    assert not any(layer.name_overlay.visible for layer in viewer.layers)


def test_closing_the_viewer_in_the_middle_of_a_drag_and_a_run_is_clean(make_napari_viewer_proxy, scene):
    viewer = make_napari_viewer_proxy()
    session = session_of(viewer)
    maps = map_layers_of(viewer, session)
    session.set_peaks(scene.peaks)
    session.start_map(
        OrientationMap.empty(scene.peaks, scene.truth.crystals, method="transformer", parameters={})
    )
    real, event = viewer.__wrapped__, mouse("mouse_press", (5, 5))
    mouse_press_callbacks(real, event)
    assert session.position == (2, 2)
    viewer.close()
    event.type, event.position = "mouse_move", (7.5, 7.5)
    mouse_move_callbacks(real, event)
    event.type = "mouse_release"
    mouse_release_callbacks(real, event)
    session.fill_map(blocks(scene.grain)[0])
    maps.refresh()
    session.set_position((1, 1))
    assert len(viewer.layers) == 0
    maps.close()


# --- the mouse ---------------------------------------------------------------------------------------------


def test_a_click_chooses_the_position_under_the_cursor_in_nm(maps, viewer, session, scene, qtbot):
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    for y, x in ((0, 0), (11, 15), (5, 9)):
        drag(viewer, [((y + 0.4) * STEP_NM, (x - 0.4) * STEP_NM)])
        assert session.position == (y, x)
        qtbot.waitUntil(lambda y=y, x=x: tuple(viewer.layers["Inspected position"].data[0]) == (y, x))
        np.testing.assert_allclose(
            viewer.layers["Inspected position"].data_to_world((y, x)), (y * STEP_NM, x * STEP_NM)
        )
    drag(viewer, [(-2 * STEP_NM, 0)])
    drag(viewer, [(0, 16 * STEP_NM)])
    assert session.position == (5, 9)


def test_a_drag_visits_positions_and_leaves_the_camera_alone(maps, viewer, session, scene):
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    seen = watched(session, "position")
    centre = viewer.scene.camera.center
    drag(viewer, [(0, x * STEP_NM) for x in (0, 0.2, 1, 2, 3, 40)])
    assert seen == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert viewer.scene.camera.center == centre
    assert viewer.scene.camera.mouse_pan


def test_with_shift_a_drag_pans(maps, viewer, session, scene):
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    centre = np.array(viewer.scene.camera.center)
    drag(viewer, [(10, 10), (7, 6)], modifiers=("Shift",))
    np.testing.assert_allclose(np.array(viewer.scene.camera.center) - centre, (0, 3, 4))
    assert session.position is None


def test_other_layers_and_tools_keep_the_mouse(maps, viewer, session, scene):
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    viewer.layers.selection.active = viewer.add_shapes(
        name="mine", scale=(STEP_NM, STEP_NM), units=("nm", "nm")
    )
    drag(viewer, [(5, 5)])
    assert session.position is None
    viewer.layers.selection.active = viewer.layers["IPF-X"]
    viewer.layers["IPF-X"].visible = True
    viewer.layers["IPF-X"].mode = "transform"
    drag(viewer, [(5, 5)])
    assert session.position is None
    viewer.layers["IPF-X"].mode = "pan_zoom"
    drag(viewer, [(5, 5)])
    assert session.position == (2, 2)


def test_the_marker_takes_no_notice_of_itself(maps, viewer, session, scene):
    """Choosing a position leaves the map active, so that the next click works as well."""
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    drag(viewer, [(5, 5)])
    assert viewer.layers.selection.active.name == "IPF-Z"
    assert layer_identity(viewer.layers["Inspected position"])[0] == LayerKind.MARKER


def test_in_a_window_the_mouse_chooses_and_the_status_bar_tells(make_napari_viewer_proxy, scene, qtbot):
    viewer = make_napari_viewer_proxy(show=True)
    session = session_of(viewer)
    maps = map_layers_of(viewer, session)
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    canvas = viewer.__wrapped__.window._qt_viewer.canvas
    qtbot.waitUntil(lambda: canvas.size[0] > 100)
    viewer.reset_view()
    events = canvas._scene_canvas.events
    height, width = canvas.size
    events.mouse_press(pos=(width / 2, height / 2), button=1, modifiers=[])
    middle = session.position
    # the middle of the view is the middle of the map, between four positions
    assert middle[0] in (5, 6)
    assert middle[1] in (7, 8)
    centre = viewer.scene.camera.center
    zoom = viewer.scene.camera.zoom
    events.mouse_release(pos=(width / 2, height / 2), button=1, modifiers=[])
    shift_px = 3 * STEP_NM * zoom
    events.mouse_press(pos=(width / 2 + shift_px, height / 2), button=1, modifiers=[])
    events.mouse_release(pos=(width / 2 + shift_px, height / 2), button=1, modifiers=[])
    assert session.position[1] - middle[1] in (2, 3, 4)
    assert viewer.scene.camera.center == centre
    # napari works its status out in a thread, which the fixture keeps from starting; ours must be what stays
    viewer.mouse_over_canvas = True
    events.mouse_move(pos=(width / 2 + shift_px, height / 2), modifiers=[])
    window = viewer.__wrapped__.window._qt_window
    window.status_thread.calculate_status()
    assert "score" in window.statusBar()._coordinates.text()
    maps.close()


# --- the status bar ----------------------------------------------------------------------------------------


def hover(viewer, y_nm: float, x_nm: float) -> str:
    """Say what the status bar shows when napari has worked out its own status there."""
    viewer.mouse_over_canvas = True
    viewer.cursor.position = (y_nm, x_nm)
    status = viewer.status
    return status["coordinates"] if isinstance(status, dict) else status


def test_the_status_bar_tells_the_solution_at_the_cursor(maps, viewer, session, scene):
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    text = hover(viewer, 10 * STEP_NM, 12 * STEP_NM)
    solution = scene.truth.at(10, 12)
    for part in ("row 10, column 12", "Cu2O", solution.zone_axis, "5.0° 20.0° 33.0°", "score 0.60", "± 3.5°"):
        assert part in text
    assert Reason.TOO_FEW_DISKS.sentence in hover(viewer, 0, 0)
    viewer.layers.selection.active = viewer.layers["Phase"]
    assert "Cu [" in hover(viewer, 3 * STEP_NM, 3 * STEP_NM)


def test_the_status_bar_of_a_cursor_at_rest_follows_the_run(maps, viewer, session, scene):
    session.set_peaks(scene.peaks)
    empty = OrientationMap.empty(scene.peaks, scene.truth.crystals, method="transformer", parameters={})
    session.start_map(empty)
    viewer.status = {"layer_name": "IPF-Z", "coordinates": "", "value": ""}
    viewer.cursor.position = (10 * STEP_NM, 12 * STEP_NM)
    session.set_map(scene.truth)
    assert "Cu2O" in viewer.status["coordinates"]


def test_the_status_bar_is_left_alone_off_the_map_and_on_other_layers(maps, viewer, session, scene):
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    assert "score" not in hover(viewer, -50, 0)
    viewer.layers.selection.active = viewer.add_image(
        np.zeros((12, 16)), scale=(STEP_NM, STEP_NM), units=("nm", "nm")
    )
    assert "score" not in hover(viewer, 10, 10)


def test_after_closing_napari_has_its_status_and_mouse_back(maps, viewer, session, scene):
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    maps.close()
    assert "score" not in hover(viewer, 10, 10)
    drag(viewer, [(5, 5)])
    assert session.position is None


def test_results_of_several_runs_have_layers_of_their_own_by_name(maps, viewer, session, scene):
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    first = maps.layer("ipf_z", "transformer")
    other = replace(scene.truth.copy(), parameters={"n_candidates": 4})
    other.phase_id[:] = -1
    session.set_map(other)
    maps.show_all()
    assert first in viewer.layers
    assert first.name == "IPF-Z (transformer)"
    second = maps.layer("ipf_z", "transformer 2")
    assert second.name == "IPF-Z (transformer 2)"
    assert not second.data[..., :3].any()
    assert first.data[..., :3].any()
    assert maps.layer("score", "transformer 2").name == "Score (transformer 2)"
    session.remove_result("transformer 2")
    assert maps.layer("ipf_z", "transformer 2") is None
    assert maps.layer("score", "transformer 2") is None
    assert first.name == "IPF-Z"
    assert session.current_map is session.orientation_maps["transformer"]
