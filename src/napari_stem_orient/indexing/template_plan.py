"""The template bank: py4DSTEM's orientation plan of one crystal, its parameters, its range of zone axes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation import quaternion_to_matrix, symmetry_quaternions
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.py4dstem_extra import import_py4dstem
from napari_stem_orient.indexing.template_array import compute_templates
from napari_stem_orient.indexing.template_parameters import TemplateMatchingParameters

if TYPE_CHECKING:
    from orix.quaternion.symmetry import Symmetry

FloatArray = NDArray[np.float64]
Built = TypeVar("Built")

LARGEST_PLAN_BYTES = 2**30
"""py4DSTEM needs about four times the memory of its plan while it matches."""

_KERNEL_PART, _KERNEL_RANGE, _TYPICAL_Q = 0.25, (0.02, 0.08), 1.0
"""Kernel size in distances of the nearest reflections, its limits in Å⁻¹, and where in Å⁻¹ disks mostly are."""


@dataclass(frozen=True, slots=True, eq=False)
class TemplatePlan:
    """py4DSTEM's bank of templates for one crystal.

    Attributes
    ----------
    crystal : what it was made for
    planned : py4DSTEM's Crystal that holds the orientation plan
    point_group : proper point group, for distances between solutions
    q_min, q_max : in Å⁻¹; measured peaks nearer than q_min are the direct beam, farther than q_max are not
    matched
    kernel_size : in Å⁻¹, as chosen or as the cell asks for
    """

    crystal: Crystal
    planned: Any
    point_group: Symmetry
    q_min: float
    q_max: float
    kernel_size: float


class TemplatePlans:
    """The plans of the last few crystals, kept so that another pattern needs no planning again."""

    def __init__(self, *, max_plans: int = 6) -> None:
        self._plans: OrderedDict[tuple[object, ...], TemplatePlan] = OrderedDict()
        self._max_plans = max_plans

    def __len__(self) -> int:
        return len(self._plans)

    def plan_for(
        self,
        crystal: Crystal,
        *,
        calibration: Calibration,
        parameters: TemplateMatchingParameters,
        q_max: float,
    ) -> Generator[Progress, None, TemplatePlan]:
        """The plan of a crystal, made in steps if it is not there yet (a fraction of a second to a minute)."""
        key = (
            crystal.fingerprint,
            calibration.voltage_kv,
            calibration.precession_angle_deg,
            parameters,
            q_max,
        )
        if key not in self._plans:
            self._plans[key] = yield from build_template_plan(
                crystal, calibration=calibration, parameters=parameters, q_max=q_max
            )
            while len(self._plans) > self._max_plans:
                self._plans.popitem(last=False)
        self._plans.move_to_end(key)
        return self._plans[key]


def make_template_plan(
    crystal: Crystal, *, calibration: Calibration, parameters: TemplateMatchingParameters, q_max: float
) -> TemplatePlan:
    """The plan of one crystal at once; see `build_template_plan`."""
    return finished(build_template_plan(crystal, calibration=calibration, parameters=parameters, q_max=q_max))


def finished(building: Generator[Progress, None, Built]) -> Built:
    """Run a job to its end without telling anybody how far it is."""
    while True:
        try:
            next(building)
        except StopIteration as stop:
            built: Built = stop.value
            return built


def build_template_plan(
    crystal: Crystal, *, calibration: Calibration, parameters: TemplateMatchingParameters, q_max: float
) -> Generator[Progress, None, TemplatePlan]:
    """Plan the templates of one crystal with py4DSTEM.

    Parameters
    ----------
    q_max
        Largest scattering vector of the templates in Å⁻¹.

    Yields
    ------
    Progress
        In zone axes, a few times a second.

    Raises
    ------
    ValueError
        When the templates would not fit in memory, or no reflection lies within q_max; the message names the
        fix.
    """
    planned = py4dstem_crystal(crystal)
    yield Progress(0, 1, "zone axes")
    planned.calculate_structure_factors(q_max)
    lengths = planned.g_vec_leng[planned.g_vec_leng > 1e-6]
    if lengths.size == 0:
        raise ValueError(
            f"{crystal.name} has no reflection within {q_max:.2f} 1/Å; choose a larger 'largest q'"
        )
    kernel_size = parameters.kernel_size_inv_angstrom or kernel_size_for(crystal, parameters)
    planned.orientation_plan(
        **_plan_options(crystal, calibration, parameters),
        corr_kernel_size=kernel_size,
        calculate_correlation_array=False,
    )
    n_zones = int(planned.orientation_num_zones)
    yield Progress(0, n_zones, "zone axes")
    tolerance = _shell_tolerance(crystal, lengths, n_zones * planned.orientation_in_plane_steps)
    for done in compute_templates(planned, tolerance=tolerance):
        yield Progress(done, n_zones, "zone axes")
    return TemplatePlan(
        crystal=crystal,
        planned=planned,
        point_group=crystal.proper_point_group,
        q_min=0.5 * float(lengths.min()),
        q_max=q_max + kernel_size,
        kernel_size=kernel_size,
    )


def kernel_size_for(crystal: Crystal, parameters: TemplateMatchingParameters | None = None) -> float:
    """The kernel size in Å⁻¹ that a crystal's cell asks for: 0.08 as py4DSTEM's, and less for large cells.

    Where the kernel is as wide as reflections are apart, every template overlaps with every disk: with 0.08 Å⁻¹ the
    orientations of apatite (nearest reflections at 0.12 Å⁻¹) are wrong as often as right. It is never so narrow that an
    orientation between two zone axes of the search would have no template.
    """
    parameters = parameters or TemplateMatchingParameters()
    reach = 1.01 / float(np.linalg.norm(crystal.primitive_basis, axis=1).min())
    _, g = crystal.reflections(2 * reach)
    nearest = float(np.linalg.norm(g, axis=1).min())
    half_step = np.deg2rad(max(parameters.angle_step_zone_axis_deg, parameters.coarse_step_deg or 0.0)) / 2
    return float(np.clip(max(_KERNEL_PART * nearest, _TYPICAL_Q * half_step), *_KERNEL_RANGE))


def _plan_options(
    crystal: Crystal, calibration: Calibration, parameters: TemplateMatchingParameters
) -> dict[str, Any]:
    """What py4DSTEM's orientation plan is to be of, in its words."""
    return {
        "zone_axis_range": zone_axis_range(crystal.proper_point_group),
        "angle_step_zone_axis": parameters.angle_step_zone_axis_deg,
        "angle_coarse_zone_axis": parameters.coarse_step_deg,
        "angle_step_in_plane": parameters.angle_step_in_plane_deg,
        "accel_voltage": 1e3 * float(calibration.voltage_kv or 0),
        "sigma_excitation_error": parameters.excitation_error_inv_angstrom,
        "precession_angle_degrees": calibration.precession_angle_deg or None,
        "power_radial": parameters.power_radial,
        "power_intensity": parameters.power_intensity,
        "power_intensity_experiment": parameters.power_intensity_experiment,
        "progress_bar": False,
    }


def py4dstem_crystal(crystal: Crystal) -> Any:
    """The same structure as a py4DSTEM Crystal, in the same Cartesian frame (e1 along a, e3 along c*)."""
    diffraction = import_py4dstem("py4DSTEM.process.diffraction")
    number = _numbers_in_py4dstem()
    planned = diffraction.Crystal(
        positions=np.asarray(crystal.fractional, dtype=np.float64),
        numbers=np.array([number[element] for element in crystal.elements]),
        cell=np.asarray(crystal.direct_basis, dtype=np.float64),
        occupancy=np.asarray(crystal.occupancy, dtype=np.float64),
    )
    # Where some other package has loaded pymatgen, py4DSTEM would analyse the symmetry again for each
    # pattern.
    planned.pymatgen_available = False
    return planned


def _numbers_in_py4dstem() -> dict[str, int]:
    """The atomic number under which py4DSTEM has the scattering factor of each element."""
    symbols = import_py4dstem("py4DSTEM.process.diffraction.utils").element_symbols
    number = {str(symbol): z for z, symbol in enumerate(symbols, start=1)}
    table = import_py4dstem("py4DSTEM.process.utils").single_atom_scatter()
    rubidium, strontium = (
        float(table.electron_scattering_factor(number[element], np.zeros(1))[0]) for element in ("Rb", "Sr")
    )
    if rubidium > strontium:
        # Version 0.14 has the two exchanged: f_e(0) is 11.8 Å of Rb and 13.1 Å of Sr (International Tables C, 4.3.1).
        number["Rb"], number["Sr"] = number["Sr"], number["Rb"]
    return number


def zone_axis_range(point_group: Symmetry) -> FloatArray | str:
    """The zone axes that py4DSTEM must search: corners of its smallest sector that holds them all.

    A kinematic pattern cannot tell a zone axis from its symmetric equivalents nor, with py4DSTEM's mirrored
    match, from its opposite. The sector is chosen by the group's own rotations, so that every setting is
    served.

    Parameters
    ----------
    point_group
        Proper point group of the Laue class, in the crystal's Cartesian frame.

    Returns
    -------
    (3, 3) rows are the corners; or "half" (a quarter of the sphere), or "full" (the upper half of it).
    """
    rotations = quaternion_to_matrix(symmetry_quaternions(point_group))
    directions = np.random.default_rng(0).standard_normal((500, 3))
    equivalents = np.einsum("sij,nj->nsi", rotations, directions)
    equivalents = np.concatenate([equivalents, -equivalents], axis=1)
    for corners in _sectors():
        inside = np.all(equivalents @ np.linalg.inv(corners) > -1e-9, axis=-1)
        if inside.any(axis=1).all():
            return corners
    in_quarter = np.all(equivalents[..., 1:] > -1e-9, axis=-1)
    return "half" if in_quarter.any(axis=1).all() else "full"


def _shell_tolerance(crystal: Crystal, lengths: FloatArray, n_templates: int) -> float:
    """The difference of |g| in Å⁻¹ below which reflections share a shell: as fine as memory allows."""
    for tolerance in (0.01, 0.02, 0.04):
        n_shells = len(np.unique(np.round(lengths / tolerance)))
        if 16 * n_templates * n_shells <= LARGEST_PLAN_BYTES:
            return tolerance
    raise ValueError(
        f"{crystal.name}: {n_templates:,} templates of {n_shells} shells do not fit in memory; "
        "choose larger angle steps or a smaller 'largest q'"
    )


def _sectors() -> tuple[FloatArray, ...]:
    """Corners (3, 3) of the sectors to try, smallest first: cubic ones, then [001] and two on the equator."""
    cubic = [[(0, 0, 1), (0, 1, 1), (1, 1, 1)], [(0, 0, 1), (1, 0, 0), (1, 1, 1)]]
    corners = [np.array(rows, dtype=np.float64) for rows in cubic]
    for width_deg in (30, 45, 60, 90):
        for start_deg in (0, 30, 60, 90):
            azimuth = np.deg2rad([start_deg, start_deg + width_deg])
            equator = np.stack([np.cos(azimuth), np.sin(azimuth), np.zeros(2)], axis=1)
            corners.append(np.vstack([[0.0, 0.0, 1.0], equator]))
    return tuple(rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in corners)
