"""Panel and command line open a file in the same way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from napari_stem_orient.cli.choices import open_choice, open_scan
from napari_stem_orient.cli.main import build_parser
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.gui.open.widget import OpenWidget
from napari_stem_orient.gui.parts.number_box import NumberBox
from napari_stem_orient.steps.open import OpenChoice
from patience import Until


@pytest.fixture
def panel(qtbot: QtBot) -> OpenWidget:
    panel = OpenWidget(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(panel)
    return panel


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """14 frames that do not say how they were scanned."""
    frames = np.random.default_rng(0).poisson(2, (14, 16, 16)).astype(np.uint16)
    frames[..., 6:10, 6:10] += 50
    np.save(tmp_path / "stack.npy", frames)
    return tmp_path / "stack.npy"


def by_command(path: Path, *words: str) -> tuple[OpenChoice, DataCube]:
    arguments = build_parser("info").parse_args(["info", str(path), *words])
    return open_choice(arguments), open_scan(arguments, path)


def test_equal_input_is_an_equal_choice_and_opens_the_same_scan(
    stack: Path, panel: OpenWidget, until: Until
) -> None:
    panel.path_line.setText(str(stack))
    panel.path_line.returnPressed.emit()
    until(lambda: not panel.shape_row.isHidden())
    panel.shape_box.setEditText("3 x 4")
    panel.shape_row.first_box.setValue(2)
    panel.shape_row.last_box.setValue(13)
    panel.shape_button.click()
    until(lambda: panel.session.summary is not None)
    for name, value in (("voltage_kv", 300), ("pixel_size_inv_angstrom", 0.02)):
        box = panel.form.editor(name)
        assert isinstance(box, NumberBox)
        box.setValue(value)
    words = ["--scan-shape", "3", "4", "--first-frame", "2", "--last-frame", "13"]
    words += ["--voltage-kv", "300", "--pixel-size-inv-angstrom", "0.02"]
    choice, datacube = by_command(stack, *words)
    opened = panel.session.datacube
    assert panel.session.request.choice == choice
    assert opened is not None
    assert opened.calibration == datacube.calibration
    assert opened.opened_as == datacube.opened_as
    assert np.array_equal(opened.data.compute(), datacube.data.compute())


def test_lost_frames_are_the_same_in_both(stack: Path, panel: OpenWidget, until: Until) -> None:
    panel.open_path(stack)
    until(lambda: not panel.shape_row.isHidden())
    panel.shape_box.setEditText("3 x 5")
    panel.shape_row.lost_line.setText("7")
    panel.shape_button.click()
    until(lambda: panel.session.summary is not None)
    choice, datacube = by_command(stack, "--scan-shape", "3", "5", "--lost-frames", "7")
    assert panel.session.request.choice == choice
    assert panel.session.datacube is not None
    assert panel.session.datacube.n_missing == datacube.n_missing == 1
