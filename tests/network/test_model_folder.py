"""Model folders: what is shipped loads, what is damaged is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.network.model_folder import (
    CARD_NAME,
    WEIGHTS_NAME,
    ModelError,
    find_models,
    load_model,
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
        find_models([load_crystal("Ti")])


def test_own_models_come_before_shipped_ones(folder: Path) -> None:
    assert find_models([load_crystal("Cu")], folders=[folder])["Cu"] == folder
