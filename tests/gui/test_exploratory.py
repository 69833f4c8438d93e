"""What nobody has calibrated is said wherever results are made, shown and written; nothing is said where all is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from inspect_scene import PLAIN_CALIBRATION, Scene, make_scene
from napari_stem_orient.gui.canvas.solution_text import status_text
from napari_stem_orient.gui.export.widget import ExportWidget
from napari_stem_orient.gui.index.widget import IndexWidget

ALL = ("origin", "ellipse", "pixel size", "rotation")


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene((4, 6), PLAIN_CALIBRATION)


@pytest.mark.parametrize("kind", [IndexWidget, ExportWidget])
def test_panels_name_what_is_not_calibrated_until_it_is(
    kind: type[IndexWidget] | type[ExportWidget], qtbot: QtBot, scene: Scene
) -> None:
    panel = kind(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(panel)
    session = panel.session
    assert panel.exploratory.isHidden()
    session.set_peaks(scene.peaks)
    assert panel.exploratory.text() == (
        "Exploratory: origin, ellipse, pixel size and rotation are not calibrated."
    )
    for quantity in ALL[:3]:
        session.confirm_calibration(quantity)  # type: ignore[arg-type]
    assert panel.exploratory.text() == "Exploratory: rotation is not calibrated."
    assert "Calibrate" in panel.exploratory.toolTip()
    session.confirm_calibration("rotation")
    assert panel.exploratory.isHidden()
    session.undo_calibration()
    assert not panel.exploratory.isHidden()


def test_export_speaks_of_the_map_not_of_the_peaks(qtbot: QtBot, scene: Scene) -> None:
    panel = ExportWidget(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(panel)
    panel.session.set_map(replace(scene.truth, calibration=PLAIN_CALIBRATION.with_checked(*ALL)))  # type: ignore[arg-type]
    assert panel.exploratory.isHidden()


def test_the_status_bar_calls_a_solution_exploratory_while_something_is_unchecked(scene: Scene) -> None:
    assert status_text(scene.truth, (3, 5)).endswith("   exploratory")
    checked = replace(scene.truth, calibration=PLAIN_CALIBRATION.with_checked(*ALL))  # type: ignore[arg-type]
    assert "exploratory" not in status_text(checked, (3, 5))
