"""How fast big scans are read, and with how much memory: our blocks and our detection beside plain dask.

Writes scans of simulated disks (256 x 256 px, uint16) in several layouts, one after the other, and removes each when it
is measured. Every pass runs in a process of its own: plain dask takes the maximum of the array as it opens it, in
threads; "blocks" takes it block by block as the detector does; "detection" is the whole job. Before each pass the file
is pushed out of the operating system's cache, as far as that obeys: a virtual machine's disk may still be cached by its
host. "Read" is what was asked of the operating system over the file's size: 1.0 is each byte once. Seconds depend on
what else the computer does; "CPU s", the work of all threads, hardly does.

Run ``python benchmarks/reading.py --gigabytes 8 --folder FOLDER``, or ``--scan FILE`` for a scan of your own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import zarr
from report import finish, machine, table

from napari_stem_orient.detection.correlation import detect_bragg_peaks
from napari_stem_orient.detection.suggestion import suggest_detection
from napari_stem_orient.io.scans import open_datacube

DETECTOR = 256
COLUMNS = 256
PASSES = ("plain dask", "blocks", "detection")
LAYOUTS: dict[str, dict[str, Any]] = {
    "zarr, compressed": {"suffix": ".zarr", "chunks": (1, 32, DETECTOR, DETECTOR)},
    "zarr, not compressed": {"suffix": ".zarr", "chunks": (1, 32, DETECTOR, DETECTOR), "compressor": None},
    "h5, contiguous": {"suffix": ".h5"},
    "h5, a pattern a chunk": {"suffix": ".h5", "chunks": (1, 1, DETECTOR, DETECTOR)},
    "h5, gzip": {
        "suffix": ".h5",
        "chunks": (1, 8, DETECTOR, DETECTOR),
        "compression": "gzip",
        "compression_opts": 1,
    },
    "h5, chunks across scan and detector": {"suffix": ".h5", "chunks": (16, 16, 32, 32)},
}


def simulated_rows(rng: np.random.Generator) -> np.ndarray:
    """(16, 256, 256, 256) uint16; sixteen rows of patterns with disks on a lattice that turns, and counting noise."""
    rows, columns = np.mgrid[:DETECTOR, :DETECTOR] - DETECTOR / 2
    image = np.zeros((16, DETECTOR, DETECTOR))
    for number, pattern in enumerate(image):
        angle = np.deg2rad(5.0 * number)
        for h in range(-3, 4):
            for k in range(-3, 4):
                y = 30 * (h * np.cos(angle) - k * np.sin(angle))
                x = 30 * (h * np.sin(angle) + k * np.cos(angle))
                pattern += (400.0 if h == k == 0 else 12.0) * (np.hypot(rows - y, columns - x) < 5)
    frames = rng.poisson(image + 0.3, (16, *image.shape)).astype(np.uint16)
    # every pattern of a row is another sample of the noise, moved by whole pixels
    flat = frames.reshape(-1, DETECTOR, DETECTOR)
    return np.stack([np.roll(flat, shift, axis=(1)) for shift in range(16)]).reshape(
        16, COLUMNS, DETECTOR, DETECTOR
    )


def write_scan(path: Path, layout: dict[str, Any], n_rows: int) -> None:
    """A scan of ``n_rows`` rows of 256 patterns."""
    block = simulated_rows(np.random.default_rng(0))
    shape = (n_rows, COLUMNS, DETECTOR, DETECTOR)
    options = {name: value for name, value in layout.items() if name != "suffix"}
    if layout["suffix"] == ".zarr":
        array = zarr.open(str(path), mode="w", shape=shape, dtype="u2", **options)
        for row in range(0, n_rows, len(block)):
            array[row : row + len(block)] = block[: n_rows - row]
        return
    with h5py.File(path, "w") as file:
        array = file.create_dataset("frames", shape, "u2", **options)
        for row in range(0, n_rows, len(block)):
            array[row : row + len(block)] = block[: n_rows - row]


def files_of(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def forget(path: Path) -> None:
    """Write a file out and ask the operating system to keep none of it in memory."""
    if not hasattr(os, "posix_fadvise"):
        return
    for file in files_of(path):
        number = os.open(file, os.O_RDONLY)
        try:
            os.fsync(number)
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(number)


def bytes_asked_for() -> int:
    """Bytes that this process has read from files, as the operating system counts; 0 where it does not."""
    counters = Path("/proc/self/io")
    return int(counters.read_text().split()[1]) if counters.exists() else 0


def peak_bytes() -> int:
    """Most memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says begins with the parent's
        words = {
            line.split(":")[0]: line.split()[1] for line in status.read_text().splitlines() if " kB" in line
        }
        return int(words["VmHWM"]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def plain_dask(path: Path) -> int:
    """Largest count of a scan, as one would ask dask for it. Returns the bytes of the array."""
    if path.suffix == ".zarr":
        data = da.from_zarr(str(path))
        data.max().compute(scheduler="threads")
        return int(data.nbytes)
    with h5py.File(path, "r") as file:
        data = da.from_array(file["frames"], chunks="auto", name=False)
        data.max().compute(scheduler="threads")
        return int(data.nbytes)


def our_blocks(path: Path) -> int:
    datacube = open_datacube(path)
    for block in datacube.scan_blocks():
        block.frames.max()
    return int(datacube.data.nbytes)


def our_detection(path: Path) -> int:
    datacube = open_datacube(path)
    suggestion = suggest_detection(datacube)
    finish(detect_bragg_peaks(datacube, probe=suggestion.probe, parameters=suggestion.parameters))
    return int(datacube.data.nbytes)


def one_pass(name: str, path: Path) -> None:
    """Run a pass in this process and print what it took as JSON."""
    run = dict(zip(PASSES, (plain_dask, our_blocks, our_detection), strict=True))[name]
    read, begun, worked = bytes_asked_for(), time.perf_counter(), time.process_time()
    found = {"bytes": run(path)}
    found |= {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - worked}
    print(json.dumps(found | {"peak": peak_bytes(), "read": bytes_asked_for() - read}))


def measure(path: Path, layout: str, passes: list[str]) -> list[list[object]]:
    """Rows of the table, one a pass."""
    on_disk = sum(file.stat().st_size for file in files_of(path))
    rows: list[list[object]] = []
    for name in passes:
        forget(path)
        command = [sys.executable, __file__, "--one", name, "--scan", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.strip().splitlines()[-1])
        rate = f"{found['bytes'] / found['seconds'] / 1e6:,.0f}"
        read = f"{found['read'] / on_disk:.2f}" if found["read"] else "-"
        times = [f"{found['seconds']:.1f}", f"{found['cpu']:.1f}"]
        rows.append([layout, name, *times, rate, read, f"{found['peak'] / 1e6:,.0f}"])
        print("  ".join(map(str, rows[-1])), file=sys.stderr, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of the scans (default: 1)")
    parser.add_argument(
        "--folder", type=Path, help="where to write them; a temporary folder where none is given"
    )
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS), help="default: all")
    parser.add_argument("--passes", nargs="+", choices=PASSES, default=list(PASSES), help="default: all")
    parser.add_argument("--scan", type=Path, help="measure this scan (.zarr or .h5) instead")
    parser.add_argument("--one", choices=PASSES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        one_pass(arguments.one, arguments.scan)
        return
    rows: list[list[object]] = []
    if arguments.scan is not None:
        rows = measure(arguments.scan, arguments.scan.name, arguments.passes)
    else:
        n_rows = 16 * max(1, round(arguments.gigabytes * 1e9 / (16 * COLUMNS * DETECTOR**2 * 2)))
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            for name in arguments.layouts:
                path = Path(folder) / f"scan{LAYOUTS[name]['suffix']}"
                write_scan(path, LAYOUTS[name], n_rows)
                rows += measure(path, name, arguments.passes)
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        print(f"{n_rows} x {COLUMNS} patterns of {DETECTOR} x {DETECTOR} px, uint16")
    print(machine() + "\n")
    print(table(["file", "pass", "seconds", "CPU s", "MB/s", "read", "peak MB"], rows))


if __name__ == "__main__":
    main()
