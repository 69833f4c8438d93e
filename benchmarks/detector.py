"""Our detector beside py4DSTEM's on disks whose places are known: what is found, what is false, how exactly, how fast.

Drawn patterns (`known_disks.py`) cover radii, detectors and doses; bent_ni_scan and multislice_cu_cu2o (``--data
FOLDER``) were simulated by others, and their disks are predicted from the known orientations. Ours runs with the
settings that it suggests by itself. py4DSTEM runs with ``poly`` and with ``multicorr`` (upsampling 16), each twice:
with its defaults, and with the relative or absolute threshold, of forty, that does best when the truth is known (most
true disks minus false ones), which no user can tune. It gets our template as its kernel (``sigmoid``), and our
spacing and edge: with its own default spacing of 60 px it finds hardly more than the direct beam.

"Position error" is the median over the disks that all tuned detectors found. "core ms" is processor time a pattern:
py4DSTEM works on one core, ours on all.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from known_disks import KnownDisks, bent_nickel_disks, drawn_disks, multislice_disks
from numpy.typing import NDArray
from report import machine, table

from napari_stem_orient.core.bragg_peaks import DetectedBlock
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.detection.correlation import detect_in_frames
from napari_stem_orient.detection.suggestion import Suggestion, suggest_detection
from napari_stem_orient.io.scans import open_datacube

OURS = "ours"
#: Frames that ours is timed with: py4DSTEM takes them one by one, ours in batches.
TIMED_FRAMES = 128
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Found:
    """Disks (k,) that a detector found, in order of frame, and the processor seconds a pattern."""

    frame: NDArray[np.int64]
    y_px: FloatArray
    x_px: FloatArray
    intensity: FloatArray
    seconds: float

    def part(self, chosen: NDArray[np.bool_]) -> Found:
        """Some of the disks."""
        return Found(
            self.frame[chosen], self.y_px[chosen], self.x_px[chosen], self.intensity[chosen], self.seconds
        )


@dataclass(frozen=True, slots=True)
class Matched:
    """Which true disk each found one is, -1 for a false one, and how far from it, (k,)."""

    disk: NDArray[np.int64]
    error_px: FloatArray


def match(found: Found, known: KnownDisks) -> Matched:
    """Give found disks, strongest first, to true ones within a tolerance; each true disk is found once."""
    tolerance = min(max(1.5, known.radius_px / 2), 4.0)
    disk = np.full(len(found.frame), -1)
    error = np.full(len(found.frame), np.nan)
    for number in range(len(known.frames)):
        here = np.flatnonzero(found.frame == number)
        there = np.flatnonzero(known.frame == number)
        free = np.ones(len(there), dtype=bool)
        for index in here[np.argsort(-found.intensity[here])]:
            distance = np.hypot(known.y_px[there] - found.y_px[index], known.x_px[there] - found.x_px[index])
            distance[~free] = np.inf
            nearest = int(distance.argmin()) if len(there) else -1
            if nearest >= 0 and distance[nearest] < tolerance:
                disk[index], error[index], free[nearest] = there[nearest], distance[nearest], False
    return Matched(disk, error)


def ours(known: KnownDisks, suggestion: Suggestion) -> Found:
    """Our detector with suggested settings."""
    choice: dict[str, Any] = {"probe": suggestion.probe, "parameters": suggestion.parameters, "device": "cpu"}
    repeats = max(1, TIMED_FRAMES // len(known.frames))
    many = np.concatenate([known.frames] * repeats)
    detect_in_frames(known.frames, **choice)
    start = time.process_time()
    detect_in_frames(many, **choice)
    seconds = (time.process_time() - start) / len(many)
    block: DetectedBlock = detect_in_frames(known.frames, **choice)
    frame = np.repeat(np.arange(len(known.frames)), block.counts())
    return Found(frame, *(v.astype(np.float64) for v in (block.y_px, block.x_px, block.intensity)), seconds)


def py4dstem(known: KnownDisks, suggestion: Suggestion, **options: Any) -> Found:
    """py4DSTEM's detector with our template as its kernel."""
    from py4DSTEM.braggvectors.diskdetection import find_Bragg_disks
    from py4DSTEM.braggvectors.probe import Probe

    radius = suggestion.probe.radius_px
    outer = min(4 * radius, min(known.frames.shape[1:]) / 2 - 1)
    kernel = Probe(suggestion.probe.image.astype(np.float64)).get_kernel(
        mode="sigmoid", radii=(radius, outer)
    )
    settings = {
        "minPeakSpacing": suggestion.parameters.min_spacing_px,
        "edgeBoundary": max(1, int(np.ceil(suggestion.parameters.edge_px))),
        "upsample_factor": 16,
        **options,
    }
    parts: list[FloatArray] = []
    start = time.process_time()
    for number, frame in enumerate(known.frames):
        peaks = find_Bragg_disks(frame.astype(np.float64), kernel, **settings).data
        columns = [np.full(len(peaks), number), peaks["qx"], peaks["qy"], peaks["intensity"]]
        parts.append(np.stack(columns, axis=1))
    seconds = (time.process_time() - start) / len(known.frames)
    values = np.concatenate(parts)
    return Found(values[:, 0].astype(np.int64), values[:, 1], values[:, 2], values[:, 3], seconds)


def best_threshold(found: Found, known: KnownDisks) -> dict[str, float]:
    """The relative or absolute threshold with most true disks minus false ones."""
    brightest = np.zeros(len(known.frames))
    np.maximum.at(brightest, found.frame, found.intensity)
    relative = found.intensity / np.maximum(brightest[found.frame], 1e-30)
    candidates = [("minRelativeIntensity", relative, value) for value in np.geomspace(1e-3, 0.5, 20)]
    levels = np.quantile(found.intensity, np.linspace(0, 0.98, 20))
    candidates += [("minAbsoluteIntensity", found.intensity, value) for value in levels]
    true = match(found, known).disk >= 0

    def worth(candidate: tuple[str, FloatArray, float]) -> float:
        kept = candidate[1] >= candidate[2]
        return float((true & kept).sum() - (~true & kept).sum())

    name, _, value = max(candidates, key=worth)
    other = "minAbsoluteIntensity" if name == "minRelativeIntensity" else "minRelativeIntensity"
    return {name: float(value), other: 0.0}


def all_methods(known: KnownDisks, suggestion: Suggestion) -> dict[str, Found]:
    """Name -> what each detector found."""
    found = {OURS: ours(known, suggestion)}
    everything = py4dstem(known, suggestion, subpixel="poly", minRelativeIntensity=0.0, maxNumPeaks=100)
    tuned = best_threshold(everything, known)
    for subpixel in ("poly", "multicorr"):
        found[f"py4DSTEM {subpixel}, defaults"] = py4dstem(known, suggestion, subpixel=subpixel)
        found[f"py4DSTEM {subpixel}, tuned"] = py4dstem(
            known, suggestion, subpixel=subpixel, maxNumPeaks=100, **tuned
        )
    return found


def rows(known: KnownDisks, suggestion: Suggestion) -> Iterator[list[str]]:
    """One line a detector."""
    found = all_methods(known, suggestion)
    matched = {name: match(disks, known) for name, disks in found.items()}
    common = set(matched[OURS].disk[matched[OURS].disk >= 0])
    for name, result in matched.items():
        if name.endswith("tuned"):
            common &= set(result.disk)
    n = len(known.frames)
    for name, result in matched.items():
        true = result.disk >= 0
        share = f"{100 * true.sum() / len(known.frame):.1f} %" if known.all_there else "-"
        same = result.error_px[np.isin(result.disk, list(common))]
        ratio = found[name].seconds / found[OURS].seconds
        yield [
            known.name,
            name,
            share,
            f"{true.sum() / n:.2f}",
            f"{(~true).sum() / n:.2f}",
            f"{np.median(same):.3f}" if len(same) else "-",
            f"{1e3 * found[name].seconds:.2f}",
            f"{ratio:.1f}",
        ]


HEADER = [
    "patterns",
    "detector",
    "recall",
    "true disks a pattern",
    "false a pattern",
    "position error, px",
    "core ms",
    "times ours",
]


def drawn_scenes(n_frames: int) -> Iterator[Callable[[], KnownDisks]]:
    """The scenes that are drawn, each made when its turn comes."""
    for size, radii in ((128, (2.0, 4.0, 8.0, 12.0)), (256, (4.0, 12.0))):
        for radius in radii:
            for electrons in (300.0, 3e3, 3e4, 1e6):

                def scene(size: int = size, radius: float = radius, dose: float = electrons) -> KnownDisks:
                    number = n_frames if size == 128 else max(4, n_frames // 2)
                    return drawn_disks(n_frames=number, size=size, radius_px=radius, electrons=dose)

                yield scene


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="folder of the data sets")
    parser.add_argument("--frames", type=int, default=16, help="patterns of each drawn scene (default: 16)")
    parser.add_argument("--only-data", action="store_true", help="leave the drawn scenes out")
    arguments = parser.parse_args()
    print(machine() + "\n")
    lines: list[list[str]] = []
    for scene in drawn_scenes(arguments.frames) if not arguments.only_data else ():
        known = scene()
        datacube = DataCube(da.from_array(known.frames[None]), known.calibration)
        lines += tell(known, suggest_detection(datacube))
    if arguments.data is not None:
        for folder, make in (("bent_ni_scan", bent_nickel_disks), ("multislice_cu_cu2o", multislice_disks)):
            known = make(arguments.data / folder, n_frames=4 * arguments.frames)
            lines += tell(known, suggest_detection(open_datacube(arguments.data / folder / "scan.hspy")))
    print("\n" + table(HEADER, lines))


def tell(known: KnownDisks, suggestion: Suggestion) -> list[list[str]]:
    """The lines of a scene, printed as soon as they are known."""
    lines = list(rows(known, suggestion))
    for line in lines:
        print("  ".join(line), flush=True)
    return lines


if __name__ == "__main__":
    main()
