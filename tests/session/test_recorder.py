"""The recorder: the recipe of what a session holds, as it was made, and the choices that follow from one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from example_maps import example_map, no_peaks
from napari_stem_orient.calibration.fit import CalibrationFit
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.session.recorder import (
    OpenedRecipe,
    lost_mask,
    opened_recipe,
    recorded_recipe,
    save_recorded,
    what_is_left,
    with_choices_of,
)
from napari_stem_orient.session.session import Session
from napari_stem_orient.session.state import ScanState
from napari_stem_orient.steps.calibrate import CalibrateChoice
from napari_stem_orient.steps.crystals import CrystalChoice
from napari_stem_orient.steps.detect import DetectChoice
from napari_stem_orient.steps.index import IndexChoice
from napari_stem_orient.steps.mask import MaskChoice, painted_mask
from napari_stem_orient.steps.open import OpenChoice
from napari_stem_orient.steps.recipe import Recipe, RecipeError
from napari_stem_orient.steps.recipe_text import open_recipe
from napari_stem_orient.steps.recorded import recorded

MASK = np.eye(8, dtype=bool)


def a_cube() -> DataCube:
    return DataCube(
        da.zeros((3, 4, 8, 8)), Calibration(), recipe=recorded({}, OpenChoice(), made_from="scan")
    )


def given(session: Session) -> dict[str, object]:
    recipe = recorded_recipe(session.state)
    assert recipe is not None
    opening = recipe.choice(OpenChoice)
    assert opening is not None
    return opening.calibration.root


def test_nothing_open_has_no_recipe_and_a_scan_says_how_it_was_read() -> None:
    session = Session()
    assert recorded_recipe(session.state) is None
    session.set_datacube(a_cube())
    recipe = recorded_recipe(session.state)
    assert recipe is not None
    assert recipe.steps == (OpenChoice(),)


def test_values_entered_before_detection_belong_to_how_the_scan_is_read() -> None:
    session = Session()
    session.set_datacube(a_cube())
    session.set_calibration(Calibration(voltage_kv=200))
    session.set_calibration(Calibration(voltage_kv=200, pixel_size_inv_angstrom=0.02))
    assert given(session) == {"voltage_kv": 200, "pixel_size_inv_angstrom": 0.02}
    session.set_calibration(Calibration(voltage_kv=300, pixel_size_inv_angstrom=0.02))
    assert given(session)["voltage_kv"] == 300


def test_a_scan_opened_again_still_says_what_was_entered() -> None:
    session, cube = Session(), a_cube()
    session.set_datacube(cube)
    session.set_calibration(Calibration(voltage_kv=200))
    session.set_datacube(cube)
    assert given(session) == {"voltage_kv": 200}


@pytest.mark.parametrize("how", ["entered", "fitted"])
def test_peaks_detected_anew_say_the_calibration_that_the_first_ones_got(how: str) -> None:
    session, peaks = Session(), no_peaks((3, 4), Calibration())
    session.set_datacube(a_cube())
    session.set_peaks(peaks, of_open_scan=True)
    changed = Calibration(voltage_kv=300, pixel_size_inv_angstrom=0.02)
    if how == "entered":
        session.set_calibration(changed)
    else:
        changed = changed.updated(origin_px=(3.5, 4.0))
        session.apply_calibration(CalibrationFit("Fitted", changed, None), choice=CalibrateChoice())
    cube = session.datacube
    assert cube is not None
    opening = Recipe.from_data(cube.recipe).choice(OpenChoice)
    assert opening is not None
    assert opening.calibration.over(Calibration()) == cube.calibration == changed
    session.undo_calibration()
    assert session.datacube is not None
    opening = Recipe.from_data(session.datacube.recipe).choice(OpenChoice)
    assert opening is not None
    assert opening.calibration.over(Calibration()) == session.datacube.calibration == Calibration()


def test_a_map_says_how_it_was_made_before_what_the_peaks_say() -> None:
    made = {"version": 1, "steps": [{"step": "detect"}, {"step": "index", "method": "template"}]}
    session = Session()
    session.set_map(replace(example_map(), recipe=made))
    recipe = recorded_recipe(session.state)
    assert recipe is not None
    assert recipe.steps[1] == IndexChoice(method="template")
    session.set_map(example_map())
    assert recorded_recipe(session.state) is None


def test_a_recipe_of_a_later_version_inside_a_result_is_refused_by_name() -> None:
    session = Session()
    session.set_map(replace(example_map(), recipe={"version": 9, "software": "4.2", "steps": []}))
    with pytest.raises(RecipeError, match=r"of version 9 \(napari-stem-orient 4.2\)"):
        recorded_recipe(session.state)


def test_a_painted_mask_is_kept_beside_the_recipe_and_nothing_there_is_replaced(tmp_path: Path) -> None:
    recipe = Recipe(steps=(DetectChoice(mask=painted_mask(MASK)),))
    np.save(tmp_path / "r_mask.npy", np.ones((8, 8)))  # somebody else's
    for _ in range(2):  # the second time, the mask is there already
        save_recorded(recipe, tmp_path / "r.yaml", mask=MASK)
    assert {path.name for path in tmp_path.iterdir()} == {"r.yaml", "r_mask.npy", "r_mask_2.npy"}
    found = open_recipe(tmp_path / "r.yaml").choice(DetectChoice)
    assert found is not None
    assert found.mask.file == tmp_path / "r_mask_2.npy"
    assert np.array_equal(np.load(found.mask.file) != 0, MASK)
    assert np.load(tmp_path / "r_mask.npy").all()


@pytest.mark.parametrize(("mask", "lost"), [(MASK, False), (None, True), (~MASK, True)])
def test_a_painted_mask_that_is_not_open_any_more_is_known_to_be_lost(
    mask: np.ndarray | None, lost: bool
) -> None:
    assert lost_mask(Recipe(steps=(DetectChoice(mask=painted_mask(MASK)),)), mask) is lost
    assert not lost_mask(Recipe(steps=(DetectChoice(),)), mask)


def test_an_opened_recipe_is_chosen_and_nothing_else_is_touched() -> None:
    steps = (
        OpenChoice(calibration={"voltage_kv": 80}),
        DetectChoice(parameters={"edge_px": 6}),
        CalibrateChoice(fits=("origin",)),
        IndexChoice(
            crystals=(CrystalChoice(source="Cu"),), models=(Path("/m"),), parameters={"n_candidates": 3}
        ),
    )
    opened = OpenedRecipe(Recipe(steps=steps), "r.yaml", (load_crystal("Cu"),))
    before = replace(ScanState(), datacube=a_cube())
    after = with_choices_of(before, opened)
    assert after.choice(DetectChoice) == steps[1]
    assert after.choice(IndexChoice).parameters == steps[3].parameters  # type: ignore[attr-defined]
    assert [crystal.name for crystal in after.crystals] == ["Cu"]
    assert after.to_index.chosen
    assert after.model_folders == (Path("/m"),)
    assert after.calibration is not None
    assert after.calibration.voltage_kv == 80
    assert what_is_left(after, opened) == ("calibrate",)
    assert what_is_left(ScanState(), opened) == ("open", "calibrate")


def test_a_mask_that_is_not_there_leaves_the_mask_as_it_is() -> None:
    opened = OpenedRecipe(Recipe(steps=(DetectChoice(mask=MaskChoice(fingerprint="gone")),)), "r.yaml")
    after = with_choices_of(ScanState(), opened)
    assert after.choice(DetectChoice).mask == MaskChoice()
    assert what_is_left(after, opened) == ("mask",)


def test_a_recipe_is_opened_with_its_crystals(tmp_path: Path) -> None:
    text = "version: 1\nsteps:\n- step: detect\n- step: index\n  crystals: [{source: Cu}, {source: Cu2O}]\n"
    (tmp_path / "r.yaml").write_text(text)
    assert [crystal.name for crystal in opened_recipe(tmp_path / "r.yaml").crystals] == ["Cu", "Cu2O"]
