"""Scattering and structure factors against hand-worked answers and py4DSTEM's."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.simulation import scattering
from napari_stem_orient.simulation.scattering import electron_scattering_factor, structure_factors


def test_forward_scattering_factor_of_copper_is_that_of_the_tables() -> None:
    # International Tables C, 4.3.1: f_e(0) of Cu is 5.60 Å; Lobato's fit is within some percent of it.
    assert electron_scattering_factor("Cu", np.array([0.0]))[0] == pytest.approx(5.6, rel=0.03)


def test_scattering_factor_of_copper_follows_mott_and_bethe() -> None:
    # X-ray form factor of Cu by Cromer and Mann, Acta Cryst. A24 (1968) 321; s = q / 2.
    a, b, c = [13.338, 7.1676, 5.6158, 1.6735], [3.5828, 0.247, 11.3966, 64.8126], 1.191
    q = np.arange(0.45, 2.0, 0.05)
    s_squared = np.square(q)[:, None] / 4
    x_ray = (np.array(a) * np.exp(-np.array(b) * s_squared)).sum(axis=1) + c
    expected = 0.0239337 * (29 - x_ray) / s_squared[:, 0]
    np.testing.assert_allclose(electron_scattering_factor("Cu", q), expected, rtol=0.007)


def test_fcc_structure_factor_is_four_times_the_atom() -> None:
    cu = load_crystal("Cu")
    value = structure_factors(cu, np.array([[2, 0, 0]]), thermal_sigma_angstrom=0)[0]
    expected = 4 * electron_scattering_factor("Cu", np.array([2 / 3.6149]))[0] / 3.6149**3
    assert value.real == pytest.approx(expected)
    assert value.imag == pytest.approx(0, abs=1e-12)


def test_forbidden_reflections_vanish() -> None:
    si = load_crystal("Si")
    factors = np.abs(structure_factors(si, np.array([[1, 1, 1], [2, 0, 0], [2, 2, 2], [2, 2, 0]])))
    assert factors[1] < 1e-9
    assert factors[2] < 1e-9
    assert factors[0] > 0.01
    assert factors[3] > 0.01


def test_friedel_pairs_are_conjugate() -> None:
    gaas = load_crystal("GaAs")
    there, back = structure_factors(gaas, np.array([[1, 1, 1], [-1, -1, -1]]))
    assert there == pytest.approx(np.conj(back))


@pytest.mark.parametrize("name", ["Cu", "Ti", "LiCoO2"])
def test_structure_factors_equal_py4dstem(name: str, py4dstem: ModuleType) -> None:
    numbers = {"Cu": 29, "Ti": 22, "Li": 3, "Co": 27, "O": 8}
    crystal = load_crystal(name)
    theirs = py4dstem.process.diffraction.Crystal(
        crystal.fractional, [numbers[e] for e in crystal.elements], list(crystal.lattice)
    )
    theirs.calculate_structure_factors(1.5)
    ours = structure_factors(crystal, theirs.hkl.T.astype(int), thermal_sigma_angstrom=0)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs.struct_factors), rtol=0.02, atol=1e-5)


def test_unknown_elements_are_named() -> None:
    with pytest.raises(ValueError, match="Xx"):
        electron_scattering_factor("Xx", np.array([0.1]))


def test_reflections_of_a_large_cell_are_worked_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    crystal = load_crystal("LiCoO2")
    hkl, _ = crystal.reflections(1.5)
    whole = structure_factors(crystal, hkl)
    monkeypatch.setattr(scattering, "PIECE", 7)
    np.testing.assert_allclose(structure_factors(crystal, hkl), whole, rtol=1e-12, atol=1e-15)


def test_strontium_scatters_as_strontium_in_template_matching(py4dstem: ModuleType) -> None:
    # py4DSTEM 0.14 has the scattering factors of Rb and Sr exchanged, which differ by up to 15 %
    from napari_stem_orient.indexing.template_plan import py4dstem_crystal

    crystal = load_crystal("SrTiO3")
    theirs = py4dstem_crystal(crystal)
    theirs.calculate_structure_factors(1.0)
    ours = structure_factors(crystal, theirs.hkl.T.astype(int), thermal_sigma_angstrom=0)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs.struct_factors), rtol=1e-4, atol=1e-6)


def test_structure_factors_of_every_cif_at_hand_equal_py4dstem(
    measured_data: Path, py4dstem: ModuleType
) -> None:
    from napari_stem_orient.indexing.template_plan import py4dstem_crystal

    for path in sorted((measured_data / "cifs").glob("*.cif")):
        crystal = load_crystal(path)
        theirs = py4dstem_crystal(crystal)
        theirs.calculate_structure_factors(1.0)
        ours = structure_factors(crystal, theirs.hkl.T.astype(int), thermal_sigma_angstrom=0)
        largest = np.abs(theirs.struct_factors).max()
        np.testing.assert_allclose(
            np.abs(ours), np.abs(theirs.struct_factors), atol=1e-5 * largest, err_msg=path.name
        )
