"""What the user makes of our layers is the user's: no job paints, renames or removes it."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from napari.layers import Layer

from inspect_scene import blocks, make_scene, show_map
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.gui.canvas.layers import layer_identity
from opened_scan import read_scan


def begin_run(session, scene) -> None:
    """Begin an indexing run, and let it do the first row."""
    session.start_map(
        OrientationMap.empty(scene.peaks, scene.truth.crystals, method="transformer", parameters={})
    )
    session.fill_map(blocks(scene.grain)[0])
    session.painter.show_all()
    session.painter.refresh()


def duplicate(viewer, layer: Layer) -> Layer:
    """As napari's own Duplicate does it."""
    data, state, kind = layer.as_layer_data_tuple()
    state["name"] = f"{layer.name} copy"
    copy = Layer.create(deepcopy(data), state, kind)
    viewer.layers.insert(viewer.layers.index(layer) + 1, copy)
    return copy


KINDS = ("ipf_z", "phase", "score")


@pytest.mark.parametrize("kind", KINDS)
def test_a_duplicate_is_neither_painted_by_the_next_run_nor_removed_with_the_scan(
    maps, viewer, session, scene, kind
):
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    copy = duplicate(viewer, maps.layer(kind, "transformer"))
    before = copy.data.copy()
    assert layer_identity(copy) is None
    begin_run(session, scene)
    np.testing.assert_array_equal(copy.data, before)
    assert not np.array_equal(maps.layer(kind, "transformer").data, before)
    read_scan(session, make_scene(scan_shape=(6, 8)).datacube)
    assert [layer.name for layer in viewer.layers] == ["Virtual dark field", copy.name]


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_that_the_user_renames_stays_as_it_is_and_the_next_run_has_one_of_its_own(
    maps, viewer, session, scene, kind
):
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    mine = maps.layer(kind, "transformer")
    mine.name, before = "first run", mine.data.copy()
    show_map(session, scene, method="template")
    begin_run(session, scene)
    np.testing.assert_array_equal(mine.data, before)
    assert mine.name == "first run"
    assert maps.layer(kind, "transformer") is not mine
    session.set_peaks(make_scene(scan_shape=(6, 8)).peaks)
    assert mine in viewer.layers


def test_a_dark_field_and_a_marker_that_are_duplicated_or_renamed_stay(maps, viewer, session, scene, qtbot):
    read_scan(session, scene.datacube)
    session.set_position((2, 3))
    qtbot.waitUntil(lambda: "Inspected position" in viewer.layers)
    copy = duplicate(viewer, viewer.layers["Inspected position"])
    viewer.layers["Virtual dark field"].name = "where I was"
    read_scan(session, make_scene(scan_shape=(6, 8)).datacube)
    assert {layer.name for layer in viewer.layers} == {"Virtual dark field", "where I was", copy.name}


def test_a_layer_of_the_user_that_has_the_name_of_ours_is_left_alone(maps, viewer, session, scene):
    """As after "Save Selected Layers" and opening the file: name and data are those of a map."""
    theirs = viewer.add_image(np.zeros((12, 16, 3), dtype=np.uint8), name="IPF-Z")
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    assert not theirs.data.any()
    assert maps.layer("ipf_z", "transformer").name == "IPF-Z [1]"
    show_map(session, scene)
    assert sum(layer.name.startswith("IPF-Z") for layer in viewer.layers) == 2
    session.set_peaks(make_scene(scan_shape=(6, 8)).peaks)
    assert theirs in viewer.layers


@pytest.mark.parametrize("mode", ["paint", "fill", "erase", "polygon"])
def test_the_phase_map_cannot_be_painted_but_its_duplicate_can(maps, viewer, session, scene, mode):
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    phase = maps.layer("phase", "transformer")
    phase.visible = True
    copy = duplicate(viewer, phase)
    for _ in range(2):
        phase.mode = mode
        assert phase.mode == "pan_zoom"
        assert not phase.editable
        viewer.dims.ndisplay = 3  # and back: napari makes labels editable again
        viewer.dims.ndisplay = 2
        phase.editable = True
        show_map(session, scene)
    copy.mode = mode
    assert copy.mode == mode


def test_positions_are_chosen_over_a_copy_of_a_map_too_unless_it_is_of_another_scan(
    maps, viewer, session, scene
):
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    copy = duplicate(viewer, maps.layer("ipf_z", "transformer"))
    viewer.layers.selection.active = copy
    copy.translate = (100.0, 100.0)
    assert maps.pointer.position_at((100 + 2.5 * 4, 100 + 2.5 * 7)) == (4, 7)
    session.set_peaks(make_scene(scan_shape=(6, 8)).peaks)
    viewer.layers.selection.active = copy
    assert maps.pointer.position_at((100 + 2.5 * 4, 100 + 2.5 * 7)) is None
