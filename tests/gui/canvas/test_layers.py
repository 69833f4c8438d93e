from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from napari.utils.colormaps import ensure_colormap

from example_maps import CALIBRATION, empty_map, example_block, example_map
from inspect_scene import make_scene
from napari_stem_orient.core import map_kinds as map_kinds_module
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.ipf import map_colours, phase_colour
from napari_stem_orient.core.map_kinds import Legend, kinds_of, map_kind, map_kinds
from napari_stem_orient.gui.canvas.layers import (
    blank,
    contrast_limits,
    dark_field_layer,
    dark_field_of_peaks,
    layer_identity,
    layers_of_map,
    map_layer,
    marker_layer,
    paint,
    scan_grid,
    show_whole,
    without_gaps,
)
from napari_stem_orient.gui.canvas.own_layers import add_own

ALL_MAPS = map_kinds()


def keys_of(orientation_map) -> set[str]:
    return {kind.key for kind in kinds_of(orientation_map)}


def shown(layer_tuple) -> Layer:
    return add_own(ViewerModel(), layer_tuple)


def test_all_maps_lie_on_one_grid_in_nm():
    viewer = ViewerModel()
    viewer.add_layer(Layer.create(*dark_field_layer(np.ones((3, 4)), CALIBRATION)))
    for kind in ALL_MAPS:
        viewer.add_layer(Layer.create(*map_layer(example_map(), kind)))
    for layer in viewer.layers:
        assert tuple(layer.scale) == (5.0, 5.0)
        assert [str(unit) for unit in layer.units] == ["nanometer", "nanometer"]
        assert layer.axis_labels == ("y", "x")
        np.testing.assert_allclose(layer.extent.world, [[0, 0], [10, 15]])


def test_without_a_scan_step_maps_count_positions():
    assert scan_grid(Calibration())["units"] == ("pixel", "pixel")
    assert scan_grid(Calibration())["scale"] == (1.0, 1.0)


@pytest.mark.parametrize("kind", [map_kind(key) for key in ("ipf_z", "ipf_x", "ipf_y")])
def test_ipf_layers_have_the_colours_of_the_key_and_are_black_where_not_indexed(kind):
    orientation_map = example_map()
    layer = shown(map_layer(orientation_map, kind))
    assert layer.rgb
    expected = map_colours(orientation_map, direction=kind.direction).reshape(3, 4, 3)
    np.testing.assert_array_equal(layer.data[..., :3], expected)
    assert not layer.data[..., :3].reshape(-1, 3)[~orientation_map.indexed].any()
    assert (layer.data[..., 3] == 255).all()


def test_phase_labels_tell_the_name_and_colour_of_each_crystal():
    orientation_map = example_map()
    layer = shown(map_layer(orientation_map, map_kind("phase")))
    flat = layer.data.ravel()
    np.testing.assert_array_equal(flat, orientation_map.phase_id + 1)
    assert list(layer.features["phase"]) == ["not indexed", "Cu", "Cu2O", "not indexed yet"]
    assert layer.opacity == 1
    np.testing.assert_allclose(layer.get_color(1)[:3], _rgb(phase_colour(0)), atol=1e-6)
    np.testing.assert_allclose(layer.get_color(2)[:3], _rgb(phase_colour(1)), atol=1e-6)
    np.testing.assert_allclose(layer.colormap.map(np.array([0]))[0], [0, 0, 0, 1])


def test_the_status_of_the_phase_layer_names_the_crystal():
    viewer = ViewerModel()
    orientation_map = example_map()
    viewer.add_layer(Layer.create(*map_layer(orientation_map, map_kind("phase"))))
    index = int(np.flatnonzero(orientation_map.phase_id == 1)[0])
    viewer.mouse_over_canvas = True
    viewer.cursor.position = (5.0 * (index // 4), 5.0 * (index % 4) + 0.1)
    assert "Cu2O" in viewer.status["coordinates"]


@pytest.mark.parametrize("kind", [map_kind(key) for key in ("score", "confidence", "phase_probability")])
def test_values_are_black_where_not_indexed(kind):
    orientation_map = example_map()
    layer = shown(map_layer(orientation_map, kind))
    np.testing.assert_array_equal(np.isnan(layer.data.ravel()), ~orientation_map.indexed)
    np.testing.assert_allclose(layer.colormap.map(np.array([np.nan])), [[0, 0, 0, 1]])


def test_only_several_crystals_make_a_map_of_the_phase_probability():
    assert "phase_probability" in keys_of(example_map(crystals=("Cu", "Cu2O")))
    assert "phase_probability" not in keys_of(example_map(crystals=("Cu",)))
    template = replace(example_map(crystals=("Cu", "Cu2O")), method="template")
    assert not {"phase_probability", "confidence"} & keys_of(template)


def test_the_phase_probability_runs_from_0_to_1():
    orientation_map = example_map()
    layer = shown(map_layer(orientation_map, map_kind("phase_probability")))
    assert layer.name == "Phase probability"
    assert tuple(layer.contrast_limits) == (0.0, 1.0)
    indexed = orientation_map.indexed
    np.testing.assert_array_equal(layer.data.ravel()[indexed], orientation_map.phase_probability[indexed])


def test_a_smaller_expected_error_looks_brighter():
    colormap = shown(map_layer(example_map(), map_kind("confidence"))).colormap
    good, bad = colormap.map(np.array([0.0, 1.0]))[:, :3].sum(axis=1)
    assert good > bad


@pytest.mark.parametrize("kind", ALL_MAPS)
def test_painting_block_by_block_equals_painting_at_once(kind):
    orientation_map = empty_map()
    data = blank(kind, orientation_map.scan_shape)
    np.testing.assert_array_equal(data, map_layer(orientation_map, kind)[0])
    block = example_block(12)
    orientation_map.fill(block)
    for positions in np.array_split(block.positions, 4):
        paint(data, orientation_map, kind, positions=positions)
    np.testing.assert_array_equal(data, map_layer(orientation_map, kind)[0])


def test_a_name_tells_the_method_once_there_are_several():
    assert map_layer(example_map(), map_kind("ipf_z"))[1]["name"] == "IPF-Z"
    named = map_layer(example_map(), map_kind("confidence"), name_of_result=True)[1]["name"]
    assert named == "Expected error (°) (transformer)"


def test_layers_tell_what_they_show_and_others_do_not():
    layer = shown(map_layer(example_map(), map_kind("score")))
    assert layer_identity(layer) == ("score", "transformer")
    assert layer_identity(ViewerModel().add_image(np.zeros((3, 3)))) is None


@pytest.mark.parametrize("kind", ALL_MAPS)
def test_positions_that_are_not_done_yet_are_seen_through_and_others_are_not(kind):
    """Of twelve positions, the first eight are done; number 0, 3 and 6 have too few disks."""
    orientation_map = empty_map()
    orientation_map.fill(example_block(8))
    layer = shown(map_layer(orientation_map, kind))
    colours = seen(layer)
    np.testing.assert_array_equal(colours[8:, 3], 0)
    np.testing.assert_array_equal(colours[:8, 3], 1)
    np.testing.assert_array_equal(colours[[0, 3, 6], :3], 0)
    assert colours[1, :3].any()


def test_a_whole_map_shows_low_values_whatever_the_contrast_limits():
    """While positions are to come, what lies below the limits is seen through; not so afterwards."""
    layer = shown(map_layer(empty_map(), map_kind("score")))
    assert layer.colormap.low_color is not None
    show_whole(layer, example_map())
    assert layer.colormap.low_color is None
    layer.colormap = "gray"
    show_whole(layer, empty_map())
    assert layer.colormap.name == "gray"  # which is the user's choice


def seen(layer: Layer) -> np.ndarray:
    """(n, 4) colours, 0 to 1, in which a layer shows its pixels."""
    data = layer.data.reshape(-1, *layer.data.shape[2:])
    if data.ndim == 2:
        return data / 255
    if data.dtype.kind == "f":
        low, high = layer.contrast_limits
        data = np.where(np.isnan(data), np.nan, (np.clip(data, low, high) - low) / (high - low))
    return np.asarray(layer.colormap.map(data)).reshape(-1, 4)


def test_a_subsample_becomes_a_coarse_picture():
    image = np.full((4, 6), np.nan, dtype=np.float32)
    image[0, 0], image[3, 5] = 1, 2
    filled = without_gaps(image)
    assert set(np.unique(filled)) == {1.0, 2.0}
    assert not np.isnan(filled).any()
    assert not without_gaps(np.full((2, 2), np.nan, dtype=np.float32)).any()


@pytest.mark.parametrize("image", [np.zeros((2, 2)), np.full((2, 2), np.nan), np.ones((2, 2))])
def test_flat_and_empty_images_get_limits_that_napari_takes(image):
    low, high = contrast_limits(image)
    assert high > low
    shown(dark_field_layer(image, CALIBRATION))


def test_peaks_without_a_scan_make_a_dark_field_of_their_disks():
    peaks = make_scene(scan_shape=(4, 4)).peaks
    dark_field = dark_field_of_peaks(peaks)
    assert dark_field.shape == (4, 4)
    assert dark_field[0, 0] == 0
    y, x = 3, 1
    _, _, intensity = peaks.at(y, x).T
    assert dark_field[y, x] == pytest.approx(intensity.sum() - 1000.0, rel=1e-5)


def test_the_marker_lies_on_its_position():
    points = shown(marker_layer((2, 3)))
    np.testing.assert_array_equal(points.data, [[2, 3], [2, 3]])


def _rgb(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def test_a_new_kind_of_map_is_one_entry_of_the_table(monkeypatch):
    """Its layer has the colours, the limits and the name that the entry says, and is offered among the others."""
    left_over = map_kinds_module.MapKind(
        key="unexplained",
        name="Disks left over",
        title="Disks that nothing explains",
        legend=Legend.COLOUR_BAR,
        values=lambda orientation_map, at: orientation_map.unexplained_disks[at].astype(np.float32),
        limits=(0.0, 10.0),
        smaller_is_better=True,
        column="left_over",
    )
    monkeypatch.setattr(map_kinds_module, "MAP_KINDS", (*map_kinds(), left_over))
    orientation_map = example_map()
    assert layers_of_map(orientation_map)[-1] is left_over
    layer = shown(map_layer(orientation_map, left_over))
    assert layer.name == "Disks left over"
    assert tuple(layer.contrast_limits) == (0.0, 10.0)
    assert layer_identity(layer) == ("unexplained", "transformer")
    np.testing.assert_array_equal(
        layer.data.ravel()[orientation_map.indexed],
        orientation_map.unexplained_disks[orientation_map.indexed],
    )
    best, worst = layer.colormap.map([0.0, 1.0])
    np.testing.assert_allclose(best, ensure_colormap("viridis").map([1.0])[0], atol=1e-6)
    np.testing.assert_allclose(worst, ensure_colormap("viridis").map([0.0])[0], atol=1e-6)
