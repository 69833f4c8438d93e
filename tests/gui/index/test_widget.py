"""The Index stage: crystals, methods, models, runs that paint blocks, stop, resume and explain themselves."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtWidgets import QLabel

from napari_stem_orient.core.answers import IndexedBlock
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.gui.index.widget import IndexWidget
from napari_stem_orient.gui.parts.folding import Folding
from napari_stem_orient.indexing.methods import MethodName
from napari_stem_orient.indexing.parameters import IndexParameters
from napari_stem_orient.session.rules import StageState
from napari_stem_orient.session.state import Stage
from napari_stem_orient.simulation.grains import make_polycrystal
from napari_stem_orient.simulation.polycrystal import simulate_bragg_peaks
from napari_stem_orient.steps.index import IndexChoice, Leftovers, MapStarted, empty_map, indexing_run
from napari_stem_orient.transformer.model_folder import read_card, shipped_models
from patience import Until
from shown_panel import ShowPanel
from watched import watched

pytestmark = pytest.mark.bindings

SCAN_SHAPE = (8, 9)


@pytest.fixture(scope="module")
def peaks() -> BraggPeaks:
    truth = make_polycrystal(
        [load_crystal("Cu")], scan_shape=SCAN_SHAPE, detector_shape=(96, 96), n_grains=2, seed=1
    )
    return simulate_bragg_peaks(truth)


@pytest.fixture
def panel(show_panel: ShowPanel, until: Until) -> IndexWidget:
    panel = show_panel(IndexWidget)
    until(lambda: panel.device_box.count() > 0)
    return panel


@pytest.fixture
def ready(panel: IndexWidget, peaks: BraggPeaks, until: Until) -> IndexWidget:
    panel.session.set_peaks(peaks)
    panel.crystals.add("Cu")
    until(panel.run_button.isEnabled)
    return panel


def stopped(panel: IndexWidget) -> bool:
    return panel.session.running_job(Stage.INDEX) is None


def test_what_is_missing_is_said_and_run_stays_disabled(panel: IndexWidget, peaks: BraggPeaks) -> None:
    assert panel.state_label.text() == "Needs Bragg peaks and a crystal."
    bare = peaks.with_calibration(peaks.calibration.updated(pixel_size_inv_angstrom=None))
    panel.session.set_peaks(bare)
    assert panel.state_label.text() == "Needs pixel size (1/Å) and a crystal."
    assert not panel.run_button.isEnabled()


def test_the_device_in_use_is_shown(panel: IndexWidget) -> None:
    assert panel.device_box.itemText(0).startswith("Automatic")
    assert panel.device_box.itemData(panel.device_box.count() - 1) == "cpu"


def test_crystals_are_added_once_from_list_and_cif_and_removed(
    panel: IndexWidget, tmp_path: Path, save_file_as: Callable[[Path | None], None]
) -> None:
    panel.crystals.add_box.activated.emit(panel.crystals.add_box.findText("Cu"))
    panel.crystals.add("Cu")
    panel.crystals.add("Al")
    assert [crystal.name for crystal in panel.session.crystals] == ["Cu", "Al"]
    assert "fcc" in panel.crystals.list.item(0).text()
    save_file_as(None)
    panel.crystals.cif_button.click()
    (tmp_path / "empty.cif").write_text("data_empty\n_cell_length_a 4\n")
    save_file_as(tmp_path / "empty.cif")
    panel.crystals.cif_button.click()
    assert panel.message_label.text()
    panel.crystals.list.item(0).setSelected(True)
    panel.crystals.remove_button.click()
    assert [crystal.name for crystal in panel.session.crystals] == ["Al"]
    panel.crystals.remove_button.click()
    assert panel.session.crystals == ()


def test_the_model_is_named_with_what_it_was_trained_for(ready: IndexWidget) -> None:
    assert "fcc" in ready.model_label.text()


def form_of(card: Folding) -> dict[str, str]:
    """The rows of a model's card: title and text."""
    labels = [label.text() for label in card.body.findChildren(QLabel)]
    return dict(zip(labels[::2], labels[1::2], strict=True))


def test_the_card_of_a_model_unfolds_and_tells_recipe_accuracy_and_range(ready: IndexWidget) -> None:
    (card,) = ready.model_cards.cards
    assert card.body.isHidden()
    card.button.click()
    assert not card.body.isHidden()
    expected = read_card(shipped_models()["fcc"])
    assert form_of(card) == dict(expected.lines())
    assert "300 kV" in form_of(card)["Voltage"]
    assert "%" in form_of(card)["Accuracy"]
    assert ready.model_cards.warning_text == ""


def test_several_models_have_a_card_each_and_the_unfolded_one_stays_so(
    ready: IndexWidget, until: Until
) -> None:
    ready.model_cards.cards[0].button.click()
    ready.crystals.add("Cu2O")
    until(lambda: len(ready.model_cards.cards) == 2)
    unfolded = {card.button.text(): card.unfolded for card in ready.model_cards.cards}
    assert unfolded == {"Model card fcc": True, "Model card cuprite": False}
    ready.crystals.add("Ni")
    until(lambda: "Cu and Ni" in ready.model_label.text())
    assert len(ready.model_cards.cards) == 2
    ready.method_box.setCurrentIndex(ready.method_box.findData("template"))
    assert ready.model_cards.cards == ()
    assert ready.model_cards.isHidden()


def test_a_voltage_outside_the_range_of_the_model_is_warned_of_and_does_not_keep_from_indexing(
    ready: IndexWidget, until: Until
) -> None:
    calibration = ready.session.calibration
    assert calibration is not None
    ready.session.set_calibration(calibration.updated(voltage_kv=30.0))
    until(lambda: ready.model_cards.warning_text)
    assert "voltage 30 kV; the model was trained for 80 to 300 kV" in ready.model_cards.warning_text
    assert "Inspect" in ready.model_cards.warning_text
    assert ready.run_button.isEnabled()
    ready.session.set_calibration(calibration)
    until(lambda: not ready.model_cards.warning_text)


def test_a_model_folder_that_knows_none_of_the_crystals_is_named(
    ready: IndexWidget, until: Until, tmp_path: Path, save_file_as: Callable[[Path | None], None]
) -> None:
    folder = shutil.copytree(shipped_models()["cuprite"], tmp_path / "mine")
    save_file_as(Path(folder))
    ready.folder_button.click()
    until(lambda: "knows none of these crystals" in ready.model_label.text())
    assert ready.run_button.isEnabled()


def test_a_crystal_without_a_model_gets_a_sentence_with_the_way_out(ready: IndexWidget, until: Until) -> None:
    ready.crystals.add("SrTiO3")
    until(lambda: ready._models is not None)
    assert "SrTiO3" in ready.model_label.text()
    assert "train" in ready.model_label.text()
    assert "template matching" in ready.model_label.text()
    assert [card.button.text() for card in ready.model_cards.cards] == ["Model card fcc"]  # that of Cu
    assert not ready.run_button.isEnabled()
    assert ready.state_label.text() == "Needs a model for these crystals."
    ready.method_box.setCurrentIndex(ready.method_box.findData("template"))
    assert ready.run_button.isEnabled()


def test_a_run_fills_the_map_block_by_block_and_finishes_it(ready: IndexWidget, until: Until) -> None:
    started = watched(ready.session, "current_result")
    filled: list[int] = []
    ready.session.map_filled.connect(lambda _, block: filled.extend(block.positions))
    ready.run_button.click()
    assert not ready.run_button.isEnabled()
    until(lambda: stopped(ready) and ready.session.current_map is not None)
    assert len(started) == 2  # when it began, and when it was complete
    assert set(filled) == set(range(72))  # the pass over the neighbours may give some anew
    current = ready.session.current_map
    assert current is not None
    assert current.indexed_fraction > 0.5
    assert current.model is not None
    assert "Cu" in current.model
    assert ready.session.stage_state(Stage.INDEX) is StageState.DONE
    assert "positions indexed" in ready.message_label.text()


def block_of(positions: np.ndarray, done: int) -> IndexedBlock:
    return IndexedBlock.not_indexed(positions, Reason.NO_PHASE_FITS, progress=Progress(done, 72, "patterns"))


def empty_for(choice: IndexChoice, peaks: BraggPeaks, crystals: tuple[Crystal, ...]) -> OrientationMap:
    return empty_map(choice, indexing_run(choice, peaks, crystals))


def slow_indexing(
    choice: IndexChoice,
    peaks: BraggPeaks,
    crystals: tuple[Crystal, ...],
    *,
    resume_from: OrientationMap | None = None,
    leftovers: Leftovers = Leftovers.TAKE,
) -> Generator[Any, None, OrientationMap]:
    result = (resume_from or empty_for(choice, peaks, crystals)).copy()
    remaining = result.remaining_positions
    yield MapStarted(result.copy(), Progress(72 - len(remaining), 72, "patterns"))
    for number, position in enumerate(remaining, start=1):
        time.sleep(0.005)
        block = block_of(np.array([position]), 72 - len(remaining) + number)
        result.fill(block)
        yield block
    return result


def test_a_cancelled_run_is_kept_and_resumed_where_it_stopped(
    ready: IndexWidget, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_stem_orient.gui.index.widget.index", slow_indexing)
    ready.run_button.click()
    until(lambda: ready.session.current_map is not None and ready.session.current_map.done.sum() > 3)
    ready.job_bar.cancel_button.click()
    until(lambda: stopped(ready))
    partial = ready.session.current_map
    assert partial is not None
    done = int(partial.done.sum())
    assert 3 < done < 72
    assert f"Stopped at {done} of 72" in ready.message_label.text()
    assert ready.run_button.text() == "Resume"
    filled: list[int] = []
    ready.session.map_filled.connect(lambda _, block: filled.extend(block.positions))
    ready.run_button.click()
    until(lambda: stopped(ready) and ready.session.stage_state(Stage.INDEX) is StageState.DONE)
    assert len(filled) == 72 - done
    assert ready.session.current_map is not None
    assert ready.session.current_map.is_complete


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_a_run_that_ends_before_a_position_is_done_leaves_the_map_as_it_was(
    ready: IndexWidget, until: Until, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    def getting_ready(
        choice: IndexChoice, peaks: BraggPeaks, crystals: tuple[Crystal, ...], **_: object
    ) -> Generator[MapStarted | IndexedBlock, None, OrientationMap]:
        empty = empty_for(choice, peaks, crystals)
        yield MapStarted(empty, Progress(0, 72, "patterns"))
        for _ in range(400):
            time.sleep(0.005)
            yield block_of(np.array([], dtype=np.int64), 0)
            if end == "failed":
                raise RuntimeError("out of memory")
        return empty

    monkeypatch.setattr("napari_stem_orient.gui.index.widget.index", slow_indexing)
    ready.run_button.click()
    until(lambda: stopped(ready) and ready.session.stage_state(Stage.INDEX) is StageState.DONE)
    before = ready.session.current_map
    started = watched(ready.session, "current_result")
    monkeypatch.setattr("napari_stem_orient.gui.index.widget.index", getting_ready)
    ready.run_button.click()
    until(lambda: started)
    if end == "cancelled":
        ready.job_bar.cancel_button.click()
    until(lambda: stopped(ready))
    assert ready.session.current_map is before
    assert before is not None
    assert before.is_complete
    expected = "the map is as it was" if end == "cancelled" else "out of memory"
    assert expected in ready.message_label.text()


def test_other_parameters_start_over_instead_of_resuming(
    ready: IndexWidget, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_stem_orient.gui.index.widget.index", slow_indexing)
    ready.run_button.click()
    until(lambda: ready.session.current_map is not None and ready.session.current_map.done.sum() > 3)
    ready.job_bar.cancel_button.click()
    until(lambda: stopped(ready))
    ready.method_box.setCurrentIndex(ready.method_box.findData("template"))
    assert ready.run_button.text() == "Index"


def test_maps_of_both_methods_stay_and_either_can_be_shown(
    ready: IndexWidget, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_stem_orient.gui.index.widget.index", slow_indexing)
    ready.run_button.click()
    until(lambda: stopped(ready))
    assert ready.results.isHidden()
    ready.method_box.setCurrentIndex(ready.method_box.findData("template"))
    ready.run_button.click()
    until(lambda: stopped(ready) and len(ready.session.orientation_maps) == 2)
    assert not ready.results.isHidden()
    ready.results.box.setCurrentIndex(ready.results.box.findData("transformer"))
    assert ready.session.current_map is ready.session.orientation_maps["transformer"]


def test_a_failing_run_says_so_in_one_line_and_can_be_run_again(
    ready: IndexWidget, until: Until, errors: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(
        choice: IndexChoice, peaks: BraggPeaks, crystals: tuple[Crystal, ...], **_: object
    ) -> Generator[Any, None, OrientationMap]:
        job = slow_indexing(choice, peaks, crystals)
        yield next(job)
        yield next(job)
        raise RuntimeError("CUDA error: out of memory\nstack trace")

    monkeypatch.setattr("napari_stem_orient.gui.index.widget.index", failing)
    ready.run_button.click()
    until(lambda: stopped(ready))
    assert ready.message_label.text() == "CUDA error: out of memory stack trace"
    assert len(errors) == 1
    assert ready.run_button.text() == "Resume"
    assert ready.run_button.isEnabled()


def test_a_new_pixel_size_makes_the_map_out_of_date(
    ready: IndexWidget, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_stem_orient.gui.index.widget.index", slow_indexing)
    ready.run_button.click()
    until(lambda: stopped(ready))
    calibration = ready.session.calibration
    assert calibration is not None
    ready.session.set_calibration(calibration.updated(pixel_size_inv_angstrom=0.05))
    assert ready.session.stage_state(Stage.INDEX) is StageState.STALE
    assert ready.state_label.text() == "Out of date: the peaks or their calibration changed."
    assert ready.run_button.isEnabled()


def test_another_scan_opened_during_the_run_ends_it_without_a_trace(
    ready: IndexWidget, until: Until, errors: list[str], monkeypatch: pytest.MonkeyPatch, peaks: BraggPeaks
) -> None:
    monkeypatch.setattr("napari_stem_orient.gui.index.widget.index", slow_indexing)
    ready.run_button.click()
    until(lambda: ready.session.current_map is not None)
    other = BraggPeaks.from_lists([np.zeros((0, 3))] * 6, (2, 3), peaks.calibration)
    ready.session.discard_jobs()
    ready.session.set_peaks(other)
    until(lambda: not ready._jobs)
    assert ready.session.current_map is None
    assert not errors


def test_a_crystal_from_calibrate_is_called_so_until_one_is_chosen(
    panel: IndexWidget, peaks: BraggPeaks, until: Until
) -> None:
    panel.session.set_peaks(peaks)
    assert panel.lent_label.isHidden()
    panel.session.lend_crystals((load_crystal("Cu"),))
    assert "Cu" in panel.crystals.list.item(0).text()
    assert not panel.lent_label.isHidden()
    until(panel.run_button.isEnabled)
    panel.crystals.add("Al")
    assert panel.lent_label.isHidden()


def test_what_is_chosen_is_in_the_session_and_the_panel_shows_it(ready: IndexWidget) -> None:
    session = ready.session
    ready.method_box.setCurrentIndex(ready.method_box.findData("template"))
    assert session.state.choice(IndexChoice).method is MethodName.TEMPLATE
    assert ready.forms[MethodName.TEMPLATE].isVisibleTo(ready)
    parameters = IndexParameters(neighbours=False)
    session.choose(IndexChoice, method=MethodName.TRANSFORMER, parameters=parameters, device="cpu")
    assert ready.method_box.currentData() == "transformer"
    assert ready.device_box.currentData() == "cpu"
    assert ready.forms[MethodName.TRANSFORMER].value == parameters
    assert ready.forms[MethodName.TRANSFORMER].isVisibleTo(ready)
    assert ready.choice.device == "cpu"
    assert len(ready.choice.crystals) == len(session.crystals) == 1
