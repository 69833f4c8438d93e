"""Training patterns: each is the pattern of its rotation, phase and conditions."""

from __future__ import annotations

import pytest
import torch

from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.simulation.augment import AugmentationParameters
from napari_stem_orient.simulation.bloch import StructureMatrix, simulate_bloch
from napari_stem_orient.simulation.bloch_library import BlochLibrary, build_bloch_library
from napari_stem_orient.transformer.pattern_sampler import PatternSampler, TrainingBatch, library_parameters
from napari_stem_orient.transformer.training_parameters import TrainingParameters

CALM = AugmentationParameters(
    intensity_noise=0,
    missing=0,
    spurious=0,
    mixed=0,
    position_noise=0,
    scale_error=0,
    ellipticity=0,
    origin_error=0,
    threshold_low=1e-3,
    threshold_high=1.001e-3,
)
PARAMETERS = TrainingParameters(
    voltage_low_kv=200,
    q_max_low_inv_angstrom=1.2,
    q_max_high_inv_angstrom=1.2,
    zone_axes=400,
    variants=2,
    kinematic_part=0,
    augmentation=CALM,
)


def library_of(*members: Crystal, parameters: TrainingParameters = PARAMETERS) -> BlochLibrary:
    job = build_bloch_library(members, parameters=library_parameters(members, parameters))
    while True:
        try:
            next(job)
        except StopIteration as stop:
            library: BlochLibrary = stop.value
            return library


def distance_from_lattice(batch: TrainingBatch, crystal: Crystal) -> torch.Tensor:
    """How far disks, put on the Ewald sphere and turned into the crystal, are from the reciprocal lattice; 1/Å."""
    q = batch.peaks[..., :2]
    curved = -0.5 * batch.conditions[:, :1] * (q * q).sum(-1)
    in_crystal = torch.cat([q, curved[..., None]], dim=-1) @ batch.rotation.transpose(-1, -2)
    to_index = torch.as_tensor(crystal.direct_basis, dtype=torch.float32) / crystal.lattice_scale
    index = in_crystal @ to_index.T
    off = (index - index.round()) @ torch.as_tensor(crystal.reciprocal_basis, dtype=torch.float32)
    return off.norm(dim=-1)[batch.mask]


def test_dynamical_patterns_and_their_mirror_images_are_those_of_their_rotations() -> None:
    for name in ("Cu", "Ti", "GaAs"):
        crystal = load_crystal(name)
        sampler = PatternSampler([crystal], PARAMETERS, seed=1, libraries=[library_of(crystal)])
        batch = sampler.batch(128)
        torch.testing.assert_close(torch.linalg.det(batch.rotation), torch.ones(128))
        # Off by no more than the excitation error lets them: 0.1 1/Å along the beam, more for averaged patterns.
        distance = distance_from_lattice(batch, crystal)
        assert float(distance.median()) < 0.05
        assert float(distance.quantile(0.95)) < 0.11


def test_intensities_of_a_mirror_image_are_those_of_its_rotation() -> None:
    copper = load_crystal("Cu")
    parameters = PARAMETERS.model_copy(
        update={
            "voltage_low_kv": 300,
            "variants": 1,
            "thickness_low_angstrom": 300,
            "thickness_high_angstrom": 301,
        }
    )
    sampler = PatternSampler(
        [copper], parameters, seed=2, libraries=[library_of(copper, parameters=parameters)]
    )
    batch = sampler.batch(32)
    matrix = StructureMatrix(copper, voltage_kv=300, q_max=1.2)
    exact = simulate_bloch(matrix, batch.rotation, thickness_angstrom=torch.tensor([300.0]))
    for row in range(32):
        strongest = batch.peaks[row, 0]
        q = (matrix.g[exact.reflection[row].clamp_min(0)] @ batch.rotation[row])[:, :2] * copper.lattice_scale
        intensity = torch.where(exact.reflection[row] > 0, exact.intensity[row, 0], 0)
        place = (q - strongest[:2]).norm(dim=-1).argmin()
        assert float((q[place] - strongest[:2]).norm()) < 1e-3
        assert float(intensity[place] / intensity.max()) > 0.98


def test_members_of_a_type_take_turns_and_bring_their_own_conditions() -> None:
    members = (load_crystal("Ti"), load_crystal("Zn"))
    parameters = PARAMETERS.model_copy(update={"kinematic_part": 0.5})
    sampler = PatternSampler(
        [members], parameters, seed=3, libraries=[library_of(*members, parameters=parameters)]
    )
    batch = sampler.batch(256)
    ratios = torch.tensor([m.axial_ratio for m in members])
    nearest = (batch.conditions[:, 1:] - ratios).abs()
    assert float(nearest.amin(dim=1).max()) < 1e-5
    assert set(nearest.argmin(dim=1).tolist()) == {0, 1}
    assert torch.all(batch.phase == 0)


def test_phases_come_in_equal_parts() -> None:
    phases = [load_crystal("Cu"), load_crystal("Cu2O")]
    libraries = [library_of(p) for p in phases]
    batch = PatternSampler(phases, PARAMETERS, seed=4, libraries=libraries).batch(64)
    assert batch.phase.bincount().tolist() == [32, 32]


def test_a_batch_may_be_smaller_than_the_number_of_phases() -> None:
    copper = load_crystal("Cu")
    library = library_of(copper)
    batch = PatternSampler([copper] * 3, PARAMETERS, seed=4, libraries=[library] * 3).batch(2)
    assert len(batch.phase) == len(batch.peaks) == 2
    assert len(set(batch.phase.tolist())) == 2


def test_the_same_seed_gives_the_same_batch() -> None:
    copper = load_crystal("Cu")
    library = library_of(copper)
    first, second = (
        PatternSampler([copper], PARAMETERS, seed=5, libraries=[library]).batch(16) for _ in range(2)
    )
    torch.testing.assert_close(first.peaks, second.peaks, rtol=0, atol=0)


@pytest.mark.parametrize("field", ["voltage_low_kv", "thickness_low_angstrom", "q_max_low_inv_angstrom"])
def test_a_range_that_runs_downwards_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match="give the lower end first"):
        TrainingParameters(**{field: 2900.0})
