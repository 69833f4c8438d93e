"""Speed of all steps in one run on one machine: frames to disks, and disks to map, each method beside py4DSTEM.

Times include everything from the call to the finished result: loading of weights, planning of templates, tokens,
inference, refinement, and the arrays of the map. py4DSTEM's template matching runs behind our interface, which adds a
score and a runner-up; scaling.py times it alone. The scan is simulated (Cu, 128 x 128 px, 300 kV); a larger one is
made of its frames again. Run ``python benchmarks/speed.py --positions 4096``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from methods import everywhere, method_options, methods, warm_up, was_done
from report import finish, machine, table

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.detection.correlation import detect_bragg_peaks
from napari_stem_orient.detection.py4dstem import detect_with_py4dstem
from napari_stem_orient.detection.suggestion import suggest_detection
from napari_stem_orient.simulation.polycrystal import simulate_polycrystal

SIMULATED_SHAPE = (32, 32)

COLUMNS = ("job", "method", "patterns", "seconds", "patterns a second", "times py4DSTEM")


@dataclass(frozen=True, slots=True)
class Done:
    """A job done by a method: how many patterns, in how many seconds."""

    job: str
    method: str
    patterns: int
    seconds: float

    @property
    def rate(self) -> float:
        """Patterns a second."""
        return self.patterns / self.seconds


def simulated_scan(n_positions: int) -> DataCube:
    """A scan of about n positions: 1,024 simulated ones, repeated where more are asked for."""
    job = simulate_polycrystal([load_crystal("Cu")], scan_shape=SIMULATED_SHAPE, n_grains=12, seed=1)
    datacube: DataCube = finish(job).result.datacube
    repeats = max(1, round(n_positions / datacube.n_positions))
    return replace(datacube, data=datacube.data.repeat(repeats, axis=0))


def detection_rows(datacube: DataCube, *, device: str, most_py4dstem: int) -> tuple[list[Done], BraggPeaks]:
    """Both detectors at work, and the peaks that ours finds."""
    suggestion = suggest_detection(datacube)
    choice: dict[str, Any] = {"probe": suggestion.probe, "parameters": suggestion.parameters}
    timed = finish(detect_bragg_peaks(datacube, **choice, device=device))
    ours = Done("frames to disks", "batched detector", datacube.n_positions, timed.seconds)
    few = max(1, most_py4dstem // datacube.scan_shape[1])
    part = replace(datacube, data=datacube.data[:few])
    slow = finish(detect_with_py4dstem(part, **choice))
    return [ours, Done(ours.job, "py4DSTEM", part.n_positions, slow.seconds)], timed.result


def indexing_rows(peaks: BraggPeaks, crystal: Crystal, arguments: argparse.Namespace) -> list[Done]:
    """All methods at work, from stored peaks to map."""
    rows = []
    if arguments.only != "template":
        warm_up([crystal], arguments)
    for name, index in methods(arguments, neighbours=True).items():
        timed = index(peaks, (crystal,), everywhere(peaks))
        rows.append(Done("peaks to map", name, int(was_done(timed.result).sum()), timed.seconds))
    return rows


def compared(rows: Sequence[Done]) -> list[list[object]]:
    """The rows of one job with how much faster than py4DSTEM, which comes last where it was run."""
    slowest = rows[-1].rate if "py4DSTEM" in rows[-1].method else None
    return [
        [
            done.job,
            done.method,
            done.patterns,
            f"{done.seconds:.1f}",
            f"{done.rate:,.0f}",
            "-" if slowest is None else f"{done.rate / slowest:,.0f}",
        ]
        for done in rows
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--positions", type=int, default=4096, help="positions of the scan (default: 4096)")
    method_options(parser)
    arguments = parser.parse_args()
    datacube = simulated_scan(arguments.positions)
    detected, peaks = detection_rows(datacube, device=arguments.device, most_py4dstem=256)
    indexed = indexing_rows(peaks, load_crystal("Cu"), arguments)
    print(f"{datacube.n_positions:,} patterns of 128 x 128 px, {peaks.counts().mean():.1f} disks on average")
    print(machine() + "\n")
    print(table(COLUMNS, compared(detected) + compared(indexed)))


if __name__ == "__main__":
    main()
