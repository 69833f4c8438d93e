"""Speed of all steps in one run on one machine: frames to disks, and disks to map, each method beside py4DSTEM.

Times include everything from the call to the finished result: loading of weights, planning of templates, tokens,
inference, refinement, and the arrays of the map. py4DSTEM's template matching runs behind our interface, which adds a
score and a runner-up; scaling.py times it alone. The scan is simulated (Cu, 128 x 128 px, 300 kV); a larger one is
made of its frames again. Run ``python benchmarks/speed.py --positions 4096``.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from methods import everywhere, method_options, methods, warm_up, was_done
from report import Timed, finish, machine, table

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.detection.correlation import detect_bragg_peaks
from napari_stem_orient.detection.py4dstem import detect_with_py4dstem
from napari_stem_orient.detection.suggestion import suggest_detection
from napari_stem_orient.simulation.polycrystal import simulate_polycrystal

SIMULATED_SHAPE = (32, 32)

Row = list[object]


def rate(number: int, timed: Timed) -> list[object]:
    """Seconds, and how many a second."""
    return [number, f"{timed.seconds:.1f}", f"{number / timed.seconds:,.0f}"]


def simulated_scan(n_positions: int) -> DataCube:
    """A scan of about n positions: 1,024 simulated ones, repeated where more are asked for."""
    job = simulate_polycrystal([load_crystal("Cu")], scan_shape=SIMULATED_SHAPE, n_grains=12, seed=1)
    datacube: DataCube = finish(job).result.datacube
    repeats = max(1, round(n_positions / datacube.n_positions))
    return replace(datacube, data=datacube.data.repeat(repeats, axis=0))


def detection_rows(datacube: DataCube, *, device: str, most_py4dstem: int) -> tuple[list[Row], BraggPeaks]:
    """Frames a second of both detectors, and the peaks."""
    suggestion = suggest_detection(datacube)
    choice: dict[str, Any] = {"probe": suggestion.probe, "parameters": suggestion.parameters}
    timed = finish(detect_bragg_peaks(datacube, **choice, device=device))
    rows: list[Row] = [["frames to disks", "batched detector", *rate(datacube.n_positions, timed)]]
    few = max(1, most_py4dstem // datacube.scan_shape[1])
    part = replace(datacube, data=datacube.data[:few])
    slow = finish(detect_with_py4dstem(part, **choice))
    rows.append(["frames to disks", "py4DSTEM", *rate(part.n_positions, slow)])
    return rows, timed.result


def indexing_rows(peaks: BraggPeaks, crystal: Crystal, arguments: argparse.Namespace) -> list[Row]:
    """Patterns a second from stored peaks to map."""
    rows: list[Row] = []
    if arguments.only != "template":
        warm_up([crystal], arguments)
    for name, index in methods(arguments, neighbours=True).items():
        timed = index(peaks, (crystal,), everywhere(peaks))
        done = int(was_done(timed.result).sum())
        rows.append(["peaks to map", name, *rate(done, timed)])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--positions", type=int, default=4096, help="positions of the scan (default: 4096)")
    method_options(parser)
    arguments = parser.parse_args()
    datacube = simulated_scan(arguments.positions)
    rows, peaks = detection_rows(datacube, device=arguments.device, most_py4dstem=256)
    rows += indexing_rows(peaks, load_crystal("Cu"), arguments)
    print(f"{datacube.n_positions:,} patterns of 128 x 128 px, {peaks.counts().mean():.1f} disks on average")
    print(machine() + "\n")
    print(table(["job", "method", "patterns", "seconds", "patterns a second"], rows))


if __name__ == "__main__":
    main()
