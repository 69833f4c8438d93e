"""Whatever panel says that something is missing: its name is a link that leads to the box where it is filled in."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from qtpy.QtGui import QTextDocument
from qtpy.QtWidgets import QLabel, QWidget

from inspect_scene import Scene
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.gui.calibrate.widget import CalibrateWidget
from napari_stem_orient.gui.desk_widget import OrientationMappingWidget
from napari_stem_orient.gui.inspect.widget import InspectWidget
from napari_stem_orient.gui.open.widget import OpenWidget
from napari_stem_orient.gui.parts.missing_values import LinkLabel, calibration_words
from napari_stem_orient.gui.train.widget import TrainWidget
from napari_stem_orient.gui.virtual.widget import VirtualWidget
from napari_stem_orient.session.state import Stage
from shown_panel import ShowPanel


@pytest.fixture
def desk(show_panel: ShowPanel) -> OrientationMappingWidget:
    return show_panel(OrientationMappingWidget)


def scan(calibration: Calibration) -> DataCube:
    frames = np.random.default_rng(0).poisson(2, (3, 4, 16, 16)).astype(np.uint16)
    return DataCube(da.from_array(frames, chunks=(2, 2, -1, -1)), calibration, name="scan")


def focused(widget: QWidget) -> QWidget | None:
    window = widget.window()
    return None if window is None else window.focusWidget()


def click(label: LinkLabel, name: str) -> None:
    assert name in label.links
    label.linkActivated.emit(name)


def shown_text(label: LinkLabel) -> str:
    """What the user reads."""
    document = QTextDocument()
    document.setHtml(QLabel.text(label))
    return document.toPlainText()


def test_words_and_fields_are_those_of_the_calibration() -> None:
    assert calibration_words() == {
        "pixel size (1/Å)": "pixel_size_inv_angstrom",
        "accelerating voltage (kV)": "voltage_kv",
        "scan step": "scan_step_nm",
    }


@pytest.mark.parametrize("name", ["pixel_size_inv_angstrom", "voltage_kv"])
def test_what_index_lacks_leads_to_its_box_in_open(
    desk: OrientationMappingWidget, scene: Scene, name: str
) -> None:
    desk.session.set_peaks(scene.peaks.with_calibration(scene.peaks.calibration.updated(**{name: None})))
    opening, index = desk.panels[Stage.OPEN], desk.panels[Stage.INDEX]
    assert isinstance(opening, OpenWidget)
    desk.sections[Stage.OPEN].set_unfolded(False)
    click(index.state_label, name)
    assert desk.sections[Stage.OPEN].unfolded
    assert focused(desk) is opening.form.editor(name)


def test_each_step_leads_to_the_one_that_gives_what_it_lacks(desk: OrientationMappingWidget) -> None:
    opening, detect, index = (desk.panels[step] for step in (Stage.OPEN, Stage.DETECT, Stage.INDEX))
    assert isinstance(opening, OpenWidget)
    click(detect.state_label, "path")
    assert focused(desk) is opening.path_line
    for step in (Stage.CALIBRATE, Stage.INDEX, Stage.EXPORT):
        desk.sections[Stage.DETECT].set_unfolded(False)
        click(desk.panels[step].state_label, "peaks")
        assert desk.sections[Stage.DETECT].unfolded
    desk.sections[Stage.INDEX].set_unfolded(False)
    click(index.state_label, "crystals")
    assert focused(desk) is index.box_of("crystals")


def test_an_unknown_pixel_size_in_calibrate_leads_to_its_box(
    desk: OrientationMappingWidget, scene: Scene
) -> None:
    bare = scene.peaks.calibration.updated(pixel_size_inv_angstrom=None)
    desk.session.set_peaks(scene.peaks.with_calibration(bare))
    calibrate, opening = desk.panels[Stage.CALIBRATE], desk.panels[Stage.OPEN]
    assert isinstance(calibrate, CalibrateWidget)
    assert isinstance(opening, OpenWidget)
    label = calibrate.rows.rows["pixel size"].value_label
    assert isinstance(label, LinkLabel)
    assert label.text() == "unknown"
    click(label, "pixel_size_inv_angstrom")
    assert focused(desk) is opening.form.editor("pixel_size_inv_angstrom")


def test_train_finds_its_own_crystals_and_its_name(show_panel: ShowPanel) -> None:
    train = show_panel(TrainWidget)
    assert train.stopped_label.text() == "Needs a crystal: add one above."
    click(train.stopped_label, "crystals")
    assert focused(train) is train.form.crystals.add_box


def test_virtual_and_inspect_lead_to_open_and_open_the_desk_where_it_is_closed(
    show_panel: ShowPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual, inspect = show_panel(VirtualWidget), show_panel(InspectWidget)
    opened: list[tuple[str, ...]] = []

    class Window:
        def add_plugin_dock_widget(self, *names: str) -> None:
            opened.append(names)

    monkeypatch.setattr(type(virtual.viewer), "window", Window(), raising=False)
    assert virtual.missing_label.text() == "Needs an open scan."
    click(virtual.missing_label, "path")
    label = inspect._header
    assert isinstance(label, LinkLabel)
    click(label, "path")
    assert opened == [("napari-stem-orient", "Orientation mapping")] * 2
    virtual.session.set_datacube(scan(Calibration()))
    virtual.bright_button.click()
    assert virtual.missing_label.links == ("pixel_size_inv_angstrom", "voltage_kv")
    virtual.session.set_datacube(scan(Calibration(voltage_kv=200, pixel_size_inv_angstrom=0.01)))
    assert not virtual.missing_label.isVisibleTo(virtual)


def test_what_is_said_is_read_as_it_was_written(desk: OrientationMappingWidget) -> None:
    label = desk.panels[Stage.INDEX].message_label
    for text in ("a < b & c", "two\nlines", "Needs pixel size (1/Å) and pixel size (1/Å)."):
        label.setText(text)
        assert label.text() == text
        assert shown_text(label) == text
    assert label.links == ("pixel_size_inv_angstrom",)
    label.setText("Saved.")
    assert label.links == ()
