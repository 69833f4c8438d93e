"""Accuracy on measured scans, and on scans simulated by others, against published or known orientations.

The data are not part of the project: ``--data FOLDER`` names the folder that holds ag_sped, multislice_cu_cu2o,
austenite_nbed, lco_bragg_peaks and bent_ni_scan; what is missing is left out. Bragg disks are detected with the
parameters that the package suggests, nothing is tuned, and both methods index the same peaks.

Frames of the references
------------------------
ag_sped: pyxem's orientations are, as ours, rotations from sample to crystal, but of a sample frame with x right, y
up and z out of the picture, so R_ours = R_pyxem diag(1, -1, -1). That frame is right-handed; it is the only one of
the eight ways to lay a right-handed frame along the picture's edges in which all five published orientations,
[114] among them, agree with the patterns.
austenite_nbed: ASTAR's in-plane frame is another one; only the direction along the beam is compared, as sorted
absolute [uvw], because that is how it is published.
multislice_cu_cu2o, bent_ni_scan: the truth holds the sample's x, y and z axes in crystal coordinates as columns,
which is our rotation matrix as it stands.
lco_bragg_peaks: no orientations are published; the direction of 003 in the sample plane is compared with the one
read from the row of 003, 006 and 0012, (0.95, 0.30) in py4DSTEM's frame (x down, y right), (0.30, 0.95) in ours. The
oxygen lattice is nearly cubic, so an answer about 70° away is another of the four layer variants, not noise.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from methods import Method, method_options, methods
from numpy.typing import NDArray
from report import finish, machine, table

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation import (
    disorientation_angle_deg,
    from_euler_bunge_deg,
    matrix_to_quaternion,
    quaternion_to_matrix,
    zone_axis_direction,
)
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.detection.correlation import detect_bragg_peaks
from napari_stem_orient.detection.suggestion import suggest_detection
from napari_stem_orient.io.peaks import open_bragg_peaks
from napari_stem_orient.io.scans import open_datacube
from napari_stem_orient.network.model_folder import ModelError

PYXEM_TO_SAMPLE = np.diag([1.0, -1.0, -1.0])
SIGMA3_PAIRS = ((0, 1), (0, 4), (2, 3), (3, 4))

NO_MODEL = "no model given that knows it"

Row = list[object]


def detected_peaks(
    path: Path, *, scan_shape: tuple[int, int] | None = None, **calibration: float
) -> BraggPeaks:
    """Bragg peaks of a scan with suggested parameters; ``calibration`` holds what the file does not say."""
    datacube = open_datacube(path, scan_shape=scan_shape)
    datacube = datacube.with_calibration(datacube.calibration.updated(**calibration))
    suggestion = suggest_detection(datacube)
    job = detect_bragg_peaks(datacube, probe=suggestion.probe, parameters=suggestion.parameters)
    return finish(job).result


def everywhere(peaks: BraggPeaks) -> NDArray[np.bool_]:
    """All positions (n,)."""
    return np.ones(peaks.n_positions, dtype=bool)


def share(good: NDArray[np.bool_]) -> str:
    """Good ones of all, in words."""
    return f"{100 * np.mean(good):.1f} % of {good.size}"


def silver(data: Path, run: dict[str, Method]) -> Iterator[Row]:
    """Five precession patterns against published orientations, and the twins among them."""
    reference = json.loads((data / "reference_orientations.json").read_text())
    published = quaternion_to_matrix(from_euler_bunge_deg(np.array(reference["euler_bunge_deg_orix"])))
    truth = matrix_to_quaternion(published @ PYXEM_TO_SAMPLE)
    peaks = detected_peaks(
        data / "SPED_Ag_labels_sum_signal.hspy",
        scan_shape=(1, 5),
        voltage_kv=200.0,
        pixel_size_inv_angstrom=reference["scale_invA_per_px"],
        precession_angle_deg=reference["precession_deg"],
    )
    crystal = load_crystal("Ag")
    angles: dict[str, str] = {}
    twins: dict[str, str] = {}
    for name, index in run.items():
        found = index(peaks, (crystal,), everywhere(peaks)).result.quaternion
        errors = disorientation_angle_deg(truth, found, crystal.proper_point_group)
        angles[name] = ", ".join(f"{error:.1f}" for error in errors)
        pairs = [
            disorientation_angle_deg(found[a], found[b], crystal.proper_point_group) for a, b in SIGMA3_PAIRS
        ]
        twins[name] = ", ".join(f"{float(angle):.1f}" for angle in pairs)
    yield ["ag_sped", "distance from the five published orientations in degrees (goal: below 3)", angles]
    yield ["ag_sped", "angle of the four Σ3 pairs in degrees (goal: 60 ± 2)", twins]


def multislice(data: Path, run: dict[str, Method]) -> Iterator[Row]:
    """Cu and Cu2O grains from raw multislice frames, with the truth known."""
    truth = np.load(data / "truth.npz")
    grain, phase = truth["grain"].ravel(), truth["phase"].ravel()
    quaternion = matrix_to_quaternion(truth["sample_axes_in_crystal"])[np.maximum(grain, 0)]
    peaks = detected_peaks(data / "scan.hspy", voltage_kv=300.0)
    crystals = tuple(load_crystal(str(name)) for name in truth["phase_names"])
    alone: dict[str, str] = {}
    within: dict[str, dict[int, str]] = {0: {}, 1: {}}
    phases: dict[str, str] = {}
    for name, index in run.items():
        single = index(peaks, crystals[:1], (grain >= 0) & (phase == 0)).result
        alone[name] = share(_correct(single, quaternion, phase, 3.0)[_done(single) & (phase == 0)])
        try:
            both = index(peaks, crystals, grain >= 0).result
        except ModelError:
            within[0][name] = within[1][name] = phases[name] = NO_MODEL
            continue
        inside = _done(both) & (grain >= 0)
        for number in within:
            chosen = inside & (phase == number)
            within[number][name] = share(_correct(both, quaternion, phase, 3.0)[chosen])
        phases[name] = share((both.phase_id == phase)[inside])
    yield ["multislice_cu_cu2o", "Cu positions within 3°, Cu alone searched", alone]
    for number, results in within.items():
        name = crystals[number].name
        yield ["multislice_cu_cu2o", f"{name} positions of right phase within 3°, both searched", results]
    yield ["multislice_cu_cu2o", "right phase, both searched", phases]


def nickel(data: Path, run: dict[str, Method]) -> Iterator[Row]:
    """Bent grains at low dose, away from the boundaries."""
    truth = np.load(data / "truth.npz")
    grain, boundary = truth["grain"].ravel(), truth["boundary"].ravel()
    quaternion = matrix_to_quaternion(truth["sample_axes_in_crystal"].reshape(-1, 3, 3).astype(np.float64))
    peaks = detected_peaks(data / "scan.hspy", voltage_kv=300.0)
    chosen = (grain >= 0) & ~boundary
    crystal = load_crystal("Ni")
    for limit in (2.0, 5.0):
        results = {}
        for name, index in run.items():
            found = index(peaks, (crystal,), chosen).result
            results[name] = share(
                _correct(found, quaternion, np.zeros_like(grain), limit)[_done(found) & chosen]
            )
        yield ["bent_ni_scan", f"positions off the boundaries within {limit:.0f}°", results]


def austenite(data: Path, run: dict[str, Method]) -> Iterator[Row]:
    """Direction along the beam against ASTAR at the same four pixels."""
    reference = json.loads((data / "reference_subset.json").read_text())
    published = np.array(reference["ASTAR_beam_dir_sorted_abs_uvw"])
    peaks = detected_peaks(
        data / "subset_data.hspy",
        voltage_kv=reference["voltage_kV"],
        pixel_size_inv_angstrom=reference["scale_invA_per_px"],
    )
    crystal = load_crystal(data / "austeniteLP.cif")
    results = {}
    for name, index in run.items():
        found = index(peaks, (crystal,), everywhere(peaks)).result
        direction = np.sort(np.abs(zone_axis_direction(found.quaternion)), axis=-1)[:, ::-1]
        cosine = direction @ published / np.linalg.norm(published)
        results[name] = ", ".join(f"{angle:.1f}" for angle in np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))
    yield ["austenite_nbed", "beam direction from ASTAR's in degrees (goal: below 3)", results]


def lithium_cobalt_oxide(data: Path, run: dict[str, Method]) -> Iterator[Row]:
    """A whole measured scan of stored peaks: opens, indexes, and where 003 points."""
    peaks = open_bragg_peaks(data / "braggdisks_cali.h5")
    peaks = peaks.with_calibration(peaks.calibration.updated(voltage_kv=300.0))
    crystal = load_crystal(data / "LCO.cif")
    row = np.array([0.30, 0.95]) / np.hypot(0.30, 0.95)
    measures: dict[str, dict[str, str]] = {}
    without_model: list[str] = []
    core = peaks.counts() > 50
    for name, index in run.items():
        try:
            timed = index(peaks, (crystal,), everywhere(peaks))
        except ModelError:
            without_model.append(name)
            continue
        found: OrientationMap = timed.result
        done = _done(found)
        c_star = quaternion_to_matrix(found.quaternion)[:, 2, :2]  # the third row: c* in the sample's x and y
        on_row = np.abs(c_star @ row) > np.cos(np.deg2rad(10))
        results = {
            "indexed with LCO alone": share(found.indexed[done]),
            "time": f"{timed.seconds:.0f} s for {done.sum()} positions ({done.sum() / timed.seconds:,.0f}/s)",
            "c* within 10° of the row of 003, rim (10 to 50 peaks)": share(
                on_row[done & found.indexed & (peaks.counts() >= 10) & ~core]
            ),
            "c* within 10° of the row of 003, core": share(on_row[done & found.indexed & core]),
        }
        for measure, value in results.items():
            measures.setdefault(measure, {})[name] = value
    for measure, by_method in measures.items():
        by_method.update(dict.fromkeys(without_model, NO_MODEL))
        yield ["lco_bragg_peaks", measure, by_method]


DATA_SETS: dict[str, Callable[[Path, dict[str, Method]], Iterator[Row]]] = {
    "ag_sped": silver,
    "multislice_cu_cu2o": multislice,
    "austenite_nbed": austenite,
    "bent_ni_scan": nickel,
    "lco_bragg_peaks": lithium_cobalt_oxide,
}


def _done(orientation_map: OrientationMap) -> NDArray[np.bool_]:
    """(n,) positions that this run was at."""
    from napari_stem_orient.core.orientation_map import Reason

    return orientation_map.done & (orientation_map.reason != Reason.MASKED)


def _correct(
    found: OrientationMap, quaternion: NDArray[np.float64], phase: NDArray[np.int64], limit_deg: float
) -> NDArray[np.bool_]:
    """(n,) positions of the right phase within a distance of the truth; not indexed is wrong."""
    group = found.crystals[0].proper_point_group
    angle = disorientation_angle_deg(quaternion, found.quaternion, group)
    return found.indexed & (found.phase_id == phase) & (angle < limit_deg)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="folder of the data sets")
    parser.add_argument("--sets", nargs="+", choices=list(DATA_SETS), default=list(DATA_SETS))
    method_options(parser)
    arguments = parser.parse_args()
    run = methods(arguments)
    rows = []
    for name in arguments.sets:
        if not (arguments.data / name).is_dir():
            print(f"{name} is left out: {arguments.data / name} is no folder")
            continue
        for data_set, measure, results in DATA_SETS[name](arguments.data / name, run):
            rows.append([data_set, measure, *(results[method] for method in run)])
    print(machine() + "\n")
    print(table(["data", "measure", *run], rows))


if __name__ == "__main__":
    main()
