"""Rings lie where the lattice has its reflections, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from napari_stem_orient.calibration.rings import crystal_rings, rings_of_all
from napari_stem_orient.core.crystal import load_crystal


def test_rings_of_gold_are_those_of_fcc() -> None:
    gold = load_crystal("Au")
    rings = crystal_rings(gold, q_max=1.0)
    assert rings.labels() == ("111", "200", "220", "311", "222", "400")
    np.testing.assert_allclose(rings.q * gold.lattice[0], np.sqrt([3, 4, 8, 11, 12, 16]), rtol=1e-9)


def test_the_structure_forbids_200_and_222_of_silicon() -> None:
    labels = crystal_rings(load_crystal("Si"), q_max=0.75).labels()
    assert labels == ("111", "220", "311", "400")


def test_111_of_a_powder_of_gold_is_the_strongest_and_twice_200() -> None:
    rings = crystal_rings(load_crystal("Au"), q_max=1.0)
    assert rings.intensity[0] == 1
    assert rings.intensity[1] == pytest.approx(0.5, abs=0.1)
    assert (np.diff(rings.q) > 0).all()


def test_rings_of_two_crystals_come_in_order_and_none_reach_nowhere() -> None:
    both = rings_of_all([load_crystal("Cu"), load_crystal("Cu2O")], q_max=0.6)
    assert (np.diff(both.q) >= 0).all()
    assert len(both.q) == sum(len(crystal_rings(load_crystal(name), q_max=0.6).q) for name in ("Cu", "Cu2O"))
    assert len(crystal_rings(load_crystal("Cu"), q_max=0.1).q) == 0
    with pytest.raises(ValueError, match="add at least one"):
        rings_of_all([], q_max=1.0)
