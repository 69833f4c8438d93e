"""A model card says for what a model is, and where that ends."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.transformer.model_card import ModelCard, outside_trained_range
from napari_stem_orient.transformer.model_folder import read_card, shipped_models
from napari_stem_orient.transformer.network import TransformerConfig


def card(*phases: str, **values: object) -> ModelCard:
    arguments: dict[str, object] = {
        "name": "model",
        "crystals": tuple(load_crystal(phase).to_dict() for phase in phases),
        "voltage_kv": (80.0, 300.0),
        "lattice_scale_angstrom": (2.2, 3.3),
        "q_limit_inv_angstrom": (0.9, 2.0),
        "network": TransformerConfig(),
        "training": {"patterns": 1_000_000, "simulation": "dynamical", "minutes_done": 30.0},
        "held_out": {
            "candidate_within_2_deg": 0.9,
            "candidate_within_5_deg": 0.97,
            "candidate_median_deg": 0.6,
        },
        "software_version": "0.2.0",
    }
    return ModelCard(**{**arguments, **values})  # type: ignore[arg-type]


def with_lattice(name: str, a: float, c: float) -> Crystal:
    crystal = load_crystal(name)
    return replace(crystal, name=f"other {name}", lattice=(a, a, c, *crystal.lattice[3:]))


HCP = card("Ti", structure_types=("hcp",), axial_ratio=(1.55, 1.65))


def test_cards_written_before_ranges_were_known_still_read() -> None:
    text = json.loads(card("Cu", structure_type="fcc").model_dump_json())
    for later in ("structure_types", "trained_on", "axial_ratio", "thickness_angstrom"):
        del text[later]
    old = ModelCard.model_validate(text)
    assert old.serves == ("fcc",)
    assert old.axial_ratio is None


def test_a_card_may_serve_several_structure_types() -> None:
    semiconductors = card("Si", structure_types=("diamond", "zinc blende"), lattice_scale_angstrom=(3.5, 6.6))
    assert [semiconductors.phase_index(load_crystal(n)) for n in ("Ge", "GaAs", "C (diamond)")] == [0, 0, 0]
    assert semiconductors.phase_index(load_crystal("MgO")) is None
    assert "diamond and zinc blende crystals" in semiconductors.summary()


def test_of_several_phases_the_one_of_the_same_type_is_taken() -> None:
    both = card("Ni", "Fe (bcc)", structure_types=("fcc", "bcc"), lattice_scale_angstrom=(2.8, 4.1))
    assert both.phase_index(load_crystal("W")) == 1
    assert both.phase_index(load_crystal("Al")) == 0


def test_a_hexagonal_model_serves_its_range_of_axial_ratios_only() -> None:
    assert HCP.phase_index(load_crystal("Mg")) == 0
    assert HCP.phase_index(load_crystal("Zn")) is None  # c/a 1.86
    assert HCP.phase_index(with_lattice("Mg", 3.0, 3.0 * 1.66)) == 0  # within a hundredth of the highest
    assert HCP.phase_index(with_lattice("Mg", 3.0, 3.0 * 1.68)) is None


def test_without_a_range_the_axial_ratio_is_that_of_the_crystal_it_was_trained_for() -> None:
    titanium = card("Ti", structure_types=("hcp",))
    assert titanium.phase_index(load_crystal("Zr")) == 0  # 1.5925, titanium 1.5879
    assert titanium.phase_index(load_crystal("Mg")) is None  # 1.6236


def test_a_cell_edge_far_outside_is_not_served_but_the_trained_crystal_always_is() -> None:
    metals = card("Cu", structure_type="fcc", lattice_scale_angstrom=(3.6, 3.7))
    assert metals.phase_index(load_crystal("Al")) is None
    own = card("LiCoO2", lattice_scale_angstrom=(2.8156, 2.8156))
    assert own.serves == ()
    assert own.phase_index(load_crystal("LiCoO2")) == 0
    assert own.phase_index(load_crystal("Ti")) is None


def test_inside_the_range_there_is_nothing_to_say() -> None:
    assert outside_trained_range(HCP, load_crystal("Ti"), voltage_kv=200, q_limit_inv_angstrom=1.4) == ()
    assert outside_trained_range(HCP, load_crystal("Ti")) == ()
    assert outside_trained_range(HCP, load_crystal("Ti"), q_limit_inv_angstrom=3.0) == ()


@pytest.mark.parametrize(
    ("crystal", "measurement", "words"),
    [
        ("Ti", {"voltage_kv": 60}, "voltage 60 kV; the model was trained for 80 to 300 kV"),
        (
            "Ti",
            {"q_limit_inv_angstrom": 0.6},
            "disks seen to 0.6 1/Å only; the model was trained for 0.9 to 2 1/Å",
        ),
        ("Cu", {}, "cell edge of Cu 3.615 Å; the model was trained for 2.2 to 3.3 Å"),
        ("Zn", {}, "c/a of Zn 1.856; the model was trained for 1.55 to 1.65"),
    ],
)
def test_what_is_outside_is_said_with_the_value_and_the_range(
    crystal: str, measurement: dict[str, float], words: str
) -> None:
    assert words in outside_trained_range(HCP, load_crystal(crystal), **measurement)


def test_the_lines_tell_range_accuracy_and_recipe() -> None:
    lines = dict(
        HCP.model_copy(update={"thickness_angstrom": (50.0, 800.0), "trained_on": ("Ti", "Mg")}).lines()
    )
    assert lines["Trained on"] == "Ti, Mg"
    assert lines["Voltage"] == "80 to 300 kV"
    assert lines["c/a"] == "1.55 to 1.65"
    assert lines["Thickness"] == "5 to 80 nm"
    assert "within 2° for 90 %" in lines["Accuracy"]
    assert lines["Training"] == "1,000,000 dynamical patterns, 30 min"
    kinematic = dict(HCP.lines())
    assert "kinematic" in kinematic["Thickness"]


def test_every_shipped_card_says_its_accuracy_and_its_range() -> None:
    for folder in shipped_models().values():
        lines = dict(read_card(folder).lines())
        assert {"Made for", "Trained on", "Voltage", "Cell edge a", "Highest q", "Accuracy"} <= set(lines)
