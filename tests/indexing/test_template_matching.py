"""py4DSTEM's template matching behind our job shape: known orientations come back, in our convention."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cif_texts import LAMNO3, PBNM_CELL, text_of
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.frames import WITHOUT_PATTERN, position_ranges
from napari_stem_orient.core.orientation import (
    disorientation_angle_deg,
    from_euler_bunge_deg,
    multiply,
    py4dstem_from_sample,
    quaternion_about_z,
    quaternion_to_matrix,
    random_quaternions,
    symmetry_quaternions,
)
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.core.zone_axes import zone_axis_uvw
from napari_stem_orient.indexing.template_matching import (
    index_by_template_matching,
    match_pattern,
    pattern_cosine,
)
from napari_stem_orient.indexing.template_parameters import TemplateMatchingParameters
from napari_stem_orient.indexing.template_plan import (
    TemplatePlans,
    kernel_size_for,
    make_template_plan,
    py4dstem_crystal,
    zone_axis_range,
)

CALIBRATION = Calibration(voltage_kv=300, pixel_size_inv_angstrom=0.02)
MONOCLINIC = Crystal(
    name="baddeleyite-like",
    lattice=(5.15, 5.21, 5.32, 90.0, 99.2, 90.0),
    elements=("Zr", "Zr", "Zr", "Zr"),
    fractional=np.array(
        [[0.275, 0.04, 0.208], [0.725, 0.54, 0.292], [0.725, 0.96, 0.792], [0.275, 0.46, 0.708]]
    ),
    occupancy=np.ones(4),
    space_group=14,
)


def py4dstem_pattern(crystal: Crystal, quaternion: np.ndarray, *, precession_deg: float = 0.0) -> np.ndarray:
    """(n, 3) q_x, q_y, intensity of py4DSTEM's own kinematic pattern at one of our orientations."""
    planned = py4dstem_crystal(crystal)
    planned.calculate_structure_factors(1.5)
    planned.setup_diffraction(300e3)
    peaks = planned.generate_diffraction_pattern(
        orientation_matrix=py4dstem_from_sample(quaternion),
        sigma_excitation_error=0.02,
        precession_angle_degrees=precession_deg or None,
    ).data
    return np.stack([peaks["qy"], peaks["qx"], peaks["intensity"]], axis=1)


def peaks_of(patterns: list[np.ndarray], *, calibration: Calibration = CALIBRATION) -> BraggPeaks:
    return BraggPeaks.from_lists(patterns, (1, len(patterns)), calibration)


def index(peaks: BraggPeaks, *crystals: Crystal, **options: object) -> OrientationMap:
    job = index_by_template_matching(peaks, crystals, **options)  # type: ignore[arg-type]
    while True:
        try:
            next(job)
        except StopIteration as stop:
            return stop.value


# Orientations well inside the sector, with many disks: no twofold ambiguity about the beam.
@pytest.mark.usefixtures("py4dstem")
@pytest.mark.parametrize(
    ("name", "euler_deg"),
    [
        ("Cu", (25.0, 21.0, 33.0)),
        ("Cu", (200.0, 160.0, 70.0)),
        ("Mg", (40.0, 25.0, 10.0)),
        ("Mg", (310.0, 62.0, 50.0)),
        ("LiCoO2", (75.0, 50.0, 20.0)),
        ("Si", (140.0, 30.0, 80.0)),
    ],
)
def test_known_orientation_comes_back_from_py4dstems_own_pattern(
    name: str, euler_deg: tuple[float, float, float]
) -> None:
    crystal = load_crystal(name)
    truth = from_euler_bunge_deg(euler_deg)
    result = index(peaks_of([py4dstem_pattern(crystal, truth)]), crystal)
    assert result.reason[0] == Reason.INDEXED
    assert disorientation_angle_deg(truth, result.quaternion[0], crystal.proper_point_group) < 2.0
    assert 0.8 < result.score[0] <= 1.0


@pytest.mark.usefixtures("py4dstem")
@pytest.mark.parametrize("name", ["Cu", "Mg"])
def test_known_orientation_comes_back_from_our_simulated_pattern(name: str) -> None:
    kinematic = pytest.importorskip("napari_stem_orient.simulation.kinematic")
    crystal = load_crystal(name)
    truth = from_euler_bunge_deg([(25.0, 21.0, 33.0), (310.0, 62.0, 50.0), (200.0, 160.0, 70.0)])
    patterns = []
    for quaternion in truth:
        pattern = kinematic.simulate_pattern(crystal, quaternion, voltage_kv=300, q_max=1.5)
        patterns.append(np.stack([pattern.q_x, pattern.q_y, pattern.intensity], axis=1))
    result = index(peaks_of(patterns), crystal)
    errors = disorientation_angle_deg(truth, result.quaternion, crystal.proper_point_group)
    assert errors.max() < 2.0


@pytest.mark.usefixtures("py4dstem")
def test_monoclinic_crystal_of_any_orientation_comes_back() -> None:
    truth = random_quaternions(4, np.random.default_rng(3))
    parameters = TemplateMatchingParameters(
        angle_step_zone_axis_deg=4, coarse_step_deg=8, angle_step_in_plane_deg=3, q_max_inv_angstrom=1.0
    )
    patterns = [py4dstem_pattern(MONOCLINIC, quaternion) for quaternion in truth]
    result = index(peaks_of(patterns), MONOCLINIC, parameters=parameters)
    errors = disorientation_angle_deg(truth, result.quaternion, MONOCLINIC.proper_point_group)
    assert np.median(errors) < 4.0


@pytest.mark.usefixtures("py4dstem")
@pytest.mark.parametrize("name", ["P b n m", "P 1 1 21/b"])
def test_a_crystal_in_its_own_setting_is_found_and_quoted_in_its_own_axes(name: str, tmp_path: Path) -> None:
    path = tmp_path / "crystal.cif"
    cell = PBNM_CELL if name == "P b n m" else (5.15, 5.32, 5.21, 90, 90, 99.2)
    sites = (
        LAMNO3 if name == "P b n m" else [("Zr", "Zr", 0.275, 0.208, 0.04), ("O", "O", 0.07, 0.345, 0.332)]
    )
    path.write_text(text_of(cell, sites, name=name))
    crystal = load_crystal(path)
    # some degrees off the user's [001], whatever the standard setting calls it
    truth = multiply(from_euler_bunge_deg((0.0, 4.0, 25.0)), np.array([0.0, 1.0, 0.0, 0.0]))
    parameters = TemplateMatchingParameters(
        angle_step_zone_axis_deg=3, coarse_step_deg=6, angle_step_in_plane_deg=3, q_max_inv_angstrom=1.0
    )
    result = index(peaks_of([py4dstem_pattern(crystal, truth)]), crystal, parameters=parameters)
    assert disorientation_angle_deg(truth, result.quaternion[0], crystal.proper_point_group) < 3.0
    near = zone_axis_uvw(result.quaternion[0], crystal, tolerance_deg=9.0)
    assert np.abs(near).tolist() == [0, 0, 1]
    np.testing.assert_allclose(crystal.quoted_basis[2], crystal.direct_basis[2])


@pytest.mark.usefixtures("py4dstem")
def test_most_random_orientations_come_back() -> None:
    copper = load_crystal("Cu")
    truth = random_quaternions(24, np.random.default_rng(1))
    result = index(peaks_of([py4dstem_pattern(copper, quaternion) for quaternion in truth]), copper)
    errors = disorientation_angle_deg(truth, result.quaternion, copper.proper_point_group)
    assert np.median(errors) < 1.5
    assert np.mean(errors < 3) > 0.75


@pytest.mark.usefixtures("py4dstem")
def test_precession_pattern_comes_back() -> None:
    copper = load_crystal("Cu")
    truth = from_euler_bunge_deg((25.0, 21.0, 33.0))
    calibration = CALIBRATION.updated(precession_angle_deg=1.0)
    peaks = peaks_of([py4dstem_pattern(copper, truth, precession_deg=1.0)], calibration=calibration)
    result = index(peaks, copper)
    assert disorientation_angle_deg(truth, result.quaternion[0], copper.proper_point_group) < 3.0


@pytest.mark.usefixtures("py4dstem")
def test_in_plane_rotation_of_the_pattern_rotates_the_sample() -> None:
    """Turning the pattern from x toward y by 30° turns the crystal by as much about the beam."""
    magnesium = load_crystal("Mg")
    truth = from_euler_bunge_deg((40.0, 25.0, 10.0))
    pattern = py4dstem_pattern(magnesium, truth)
    angle = np.deg2rad(30)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = np.column_stack([pattern[:, :2] @ turn.T, pattern[:, 2]])
    result = index(peaks_of([turned]), magnesium)
    expected = multiply(truth, quaternion_about_z(-angle))
    assert disorientation_angle_deg(expected, result.quaternion[0], magnesium.proper_point_group) < 2.0


@pytest.mark.usefixtures("py4dstem")
def test_two_phases_in_one_run_are_told_apart() -> None:
    crystals = load_crystal("Cu"), load_crystal("Cu2O")
    truth = random_quaternions(6, np.random.default_rng(5))
    phase = np.array([0, 1, 0, 1, 0, 1])
    patterns = [py4dstem_pattern(crystals[p], quaternion) for p, quaternion in zip(phase, truth, strict=True)]
    result = index(peaks_of(patterns), *crystals)
    np.testing.assert_array_equal(result.phase_id, phase)
    assert np.all(result.alternative_score <= result.score + 0.05)


@pytest.mark.usefixtures("py4dstem")
def test_positions_without_a_solution_say_why() -> None:
    copper = load_crystal("Cu")
    pattern = py4dstem_pattern(copper, from_euler_bunge_deg((25.0, 21.0, 33.0)))
    direct_beam = np.array([[0.0, 0.0, 100.0]])
    far_from_any = np.column_stack([np.full(5, 0.23), np.linspace(-0.05, 0.05, 5), np.ones(5)])
    patterns = [
        pattern,
        np.zeros((0, 3)),
        np.vstack([direct_beam, pattern[pattern[:, 2].argsort()[-3:]]]),
        far_from_any,
    ]
    peaks = peaks_of(patterns)
    peaks.detected[1] = False
    result = index(peaks, copper)
    expected = [Reason.INDEXED, Reason.NOT_DETECTED, Reason.TOO_FEW_DISKS, Reason.TOO_FEW_DISKS]
    assert list(result.reason) == expected
    nonsense = np.column_stack([np.linspace(0.3, 0.36, 6), np.zeros(6), np.ones(6)])
    assert index(peaks_of([nonsense]), copper).reason[0] == Reason.NO_PHASE_FITS


@pytest.mark.usefixtures("py4dstem")
def test_nan_and_zero_disks_do_not_stop_the_run() -> None:
    copper = load_crystal("Cu")
    pattern = py4dstem_pattern(copper, from_euler_bunge_deg((25.0, 21.0, 33.0)))
    spoilt = pattern.copy()
    spoilt[:, 2] = np.nan
    dark = pattern.copy()
    dark[:, 2] = 0
    result = index(peaks_of([spoilt, dark, pattern]), copper)
    assert list(result.phase_id >= 0) == [False, False, True]


@pytest.mark.usefixtures("py4dstem")
def test_cancelled_run_is_resumed_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_stem_orient.indexing.template_matching.SECONDS_PER_BLOCK", 1e-6)
    copper = load_crystal("Cu")
    truth = random_quaternions(4, np.random.default_rng(2))
    peaks = peaks_of([py4dstem_pattern(copper, quaternion) for quaternion in truth])
    plans = TemplatePlans()
    job = index_by_template_matching(peaks, [copper], plans=plans)
    parameters = TemplateMatchingParameters().model_dump(mode="json")
    partial = OrientationMap.empty(peaks, (copper,), method="template", parameters=parameters)
    blocks = (block for block in job if len(block.positions))
    for block in itertools.islice(blocks, 2):
        assert len(block.positions) == 1
        partial.fill(block)
    job.close()
    resumed = list(index_by_template_matching(peaks, [copper], plans=plans, resume_from=partial))
    np.testing.assert_array_equal(np.concatenate([block.positions for block in resumed]), [2, 3])
    assert [block.progress.done for block in resumed] == [3, 4]
    assert partial.remaining_positions.tolist() == [2, 3]
    gold = load_crystal("Au")
    with pytest.raises(ValueError, match="made with other crystals"):
        next(index_by_template_matching(peaks, [gold], plans=plans, resume_from=partial))


@pytest.mark.usefixtures("py4dstem")
def test_making_templates_tells_how_far_it_is_and_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_stem_orient.indexing.template_array.SECONDS_PER_STEP", -1.0)
    copper, magnesium = load_crystal("Cu"), load_crystal("Mg")
    peaks = peaks_of([py4dstem_pattern(copper, from_euler_bunge_deg((25.0, 21.0, 33.0)))])
    plans = TemplatePlans()
    job = index_by_template_matching(peaks, [copper, magnesium], plans=plans)
    stopped = [next(job) for _ in range(20)]
    job.close()
    assert len(plans) == 0
    assert {block.progress.unit for block in stopped} == {"zone axes"}
    assert not any(len(block.positions) for block in stopped)
    done = [block.progress.done for block in stopped]
    assert done == sorted(done)
    assert 1 < done[-1] < stopped[-1].progress.total
    blocks = list(index_by_template_matching(peaks, [copper, magnesium], plans=plans))
    assert len(plans) == 2
    assert [len(block.positions) for block in blocks if block.progress.unit == "patterns"] == [1]


@pytest.mark.usefixtures("py4dstem")
@pytest.mark.parametrize(
    ("crystal", "precession_deg"), [(load_crystal("Cu"), 0.0), (load_crystal("Mg"), 1.0), (MONOCLINIC, 0.0)]
)
def test_templates_are_those_that_py4dstem_makes_itself(crystal: Crystal, precession_deg: float) -> None:
    """Among them many of the upper half of the sphere, for the monoclinic crystal."""
    calibration = CALIBRATION.updated(precession_angle_deg=precession_deg)
    parameters = TemplateMatchingParameters(
        angle_step_zone_axis_deg=6, angle_step_in_plane_deg=4, kernel_size_inv_angstrom=0.08
    )
    ours = make_template_plan(crystal, calibration=calibration, parameters=parameters, q_max=1.0).planned
    theirs = py4dstem_crystal(crystal)
    theirs.calculate_structure_factors(1.0)
    theirs.orientation_plan(
        zone_axis_range=zone_axis_range(crystal.proper_point_group),
        angle_step_zone_axis=6,
        angle_step_in_plane=4,
        corr_kernel_size=0.08,
        sigma_excitation_error=0.02,
        precession_angle_degrees=precession_deg or None,
        tol_distance=0.01,
        progress_bar=False,
    )
    np.testing.assert_array_equal(ours.orientation_shell_index, theirs.orientation_shell_index)
    np.testing.assert_array_equal(ours.orientation_shell_radii, theirs.orientation_shell_radii)
    np.testing.assert_allclose(ours.orientation_ref, theirs.orientation_ref, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("py4dstem")
def test_a_position_of_which_the_file_has_no_pattern_says_so_in_a_map_and_alone() -> None:
    copper = load_crystal("Cu")
    pattern = py4dstem_pattern(copper, from_euler_bunge_deg((25.0, 21.0, 33.0)))
    nothing = np.zeros((0, 3))
    peaks = peaks_of([pattern, nothing, nothing])
    peaks = replace(peaks, parameters={WITHOUT_PATTERN: position_ranges((1,))})
    plans = TemplatePlans()
    reasons = [Reason.INDEXED, Reason.NO_PATTERN, Reason.TOO_FEW_DISKS]
    columns = range(3)
    assert [match_pattern(peaks, (0, x), [copper], plans=plans).reason[0] for x in columns] == reasons
    assert index(peaks, copper, plans=plans).reason.tolist() == reasons


@pytest.mark.usefixtures("py4dstem")
def test_plan_is_made_once_for_one_crystal_and_calibration() -> None:
    copper = load_crystal("Cu")
    peaks = peaks_of([py4dstem_pattern(copper, from_euler_bunge_deg((25.0, 21.0, 33.0)))])
    plans = TemplatePlans()
    first = match_pattern(peaks, (0, 0), [copper], plans=plans)
    second = match_pattern(peaks, (0, 0), [load_crystal("Cu")], plans=plans)
    assert len(plans) == 1
    np.testing.assert_array_equal(first.quaternion, second.quaternion)
    assert first.positions.tolist() == [0]
    with pytest.raises(IndexError, match="outside the scan of 1 x 1"):
        match_pattern(peaks, (3, 0), [copper], plans=plans)


@pytest.mark.usefixtures("py4dstem")
def test_runner_up_of_a_single_crystal_is_turned_about_the_beam() -> None:
    magnesium = load_crystal("Mg")
    peaks = peaks_of([py4dstem_pattern(magnesium, from_euler_bunge_deg((40.0, 25.0, 10.0)))])
    result = index(peaks, magnesium)
    turned = multiply(result.quaternion[0], quaternion_about_z(np.pi))
    angle = disorientation_angle_deg(turned, result.alternative_quaternion[0], magnesium.proper_point_group)
    assert angle < 0.1
    assert result.alternative_score[0] < result.score[0]


@pytest.mark.parametrize(
    ("calibration", "missing"),
    [
        (Calibration(voltage_kv=300), "pixel size"),
        (Calibration(pixel_size_inv_angstrom=0.02), "accelerating voltage"),
    ],
)
def test_missing_calibration_is_named(calibration: Calibration, missing: str) -> None:
    arrays = {"x_px": [1.0], "y_px": [1.0], "intensity": [1.0], "offsets": [0, 1]}
    peaks = BraggPeaks(**arrays, scan_shape=(1, 1), calibration=calibration, q_as_given=([1.0], [1.0]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=missing):
        index(peaks, load_crystal("Cu"))


def test_no_crystal_is_an_error_that_names_the_fix() -> None:
    with pytest.raises(ValueError, match="choose at least one"):
        index(peaks_of([np.zeros((0, 3))]))


@pytest.mark.parametrize("space_group", [2, 14, 62, 87, 139, 148, 166, 175, 194, 200, 225, 216, 149])
def test_searched_zone_axes_cover_the_sphere_in_every_laue_class(space_group: int) -> None:
    from orix.quaternion.symmetry import get_point_group

    point_group = get_point_group(space_group).laue_proper_subgroup
    corners = zone_axis_range(point_group)
    directions = np.random.default_rng(7).standard_normal((300, 3))
    rotations = quaternion_to_matrix(symmetry_quaternions(point_group))
    equivalents = np.einsum("sij,nj->nsi", rotations, directions)
    equivalents = np.concatenate([equivalents, -equivalents], axis=1)
    if isinstance(corners, str):
        inside = equivalents[..., 2] > -1e-9
        if corners == "half":
            inside &= equivalents[..., 1] > -1e-9
    else:
        inside = np.all(equivalents @ np.linalg.inv(corners) > -1e-9, axis=-1)
    assert inside.any(axis=1).all()
    # No larger than it need be: the sphere over twice the number of rotations, twice that for class -3.
    expected = 2 * len(rotations)
    fraction = inside.mean() * 2 * len(rotations)
    assert fraction < (1.7 if expected == 6 else 1.1)


@pytest.mark.usefixtures("py4dstem")
def test_cosine_of_a_pattern_with_itself_is_one() -> None:
    pattern = py4dstem_pattern(load_crystal("Cu"), from_euler_bunge_deg((25.0, 21.0, 33.0)))
    assert pattern_cosine(pattern, pattern, width=0.02) == pytest.approx(1.0)
    assert pattern_cosine(pattern, pattern + np.array([0.3, 0.3, 0.0]), width=0.02) < 0.2
    assert pattern_cosine(pattern, np.zeros((0, 3)), width=0.02) == 0.0


def filled_cell(
    hall: str, lattice: tuple[float, ...], sites: dict[tuple[float, float, float], str], number: int
) -> Crystal:
    """All atoms of a cell from one of each site, by the operations of a space group."""
    import gemmi

    operations = gemmi.SpaceGroup(hall).operations()
    elements, fractional = [], []
    for site, element in sites.items():
        images = np.array([operation.apply_to_xyz(list(site)) for operation in operations]) % 1 % 1
        different = np.unique(np.round(images, 4) % 1, axis=0)
        elements += [element] * len(different)
        fractional.append(different)
    cell = tuple(float(x) for x in lattice)
    return Crystal("large", cell, tuple(elements), np.vstack(fractional), np.ones(len(elements)), number)  # type: ignore[arg-type]


# Methylammonium lead iodide without its molecules: cell edges of 9 and 13 Å.
PEROVSKITE = filled_cell(
    "I 4/m c m",
    (8.85, 8.85, 12.66, 90, 90, 90),
    {(0.0, 0.0, 0.0): "Pb", (0.0, 0.0, 0.25): "I", (0.21, 0.71, 0.0): "I"},
    140,
)


@pytest.mark.parametrize(
    ("crystal", "nearest"),
    [
        (load_crystal("Cu"), np.sqrt(3) / 3.6149),  # 111
        (load_crystal("LiCoO2"), 3 / 14.0542),  # 003
        (PEROVSKITE, np.sqrt(1 / 8.85**2 + 1 / 12.66**2)),  # 101
    ],
)
def test_the_kernel_follows_the_nearest_reflections_of_the_cell(crystal: Crystal, nearest: float) -> None:
    assert kernel_size_for(crystal) == pytest.approx(min(0.08, nearest / 4), rel=1e-3)


def test_the_kernel_has_limits_and_spans_the_steps() -> None:
    layered = replace(load_crystal("LiCoO2"), lattice=(2.8, 2.8, 90.0, 90.0, 90.0, 120.0))
    assert kernel_size_for(layered) == pytest.approx(0.02)
    coarse = TemplateMatchingParameters(angle_step_zone_axis_deg=4)
    assert kernel_size_for(layered, coarse) == pytest.approx(np.deg2rad(2))  # half a step at 1/Å


@pytest.mark.usefixtures("py4dstem")
def test_a_kernel_that_is_chosen_is_taken() -> None:
    copper = load_crystal("Cu")
    chosen = TemplateMatchingParameters(
        angle_step_zone_axis_deg=10, angle_step_in_plane_deg=10, kernel_size_inv_angstrom=0.05
    )
    own = chosen.model_copy(update={"kernel_size_inv_angstrom": None})
    plans = [
        make_template_plan(copper, calibration=CALIBRATION, parameters=each, q_max=1.0)
        for each in (chosen, own)
    ]
    assert [plan.planned.orientation_kernel_size for plan in plans] == [0.05, 0.08]
    assert [plan.q_max for plan in plans] == pytest.approx([1.05, 1.08])


def worsened(pattern: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A pattern with disks missing, two too many, and places and intensities off as in a measurement."""
    kept = pattern[rng.random(len(pattern)) > 0.2]
    kept[:, :2] += rng.normal(0, 0.005, (len(kept), 2))
    kept[:, 2] *= rng.lognormal(0, 0.5, len(kept))
    angle, radius = rng.uniform(0, 2 * np.pi, 2), 1.5 * np.sqrt(rng.uniform(0.05, 1, 2))
    extra = np.column_stack([radius * np.cos(angle), radius * np.sin(angle), np.full(2, kept[:, 2].mean())])
    return np.vstack([kept, extra])


@pytest.mark.usefixtures("py4dstem")
def test_orientations_of_a_large_cell_come_back() -> None:
    rng = np.random.default_rng(11)
    truth = random_quaternions(6, rng)
    peaks = peaks_of([worsened(py4dstem_pattern(PEROVSKITE, q), rng) for q in truth])
    coarse = TemplateMatchingParameters(angle_step_zone_axis_deg=3, angle_step_in_plane_deg=3)
    result = index(peaks, PEROVSKITE, parameters=coarse)
    assert result.indexed.all()
    error = disorientation_angle_deg(result.quaternion, truth, PEROVSKITE.proper_point_group)
    assert np.all(error < 3)


@pytest.mark.usefixtures("py4dstem")
def test_right_patterns_are_accepted_and_a_halo_chance_and_another_crystal_hardly_ever() -> None:
    rng = np.random.default_rng(12)
    copper = load_crystal("Cu")
    truth = random_quaternions(12, rng)
    right = [worsened(py4dstem_pattern(copper, q), rng) for q in truth]
    other = [worsened(py4dstem_pattern(load_crystal("Si"), q), rng) for q in random_quaternions(12, rng)]

    def scattered(radius: np.ndarray) -> np.ndarray:
        angle = rng.uniform(0, 2 * np.pi, len(radius))
        return np.column_stack([radius * np.cos(angle), radius * np.sin(angle), rng.gamma(2, 1, len(radius))])

    # Rings of an amorphous film, and disks anywhere.
    halo = [scattered(rng.choice([0.28, 0.48], 20) + rng.normal(0, 0.03, 20)) for _ in range(12)]
    chance = [scattered(1.4 * np.sqrt(rng.uniform(0.02, 1, 20))) for _ in range(12)]
    peaks = peaks_of([*right, *other, *halo, *chance])
    everything = index(peaks, copper, parameters=TemplateMatchingParameters(min_score=0))
    accepted = (everything.score >= TemplateMatchingParameters().min_score).reshape(4, 12)
    error = disorientation_angle_deg(everything.quaternion[:12], truth, copper.proper_point_group)
    assert accepted[0][error < 3].mean() >= 0.8
    assert accepted[1].sum() <= 3
    assert accepted[2].sum() <= 1  # the outer ring lies where copper has 111
    assert not accepted[3].any()
