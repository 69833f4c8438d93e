"""The menu of layers in the dock: what was deleted comes back, and is as it was."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtGui import QAction

from inspect_scene import show_map
from napari_stem_orient.gui.canvas.layers_button import LayersButton
from napari_stem_orient.gui.canvas.map_layers import map_layers_of
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.gui.virtual.widget import VirtualWidget
from opened_scan import read_scan

pytestmark = pytest.mark.bindings


@pytest.fixture
def button(viewer, qtbot):
    button = LayersButton(viewer, map_layers_of(viewer, session_of(viewer)))
    qtbot.addWidget(button)
    return button


def actions(button: LayersButton) -> dict[str, QAction]:
    return {action.text(): action for action in button.fill_menu().actions()}


def test_before_anything_is_open_the_menu_says_so(button):
    (action,) = actions(button).values()
    assert not action.isEnabled()
    assert "open a scan first" in action.text()


def test_every_layer_that_was_deleted_comes_back(button, viewer, scene):
    session = session_of(viewer)
    read_scan(session, scene.datacube)
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    before = {layer.name: layer.data.copy() for layer in viewer.layers}
    viewer.layers.clear()
    for name in before:
        assert not actions(button)[name].isChecked()
        actions(button)[name].trigger()
    for name, data in before.items():
        np.testing.assert_array_equal(viewer.layers[name].data, data)
        assert actions(button)[name].isChecked()
    assert len(viewer.layers) == len(before)


def test_ticks_show_and_hide_a_layer_and_ipf_y_is_offered_too(button, viewer, scene):
    session = session_of(viewer)
    session.set_peaks(scene.peaks)
    show_map(session, scene)
    actions(button)["IPF-Z"].trigger()
    assert not viewer.layers["IPF-Z"].visible
    actions(button)["Phase"].trigger()
    assert viewer.layers["Phase"].visible
    assert viewer.layers.selection.active is viewer.layers["Phase"]
    actions(button)["IPF-Y"].trigger()
    assert viewer.layers["IPF-Y"].visible


def test_methods_are_told_apart(button, viewer, scene):
    session = session_of(viewer)
    session.set_peaks(scene.peaks)
    for method in ("transformer", "template"):
        show_map(session, scene, method=method)
    layer = session.painter.layer("score", "template")
    viewer.layers.remove(layer)
    actions(button)["Score (template)"].trigger()
    assert session.painter.layer("score", "template") is not None


def test_the_image_of_a_virtual_detector_comes_back(button, viewer, scene, qtbot):
    session = session_of(viewer)
    dock = VirtualWidget(viewer)
    qtbot.addWidget(dock)
    read_scan(session, scene.datacube)
    dock.bright_button.click()
    qtbot.waitUntil(lambda: not dock.imager.running and "Bright field" in viewer.layers, timeout=60_000)
    before = viewer.layers["Bright field"].data.copy()
    viewer.layers.remove(viewer.layers["Bright field"])
    actions(button)["Bright field"].trigger()
    np.testing.assert_array_equal(viewer.layers["Bright field"].data, before)
