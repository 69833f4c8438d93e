"""The panel that trains: its choices, a live run, pause, resume and cancel, its report, and the way to Index."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari import Viewer
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QCoreApplication, QEvent

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.gui.index.widget import IndexWidget
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.gui.parts.range_box import RangeBox
from napari_stem_orient.gui.parts.theme_colours import theme_colours
from napari_stem_orient.gui.train import widget as train_widget
from napari_stem_orient.gui.train.plot import MOST_POINTS, Curve, DegreeAxis
from napari_stem_orient.gui.train.widget import TrainWidget
from napari_stem_orient.runs.training_task import training_job
from napari_stem_orient.simulation.grains import make_polycrystal
from napari_stem_orient.simulation.polycrystal import simulate_bragg_peaks
from napari_stem_orient.transformer import training_run
from napari_stem_orient.transformer.checkpoint import has_checkpoint, read_checkpoint
from napari_stem_orient.transformer.hold_out import PIECE
from napari_stem_orient.transformer.model_folder import models_home, read_card, shipped_models, trained_models
from napari_stem_orient.transformer.training_parameters import TrainingParameters
from patience import Until
from shown_panel import ShowPanel

pytestmark = pytest.mark.bindings

NAME = "napari-stem-orient"
SI, CU = load_crystal("Si"), load_crystal("Cu")
ENDLESS = TrainingParameters(steps=10**6, batch_size=8, simulation="kinematic")


@pytest.fixture(autouse=True)
def quick_and_tidy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Judge by few patterns, report often, and keep the user's models in a folder of the test."""
    import platformdirs

    monkeypatch.setattr(training_run, "QUICK_HELD_OUT", PIECE)
    monkeypatch.setattr(training_run, "FULL_HELD_OUT", PIECE)
    monkeypatch.setattr(training_run, "_REPORT_EVERY_S", 0.02)
    monkeypatch.setattr(train_widget, "train_in_child", training_job)  # see runs/test_training_process.py
    monkeypatch.setattr(platformdirs, "user_data_path", lambda *_args, **_keywords: tmp_path)


@pytest.fixture
def panel(show_panel: ShowPanel, until: Until) -> TrainWidget:
    panel = show_panel(TrainWidget)
    until(lambda: panel.form.parameters_form is not None)
    return panel


def ready(panel: TrainWidget, parameters: TrainingParameters) -> TrainWidget:
    panel.propose((SI,))
    assert panel.form.parameters_form is not None
    panel.form.parameters_form.set_value(parameters)
    panel.form.minutes.set_number(None)
    return panel


def learning(panel: TrainWidget) -> Callable[[], bool]:
    return lambda: panel._latest is not None and panel._latest.patterns > 0


# --- choices -------------------------------------------------------------------------------------------------


def test_start_waits_for_a_crystal_and_a_name(panel: TrainWidget) -> None:
    assert not panel.start_button.isEnabled()
    assert "Needs a crystal" in panel.stopped_label.text()
    panel.form.crystals.add("Si")
    panel.form.crystals.add("Ge")
    assert panel.start_button.isEnabled()
    assert panel.form.output == models_home() / "Si-Ge"
    panel.form.name_edit.setText("")
    panel.form.name_edit.textEdited.emit("")
    assert not panel.start_button.isEnabled()
    assert "Needs a name" in panel.stopped_label.text()
    # They are the panel's own: those to index with stay as they are.
    assert panel.session.crystals == ()


def test_the_measurement_lends_its_crystals_voltage_and_reach(qtbot: QtBot, until: Until) -> None:
    viewer = ViewerModel()
    truth = make_polycrystal([CU], scan_shape=(4, 5), detector_shape=(96, 96), n_grains=2, seed=1)
    peaks: BraggPeaks = simulate_bragg_peaks(truth)
    session_of(viewer).set_peaks(peaks)  # type: ignore[arg-type]
    session_of(viewer).set_crystals((CU,))  # type: ignore[arg-type]
    panel = TrainWidget(viewer)  # type: ignore[arg-type]
    qtbot.addWidget(panel)
    assert panel.form.choice.crystals == (CU,)
    assert panel.form.voltage.values == (peaks.calibration.voltage_kv,) * 2
    reach = peaks.reach(part=0.995)
    until(lambda: panel.form.q_limit.values != (0.9, 2.0))
    low, high = panel.form.q_limit.values
    assert 0.6 * reach < low < reach < high < 1.3 * reach
    calibration: Calibration = peaks.calibration.updated(voltage_kv=120.0)
    panel.session.set_calibration(calibration)
    assert panel.form.voltage.values == (120.0, 120.0)


def test_members_of_one_type_can_share_a_model(panel: TrainWidget) -> None:
    panel.form.choice.set_crystals((CU, load_crystal("Al")))
    assert "every fcc crystal" in panel.form.type_box.text()
    panel.form.type_box.setChecked(True)
    task = panel.form.task()
    assert task is not None
    assert task.whole_structure_type
    panel.form.choice.set_crystals((CU, load_crystal("Cu2O")))
    assert panel.form.type_box.isHidden()
    task = panel.form.task()
    assert task is not None
    assert not task.whole_structure_type


def test_thickness_is_given_in_nm_or_angstrom(qtbot: QtBot) -> None:
    box = RangeBox({"nm": 10.0, "Å": 1.0}, minimum=1, maximum=10_000)
    qtbot.addWidget(box)
    box.set_values(50, 1500)
    assert (box.low.value(), box.high.value()) == (5, 150)
    box.high.setValue(80)
    assert box.values == (50, 800)
    box.unit_box.setCurrentText("Å")
    assert (box.low.value(), box.high.value()) == (50, 800)
    # The lowest pushes the highest along.
    box.low.setValue(900)
    assert box.values == (900, 900)


def test_a_long_curve_keeps_its_ends_and_few_points() -> None:
    curve = Curve()
    for index in range(10_000):
        curve.add(index, -index)
    assert MOST_POINTS / 4 < len(curve.x) <= MOST_POINTS
    assert curve.x[0] == 0
    assert curve.x[-1] > 9900
    steps = np.diff(curve.x)
    assert steps.max() <= 2 * steps.min()


# --- running -------------------------------------------------------------------------------------------------


def test_a_training_draws_its_curves_reports_and_is_used_in_index(panel: TrainWidget, until: Until) -> None:
    ready(panel, ENDLESS.model_copy(update={"steps": 12}))
    index = IndexWidget(panel.viewer)
    index.show()
    panel.start_button.click()
    assert panel.running
    assert not panel.form.isEnabled()
    assert not panel.form_folding.unfolded
    assert panel.stopped_label.text().startswith("Training for Si, kept in")
    until(lambda: not panel.running)
    folder = models_home() / "Si"
    assert read_card(folder).training["steps_done"] == 12
    assert not has_checkpoint(folder)
    assert len(panel.plot._best_points.x) == 2
    assert "patterns that it has not seen" in panel.report_view.toPlainText()
    panel.use_button.click()
    assert panel.session.crystals == (SI,)
    until(lambda: index._models is not None)
    assert "Model Si for Si" in index.model_label.text()
    index.close()
    index.deleteLater()


def test_pause_keeps_a_checkpoint_and_resume_goes_on_from_it(panel: TrainWidget, until: Until) -> None:
    ready(panel, ENDLESS)
    panel.start_button.click()
    until(learning(panel))
    panel.pause_button.click()
    until(lambda: not panel.running)
    folder = models_home() / "Si"
    paused_at = read_checkpoint(folder).state.step
    assert paused_at >= 1
    assert "Paused" in panel.message_label.text()
    # A training that is not finished is no model of the user's yet.
    assert trained_models() == {}
    until(panel.resume_button.isVisible)
    assert panel.start_button.text() == "Start over"
    assert "a training for Si that was stopped" in panel.stopped_label.text()
    panel.resume_button.click()
    until(learning(panel))
    panel.job_bar.cancel_button.click()
    until(lambda: not panel.running)
    assert "Cancelled" in panel.message_label.text()
    assert read_checkpoint(folder).state.step > paused_at


def test_starting_over_lets_the_stopped_training_go(panel: TrainWidget, until: Until) -> None:
    ready(panel, ENDLESS)
    panel.start_button.click()
    until(learning(panel))
    panel.pause_button.click()
    until(panel.resume_button.isVisible)
    ready(panel, ENDLESS.model_copy(update={"steps": 3}))
    until(lambda: panel.start_button.text() == "Start over")
    panel.start_button.click()
    until(lambda: not panel.running)
    assert read_card(models_home() / "Si").training["steps_done"] == 3
    assert not has_checkpoint(models_home() / "Si")
    assert panel.resume_button.isHidden()


def test_closing_the_panel_ends_the_training_and_keeps_the_checkpoint(qtbot: QtBot, until: Until) -> None:
    panel = TrainWidget(ViewerModel())  # type: ignore[arg-type]
    panel.show()
    until(lambda: panel.form.parameters_form is not None)
    ready(panel, ENDLESS)
    panel.start_button.click()
    until(learning(panel))
    panel.close()
    panel.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert has_checkpoint(models_home() / "Si")
    # Another day, in another window:
    again = TrainWidget(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(again)
    again.show()
    until(again.resume_button.isVisible)
    assert again.form.choice.crystals == (SI,)
    assert "a training for Si that was stopped" in again.stopped_label.text()


def test_an_error_is_said_in_one_line_and_the_panel_can_be_used_again(
    panel: TrainWidget, until: Until, errors: list[str]
) -> None:
    ready(panel, ENDLESS.model_copy(update={"learning_rate": 1e30}))
    panel.start_button.click()
    until(lambda: not panel.running)
    assert "train with a lower one" in panel.message_label.text()
    assert panel.start_button.isEnabled()
    assert errors


def test_what_cannot_be_trained_is_said_at_once_with_the_way_out(
    panel: TrainWidget, until: Until, tmp_path: Path, errors: list[str]
) -> None:
    ready(panel, ENDLESS)
    panel.form.q_limit.set_values(0.1, 0.15)
    panel.start_button.click()
    until(lambda: not panel.running)
    assert "first disks of Si lie at 0.319 1/Å: raise" in panel.message_label.text()
    panel.form.q_limit.set_values(0.9, 2.0)
    blocked = tmp_path / "file"
    blocked.write_text("no folder", encoding="utf-8")
    panel.form._parent_folder = blocked
    panel.form._show_folder()
    panel.start_button.click()
    until(lambda: not panel.running)
    assert "choose another folder" in panel.message_label.text()
    assert panel._latest is None  # nothing was learned in vain
    assert len(errors) == 2


def test_numbers_of_the_error_axis_do_not_run_into_each_other() -> None:
    axis = DegreeAxis("left")
    many = list(np.log10([0.2, 0.5, 0.6, 1, 2, 3, 5, 7, 10]))
    assert axis.logTickStrings(many, 1, 1) == ["0.2", "0.5", "", "1", "2", "", "5", "", "10"]
    assert axis.logTickStrings(list(np.log10([3, 4])), 1, 1) == ["3", "4"]


def test_index_offers_to_train_for_a_crystal_that_no_model_knows(
    make_napari_viewer_proxy: Callable[..., Viewer], until: Until
) -> None:
    viewer = make_napari_viewer_proxy()
    _, index = viewer.window.add_plugin_dock_widget(NAME, "Index")
    unknown = load_crystal("LiCoO2")
    index.session.set_crystals((CU, unknown))
    until(lambda: not index.train_button.isHidden())
    assert "No model knows LiCoO2" in index.model_label.text()
    assert "train one, or choose template matching" in index.model_label.text()
    index.train_button.click()
    _, panel = viewer.window.add_plugin_dock_widget(NAME, "Train a model")
    assert isinstance(panel, TrainWidget)
    assert panel.form.choice.crystals == (unknown,)
    for theme in ("light", "dark"):
        viewer.theme = theme
        assert panel.plot.backgroundBrush().color().name() == theme_colours(viewer).background


def test_a_finished_model_is_not_lost_by_one_press_of_start(panel: TrainWidget, until: Until) -> None:
    """Neither one that was there before, nor the one that was trained a moment ago."""
    ready(panel, ENDLESS.model_copy(update={"steps": 3}))
    assert panel.start_button.text() == "Start"
    panel.start_button.click()
    until(lambda: not panel.running)
    until(lambda: panel.start_button.text() == "Replace")
    assert "Here lies the model Si" in panel.stopped_label.text()
    panel.form.name_edit.setText("Si-2")
    panel.form.name_edit.textEdited.emit("Si-2")
    until(lambda: panel._content is not None)
    assert panel.start_button.text() == "Start"
    panel.form.name_edit.setText("Si")
    panel.form.name_edit.textEdited.emit("Si")
    until(lambda: panel.start_button.text() == "Replace")
    ready(panel, ENDLESS.model_copy(update={"steps": 4}))
    until(lambda: panel.start_button.text() == "Replace")
    panel.start_button.click()
    until(lambda: not panel.running)
    assert read_card(models_home() / "Si").training["steps_done"] == 4


def test_a_model_that_has_come_into_the_folder_meanwhile_is_not_replaced(
    panel: TrainWidget, until: Until, errors: list[str]
) -> None:
    ready(panel, ENDLESS.model_copy(update={"steps": 3}))
    until(lambda: panel._content is not None)
    shutil.copytree(shipped_models()["fcc"], models_home() / "Si")
    panel.start_button.click()
    until(lambda: not panel.running)
    assert "let the new one take its place" in panel.message_label.text()
    assert read_card(models_home() / "Si").name == "fcc"
    until(lambda: panel.start_button.text() == "Replace")
    assert errors


def test_a_stopped_training_that_start_does_not_know_of_yet_is_not_discarded(
    panel: TrainWidget, until: Until, errors: list[str]
) -> None:
    """Start may be pressed before the panel has looked into the folder."""
    ready(panel, ENDLESS)
    panel.start_button.click()
    until(learning(panel))
    panel.pause_button.click()
    until(panel.resume_button.isVisible)
    paused_at = read_checkpoint(models_home() / "Si").state.step
    panel.form.name_edit.textEdited.emit("Si")
    assert panel.start_button.text() == "Start"
    panel.start_button.click()
    until(lambda: not panel.running)
    assert f"stopped at step {paused_at:,} by now: go on with it" in panel.message_label.text()
    assert read_checkpoint(models_home() / "Si").state.step == paused_at
    until(lambda: panel.start_button.text() == "Start over")
    assert errors
