"""The dynamical simulation that the models learn from: how exact it is, how fast, and what it needs.

Three tables. (i) The deviation of strong beams (above 2 % of the incident one, 100 to 1,000 Å, random orientations)
from py4DSTEM's general solution with the same scattering factors and no absorption, and from this package's own largest
set of beams, against the excitation error up to which beams take part. (ii) Time and memory of whole libraries, each in
a process of its own. (iii) The absorption by thermal diffuse scattering beside py4DSTEM's (Weickenmeier and Kohl).

    python benchmarks/bloch_convergence.py
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from report import finish, machine, table
from stage_clock import memory_mb

from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.orientation import (
    py4dstem_from_sample,
    quaternion_to_matrix,
    random_quaternions,
)
from napari_stem_orient.indexing.template_plan import py4dstem_crystal
from napari_stem_orient.simulation.bloch import (
    DEFAULT_EXCITATION_CUT,
    BlochPatterns,
    StructureMatrix,
    simulate_bloch,
)
from napari_stem_orient.simulation.bloch_library import BlochParameters, build_bloch_library, spacing_for

VOLTAGE_KV = 300.0
Q_MAX = 2.0  # Å⁻¹
CUTS = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)  # Å⁻¹
THEIR_CUT = 0.2  # Å⁻¹, of the beams in py4DSTEM's solution
THICKNESS_ANGSTROM = tuple(float(t) for t in range(100, 1001, 100))
STRONG = 0.02  # of the incident beam
TIMED_ORIENTATIONS = 256
CRYSTALS = ("Cu", "Au", "Si", "GaAs", "Cu2O", "Ti", "LiCoO2")
FEW_ZONE_AXES, MANY_ZONE_AXES = 1_000, 25_000
ABSORPTION_CRYSTALS = ("Al", "Cu", "Au")
ABSORPTION_HKL = ((0, 0, 0), (1, 1, 1), (2, 0, 0), (2, 2, 0), (4, 0, 0))
THERMAL_SIGMA = 0.08  # Å

Beam = tuple[int, int, int, int]  # pattern and hkl


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--orientations", type=int, default=60, help="to compare (default: 60)")
    parser.add_argument("--crystal", default="Cu", help="of the first table (default: Cu)")
    parser.add_argument("--seed", type=int, default=3, help="of the orientations (default: 3)")
    parser.add_argument("--device", default="cpu", help="of the libraries (default: cpu)")
    parser.add_argument(
        "--libraries",
        nargs="+",
        default=list(CRYSTALS),
        metavar="NAME_OR_CIF",
        help=f"crystals of the second table (default: {' '.join(CRYSTALS)})",
    )
    parser.add_argument("--library", metavar="JSON", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.library:
        print(json.dumps(dataclasses.asdict(measured_library(arguments.library, arguments.device))))
        return
    print(machine() + "\n")
    crystal = dataclasses.replace(load_crystal(arguments.crystal), thermal_sigma_angstrom=0.0)
    quaternion = random_quaternions(arguments.orientations, np.random.default_rng(arguments.seed))
    print(convergence(crystal, quaternion) + "\n")
    print(libraries(arguments.libraries, arguments.device) + "\n")
    print(absorption())


# --- (i) convergence -----------------------------------------------------------------------------------------


def convergence(crystal: Crystal, quaternion: NDArray[np.float64]) -> str:
    """Table of the deviations and the time against the excitation error of the beams."""
    theirs, their_beams, their_ms = general_solution(crystal, quaternion)
    largest = strong_beams(bloch(crystal, quaternion, CUTS[-1]))
    rows: list[list[object]] = []
    for cut in CUTS:
        patterns = bloch(crystal, quaternion, cut)
        own = intensities(patterns)
        beams = float((patterns.reflection >= 0).sum(dim=1).double().mean())
        deviations = [*deviation(own, theirs), *deviation(own, largest)]
        rows.append([f"{cut:g}", f"{beams:.0f}", *deviations, f"{timed_ms(crystal, cut):.2f}"])
    rows.append([f"py4DSTEM, {THEIR_CUT:g}", f"{their_beams:.0f}", *"----", f"{their_ms:.1f}"])
    header = (
        "beams within, 1/Å",
        "beams",
        "from py4DSTEM, median",
        "90 %",
        f"from ours within {CUTS[-1]:g}, median",
        "90 %",
        "ms a zone axis",
    )
    return table(header, rows)


def bloch(crystal: Crystal, quaternion: NDArray[np.float64], cut: float) -> BlochPatterns:
    """Patterns in double precision, without absorption."""
    matrix = StructureMatrix(
        crystal, voltage_kv=VOLTAGE_KV, q_max=Q_MAX, absorption=False, dtype=torch.float64
    )
    return simulate_bloch(
        matrix,
        torch.as_tensor(quaternion_to_matrix(quaternion)),
        thickness_angstrom=torch.tensor(THICKNESS_ANGSTROM, dtype=torch.float64),
        excitation_cut=cut,
    )


def intensities(patterns: BlochPatterns) -> dict[Beam, NDArray[np.float64]]:
    """Intensities (T,) of every beam."""
    found: dict[Beam, NDArray[np.float64]] = {}
    for row, place in zip(*np.nonzero(patterns.reflection.numpy() >= 0), strict=True):
        h, k, index = (int(i) for i in patterns.hkl[int(patterns.reflection[row, place])])
        found[int(row), h, k, index] = patterns.intensity[row, :, place].numpy()
    return found


def strong_beams(patterns: BlochPatterns) -> dict[Beam, NDArray[np.float64]]:
    """Intensities (T,) of the beams that are strong at some thickness."""
    return {beam: series for beam, series in intensities(patterns).items() if series.max() > STRONG}


def general_solution(
    crystal: Crystal, quaternion: NDArray[np.float64]
) -> tuple[dict[Beam, NDArray[np.float64]], float, float]:
    """py4DSTEM's intensities (T,) of every strong beam, its mean number of beams and milliseconds for a zone axis."""
    general = py4dstem_crystal(crystal)
    general.calculate_dynamical_structure_factors(
        VOLTAGE_KV * 1e3,
        "Lobato",
        k_max=2 * Q_MAX,
        thermal_sigma=0.0,
        tol_structure_factor=1e-6,  # without what the centring forbids
        g_vec_precision=4,
    )
    found: dict[Beam, NDArray[np.float64]] = {}
    numbers, milliseconds = [], []
    for row, matrix in enumerate(py4dstem_from_sample(quaternion)):
        start = time.perf_counter()
        beams = general.generate_diffraction_pattern(
            orientation_matrix=matrix,
            sigma_excitation_error=THEIR_CUT / 3,
            tol_excitation_error_mult=3,
            tol_intensity=0.0,
            k_max=Q_MAX,
        )
        series = general.generate_dynamical_diffraction_pattern(
            beams, thickness=list(THICKNESS_ANGSTROM), zone_axis_cartesian=matrix[:, 2]
        )
        milliseconds.append(1e3 * (time.perf_counter() - start))
        disks = [pattern.data for pattern in series]
        numbers.append(len(disks[0]))
        values = np.stack([data["intensity"] for data in disks])
        for place in np.flatnonzero(values.max(axis=0) > STRONG):
            h, k, index = (int(disks[0][name][place]) for name in ("h", "k", "l"))
            found[row, h, k, index] = values[:, place]
    return found, float(np.mean(numbers)), float(np.median(milliseconds))


def deviation(own: dict[Beam, NDArray[np.float64]], true: dict[Beam, NDArray[np.float64]]) -> list[str]:
    """Median and 90th percentile of the relative deviation of strong beams; one that is missing is off by 100 %."""
    off = []
    for beam, series in true.items():
        strong = series > STRONG
        mine = own.get(beam, np.zeros_like(series))
        off.append(np.abs(mine[strong] / series[strong] - 1))
    values = np.concatenate(off)
    return [f"{100 * np.percentile(values, part):.2f} %" for part in (50, 90)]


def timed_ms(crystal: Crystal, cut: float) -> float:
    """Milliseconds for a zone axis in a batch, single precision, sixteen thicknesses, with absorption."""
    quaternion = random_quaternions(TIMED_ORIENTATIONS, np.random.default_rng(0))
    rotations = torch.as_tensor(quaternion_to_matrix(quaternion), dtype=torch.float32)
    matrix = StructureMatrix(crystal, voltage_kv=VOLTAGE_KV, q_max=Q_MAX)
    thickness = torch.linspace(50, 1500, 16)
    simulate_bloch(matrix, rotations[:8], thickness_angstrom=thickness, excitation_cut=cut)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        simulate_bloch(matrix, rotations, thickness_angstrom=thickness, excitation_cut=cut)
        seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds)) / TIMED_ORIENTATIONS


# --- (ii) libraries ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MeasuredLibrary:
    """What a library took.

    Seconds in all, the tables of the crystal's potential among them; milliseconds for a zone axis that is not averaged,
    once these are there; MB of memory at most beyond the program's own, and of the library itself.
    """

    zone_axes: int
    beams: float
    seconds: float
    milliseconds: float
    peak_mb: float
    library_mb: float


def libraries(names: Sequence[str], device: str) -> str:
    """Table of libraries: a large one of Cu, plain and partly averaged over tilts, small ones of all crystals."""
    wanted = [("Cu", MANY_ZONE_AXES, 0.0), ("Cu", MANY_ZONE_AXES, 0.25)]
    wanted += [(name, FEW_ZONE_AXES, 0.0) for name in names]
    rows: list[list[object]] = []
    for name, number, averaged in wanted:
        made_with = json.dumps({"crystal": name, "zone_axes": number, "averaged_part": averaged})
        command = [sys.executable, __file__, "--library", made_with, "--device", device]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        found = MeasuredLibrary(**json.loads(done.stdout.splitlines()[-1]))
        crystal = load_crystal(name)
        label = f"{crystal.name}, a quarter averaged over tilts" if averaged else crystal.name
        rows.append(
            [
                label,
                f"{found.zone_axes:,}",
                f"{spacing_for(crystal, n_zone_axes=number):.2f}°",
                f"{found.beams:.0f}",
                f"{found.seconds:.1f}",
                f"{found.milliseconds:.2f}",
                f"{found.peak_mb:,.0f}",
                f"{found.library_mb:,.0f}",
            ]
        )
    header = (
        "crystal",
        "zone axes",
        "spacing",
        "beams",
        "seconds",
        "ms a zone axis",
        "peak MB",
        "library MB",
    )
    return table(header, rows)


def measured_library(made_with: str, device: str) -> MeasuredLibrary:
    """Build one library in this process."""
    wanted = json.loads(made_with)
    crystal = load_crystal(wanted["crystal"])
    averaged = wanted["averaged_part"]
    variants = 4 if averaged else 1
    parameters = BlochParameters(
        spacing_deg=spacing_for(crystal, n_zone_axes=wanted["zone_axes"] // variants),
        variants=variants,
        averaged_part=averaged,
        q_max_inv_angstrom=Q_MAX,
    )
    torch.linalg.eigh(torch.eye(8, device=device))  # loads the library behind it
    before = memory_mb()[0]
    timed = finish(build_bloch_library([crystal], parameters=parameters, device=device))
    peak = memory_mb()[1] - before
    library = timed.result
    tensors = (library.rotation, library.member, library.wavelength, library.q, library.intensity)
    size = sum(tensor.element_size() * tensor.numel() for tensor in tensors) / 2**20
    patterns = bloch(crystal, random_quaternions(64, np.random.default_rng(0)), DEFAULT_EXCITATION_CUT)
    beams = float((patterns.reflection >= 0).sum(dim=1).double().mean())
    milliseconds = timed_ms(crystal, DEFAULT_EXCITATION_CUT)
    return MeasuredLibrary(len(library), beams, timed.seconds, milliseconds, peak, size)


# --- (iii) absorption ----------------------------------------------------------------------------------------


def absorption() -> str:
    """Table of the imaginary Fourier coefficients of the potential, this package's and py4DSTEM's."""
    rows: list[list[object]] = []
    for name in ABSORPTION_CRYSTALS:
        crystal = dataclasses.replace(load_crystal(name), thermal_sigma_angstrom=THERMAL_SIGMA)
        theirs = py4dstem_crystal(crystal)
        theirs.calculate_dynamical_structure_factors(
            VOLTAGE_KV * 1e3,
            "WK-P",
            k_max=2 * Q_MAX,
            thermal_sigma=THERMAL_SIGMA,
            tol_structure_factor=0,
            g_vec_precision=4,
        )
        matrix = StructureMatrix(crystal, voltage_kv=VOLTAGE_KV, q_max=Q_MAX, dtype=torch.float64)
        for hkl in ABSORPTION_HKL:
            place = int(np.flatnonzero((matrix.hkl == hkl).all(axis=1))[0])
            pair = matrix.of_beams(torch.tensor([[place, 0]]))
            elastic, absorptive = (float(coefficients[0, 0, 1].real) for coefficients in pair)
            known = complex(theirs.Ug_dict[hkl])
            rows.append(
                [
                    f"{name} {''.join(map(str, hkl))}",
                    *(f"{1e3 * value:.2f}" for value in (elastic, known.real, absorptive, known.imag)),
                    f"{absorptive / known.imag:.3f}",
                ]
            )
    header = ("reflection", "U_g, 10⁻³ Å⁻²", "py4DSTEM", "U'_g, 10⁻³ Å⁻²", "py4DSTEM", "ratio of U'_g")
    return table(header, rows)


if __name__ == "__main__":
    main()
