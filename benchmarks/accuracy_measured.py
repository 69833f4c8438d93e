"""Accuracy on measured scans, and on scans simulated by others, against published or known orientations.

The data are not part of the project: ``--data FOLDER`` names the folder that holds ag_sped, multislice_cu_cu2o,
austenite_nbed, lco_bragg_peaks and bent_ni_scan; what is missing is left out. Bragg disks are detected with the
parameters that the package suggests, nothing is tuned, and all methods index the same peaks; the row "neighbours" is of
scans only. Template matching runs on ``--most-templates`` positions, the others on all of them.

Frames of the references
------------------------
ag_sped: pyxem's orientations are, as ours, rotations from sample to crystal, but of a sample frame with x right, y
up and z out of the picture, so R_ours = R_pyxem diag(1, -1, -1). That frame is right-handed; it is the only one of
the eight ways to lay a right-handed frame along the picture's edges in which all five published orientations,
[114] among them, agree with the patterns. semi_real_scan.h5 beside them
is a scan of these patterns with counting noise.
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
from known_scans import (
    KnownScan,
    bent_nickel_scan,
    detected_peaks,
    multislice_scan,
    silver_reference,
    silver_scan,
)
from methods import NEIGHBOURS, Method, errors_deg, everywhere, method_options, methods, was_done
from numpy.typing import NDArray
from report import machine, table

from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation import (
    disorientation_angle_deg,
    quaternion_to_matrix,
    zone_axis_direction,
)
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.io.peaks import open_bragg_peaks
from napari_stem_orient.transformer.model_folder import ModelError

SIGMA3_PAIRS = ((0, 1), (0, 4), (2, 3), (3, 4))

NO_MODEL = "no model given that knows it"

#: Data set, what was measured, and the result of each method.
Row = tuple[str, str, dict[str, str]]


def share(good: NDArray[np.bool_]) -> str:
    """Good ones of all, in words."""
    return f"{100 * np.mean(good):.1f} % of {good.size}" if good.size else "none"


def count(chosen: NDArray[np.bool_]) -> str:
    """How many of how many, in words."""
    return f"{chosen.sum()} of {chosen.size}"


def silver(data: Path, run: dict[str, Method]) -> Iterator[Row]:
    """Five precession patterns against published orientations, and the twins among them."""
    truth, calibration = silver_reference(data)
    path = data / "SPED_Ag_labels_sum_signal.hspy"
    peaks = detected_peaks(path, scan_shape=(1, 5), **calibration)
    crystal = load_crystal("Ag")
    angles: dict[str, str] = {}
    twins: dict[str, str] = {}
    for name, index in _single(run).items():
        found = index(peaks, (crystal,), everywhere(peaks)).result
        angles[name] = ", ".join(f"{error:.1f}" for error in errors_deg(found, truth))
        pairs = [
            disorientation_angle_deg(found.quaternion[a], found.quaternion[b], crystal.proper_point_group)
            for a, b in SIGMA3_PAIRS
        ]
        twins[name] = ", ".join(f"{float(angle):.1f}" for angle in pairs)
    yield "ag_sped", "distance from the five published orientations in degrees (goal: below 3)", angles
    yield "ag_sped", "angle of the four Σ3 pairs in degrees (goal: 60 ± 2)", twins


def _single(run: dict[str, Method]) -> dict[str, Method]:
    """The methods for patterns that are no scan: their neighbours say nothing of them."""
    return {name: method for name, method in run.items() if name != NEIGHBOURS}


def silver_grains(data: Path, run: dict[str, Method]) -> Iterator[Row]:
    """The same five patterns as a scan with counting noise."""
    scan = silver_scan(data)
    within: dict[str, str] = {}
    for name, index in run.items():
        found = index(scan.peaks, scan.crystals, everywhere(scan.peaks)).result
        within[name] = share((errors_deg(found, scan.quaternion) < 3)[was_done(found) & (scan.phase == 0)])
    yield "ag_sped, as a scan", "positions within 3° of the published orientation", within


def multislice(data: Path, run: dict[str, Method]) -> Iterator[Row]:
    """Cu and Cu2O grains from raw multislice frames, with the truth known."""
    scan = multislice_scan(data)
    measures: dict[str, dict[str, str]] = {}
    for name, index in run.items():
        single = index(scan.peaks, scan.crystals[:1], scan.phase == 0).result
        for limit in (2, 3):
            alone = share((errors_deg(single, scan.quaternion) < limit)[was_done(single) & (scan.phase == 0)])
            measures.setdefault(f"Cu positions within {limit}°, Cu alone searched", {})[name] = alone
        try:
            both = index(scan.peaks, scan.crystals, everywhere(scan.peaks)).result
        except ModelError:
            continue
        for measure, value in _two_phases(both, scan).items():
            measures.setdefault(measure, {})[name] = value
    for measure, by_method in measures.items():
        yield "multislice_cu_cu2o", measure, {name: by_method.get(name, NO_MODEL) for name in run}


def _two_phases(found: OrientationMap, scan: KnownScan) -> dict[str, str]:
    """Measure -> result of a map for which all crystals of a scan were searched."""
    done = was_done(found)
    errors = errors_deg(found, scan.quaternion, scan.phase)
    results = {}
    for number, crystal in enumerate(found.crystals):
        within = share((errors < 3)[done & (scan.phase == number)])
        results[f"{crystal.name} positions of right phase within 3°, both searched"] = within
    indexed = done & (scan.phase >= 0) & found.indexed
    right = share((found.phase_id == scan.phase)[indexed])
    results["right phase of the indexed positions, both searched"] = right
    results["positions in vacuum that are indexed"] = count(found.indexed[done & (scan.phase < 0)])
    return results


def nickel(data: Path, run: dict[str, Method]) -> Iterator[Row]:
    """Bent grains at low dose: away from the boundaries, at them, and in the hole."""
    scan = bent_nickel_scan(data)
    off, hole = (scan.phase == 0) & ~scan.boundary, scan.phase < 0
    places = {"off the boundaries": off, "at the boundaries": (scan.phase == 0) & scan.boundary}
    measures: dict[str, dict[str, str]] = {}
    for name, index in run.items():
        found = index(scan.peaks, scan.crystals, everywhere(scan.peaks)).result
        done, errors = was_done(found), errors_deg(found, scan.quaternion)
        results = {
            f"positions {place} within {limit}°": share((errors < limit)[done & where])
            for place, where in places.items()
            for limit in (2, 5)
        }
        results["indexed positions off the boundaries that are off by more than 5°"] = share(
            (errors > 5)[done & off & found.indexed]
        )
        results["positions in the hole that are indexed"] = count(found.indexed[done & hole])
        for measure, value in results.items():
            measures.setdefault(measure, {})[name] = value
    for measure, by_method in measures.items():
        yield "bent_ni_scan", measure, by_method


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
    for name, index in _single(run).items():
        found = index(peaks, (crystal,), everywhere(peaks)).result
        direction = np.sort(np.abs(zone_axis_direction(found.quaternion)), axis=-1)[:, ::-1]
        cosine = direction @ published / np.linalg.norm(published)
        results[name] = ", ".join(f"{angle:.1f}" for angle in np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))
    yield "austenite_nbed", "beam direction from ASTAR's in degrees (goal: below 3)", results


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
        done = was_done(found)
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
        yield "lco_bragg_peaks", measure, by_method


DataSet = Callable[[Path, dict[str, Method]], Iterator[Row]]

DATA_SETS: dict[str, tuple[DataSet, ...]] = {
    "ag_sped": (silver, silver_grains),
    "multislice_cu_cu2o": (multislice,),
    "austenite_nbed": (austenite,),
    "bent_ni_scan": (nickel,),
    "lco_bragg_peaks": (lithium_cobalt_oxide,),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="folder of the data sets")
    parser.add_argument("--sets", nargs="+", choices=list(DATA_SETS), default=list(DATA_SETS))
    method_options(parser)
    arguments = parser.parse_args()
    run = methods(arguments, neighbours=True)
    rows: list[list[str]] = []
    for name in arguments.sets:
        if not (arguments.data / name).is_dir():
            print(f"{name} is left out: {arguments.data / name} is no folder")
            continue
        for measured in DATA_SETS[name]:
            for data_set, measure, results in measured(arguments.data / name, run):
                rows.append([data_set, measure, *(results.get(method, "-") for method in run)])
    print(machine() + "\n")
    print(table(["data", "measure", *run], rows))


if __name__ == "__main__":
    main()
