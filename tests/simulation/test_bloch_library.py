"""A library covers all zone axes, thicknesses, voltages and members, and its patterns are those of its rotations."""

from __future__ import annotations

import math
from collections.abc import Generator

import pytest
import torch

from napari_stem_orient.core.calibration import electron_wavelength_angstrom
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.simulation.bloch import StructureMatrix, simulate_bloch
from napari_stem_orient.simulation.bloch_library import (
    BlochLibrary,
    BlochParameters,
    LibraryProgress,
    build_bloch_library,
    spacing_for,
)
from napari_stem_orient.transformer.loss import symmetry_matrices

COARSE = BlochParameters(
    spacing_deg=4, variants=2, averaged_part=0.0, n_thicknesses=4, q_max_inv_angstrom=1.2
)


def build(
    *names: str, parameters: BlochParameters = COARSE, seed: int = 0
) -> tuple[BlochLibrary, list[LibraryProgress]]:
    job: Generator[LibraryProgress, None, BlochLibrary] = build_bloch_library(
        [load_crystal(n) for n in names], parameters=parameters, seed=seed
    )
    steps = []
    while True:
        try:
            steps.append(next(job))
        except StopIteration as stop:
            return stop.value, steps


def test_members_and_voltages_take_turns() -> None:
    parameters = COARSE.model_copy(update={"variants": 4, "voltage_low_kv": 80})
    library, steps = build("Cu", "Au", parameters=parameters)
    assert steps[-1].progress.done == steps[-1].progress.total == len(library)
    assert set(library.member.tolist()) == {0, 1}
    assert len(set(library.wavelength.tolist())) == 4
    assert library.wavelength.max() <= electron_wavelength_angstrom(80)
    assert library.wavelength.min() >= electron_wavelength_angstrom(300) * (1 - 1e-6)


def test_the_number_of_zone_axes_is_as_asked() -> None:
    for name in ("Cu", "Ti", "LiCoO2"):
        spacing = spacing_for(load_crystal(name), n_zone_axes=400)
        parameters = COARSE.model_copy(
            update={"spacing_deg": spacing, "variants": 1, "q_max_inv_angstrom": 0.6}
        )
        assert len(build(name, parameters=parameters)[0]) == pytest.approx(400, rel=0.1)


def test_patterns_are_those_of_their_rotations() -> None:
    library, _ = build("Cu")
    row = 7
    matrix = StructureMatrix(load_crystal("Cu"), voltage_kv=300, q_max=1.2)
    alone = simulate_bloch(matrix, library.rotation[row][None], thickness_angstrom=library.thickness_angstrom)
    strongest = alone.intensity[0, :, 1:].amax(dim=0).argmax() + 1
    expected = (matrix.g[alone.reflection[0, strongest]] @ library.rotation[row])[:2]
    torch.testing.assert_close(library.q[row, 0], expected, atol=1e-5, rtol=0)
    relative = alone.intensity[0, :, strongest] / alone.intensity[0, :, strongest].max()
    torch.testing.assert_close(library.intensity[row, :, 0].float(), relative, atol=2e-3, rtol=0)


def test_rotations_are_proper_and_every_direction_has_a_zone_axis_nearby() -> None:
    library, _ = build("LiCoO2")
    torch.testing.assert_close(torch.linalg.det(library.rotation), torch.ones(len(library)))
    assert float(library.q.norm(dim=-1).max()) <= 1.2
    directions = torch.nn.functional.normalize(
        torch.randn((500, 3), generator=torch.Generator().manual_seed(0)), dim=1
    )
    (symmetry,) = symmetry_matrices([load_crystal("LiCoO2")], torch.device("cpu"))
    beams = library.rotation[:, :, 2] @ symmetry.transpose(1, 2)  # (S, Z, 3)
    nearest = (directions @ beams.flatten(0, 1).T).amax(dim=1).clamp_max(1.0).acos().rad2deg()
    assert float(nearest.max()) < 1.5 * COARSE.spacing_deg


def test_the_same_seed_gives_the_same_library() -> None:
    first, second, other = build("Cu")[0], build("Cu")[0], build("Cu", seed=1)[0]
    torch.testing.assert_close(first.intensity, second.intensity, rtol=0, atol=0)
    assert not torch.equal(first.rotation[:100], other.rotation[:100])


def test_only_crystals_with_a_centre_have_mirror_images() -> None:
    tiny = COARSE.model_copy(update={"spacing_deg": 10.0, "variants": 1})
    assert build("Cu", parameters=tiny)[0].mirrored
    assert not build("GaAs", parameters=tiny)[0].mirrored


def test_averaged_patterns_have_more_beams() -> None:
    plain, _ = build("Cu")
    averaged, _ = build("Cu", parameters=COARSE.model_copy(update={"averaged_part": 1.0}))
    beams = [float((lib.intensity.amax(dim=1) > 1e-3).sum(dim=1).float().mean()) for lib in (plain, averaged)]
    assert beams[1] > 1.05 * beams[0]
    assert math.isfinite(float(averaged.intensity.float().sum()))


def test_no_crystal_is_refused() -> None:
    with pytest.raises(ValueError, match="name at least one"):
        next(build_bloch_library([], parameters=COARSE))


def test_a_zone_axis_without_a_single_reflection_is_an_empty_pattern() -> None:
    parameters = COARSE.model_copy(update={"spacing_deg": 10, "variants": 1, "q_max_inv_angstrom": 0.3})
    library, _ = build("Cu", parameters=parameters)  # the first reflections lie at 0.48 1/Å
    assert len(library) > 0
    assert library.intensity.shape[1:] == (4, parameters.n_beams)
    assert not library.intensity.any()
    assert not library.q.any()
