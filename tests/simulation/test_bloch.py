"""Bloch waves: the same as py4DSTEM's general solution, and what must hold in every crystal."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation import (
    py4dstem_from_sample,
    quaternion_to_matrix,
    random_quaternions,
)
from napari_stem_orient.simulation.bloch import (
    BlochPatterns,
    StructureMatrix,
    inversion_centre,
    simulate_bloch,
)

QUATERNIONS = random_quaternions(6, np.random.default_rng(3))
ROTATIONS = torch.as_tensor(quaternion_to_matrix(QUATERNIONS))
THICKNESS = torch.tensor([100.0, 400.0, 1000.0], dtype=torch.float64)


def simulate(
    name: str, *, cut: float = 0.1, voltage_kv: float = 300, q_max: float = 2.0, **options: object
) -> BlochPatterns:
    crystal = dataclasses.replace(load_crystal(name), thermal_sigma_angstrom=options.pop("thermal", 0.08))
    matrix = StructureMatrix(crystal, voltage_kv=voltage_kv, q_max=q_max, dtype=torch.float64, **options)
    return simulate_bloch(matrix, ROTATIONS, thickness_angstrom=THICKNESS, excitation_cut=cut)


def by_index(patterns: BlochPatterns, row: int) -> dict[tuple[int, ...], np.ndarray]:
    """Intensities at all thicknesses by hkl of one pattern."""
    reflection = patterns.reflection[row]
    return {
        tuple(int(h) for h in patterns.hkl[int(r)]): patterns.intensity[row, :, place].numpy()
        for place, r in enumerate(reflection)
        if r >= 0
    }


@pytest.mark.parametrize(
    ("name", "cut", "within"), [("Cu", 0.1, 0.03), ("Cu", 0.2, 0.001), ("GaAs", 0.1, 0.03)]
)
@pytest.mark.usefixtures("py4dstem")
def test_strong_beams_are_those_of_py4dstem(name: str, cut: float, within: float) -> None:
    from napari_stem_orient.indexing.template_plan import py4dstem_crystal

    general = py4dstem_crystal(load_crystal(name))
    general.calculate_dynamical_structure_factors(
        300e3, "Lobato", k_max=4.0, thermal_sigma=0.0, tol_structure_factor=0, g_vec_precision=4
    )
    ours = simulate(name, cut=cut, absorption=False, thermal=0.0)
    pairs = []
    for row, matrix in enumerate(py4dstem_from_sample(QUATERNIONS)):
        beams = general.generate_diffraction_pattern(
            orientation_matrix=matrix,
            sigma_excitation_error=0.2 / 3,
            tol_excitation_error_mult=3,
            tol_intensity=0.0,
            k_max=2.0,
        )
        found = general.generate_dynamical_diffraction_pattern(
            beams, thickness=THICKNESS.tolist(), zone_axis_cartesian=matrix[:, 2]
        )
        mine = by_index(ours, row)
        for level, pattern in enumerate(found):
            disks = pattern.data
            for h, k, index, intensity in zip(
                disks["h"], disks["k"], disks["l"], disks["intensity"], strict=True
            ):
                if intensity > 0.02:
                    pairs.append((intensity, mine[int(h), int(k), int(index)][level]))
    theirs, own = np.array(pairs).T
    assert len(pairs) > 20
    assert np.median(np.abs(own / theirs - 1)) < within


@pytest.mark.parametrize("name", ["Cu", "Cu2O", "Si", "Ti"])
def test_without_absorption_no_electron_is_lost(name: str) -> None:
    total = simulate(name, absorption=False).intensity.sum(dim=-1)
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-6, rtol=0)


def test_absorption_grows_with_thickness_and_atomic_number() -> None:
    copper = simulate("Cu").intensity.sum(dim=-1)
    gold = simulate("Au").intensity.sum(dim=-1)
    assert torch.all(copper[:, 1:] < copper[:, :-1])
    assert torch.all(gold.mean(dim=0) < copper.mean(dim=0))


def test_two_beams_follow_the_two_beam_formula() -> None:
    crystal = dataclasses.replace(load_crystal("Al"), thermal_sigma_angstrom=0.0)
    matrix = StructureMatrix(crystal, voltage_kv=200, q_max=0.43, absorption=False, dtype=torch.float64)
    # Only {111} are within reach; tilted 4° off [112] about [111], one of them is excited and its partner is not.
    along = np.array([1.0, 1.0, 1.0]) / 3**0.5
    beam = np.array([1.0, 1.0, -2.0]) / 6**0.5
    rotation = torch.as_tensor(np.stack([along, np.cross(beam, along), beam], axis=1))
    length, wavelength = 3**0.5 / 4.0496, matrix.wavelength
    tilt = np.arcsin(wavelength * length / 2)  # onto the Bragg condition of (111)
    turn = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    best = max(
        (rotation @ torch.as_tensor(t) for t in (turn, turn.T)),
        key=lambda r: by_index(simulate_bloch(matrix, r[None], thickness_angstrom=THICKNESS), 0)[
            1, 1, 1
        ].max(),
    )
    patterns = simulate_bloch(matrix, best[None], thickness_angstrom=THICKNESS, excitation_cut=0.004)
    assert set(by_index(patterns, 0)) == {(0, 0, 0), (1, 1, 1)}
    elastic, _ = matrix.of_beams(patterns.reflection)
    extinction = 1 / (wavelength * float(elastic[0, 0, 1].abs()))  # Å
    expected = np.sin(np.pi * THICKNESS.numpy() / extinction) ** 2
    np.testing.assert_allclose(by_index(patterns, 0)[1, 1, 1], expected, atol=1e-6)
    # Williams and Carter, table 13.2: the extinction distance of Al 111 at 100 kV is 56.3 nm; at 200 kV 1.27 times it.
    assert extinction == pytest.approx(563 * 1.27, rel=0.06)


def test_a_crystal_with_a_centre_needs_no_complex_matrix() -> None:
    assert inversion_centre(load_crystal("Si")) == pytest.approx((0.125, 0.125, 0.125))
    assert inversion_centre(load_crystal("GaAs")) is None
    assert StructureMatrix(load_crystal("Si"), voltage_kv=300, q_max=1.0).is_real
    assert not StructureMatrix(load_crystal("GaAs"), voltage_kv=300, q_max=1.0).is_real


def test_the_origin_of_the_cell_does_not_matter() -> None:
    silicon = load_crystal("Si")
    moved = dataclasses.replace(silicon, fractional=silicon.fractional + np.array([0.11, 0.23, 0.05]))
    ours, theirs = (
        simulate_bloch(
            StructureMatrix(c, voltage_kv=200, q_max=1.5, dtype=torch.float64),
            ROTATIONS,
            thickness_angstrom=THICKNESS,
        ).intensity
        for c in (silicon, moved)
    )
    torch.testing.assert_close(ours, theirs, atol=1e-8, rtol=1e-6)


def test_a_pattern_does_not_depend_on_those_simulated_with_it() -> None:
    matrix = StructureMatrix(load_crystal("GaAs"), voltage_kv=300, q_max=1.2)
    rotations, thickness = ROTATIONS.float(), THICKNESS.float()
    together = simulate_bloch(matrix, rotations, thickness_angstrom=thickness)
    n_beams = (together.reflection >= 0).sum(dim=1)
    assert n_beams.min() < n_beams.max()  # some places have no beam
    for row, count in enumerate(n_beams.tolist()):
        alone = simulate_bloch(matrix, rotations[row, None], thickness_angstrom=thickness)
        assert torch.equal(alone.reflection[0], together.reflection[row, :count])
        torch.testing.assert_close(alone.intensity[0], together.intensity[row, :, :count], atol=1e-4, rtol=0)


def test_tilts_are_averaged() -> None:
    matrix = StructureMatrix(load_crystal("Cu"), voltage_kv=300, q_max=1.5, dtype=torch.float64)
    tilt = 0.005
    tilts = torch.tensor([[[tilt, 0.0], [-tilt, 0.0]]], dtype=torch.float64).expand(6, 2, 2)
    averaged = simulate_bloch(matrix, ROTATIONS, thickness_angstrom=THICKNESS, tilts=tilts)
    # A beam tilted by t toward +x sees s + g_x t: the same as the crystal turned by t about y, to first order.
    cos, sin = np.cos(tilt), np.sin(tilt)
    sides = []
    for sign in (1, -1):
        turn = torch.tensor([[cos, 0, sign * sin], [0, 1, 0], [-sign * sin, 0, cos]], dtype=torch.float64)
        sides.append(simulate_bloch(matrix, ROTATIONS @ turn, thickness_angstrom=THICKNESS))
    for row in range(6):
        mine = by_index(averaged, row)
        first, second = (by_index(side, row) for side in sides)
        strong = [h for h in mine if mine[h].max() > 0.02 and h in first and h in second]
        for h in strong:
            np.testing.assert_allclose(mine[h], (first[h] + second[h]) / 2, atol=0.02)


def test_single_precision_is_enough() -> None:
    crystal = load_crystal("Cu")
    fine, coarse = (
        simulate_bloch(
            StructureMatrix(crystal, voltage_kv=300, q_max=2.0, dtype=dtype),
            ROTATIONS.to(dtype),
            thickness_angstrom=THICKNESS.to(dtype),
        ).intensity.double()
        for dtype in (torch.float64, torch.float32)
    )
    torch.testing.assert_close(fine, coarse, atol=2e-3, rtol=0)
