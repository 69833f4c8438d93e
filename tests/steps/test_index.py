"""The step index: what is chosen is data, what a stopped run has done is gone on with, both faces do the same."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from example_maps import no_peaks
from napari_stem_orient.cli.index import index_choice
from napari_stem_orient.cli.main import build_parser, main
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.indexing import indexing_job
from napari_stem_orient.indexing.methods import METHODS, MethodName, method_title
from napari_stem_orient.indexing.parameters import IndexParameters
from napari_stem_orient.indexing.template_parameters import TemplateMatchingParameters
from napari_stem_orient.io.maps import open_orientation_map
from napari_stem_orient.io.peaks import open_bragg_peaks, save_bragg_peaks
from napari_stem_orient.runs import run_journal
from napari_stem_orient.runs.map_journal import find_kept_maps
from napari_stem_orient.simulation.grains import make_polycrystal
from napari_stem_orient.simulation.polycrystal import simulate_bragg_peaks
from napari_stem_orient.steps import index as step
from napari_stem_orient.steps.crystals import CrystalChoice
from napari_stem_orient.steps.detect import DetectChoice
from napari_stem_orient.steps.index import IndexChoice, Leftovers, MapStarted
from napari_stem_orient.steps.recipe import Recipe
from napari_stem_orient.steps.recipe_text import recipe_as_text, recipe_from_text
from napari_stem_orient.steps.replay import prepared

CU = load_crystal("Cu")
CHOICE = IndexChoice(
    crystals=(CrystalChoice.of(CU),), parameters=IndexParameters(n_candidates=4), device="cpu"
)


@pytest.fixture(autouse=True)
def journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run_journal, "journal_folder", lambda _folder=None: tmp_path / "journals")
    return tmp_path / "journals"


@pytest.fixture(scope="module")
def peaks() -> BraggPeaks:
    truth = make_polycrystal([CU], scan_shape=(24, 24), detector_shape=(96, 96), n_grains=3, seed=1)
    return simulate_bragg_peaks(truth)


def drain(job: Generator[Any, None, OrientationMap]) -> tuple[list[Any], OrientationMap]:
    records = []
    while True:
        try:
            records.append(next(job))
        except StopIteration as stop:
            return records, stop.value


def interrupted(peaks: BraggPeaks, choice: IndexChoice = CHOICE) -> int:
    """Run until some positions are done, and break off; how many they were."""
    job = step.index(choice, peaks, (CU,))
    started = next(job)
    assert isinstance(started, MapStarted)
    while not started.orientation_map.done.any():
        started.orientation_map.fill(next(job))  # type: ignore[arg-type]
    job.close()
    return int(started.orientation_map.done.sum())


# --- the choice ---


def test_a_choice_comes_back_from_yaml() -> None:
    for choice in (
        CHOICE,
        IndexChoice(method="template", parameters=TemplateMatchingParameters(min_score=0.4)),
    ):
        text = yaml.safe_dump(choice.model_dump(mode="json"))
        assert IndexChoice.model_validate(yaml.safe_load(text)) == choice


def test_parameters_are_those_of_the_method() -> None:
    assert IndexChoice(method="template").parameters == TemplateMatchingParameters()
    assert IndexChoice().parameters == IndexParameters()
    with pytest.raises(ValidationError, match="no parameters of Transformer"):
        IndexChoice(parameters=TemplateMatchingParameters())
    with pytest.raises(ValidationError, match="min_score"):  # and nothing is said of template matching's
        IndexChoice.model_validate({"method": "transformer", "parameters": {"min_score": 0.4}})
    with pytest.raises(ValidationError, match="uses no model"):
        IndexChoice(method="template", models=(Path("fcc"),))


def test_every_method_has_one_name_and_one_title() -> None:
    assert set(METHODS) == set(MethodName)
    assert [method_title(name) for name in MethodName] == ["Transformer", "Template matching"]
    assert method_title("of a later version") == "of a later version"


# --- runs ---


def test_a_run_that_broke_off_is_gone_on_with(peaks: BraggPeaks) -> None:
    whole = drain(step.index(CHOICE, peaks, (CU,)))[1]
    step.safe(whole)
    done = interrupted(peaks)
    records, resumed = drain(step.index(CHOICE, peaks, (CU,)))
    assert records[0].progress.done == done
    assert resumed.is_complete
    np.testing.assert_array_equal(resumed.phase_id, whole.phase_id)
    np.testing.assert_array_equal(resumed.quaternion, whole.quaternion)


def test_what_was_left_is_told_of_or_left_alone(peaks: BraggPeaks) -> None:
    done = interrupted(peaks)
    told = next(step.index(CHOICE, peaks, (CU,), leftovers=Leftovers.TELL))
    assert isinstance(told, MapStarted)
    assert (told.progress.done, told.left) == (0, done)
    ignored = next(step.index(CHOICE, peaks, (CU,), leftovers=Leftovers.IGNORE))
    assert isinstance(ignored, MapStarted)
    assert (ignored.progress.done, ignored.left) == (0, 0)
    other = CHOICE.model_copy(update={"parameters": IndexParameters(n_candidates=5)})
    started = next(step.index(other, peaks, (CU,)))
    assert started.progress.done == 0  # made otherwise


def test_a_map_stays_in_its_journal_until_it_is_safe(peaks: BraggPeaks) -> None:
    finished = drain(step.index(CHOICE, peaks, (CU,)))[1]
    (kept,) = find_kept_maps(scan=None, peaks=peaks.fingerprint)
    assert kept.finished
    assert kept.orientation_map.has_same_answers(finished)
    step.safe(finished)
    assert find_kept_maps(scan=None, peaks=peaks.fingerprint) == []


def test_a_run_that_was_stopped_early_and_saved_leaves_the_journal_of_one_that_came_further(
    peaks: BraggPeaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing_job, "PART_OF_CPU_REFINED", 32)
    further = step.index(CHOICE, peaks, (CU,))
    started = next(further)
    assert isinstance(started, MapStarted)
    while started.orientation_map.done.sum() < 100:
        started.orientation_map.fill(next(further))  # type: ignore[arg-type]
    further.close()
    again = step.index(CHOICE, peaks, (CU,), leftovers=Leftovers.TELL)
    stopped = next(again)
    assert isinstance(stopped, MapStarted)
    while not stopped.orientation_map.done.any():
        stopped.orientation_map.fill(next(again))  # type: ignore[arg-type]
    again.close()
    assert stopped.orientation_map.done.sum() < 100
    step.safe(stopped.orientation_map)
    (left,) = find_kept_maps(scan=None, peaks=peaks.fingerprint)
    assert left.orientation_map.done.sum() >= 100
    step.safe(left.orientation_map)
    assert find_kept_maps(scan=None, peaks=peaks.fingerprint) == []


def test_what_cannot_run_is_refused_before_the_first_record(peaks: BraggPeaks) -> None:
    bare = peaks.with_calibration(peaks.calibration.updated(voltage_kv=None))
    with pytest.raises(ValueError, match="voltage"):
        drain(step.index(CHOICE, bare, (CU,)))
    quartz = CHOICE.model_copy(update={"crystals": (CrystalChoice(source="MgO"),)})
    with pytest.raises(ValueError, match="no model knows LiCoO2"):
        step.check(quartz, (load_crystal("LiCoO2"),))


# --- both faces ---


def test_panel_and_command_line_choose_the_same_and_get_the_same_map(
    peaks: BraggPeaks, tmp_path: Path, qtbot: Any
) -> None:
    pytest.importorskip("napari")
    from napari.components import ViewerModel

    from napari_stem_orient.gui.index.widget import IndexWidget

    save_bragg_peaks(peaks, tmp_path / "peaks.h5")
    panel = IndexWidget(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(panel)
    panel.show()
    qtbot.waitUntil(lambda: panel.device_box.count() > 0, timeout=150_000)
    panel.session.open_peaks(open_bragg_peaks(tmp_path / "peaks.h5"))
    panel.crystals.add("Cu")
    panel.device_box.setCurrentIndex(panel.device_box.findData("cpu"))
    form = panel.forms[MethodName.TRANSFORMER]
    form.editor("neighbours").setChecked(False)  # type: ignore[attr-defined]
    form.editor("minimum_score").setValue(0.3)  # type: ignore[attr-defined]
    output = tmp_path / "map.h5"
    words = [
        "index",
        str(tmp_path / "peaks.h5"),
        "--crystal",
        "Cu",
        "--output",
        str(output),
        "--device",
        "cpu",
    ]
    words += ["--no-neighbours", "--minimum-score", "0.3"]
    arguments = build_parser("index").parse_args(words)
    assert index_choice(arguments, (load_crystal("Cu"),)) == panel.choice
    qtbot.waitUntil(panel.run_button.isEnabled, timeout=150_000)
    panel.run_button.click()
    qtbot.waitUntil(lambda: panel.session.running_job(panel.stage) is None, timeout=150_000)
    made = panel.session.current_map
    assert made is not None
    assert main([*words, "--quiet"]) == 0
    by_command = open_orientation_map(output)
    assert made.made_otherwise(by_command) == ()
    np.testing.assert_array_equal(made.phase_id, by_command.phase_id)
    np.testing.assert_array_equal(made.quaternion, by_command.quaternion)
    np.testing.assert_array_equal(made.confidence_deg, by_command.confidence_deg)


def test_template_matching_is_chosen_the_same_way_by_both(tmp_path: Path, qtbot: Any) -> None:
    from napari.components import ViewerModel

    from napari_stem_orient.gui.index.widget import IndexWidget

    panel = IndexWidget(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(panel)
    panel.crystals.add("Cu")
    panel.method_box.setCurrentIndex(panel.method_box.findData("template"))
    words = ["index", str(tmp_path / "p.h5"), "--crystal", "Cu", "--output", "map.h5", "--method", "template"]
    arguments = build_parser("index").parse_args(words)
    assert index_choice(arguments, (load_crystal("Cu"),)) == panel.choice


def test_the_models_of_a_recipe_are_found_from_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["index", "p.h5", "--crystal", "Cu", "--output", "out/map.h5", "--model", "models/mine"]
    choice = index_choice(build_parser("index").parse_args(words), (load_crystal("Cu"),))
    text = recipe_as_text(Recipe(steps=(choice,)), folder=tmp_path / "out")
    found = recipe_from_text(text, folder=tmp_path / "out").choice(IndexChoice)
    assert found is not None
    assert found.models == (tmp_path / "models" / "mine",)


def test_a_recipe_names_only_the_models_that_its_crystals_use(tmp_path: Path) -> None:
    from napari_stem_orient.transformer.model_folder import shipped_models

    used, unused = tmp_path / "used", tmp_path / "unused"
    shutil.copytree(shipped_models()["fcc"], used)
    shutil.copytree(shipped_models()["hcp"], unused)
    crystals = (load_crystal("Cu"),)
    choice = IndexChoice(crystals=(CrystalChoice.of(crystals[0]),), models=(unused, used), device="cpu")
    made = step.empty_map(choice, step.indexing_run(choice, no_peaks((2, 2)), crystals))
    shutil.rmtree(unused)
    recipe = Recipe.from_data(made.recipe)
    found = recipe.choice(IndexChoice)
    assert found is not None
    assert found.models == (used,)
    assert (
        prepared(recipe.model_copy(update={"steps": (DetectChoice(), found)})).recipe.models == recipe.models
    )
