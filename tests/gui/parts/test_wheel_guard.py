"""The wheel scrolls the panels: what was not clicked keeps its value, and plots their view."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyqtgraph as pg
import pytest
from napari import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QScrollArea,
    QScrollBar,
    QSlider,
    QSpinBox,
    QTabBar,
    QVBoxLayout,
    QWidget,
)

from napari_stem_orient.gui.calibrate.views import CalibrationViews
from napari_stem_orient.gui.desk_widget import OrientationMappingWidget
from napari_stem_orient.gui.parts.fit_button import FitButton
from napari_stem_orient.gui.parts.pattern_view import PatternView
from napari_stem_orient.gui.parts.wheel_guard import guard_wheel
from patience import Until

pytestmark = pytest.mark.bindings

NAME = "napari-stem-orient"
DOCKS = (
    "Orientation mapping", "Inspect", "Open", "Detect", "Calibrate", "Index", "Export", "Train a model",
    "Virtual detectors",
)  # fmt: skip


def turn(widget: QWidget, *, control: bool = False, notches: int = -1) -> None:
    """Turn the wheel over the middle of a widget; as Qt does, hand it on from who does not take it to its parent."""
    takes: QWidget | None = widget
    while takes is not None and not takes.isWindow():
        event = wheel(takes, control=control, notches=notches)
        QApplication.sendEvent(takes, event)
        if event.isAccepted():
            return
        takes = takes.parentWidget()


def wheel(widget: QWidget, *, control: bool, notches: int) -> QWheelEvent:
    middle = QPointF(widget.rect().center())
    return QWheelEvent(
        middle,
        QPointF(widget.mapToGlobal(widget.rect().center())),
        QPoint(0, 0),
        QPoint(0, 120 * notches),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.ControlModifier if control else Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )


def value_of(widget: QWidget) -> Any:
    if isinstance(widget, (QComboBox, QTabBar)):
        return widget.currentIndex()
    assert isinstance(widget, (QAbstractSlider, QAbstractSpinBox))
    return widget.value()  # type: ignore[union-attr]


def what_turns(panel: QWidget) -> list[QWidget]:
    kinds = (QAbstractSpinBox, QComboBox, QAbstractSlider, QTabBar)
    return [w for w in panel.findChildren(QWidget) if isinstance(w, kinds) and not isinstance(w, QScrollBar)]


@pytest.mark.parametrize("dock_name", DOCKS)
def test_the_wheel_changes_nothing_in_a_panel_that_nobody_has_clicked(
    make_napari_viewer_proxy: Callable[..., Viewer], qtbot: QtBot, qapp: QApplication, dock_name: str
) -> None:
    viewer = make_napari_viewer_proxy()
    _, panel = viewer.window.add_plugin_dock_widget(NAME, dock_name)
    qtbot.wait(50)
    qapp.processEvents()
    controls = what_turns(panel)
    assert controls or dock_name == "Export"
    for control in controls:
        if isinstance(control, QComboBox) and control.count() < 2:
            control.addItems(["one", "other"])
        control.setEnabled(True)
        before = value_of(control)
        for notches in (-1, 1, 3):
            turn(control, notches=notches)
            assert value_of(control) == before, f"{dock_name}: {control} {control.objectName()}"
        assert control.focusPolicy() != Qt.FocusPolicy.WheelFocus
    viewer.close()


def test_every_dock_of_the_manifest_is_in_the_walk() -> None:
    import npe2

    manifest = npe2.PluginManifest.from_distribution(NAME)
    titles = {widget.display_name for widget in manifest.contributions.widgets or ()}
    assert titles == set(DOCKS)


def test_turning_the_wheel_over_a_box_scrolls_the_desk(
    make_napari_viewer_proxy: Callable[..., Viewer], until: Until
) -> None:
    viewer = make_napari_viewer_proxy(show=True)
    _, desk = viewer.window.add_plugin_dock_widget(NAME, "Orientation mapping")
    assert isinstance(desk, OrientationMappingWidget)
    for section in desk.sections.values():
        section.set_unfolded(True)
    desk.setMaximumHeight(300)
    bar = desk.scroll_area.verticalScrollBar()
    assert bar is not None
    until(lambda: bar.maximum() > 200)
    boxes = [b for b in what_turns(desk) if b.isVisible() and b.isEnabled()]
    assert boxes
    for box in boxes:
        bar.setValue(0)
        turn(box)
        assert bar.value() > 0, box


@pytest.fixture
def panel(qtbot: QtBot) -> Iterator[QWidget]:
    """A panel that scrolls, with nothing in it yet."""
    area = QScrollArea()
    qtbot.addWidget(area)
    inside = QWidget()
    QVBoxLayout(inside)
    guard_wheel(inside)
    area.setWidget(inside)
    area.setWidgetResizable(True)
    area.resize(200, 200)
    area.show()
    yield inside
    area.close()


def add(panel: QWidget, widget: QWidget) -> None:
    layout = panel.layout()
    assert layout is not None
    layout.addWidget(widget)


def test_what_comes_later_and_deep_inside_is_guarded_too(
    panel: QWidget, qtbot: QtBot, qapp: QApplication
) -> None:
    holder = QWidget()
    QVBoxLayout(holder)
    add(panel, holder)
    qapp.processEvents()
    slider, spin = QSlider(Qt.Orientation.Horizontal), QSpinBox()
    spin.setValue(50)
    slider.setValue(50)
    add(holder, slider)
    add(holder, spin)
    qtbot.wait(20)
    for widget in (slider, spin):
        turn(widget)
        assert widget.value() == 50
        line = widget.findChild(QWidget)
        if line is not None:
            turn(line)
            assert widget.value() == 50


def test_what_comes_with_children_of_its_own_is_guarded_to_the_bottom(panel: QWidget, qtbot: QtBot) -> None:
    outer, inner = QWidget(), QWidget()
    QVBoxLayout(outer)
    QVBoxLayout(inner)
    spin = QSpinBox()
    add(inner, spin)
    add(outer, inner)
    add(panel, outer)
    qtbot.wait(20)
    late = QSpinBox()
    add(inner, late)  # into a widget that came as a grandchild
    qtbot.wait(20)
    for box in (spin, late):
        box.setValue(50)
        turn(box)
        assert box.value() == 50


@pytest.mark.parametrize("kind", [QComboBox, QSpinBox])
def test_a_box_that_was_clicked_turns_until_something_else_is(
    panel: QWidget, qtbot: QtBot, kind: type[QWidget]
) -> None:
    boxes = [kind(), kind()]
    for box in boxes:
        if isinstance(box, QComboBox):
            box.addItems(["one", "two", "three"])
        else:
            box.setValue(50)  # type: ignore[attr-defined]
        add(panel, box)
    qtbot.wait(20)
    before = value_of(boxes[0])
    boxes[0].setFocus()
    turn(boxes[0])
    assert value_of(boxes[0]) == before, "focus alone is no click"
    qtbot.mouseClick(boxes[0], Qt.MouseButton.LeftButton, pos=QPoint(4, boxes[0].height() // 2))
    if isinstance(boxes[0], QComboBox):
        boxes[0].hidePopup()
    boxes[0].setFocus(Qt.FocusReason.MouseFocusReason)
    turn(boxes[0])
    assert value_of(boxes[0]) != before
    boxes[1].setFocus(Qt.FocusReason.MouseFocusReason)
    now = value_of(boxes[0])
    turn(boxes[0])
    assert value_of(boxes[0]) == now


def test_a_plot_zooms_with_control_or_after_a_click_and_a_button_shows_all_again(
    panel: QWidget, qtbot: QtBot
) -> None:
    view = PatternView()
    view.setMinimumHeight(400)
    add(panel, view)
    qtbot.wait(50)
    view.set_frame(origin_px=(32, 32), pixel_size_inv_angstrom=0.02, detector_shape=(64, 64))
    box = view.getPlotItem().getViewBox()

    def width() -> float:
        left, right = box.viewRange()[0]
        return float(right - left)

    whole = width()
    viewport = view.viewport()
    assert viewport is not None
    area = panel.parentWidget()
    assert area is not None
    scroll_area = area.parentWidget()
    assert isinstance(scroll_area, QScrollArea)
    bar = scroll_area.verticalScrollBar()
    assert bar is not None
    turn(viewport)
    assert width() == whole
    assert bar.value() > 0
    turn(viewport, control=True, notches=2)
    assert width() < 0.98 * whole
    button = view.findChild(FitButton)
    assert button is not None
    assert button.isVisible()
    assert "Show all" in button.toolTip()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert width() == pytest.approx(whole)
    qtbot.mouseClick(viewport, Qt.MouseButton.LeftButton)
    turn(viewport, notches=2)
    assert width() < 0.98 * whole


def test_every_plot_has_its_button(make_napari_viewer_proxy: Callable[..., Viewer], qtbot: QtBot) -> None:
    viewer = make_napari_viewer_proxy()
    views = CalibrationViews()
    qtbot.addWidget(views)
    plots = views.findChildren(pg.GraphicsView)
    assert len(plots) == 3
    for dock_name in ("Inspect", "Train a model", "Virtual detectors"):
        _, panel = viewer.window.add_plugin_dock_widget(NAME, dock_name)
        found = panel.findChildren(pg.GraphicsView)
        assert found, dock_name
        plots += found
    for plot in plots:
        assert plot.findChild(FitButton) is not None, plot
        assert "Ctrl and the wheel zoom" in plot.toolTip(), plot
    viewer.close()
