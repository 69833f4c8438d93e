"""What the settings that the package suggests find in every scan of a folder: a picture a scan, and a table.

Nothing is tuned. Each picture shows some patterns with their disks and, where the crystal is known, the out-of-plane
map. The folder (``--data FOLDER``) is the one that accuracy_measured.py takes; what is missing is left out.
Run ``python benchmarks/default_settings.py --data FOLDER --output FOLDER``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from report import finish, machine, new_figure, save_figure, table

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.ipf import map_colours
from napari_stem_orient.detection.bad_pixels import find_bad_pixels, find_saturation
from napari_stem_orient.detection.correlation import detect_bragg_peaks
from napari_stem_orient.detection.suggestion import Suggestion, sample_frames, suggest_detection
from napari_stem_orient.indexing.index import index_bragg_peaks
from napari_stem_orient.io.scans import open_datacube

PATTERNS = 5


@dataclass(frozen=True)
class DataSet:
    """A scan below the folder, the crystals in it where they are known, and what the file does not say."""

    path: str
    crystals: Callable[[Path], tuple[Crystal, ...]] = lambda _: ()
    scan_shape: tuple[int, int] | None = None
    calibration: dict[str, float] = field(default_factory=dict)


def _built_in(*names: str) -> Callable[[Path], tuple[Crystal, ...]]:
    return lambda _: tuple(load_crystal(name) for name in names)


SILVER = {"voltage_kv": 200.0, "pixel_size_inv_angstrom": 0.026728, "precession_angle_deg": 1.0}
DATA_SETS = {
    "bent_ni_scan": DataSet("bent_ni_scan/scan.hspy", _built_in("Ni"), calibration={"voltage_kv": 300.0}),
    "multislice_cu_cu2o": DataSet(
        "multislice_cu_cu2o/scan.hspy", _built_in("Cu", "Cu2O"), calibration={"voltage_kv": 300.0}
    ),
    "ag_sped": DataSet(
        "ag_sped/SPED_Ag_labels_sum_signal.hspy", _built_in("Ag"), scan_shape=(1, 5), calibration=SILVER
    ),
    "ag_sped_scan": DataSet("ag_sped/semi_real_scan.h5", _built_in("Ag"), calibration=SILVER),
    "austenite_nbed": DataSet(
        "austenite_nbed/subset_data.hspy",
        lambda data: (load_crystal(data / "austenite_nbed" / "austeniteLP.cif"),),
        calibration={"voltage_kv": 200.0, "pixel_size_inv_angstrom": 0.01261},
    ),
    "blockfile": DataSet("blockfile/test1.blo"),
    "au_rings": DataSet("calibration/au_xgrating_20cm.tif", scan_shape=(1, 1)),
    "moo3": DataSet("calibration/moo3_20cm.tif", scan_shape=(1, 1)),
    "merlin": DataSet("formats/merlin/001_4x2_6bit.mib"),
    "empad": DataSet("formats/empad/scan_x4_y4.raw"),
    "si_emd": DataSet("formats/emd/Si100_4D.emd"),
    "blockfile_2": DataSet("formats/blockfile/test2.blo"),
    "tvips": DataSet("formats/tvips/test_tvips_2345_000.tvips", scan_shape=(2, 3)),
    "dm3": DataSet("formats/dm/dd020.dm3", scan_shape=(1, 1)),
}
HEADER = [
    "scan",
    "detector",
    "direct beam, px",
    "radius, px",
    "looks like",
    "σ",
    "false a pattern",
    "gain",
    "disks a pattern",
    "left out",
    "indexed",
]


def settle(datacube: DataCube) -> tuple[Suggestion, BraggPeaks, str]:
    """Detect with what is suggested; bad pixels that are found are left out, as the program does it."""
    frames = sample_frames(datacube)
    bad = find_bad_pixels(frames)
    saturation = find_saturation(frames, bad.mask)
    mask = bad.mask if bad.mask.any() else None
    suggestion = suggest_detection(datacube, mask=mask, frames=frames)
    job = detect_bragg_peaks(
        datacube, probe=suggestion.probe, parameters=suggestion.parameters, mask=mask, device="cpu"
    )
    told = f"{int(bad.mask.sum())} px" + ("" if saturation is None else ", saturated")
    return suggestion, finish(job).result, told


def picture(name: str, datacube: DataCube, peaks: BraggPeaks, colours: Any, path: Path) -> None:
    """Some patterns of a scan with their disks, and its map."""
    figure, axes = new_figure(1, PATTERNS + 1, size_inches=(3.0 * (PATTERNS + 1), 3.2))
    chosen = np.unique(np.linspace(0, datacube.n_positions - 1, PATTERNS).astype(int))
    for axis in axes:
        axis.set_axis_off()
    for axis, position in zip(axes, chosen, strict=False):
        y, x = divmod(int(position), datacube.scan_shape[1])
        pattern = datacube.pattern(y, x)
        shown = np.log1p(np.clip(pattern, 0, None) / max(float(np.percentile(pattern, 60)), 0.5))
        axis.imshow(shown, cmap="gray", vmax=max(float(np.percentile(shown, 99.7)), 1e-3))
        place = peaks.pixels_at(y, x)
        axis.scatter(place[:, 0], place[:, 1], s=34, facecolors="none", edgecolors="#e69f00", linewidths=0.9)
        axis.set_title(f"row {y}, column {x}: {len(place)} disks")
    if colours is not None:
        axes[-1].imshow(colours)
        axes[-1].set_title("out of plane")
    figure.suptitle(name)
    save_figure(figure, path)


def lines(data: Path, output: Path, names: list[str]) -> Iterator[list[str]]:
    """One line a scan; its picture goes into the folder ``output``."""
    for name in names:
        known = DATA_SETS[name]
        if not (data / known.path).exists():
            continue
        try:
            datacube = open_datacube(data / known.path, scan_shape=known.scan_shape)
            datacube = datacube.with_calibration(datacube.calibration.updated(**known.calibration))
            suggestion, peaks, told = settle(datacube)
        except ValueError as error:
            yield [name, f"{type(error).__name__}: {error}", *["-"] * (len(HEADER) - 2)]
            continue
        crystals, colours, indexed = known.crystals(data), None, "-"
        if crystals:
            found = finish(index_bragg_peaks(peaks, crystals, device="cpu")).result
            colours = map_colours(found).reshape(*found.scan_shape, -1)
            indexed = f"{100 * found.indexed.mean():.1f} %"
        picture(name, datacube, peaks, colours, output / f"{name}.png")
        beam, parameters = suggestion.beam, suggestion.parameters
        rows, columns = datacube.detector_shape
        yield [
            name,
            f"{rows} x {columns} {datacube.data.dtype}",
            f"{beam.y_px:.1f}, {beam.x_px:.1f}",
            f"{suggestion.probe.radius_px:.2f}",
            parameters.mode,
            f"{parameters.min_significance:.2f}",
            f"{suggestion.false_alarms.per_pattern(parameters.min_significance):.2g}",
            f"{parameters.counts_per_electron:g}",
            f"{peaks.counts().mean():.1f}",
            told,
            indexed,
        ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="folder of the data sets")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="folder of the pictures")
    parser.add_argument("--sets", nargs="+", choices=list(DATA_SETS), default=list(DATA_SETS))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    told = list(lines(arguments.data, arguments.output, arguments.sets))
    print(machine() + "\n")
    print(table(HEADER, told))


if __name__ == "__main__":
    main()
