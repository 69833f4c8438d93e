"""What is looked at before a training begins: the reach of the disks, and the folder of the model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.transformer.checkpoint import CHECKPOINT_NAME
from napari_stem_orient.transformer.model_folder import CARD_NAME, WEIGHTS_NAME, read_card, shipped_models
from napari_stem_orient.transformer.training_checks import check_reach, make_model_folder, model_in


def test_a_reach_short_of_the_first_disks_names_the_crystal_and_what_to_raise() -> None:
    crystals = [load_crystal("Cu"), load_crystal("C (diamond)")]
    first = 3**0.5 / crystals[1].lattice_scale  # {111}
    check_reach(crystals, 1.01 * first)
    with pytest.raises(ValueError, match=rf"of C \(diamond\) lie at {first:.3g} 1/Å: raise how far out"):
        check_reach(crystals, 0.99 * first)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    make_model_folder(tmp_path / "models" / "mine")
    assert (tmp_path / "models" / "mine").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="choose another folder"):
        make_model_folder(tmp_path / "file" / "mine")


def test_the_model_of_a_folder_is_known_by_its_name_or_that_of_the_folder(tmp_path: Path) -> None:
    assert model_in(tmp_path / "nowhere") is None
    assert model_in(tmp_path) is None
    assert model_in(shipped_models()["fcc"]) == "fcc"
    (tmp_path / WEIGHTS_NAME).write_bytes(b"of another version")
    assert model_in(tmp_path) == tmp_path.name
    (tmp_path / CARD_NAME).write_text("{}")
    assert model_in(tmp_path) == tmp_path.name


def test_what_a_stopped_training_has_saved_is_no_model_yet(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(shipped_models()["fcc"], tmp_path / "fcc"))
    (folder / CHECKPOINT_NAME).write_bytes(b"")
    assert model_in(folder) == "fcc"  # finished, and then begun anew
    card = read_card(folder)
    unfinished = card.model_copy(update={"training": {**card.training, "complete": False}})
    (folder / CARD_NAME).write_text(unfinished.model_dump_json())
    assert model_in(folder) is None
