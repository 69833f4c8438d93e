"""Speed against the number of patterns, from a file of stored peaks to finished maps, and where the time goes.

A simulated scan of 32 x 32 positions (Cu, 128 x 128 px, 300 kV) is cut or repeated to scans of 8 x 8 to 1024 x 1024,
each stored in one file. A fresh process opens it, indexes it and colours the map. All of that is counted but the import
of the libraries, which a single pattern brings about before. The stages are timed on the functions that the program
itself calls. Memory is that of the process at its most; "working" is what it takes besides the program, the peaks and
the map. py4DSTEM's template matching is timed on some of the same patterns, in one process and without our interface
around it.

    python benchmarks/scaling.py --largest 1024 --figure docs/images/scaling.png
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from acom import match_with_py4dstem
from methods import TEMPLATE, method_options, models_of, transformer_parameters, warm_up
from report import COLOURS, finish, machine, new_figure, save_figure, table
from stage_clock import STAGES, StageClock, memory_mb, watch_indexing

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.indexing.template_parameters import TemplateMatchingParameters
from napari_stem_orient.io.peaks import save_bragg_peaks

CRYSTAL = "Cu"
BASE_SHAPE = (32, 32)
SIZES = (8, 16, 32, 64, 128, 256, 512, 1024)
#: Stages that may take more than a tenth of the time.
HEAVY = ("inference", "refinement")


@dataclass(frozen=True, slots=True)
class Run:
    """One scan indexed: seconds in all and of each stage, memory in MB."""

    side: int
    seconds: float
    stages: dict[str, float]
    program_mb: float
    data_mb: float
    peak_mb: float
    device_mb: float

    @property
    def rate(self) -> float:
        """Patterns a second."""
        return self.side**2 / self.seconds

    @property
    def working_mb(self) -> float:
        """Memory besides the program, the peaks and the map."""
        return self.peak_mb - self.program_mb - self.data_mb

    def share(self, stage: str) -> float:
        """Part of the time that a stage takes."""
        return self.stages[stage] / sum(self.stages.values())


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.one is not None:
        print(json.dumps(asdict(index_file(arguments.one, arguments))))
        return
    base = simulated_peaks()
    variants = transformer_parameters(arguments, neighbours=True)
    runs: dict[str, list[Run]] = {name: [] for name in variants}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for side in (size for size in SIZES if size <= arguments.largest):
            path = save_bragg_peaks(repeated(base, side), Path(folder) / f"{side}.h5")
            names = list(runs) if side <= arguments.all_to else [next(iter(runs)), list(runs)[-1]]
            for name in names:
                runs[name].append(in_fresh_process(path, name, arguments))
                run = runs[name][-1]
                print(f"{side}², {name}: {run.seconds:.1f} s, {run.rate:,.0f}/s", file=sys.stderr, flush=True)
            path.unlink()
    some = np.arange(base.n_positions)[:: max(1, base.n_positions // arguments.most_templates)]
    acom = match_with_py4dstem(
        base, load_crystal(CRYSTAL), some, parameters=TemplateMatchingParameters()
    ).rate
    print(
        f"Cu, {base.counts().mean():.1f} disks a pattern; {TEMPLATE}, one process: {acom:,.0f} patterns a second"
    )
    print(machine())
    for name, found in runs.items():
        print(f"\n{name}\n")
        print(table(*scaling_table(found, acom)))
        print(f"\n{verdict(found)}")
    if arguments.figure is not None:
        draw(runs, acom, arguments.figure)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--largest", type=int, default=256, help="side of the largest scan, 8 to 1024 (default: 256)"
    )
    parser.add_argument(
        "--all-to",
        type=int,
        default=SIZES[-1],
        metavar="SIDE",
        help="beyond this side only the fastest and the most careful variant run, for the time they take",
    )
    parser.add_argument(
        "--folder", type=Path, help="where the peaks are stored for the while (1 GB for 1024)"
    )
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the figure into this file")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    parser.add_argument("--no-stages", action="store_true", help=argparse.SUPPRESS)
    method_options(parser, most_templates=200)
    return parser


def simulated_peaks() -> BraggPeaks:
    """Bragg peaks detected in a simulated scan of twelve grains."""
    from napari_stem_orient.detection.correlation import detect_bragg_peaks
    from napari_stem_orient.detection.suggestion import suggest_detection
    from napari_stem_orient.simulation.polycrystal import simulate_polycrystal

    job = simulate_polycrystal([load_crystal(CRYSTAL)], scan_shape=BASE_SHAPE, n_grains=12, seed=1)
    datacube = finish(job).result.datacube
    suggestion = suggest_detection(datacube)
    found: BraggPeaks = finish(
        detect_bragg_peaks(datacube, probe=suggestion.probe, parameters=suggestion.parameters)
    ).result
    return found


def repeated(peaks: BraggPeaks, side: int) -> BraggPeaks:
    """A scan of side x side positions, cut out of the given one or tiled with it."""
    rows, columns = peaks.scan_shape
    y, x = np.divmod(np.arange(side**2), side)
    positions = (y % rows) * columns + x % columns
    part = peaks.select(positions)
    return BraggPeaks(
        x_px=part.x_px,
        y_px=part.y_px,
        q_as_given=(part.q_x, part.q_y),
        intensity=part.intensity,
        offsets=part.offsets,
        scan_shape=(side, side),
        calibration=peaks.calibration,
        origin_px=None if peaks.origin_px is None else peaks.origin_px[positions],
        detector_shape=peaks.detector_shape,
    )


def in_fresh_process(path: Path, variant: str, arguments: argparse.Namespace) -> Run:
    """Index a file in a process of its own; on a GPU a second time without the clock, which makes it wait."""
    command = [
        sys.executable,
        __file__,
        "--one",
        str(path),
        "--variant",
        variant,
        "--device",
        arguments.device,
    ]
    for option in ("model", "one_candidate_model"):
        for folder in getattr(arguments, option):
            command += [f"--{option.replace('_', '-')}", folder]

    def run(*more: str) -> Run:
        done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        return Run(**json.loads(done.stdout.splitlines()[-1]))

    watched = run()
    if not watched.device_mb:
        return watched
    values = asdict(watched)
    values["seconds"] = run("--no-stages").seconds
    return Run(**values)


def index_file(path: Path, arguments: argparse.Namespace) -> Run:
    """From a file of peaks to a coloured map, in this process."""
    import torch

    from napari_stem_orient.core.ipf import ipf_colours, map_colours
    from napari_stem_orient.device import choose_device
    from napari_stem_orient.indexing.index import index_bragg_peaks
    from napari_stem_orient.io.peaks import open_bragg_peaks

    parameters = transformer_parameters(arguments, neighbours=True)[arguments.variant]
    crystal, device = load_crystal(CRYSTAL), choose_device(arguments.device)
    models = models_of(parameters, arguments)

    warm_up([crystal], arguments)
    ipf_colours([1, 0, 0, 0], crystal)
    program_mb = memory_mb()[0]
    clock = StageClock(device)
    if not arguments.no_stages:
        watch_indexing(clock)
    with clock.stage("load"):
        peaks = open_bragg_peaks(path)
    job = index_bragg_peaks(peaks, [crystal], parameters=parameters, models=models, device=arguments.device)
    found = finish(job).result
    with clock.stage("maps"):
        map_colours(found)
    stages = clock.stop()
    data: list[Any] = [peaks.x_px, peaks.y_px, peaks.q_x, peaks.q_y, peaks.intensity, peaks.offsets]
    data += found.arrays().values()
    on_gpu = device.type == "cuda"
    return Run(
        side=peaks.scan_shape[0],
        seconds=sum(stages.values()),
        stages=stages,
        program_mb=program_mb,
        data_mb=sum(array.nbytes for array in data) / 2**20,
        peak_mb=memory_mb()[1],
        device_mb=torch.cuda.max_memory_allocated() / 2**20 if on_gpu else 0.0,
    )


def scaling_table(runs: list[Run], acom: float) -> tuple[list[str], list[list[object]]]:
    """Header and rows: size, share of each stage, speed, memory."""
    stages = [stage for stage in STAGES if any(run.stages[stage] for run in runs)]
    on_gpu = any(run.device_mb for run in runs)
    memory = ["peak memory", "working", *(["on the GPU"] if on_gpu else [])]
    header = ["scan", *stages, "seconds", "patterns a second", "times py4DSTEM", *memory]
    rows: list[list[object]] = []
    for run in runs:
        shares = [f"{100 * run.share(stage):.1f} %" for stage in stages]
        speed = [f"{run.seconds:.2f}", f"{run.rate:,.0f}", f"{run.rate / acom:,.1f}"]
        megabytes = [run.peak_mb, run.working_mb, *([run.device_mb] if on_gpu else [])]
        rows.append([f"{run.side}²", *shares, *speed, *(f"{value:,.0f} MB" for value in megabytes)])
    return header, rows


def verdict(runs: list[Run]) -> str:
    """Which stage that should be light is not at the largest size, and how the memory grows."""
    largest = runs[-1]
    over = [
        f"{s} {100 * largest.share(s):.0f} %" for s in STAGES if s not in HEAVY and largest.share(s) > 0.1
    ]
    middle = [run for run in runs if run.side >= 32] or runs
    return (
        f"At {largest.side}² stages but inference and refinement over 10 % of the time: {', '.join(over) or 'none'}. "
        f"Working memory from {middle[0].side}² to {largest.side}²: {middle[0].working_mb:,.0f} to "
        f"{largest.working_mb:,.0f} MB."
    )


def draw(runs: dict[str, list[Run]], acom: float, path: Path) -> None:
    """Patterns a second against the number of patterns, and the shares of the stages of the refined run."""
    figure, (speed, stages) = new_figure(1, 2, size_inches=(9.0, 4.2))
    for name, found in runs.items():
        speed.plot([run.side**2 for run in found], [run.rate for run in found], "o-", label=name)
    speed.axhline(acom, color="black", linestyle="--", label=TEMPLATE)
    speed.set(xscale="log", yscale="log", xlabel="patterns in the scan", ylabel="patterns a second")
    speed.set_ylim(bottom=acom / 2, top=3 * max(run.rate for found in runs.values() for run in found))
    name, found = list(runs.items())[-1]
    bottom = np.zeros(len(found))
    sizes = [f"{run.side}²" for run in found]
    for index, stage in enumerate(STAGES):
        shares = np.array([100 * run.share(stage) for run in found])
        if shares.any():
            stages.bar(sizes, shares, bottom=bottom, label=stage, color=COLOURS[index])
        bottom += shares
    stages.set(xlabel="scan positions", ylabel="part of the time (%)", ylim=(0, 100))
    stages.set_title(name, fontsize=9)
    stages.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.legend(*speed.get_legend_handles_labels(), fontsize=8, loc="outside lower left", ncols=3)
    save_figure(figure, path)


if __name__ == "__main__":
    main()
