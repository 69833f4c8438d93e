"""How well origin, ellipse and pixel size are recovered: on simulated scans that are known, and on measured ones.

    python benchmarks/calibration.py --data FOLDER

simulated: frames of a nickel polycrystal (our renderer, counting noise) behind a 2 % ellipse, opened with no ellipse
and a pixel size that is 1 % too large, around a direct beam that wanders by 3 px; disks are detected with the suggested
settings. First by the rings alone, then from the map that was indexed with the wrong calibration. The goals: ratio
within 0.3 %, pixel size within 0.2 %, origin within 0.1 px.
multislice_cu_cu2o, bent_ni_scan: the pixel size of the file is true, and is made 1 % too large.
ag_sped: published with 0.026728 1/Å, for a cell of 4.08 Å; ours is of 4.0862 Å.
calibration: rings of a gold cross-grating, a = 4.078 Å; radii of the rings against those of fcc.
austenite_nbed: four patterns of one orientation; beam directions against ASTAR's before and after.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from known_scans import detected_peaks, silver_reference
from report import finish, machine, table

from napari_stem_orient.calibration.fit import CalibrationFit
from napari_stem_orient.calibration.origin import fit_origins
from napari_stem_orient.calibration.ring_pattern import fit_ring_pattern
from napari_stem_orient.calibration.rings import crystal_rings
from napari_stem_orient.calibration.shape import fit_ellipse, fit_shape
from napari_stem_orient.calibration.words import lines_of
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.orientation import zone_axis_direction
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.detection.correlation import detect_bragg_peaks
from napari_stem_orient.detection.suggestion import suggest_detection
from napari_stem_orient.indexing.index import index_bragg_peaks
from napari_stem_orient.indexing.joint_calibration import refine_calibration
from napari_stem_orient.indexing.sensitivity import calibration_sensitivity
from napari_stem_orient.simulation.grains import make_polycrystal
from napari_stem_orient.simulation.polycrystal import simulate_scan

HEADER = ("data", "method", "pixel size", "ellipse", "origin", "score", "seconds")
Row = tuple[str, ...]

TRUE = Calibration(
    voltage_kv=300.0,
    pixel_size_inv_angstrom=0.025,
    ellipse_ratio=1.02,
    ellipse_angle_deg=30.0,
    scan_step_nm=5.0,
    convergence_angle_mrad=1.5,
)
TOO_LARGE = 1.01


def simulated(_: Path) -> Iterator[Row]:
    """Scans of other grains each, from frames to calibration."""
    for seed in range(3):
        truth = make_polycrystal(
            [load_crystal("Ni")],
            scan_shape=(16, 20),
            calibration=TRUE,
            drift_px=3.0,
            bend_deg=4.0,
            vacuum=seed == 1,
            seed=seed,
        )
        datacube = finish(simulate_scan(truth, seed=seed)).result.datacube
        datacube = datacube.with_calibration(_wrong(TRUE))
        suggestion = suggest_detection(datacube)
        job = detect_bragg_peaks(datacube, probe=suggestion.probe, parameters=suggestion.parameters)
        peaks = finish(job).result
        inside = ~truth.vacuum
        for name, fit, seconds, score in _both_ways(peaks, (load_crystal("Ni"),)):
            yield (
                f"simulated, seed {seed}",
                name,
                *_against(fit, TRUE, truth.origin_px, inside),
                score,
                seconds,
            )


def nickel(folder: Path) -> Iterator[Row]:
    """bent_ni_scan with its pixel size made too large."""
    truth = np.load(folder / "truth.npz")
    origin = np.stack([truth["origin_y"].ravel(), truth["origin_x"].ravel()], axis=1)
    peaks = detected_peaks(folder / "scan.hspy", voltage_kv=300.0)
    true = peaks.calibration
    peaks = peaks.with_calibration(_wrong(true))
    everywhere = np.ones(peaks.n_positions, dtype=bool)
    for name, fit, seconds, score in _both_ways(peaks, (load_crystal("Ni"),)):
        yield ("bent_ni_scan", name, *_against(fit, true, origin, everywhere), score, seconds)


def multislice(folder: Path) -> Iterator[Row]:
    """multislice_cu_cu2o with its pixel size made too large: two phases, crowded rings, few grains."""
    peaks = detected_peaks(folder / "scan.hspy", voltage_kv=300.0)
    true = peaks.calibration
    peaks = peaks.with_calibration(_wrong(true))
    for name, fit, seconds, score in _both_ways(peaks, (load_crystal("Cu"), load_crystal("Cu2O"))):
        yield ("multislice_cu_cu2o", name, *_against(fit, true, None, None), score, seconds)


def silver(folder: Path) -> Iterator[Row]:
    """The five patterns of ag_sped, and the scan made of them."""
    _, calibration = silver_reference(folder)
    paths = {
        "ag_sped": (folder / "SPED_Ag_labels_sum_signal.hspy", (1, 5)),
        "ag_sped, as a scan": (folder / "semi_real_scan.h5", None),
    }
    for name, (path, shape) in paths.items():
        peaks = detected_peaks(path, scan_shape=shape, **calibration)
        for what, crystals in (("ellipse, no crystal", ()), ("rings", (load_crystal("Ag"),))):
            timed = finish(
                _as_job(fit_shape, peaks, crystals) if crystals else _as_job(fit_ellipse, peaks, ())
            )
            yield (name, what, *_said(timed.result), "", f"{timed.seconds:.1f}")


def gold(folder: Path) -> Iterator[Row]:
    """Rings of a cross-grating, from nothing known."""
    from rsciio.tiff import file_reader

    image = file_reader(folder / "au_xgrating_20cm.tif")[0]["data"]
    timed = finish(_as_job(fit_ring_pattern, image, load_crystal("Au")))
    yield ("calibration, Au rings", "ring pattern", *_said(timed.result), "", f"{timed.seconds:.1f}")
    yield (
        "calibration, Au rings",
        "radii against fcc",
        "",
        "",
        _ring_radii(image, timed.result.calibration),
        "",
        "",
    )


def _ring_radii(image: np.ndarray, calibration: Calibration) -> str:
    """Where the clear rings of the calibrated pattern are highest, relative to where fcc has them."""
    rows, columns = np.indices(image.shape)
    q = np.hypot(*calibration.pixels_to_q(columns, rows))
    inside = (q < 1.3) & (image > 0)
    step = 0.002
    number = np.floor(q[inside] / step).astype(int)
    profile = np.bincount(number, weights=image[inside]) / np.maximum(np.bincount(number), 1)
    at = (np.arange(len(profile)) + 0.5) * step
    rings = crystal_rings(load_crystal("Au"), q_max=1.3)
    told = []
    for label, radius in zip(rings.labels(), rings.q, strict=True):
        if label not in ("111", "220"):  # the others are not apart from their neighbours
            continue
        near = np.abs(at - radius) < 0.055
        ends = np.interp(at[near], at[near][[0, -1]], np.log(profile[near][[0, -1]]))
        ring = profile[near] - np.exp(ends)
        top = ring > 0.85 * ring.max()
        a, b, _ = np.polyfit(at[near][top], ring[top], 2)
        told.append(f"{label}: {100 * (-b / (2 * a) / radius - 1):+.2f} %")
    return ", ".join(told)


def austenite(folder: Path) -> Iterator[Row]:
    """Ellipse of four patterns, and their beam directions: as the file says, after the rings, after the map."""
    reference = json.loads((folder / "reference_subset.json").read_text())
    published = np.array(reference["ASTAR_beam_dir_sorted_abs_uvw"])
    crystals = (load_crystal(folder / "austeniteLP.cif"),)
    peaks = detected_peaks(
        folder / "subset_data.hspy",
        voltage_kv=reference["voltage_kV"],
        pixel_size_inv_angstrom=reference["scale_invA_per_px"],
    )

    def directions(found: OrientationMap) -> str:
        toward = np.sort(np.abs(zone_axis_direction(found.quaternion)), axis=-1)[:, ::-1]
        cosine = toward @ published / np.linalg.norm(published)
        angles = ", ".join(f"{angle:.1f}" for angle in np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))
        explained = int(found.explained_disks.sum())
        disks = explained + int(found.unexplained_disks.sum())
        return f"{found.score.mean():.3f}; {explained} of {disks} disks; {angles}° from ASTAR"

    found = _indexed(peaks, crystals)
    yield ("austenite_nbed", "as the file says", "", "", "", directions(found), "")
    steps: dict[str, Callable[[], CalibrationFit]] = {
        "rings": lambda: fit_shape(peaks, crystals),
        "map": lambda: finish(refine_calibration(peaks, found)).result.fit,
    }
    for name, step in steps.items():
        fit = step()
        peaks = fit.applied_to(peaks)
        found = _indexed(peaks, crystals)
        yield ("austenite_nbed", name, *_said(fit), directions(found), "")


def _as_job(function: Callable[..., object], *values: object) -> Iterator[None]:
    """A function as a job, so that it is timed as jobs are."""
    yield None
    return function(*values)


def _wrong(calibration: Calibration) -> Calibration:
    size = float(calibration.pixel_size_inv_angstrom or 0.0)
    return calibration.updated(
        pixel_size_inv_angstrom=TOO_LARGE * size, ellipse_ratio=1.0, ellipse_angle_deg=0.0, origin_px=None
    )


def _indexed(peaks: BraggPeaks, crystals: tuple[Crystal, ...]) -> OrientationMap:
    found: OrientationMap = finish(index_bragg_peaks(peaks, crystals)).result
    return found


def _both_ways(
    peaks: BraggPeaks, crystals: tuple[Crystal, ...]
) -> Iterator[tuple[str, CalibrationFit, str, str]]:
    """Name, fit, seconds and score of: rings; and the map, from the wrong calibration."""

    def rings() -> CalibrationFit:
        return fit_shape(fit_origins(peaks).applied_to(peaks), crystals)

    timed = finish(_as_job(rings))
    doubt = " (doubted)" if timed.result.doubts else ""
    yield f"rings{doubt}", timed.result, f"{timed.seconds:.1f}", ""
    found = _indexed(peaks, crystals)
    timed = finish(refine_calibration(peaks, found))
    result = timed.result
    score = f"{result.score_before:.3f} → {result.score_after:.3f}"
    yield "map", result.fit, f"{timed.seconds:.1f}", score


def _against(
    fit: CalibrationFit, true: Calibration, origin: np.ndarray | None, where: np.ndarray | None
) -> tuple[str, str, str]:
    """Errors of pixel size, of the ellipse as a vector, and of the origin."""
    found = fit.calibration
    size = float(found.pixel_size_inv_angstrom or np.nan) / float(true.pixel_size_inv_angstrom or np.nan)
    vectors = [np.log(c.ellipse_ratio) * np.exp(2j * np.deg2rad(c.ellipse_angle_deg)) for c in (found, true)]
    text = ""
    if origin is not None and fit.origin_px is not None:
        off = np.linalg.norm(fit.origin_px - origin, axis=1)[where]
        text = f"{np.sqrt(np.mean(off**2)):.3f} px rms, {off.max():.2f} px at most"
    off_by = 100 * abs(vectors[0] - vectors[1])
    ellipse = f"{found.ellipse_ratio:.4f} at {found.ellipse_angle_deg:.0f}°: off by {off_by:.2f} %"
    return f"{100 * (size - 1):+.3f} %", ellipse, text


def _said(fit: CalibrationFit) -> tuple[str, str, str]:
    lines = dict(lines_of(fit.measured))
    return lines.get("Pixel size", ""), lines.get("Ellipse", ""), lines.get("Direct beam", "")


def sensitivity(folder: Path) -> str:
    """What errors of the pixel size do to the map of bent_ni_scan."""
    peaks = detected_peaks(folder / "scan.hspy", voltage_kv=300.0)
    found = _indexed(peaks, (load_crystal("Ni"),))
    result = finish(calibration_sensitivity(peaks, found)).result
    return table(result.header(), result.rows())


SETS: dict[str, tuple[str, Callable[[Path], Iterator[Row]]]] = {
    "simulated": ("", simulated),
    "bent_ni_scan": ("bent_ni_scan", nickel),
    "multislice_cu_cu2o": ("multislice_cu_cu2o", multislice),
    "ag_sped": ("ag_sped", silver),
    "calibration": ("calibration", gold),
    "austenite_nbed": ("austenite_nbed", austenite),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="folder of the data sets")
    parser.add_argument("--sets", nargs="+", choices=[*SETS, "sensitivity"], default=[*SETS, "sensitivity"])
    arguments = parser.parse_args()
    rows: list[Row] = []
    for name in arguments.sets:
        folder = arguments.data / (SETS[name][0] if name in SETS else "bent_ni_scan")
        if not folder.is_dir():
            print(f"{name} is left out: {folder} is no folder")
        elif name in SETS:
            rows += SETS[name][1](folder)
    print(machine() + "\n")
    print(table(HEADER, rows))
    if "sensitivity" in arguments.sets and (arguments.data / "bent_ni_scan").is_dir():
        print("\nbent_ni_scan with another pixel size:\n")
        print(sensitivity(arguments.data / "bent_ni_scan"))


if __name__ == "__main__":
    main()
