"""Recipes: they come back from YAML as they were, name what is wrong in them, and travel with results."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_stem_orient.core.progress import result_of
from napari_stem_orient.io.peaks import save_bragg_peaks
from napari_stem_orient.steps import recipe as recipes
from napari_stem_orient.steps.calibrate import CalibrateChoice
from napari_stem_orient.steps.crystals import CrystalChoice
from napari_stem_orient.steps.detect import DetectChoice, plan_detection
from napari_stem_orient.steps.detection_run import DetectionRun
from napari_stem_orient.steps.index import IndexChoice
from napari_stem_orient.steps.mask import MaskChoice, mask_from_file
from napari_stem_orient.steps.open import OpenChoice, open_scan
from napari_stem_orient.steps.recipe import Recipe, RecipeError
from napari_stem_orient.steps.recipe_text import open_recipe, recipe_as_text, recipe_from_text, save_recipe
from napari_stem_orient.steps.recorded import recorded, with_steps_of_map
from napari_stem_orient.steps.replay import Outputs, made_before, prepared, replay
from napari_stem_orient.steps.run_table import result_names

MINIMAL = """\
version: 1
steps:
- step: detect
  parameters:
    edge_px: 4
- step: index
  crystals:
  - source: Cu
"""


def a_recipe(**fields: object) -> Recipe:
    index = IndexChoice(crystals=(CrystalChoice(source="Cu"),), parameters={"n_candidates": 5})
    detect = DetectChoice(parameters={"edge_px": 4, "min_significance": 4.123456789012345})
    opening = OpenChoice(scan_shape=(8, 10), calibration={"voltage_kv": 200}, lost_frames="3,41-64")
    return Recipe(steps=(opening, detect, index), made_from="a: scan #1", notes="two\nlines: yes", **fields)


def test_a_recipe_comes_back_from_its_text_as_it_was() -> None:
    recipe = a_recipe(models={"Cu": {"name": "fcc", "weights": "12e4", "version": "0.1"}})
    assert recipe_from_text(recipe_as_text(recipe)) == recipe
    assert Recipe.from_data(recipe.to_data()) == recipe


def test_values_stand_beside_their_units_and_what_is_measured_is_left_out() -> None:
    text = recipe_as_text(a_recipe())
    assert "voltage_kv: 200.0  # Accelerating voltage, kV" in text
    assert "edge_px: 4.0  # " in text
    assert ", px" in text
    assert "radius_px" not in text
    assert "pedestal" not in text
    assert (
        "min_disks: " in text
    )  # what the program has decided is said, too: another version may decide otherwise


def test_files_are_named_from_the_folder_of_the_recipe_and_move_with_it(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    np.save(first / "mask.npy", np.eye(48))
    mask = mask_from_file(first / "mask.npy")
    recipe = Recipe(steps=(DetectChoice(mask=mask), IndexChoice(models=(tmp_path / "models" / "m",))))
    path = save_recipe(recipe, first / "r.yaml")
    assert "file: mask.npy" in path.read_text()
    assert "[../models/m]" in path.read_text()
    assert open_recipe(path) == recipe
    second = tmp_path / "elsewhere" / "second"
    shutil.copytree(first, second)
    moved = open_recipe(second / "r.yaml").choice(DetectChoice)
    assert moved is not None
    assert moved.mask.file == second / "mask.npy"


def test_a_structure_of_a_cif_is_named_from_the_folder_of_the_recipe(tmp_path: Path) -> None:
    crystals = tuple(
        CrystalChoice(source=s) for s in ("Cu", f"{tmp_path}/two.cif#second", f"{tmp_path}/a#b.cif")
    )
    (tmp_path / "a#b.cif").touch()
    recipe = Recipe(steps=(DetectChoice(), IndexChoice(crystals=crystals)))
    text = recipe_as_text(recipe, folder=tmp_path)
    assert all(f"source: {name}" in text for name in ("Cu", "two.cif#second", "a#b.cif"))
    assert recipe_from_text(text, folder=tmp_path) == recipe


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (MINIMAL.replace("4", "-4"), r"line 5: detect.parameters.edge_px -4: .*greater than or equal to 0"),
        (MINIMAL.replace("edge_px", "edge_py"), "line 5: detect.parameters.edge_py is not known"),
        (MINIMAL.replace("step: index", "step: fly"), "line 6: step 2 is 'fly': use one of open, detect, "),
        (MINIMAL + "  method: x\n", r"line 9: index.method 'x': input should be 'transformer' or 'template'"),
        (
            MINIMAL + "  parameters:\n    min_disk: 4\n",
            r"^line 10: index.parameters.min_disk is not known",
        ),
        (
            MINIMAL + "  method: template\n  parameters:\n    min_disks: -4\n",
            r"^line 11: index.parameters.min_disks -4: input should be greater than",
        ),
        (MINIMAL + "- step: detect\n", "the step detect is there twice"),
        (MINIMAL + "- step: open\n", "the step open comes too late"),
        (
            MINIMAL.replace("    edge_px: 4\n", "    edge_px: 4\n    edge_px: 5\n"),
            "line 6: edge_px is given twice",
        ),
        (MINIMAL.replace("version: 1\n", ""), "the recipe has the version None: give a number"),
        (MINIMAL.replace("version: 1", "version: 1\nsofware: 2"), "a recipe has nothing called 'sofware'"),
        ("steps: [", r"no YAML \(line 1\)"),
        ("just words", "this is no recipe: it has no steps"),
        ("", "this is no recipe"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named_with_its_line(wrong: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        recipe_from_text(wrong)


def test_a_recipe_of_a_later_version_is_refused_by_name_and_one_of_an_earlier_is_migrated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(RecipeError, match=r"of version 7 \(napari-stem-orient 9.1\).*update"):
        recipe_from_text(MINIMAL.replace("version: 1", "version: 7\nsoftware: '9.1'"))
    monkeypatch.setattr(recipes, "RECIPE_VERSION", 2)
    monkeypatch.setattr(recipes, "MIGRATIONS", {1: lambda data: {**data, "notes": "was of version 1"}})
    assert recipe_from_text(MINIMAL).notes == "was of version 1"


@pytest.mark.parametrize(
    ("assignment", "differs"),
    [
        ("detect.parameters.edge_px=6", "detect.parameters.edge_px: 4.0 and 6.0"),
        ("index.crystals.1.source=Ni", "index.crystals.1.source: Cu and Ni"),
        ("open.lost_frames=17", "open.lost_frames: 3, 41-64 and 17"),
        ("open.scan_shape=[4, 20]", "open.scan_shape.1: 8 and 4"),
    ],
)
def test_single_values_are_set_and_differences_named(assignment: str, differs: str) -> None:
    recipe = a_recipe()
    assert recipe.differs_from(recipe.with_values([assignment])) == differs
    assert recipe.same_as(recipe)


def test_several_values_are_set_together_in_any_order() -> None:
    probe = a_recipe().with_values(["detect.probe.radius_px=2.5", "detect.probe.source=synthetic"])
    chosen = probe.choice(DetectChoice)
    assert chosen is not None
    assert (chosen.probe.radius_px, chosen.probe.source) == (2.5, "synthetic")


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("detct.parameters.edge_px=6", "no step 'detct': its steps are open, detect, index"),
        ("detect.parameters.edge=6", "detect.parameters.edge is not known"),
        ("detect.parameters.edge_px=wide", "edge_px 'wide': input should be a valid number"),
        ("index.crystals.2.source=Ni", "there is no number 2: count from 1 to 1"),
        ("detect", "names no value: write it as detect.parameters.edge_px=4"),
    ],
)
def test_a_value_that_cannot_be_set_is_named(assignment: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        a_recipe().with_values([assignment])


def test_peaks_say_how_the_scan_was_read_and_how_they_were_detected(scan_file: Path, tmp_path: Path) -> None:
    opening, choice = OpenChoice(calibration={"voltage_kv": 200}), DetectChoice(parameters={"edge_px": 5})
    plan = result_of(plan_detection(choice, open_scan(scan_file, opening)))
    peaks = result_of(DetectionRun(plan).job())
    found = open_recipe(save_bragg_peaks(peaks, tmp_path / "peaks.h5"))
    assert found.steps == (opening, choice)
    assert found.made_from == "scan"


def test_a_replayed_recipe_makes_equal_peaks_that_carry_it(scan_file: Path, tmp_path: Path) -> None:
    choice = DetectChoice(parameters={"edge_px": 5})
    by_hand = result_of(
        DetectionRun(result_of(plan_detection(choice, open_scan(scan_file, OpenChoice())))).job()
    )
    recipe = prepared(Recipe(steps=(choice,), notes="mine")).recipe
    outputs = Outputs(tmp_path / "scan_peaks.h5", None)
    made = result_of(replay(recipe, scan_file, outputs)).peaks
    assert made.fingerprint == by_hand.fingerprint
    assert np.array_equal(made.x_px, by_hand.x_px)
    assert np.array_equal(made.intensity, by_hand.intensity)
    assert open_recipe(outputs.peaks).notes == "mine"
    assert made_before(recipe, scan_file, outputs).peaks.fingerprint == made.fingerprint
    stopped = replace(made, detected=np.arange(made.n_positions) < 60)
    stopped = save_bragg_peaks(stopped, tmp_path / "stopped_peaks.h5")
    with pytest.raises(RecipeError, match=r"stopped_peaks.h5 is not whole"):
        made_before(recipe, scan_file, Outputs(stopped, None))
    other = recipe.with_values(["detect.parameters.edge_px=6"])
    with pytest.raises(RecipeError, match=r"another recipe \(detect.parameters.edge_px: 5.0 and 6.0\)"):
        made_before(other, scan_file, outputs)
    again = tmp_path / "again" / "scan.npy"
    again.parent.mkdir()
    np.save(again, np.load(scan_file)[:4])
    with pytest.raises(RecipeError, match="of another scan, or the scan has changed"):
        made_before(recipe, again, outputs)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ((IndexChoice(crystals=(CrystalChoice(source="Cu"),)),), "has no step detect"),
        ((DetectChoice(mask=MaskChoice(fingerprint="abc")),), "mask abc was painted, and is in no file"),
        (
            (DetectChoice(), IndexChoice(crystals=(CrystalChoice(source="Cu", fingerprint="beef"),))),
            "is another structure than the one that was chosen",
        ),
        ((DetectChoice(), IndexChoice()), "step 2 indexes without a crystal"),
        (
            (
                DetectChoice(),
                CalibrateChoice(refine=True),
                IndexChoice(crystals=(CrystalChoice(source="Cu"),)),
            ),
            "step 2 refines the calibration from a map, and no step before it makes one",
        ),
    ],
)
def test_what_a_recipe_lacks_is_said_before_a_scan_is_read(steps: tuple[object, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        prepared(Recipe(steps=steps))


def test_a_refinement_is_recorded_after_the_map_that_it_needs() -> None:
    opening, detect, index = OpenChoice(), DetectChoice(), IndexChoice(crystals=(CrystalChoice(source="Cu"),))
    entered, sure = CalibrateChoice(given={"voltage_kv": 300}), CalibrateChoice(confirmed=("rotation",))
    of_peaks = recorded({"notes": "mine"}, opening, detect, entered, made_from="scan")
    of_map = recorded(of_peaks, index, models={"Cu": {"weights": "12e4"}})
    found = Recipe.from_data(with_steps_of_map(recorded(of_peaks, sure), of_map))
    assert found.steps == (opening, detect, entered, index, sure)
    assert (found.models, found.notes, found.made_from) == ({"Cu": {"weights": "12e4"}}, "mine", "scan")
    # refined, and indexed again: nothing comes twice, and the peaks' own steps are all in the map's
    once = recorded(of_map, CalibrateChoice(refine=True))
    twice = recorded(once, index)
    assert with_steps_of_map(once, twice)["steps"] == twice["steps"]
    # peaks of a file that says nothing of how they were made
    assert with_steps_of_map({}, recorded({}, index))["steps"] == recorded({}, index)["steps"]


def test_another_model_than_the_recipe_was_recorded_with_is_refused() -> None:
    steps = (DetectChoice(), IndexChoice(crystals=(CrystalChoice(source="Cu"),)))
    models = {"Cu": {"name": "fcc", "weights": "0123"}}
    with pytest.raises(
        RecipeError, match=r"the model for Cu is fcc with weights .* here, and was fcc with 0123"
    ):
        prepared(Recipe(steps=steps, models=models))
    assert set(prepared(Recipe(steps=steps)).recipe.models) == {"Cu"}


def test_results_of_scans_with_one_name_have_names_of_their_own() -> None:
    scans = ["/a/x.npy", "/a/x.h5", "/b/x.npy", "/b/y.h5", "/c/Y.h5", "/a/z", "/q/ü.a.b.npy"]
    names = result_names(map(Path, scans))
    assert list(names.values()) == ["a_x", "x_h5", "b_x", "b_y", "c_Y", "z", "ü_a_b"]
    tricky = list(result_names(map(Path, ["/p/a_b/c.h5", "/p/a/b_c.h5", "/q/a_b/c.h5"])).values())
    assert len({name.casefold() for name in tricky}) == 3
    assert result_names([Path("/a/Summary.h5")])[Path("/a/Summary.h5")] == "Summary_scan"
