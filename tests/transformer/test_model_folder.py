"""Model folders: what is shipped loads, what is damaged is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.transformer import model_folder
from napari_stem_orient.transformer.model_folder import (
    CARD_NAME,
    WEIGHTS_NAME,
    ModelError,
    find_models,
    load_model,
    models_of,
    nearest_shipped_model,
    no_model_message,
    read_card,
    save_model,
    shipped_models,
)

FCC_METALS = ("Cu", "Al", "Ni", "Ag", "Au", "Pt", "Pd", "Fe (fcc)")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(shipped_models()["fcc"], tmp_path / "fcc"))


def test_one_shipped_model_serves_all_fcc_metals() -> None:
    model = load_model(shipped_models()["fcc"])
    assert [model.phase_index(load_crystal(name)) for name in FCC_METALS] == [0] * len(FCC_METALS)
    assert model.phase_index(load_crystal("Fe (bcc)")) is None
    assert "fcc" in model.card.summary()


def test_shipped_models_stay_small() -> None:
    for path in shipped_models().values():
        assert (path / WEIGHTS_NAME).stat().st_size < 10 * 2**20
        assert read_card(path).held_out


def test_saving_and_loading_keeps_every_weight(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder)
    again = load_model(save_model(model.network, model.card, tmp_path / "again"))
    for a, b in zip(model.network.parameters(), again.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert again.identity == model.identity


def test_a_model_starts_from_the_nearest_structure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("cuprite", "fcc"):
        shutil.copytree(shipped_models()[name], tmp_path / name)
    monkeypatch.setattr(model_folder, "WEIGHTS_FOLDER", tmp_path)
    nearest = {
        name: nearest_shipped_model([load_crystal(name)])
        for name in ("Ni", "Cu2O", "MgO", "SrTiO3", "LiCoO2")
    }
    # Rock salt has the Bravais lattice of fcc, perovskite that of cuprite; to LiCoO2 neither is near.
    fcc, cuprite = tmp_path / "fcc", tmp_path / "cuprite"
    assert nearest == {"Ni": fcc, "Cu2O": cuprite, "MgO": fcc, "SrTiO3": cuprite, "LiCoO2": fcc}
    shutil.rmtree(fcc)
    assert nearest_shipped_model([load_crystal("Ni")]) == cuprite
    shutil.rmtree(cuprite)
    assert nearest_shipped_model([load_crystal("Ni")]) is None


def test_crystals_without_a_model_are_listed_beside_those_with_one() -> None:
    crystals = [load_crystal("Cu"), load_crystal("LiCoO2"), load_crystal("Ni")]
    found = models_of(crystals)
    assert found == {"Cu": shipped_models()["fcc"], "LiCoO2": None, "Ni": shipped_models()["fcc"]}
    assert "train one" in no_model_message(crystals[1])


def test_damage_is_named(folder: Path) -> None:
    weights = folder / WEIGHTS_NAME
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match=WEIGHTS_NAME):
        load_model(folder)
    weights.unlink()
    with pytest.raises(ModelError, match="whole model folder"):
        load_model(folder)
    (folder / CARD_NAME).write_text("{}")
    with pytest.raises(ModelError, match="not a model card"):
        load_model(folder)
    with pytest.raises(ModelError, match="no model folder"):
        read_card(folder.parent)


def test_a_crystal_without_model_gets_both_ways_out() -> None:
    with pytest.raises(ModelError, match=r"train one.*template matching"):
        find_models([load_crystal("LiCoO2")])


def test_own_models_come_before_shipped_ones(folder: Path) -> None:
    assert find_models([load_crystal("Cu")], folders=[folder])["Cu"] == folder
