"""How long a session of 256 x 256 positions with two maps takes to save and to open, and how long others wait for it.

Run it with ``python benchmarks/session_file.py [SIDE]``. The saving runs in a thread, as in the window; a second thread
measures the longest time that it had to wait for its turn.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation import random_quaternions
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.solutions import Solutions
from napari_stem_orient.session.session import Session
from napari_stem_orient.session.session_file import open_session, save_session

CANDIDATES = 8
TICK_S = 0.001


def make_session(side: int) -> Session:
    """A session with 10 to 40 peaks a position, two maps of eight candidates, and one change of the calibration."""
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(10, 40, side * side))])
    n_peaks = int(offsets[-1])
    calibration = Calibration(
        voltage_kv=300.0, pixel_size_inv_angstrom=0.02, origin_px=(128.0, 128.0), scan_step_nm=5.0
    )
    peaks = BraggPeaks(
        x_px=rng.uniform(0, 255, n_peaks).astype(np.float32),
        y_px=rng.uniform(0, 255, n_peaks).astype(np.float32),
        intensity=rng.gamma(2, 50, n_peaks).astype(np.float32),
        significance=rng.gamma(3, 5, n_peaks).astype(np.float32),
        offsets=offsets,
        scan_shape=(side, side),
        calibration=calibration,
        detector_shape=(256, 256),
    )
    session = Session()
    session.set_peaks(peaks)
    session.set_calibration(calibration.updated(pixel_size_inv_angstrom=0.0201))
    assert session.peaks is not None
    for method in ("transformer", "template"):
        session.set_map(make_map(session.peaks, method, rng))
    return session


def make_map(peaks: BraggPeaks, method: str, rng: np.random.Generator) -> OrientationMap:
    """A map of random candidates, which compress worse than those of a real one."""
    n, empty = (
        peaks.n_positions,
        OrientationMap.empty(peaks, (load_crystal("Cu"), load_crystal("Cu2O")), method=method, parameters={}),
    )
    quaternion = random_quaternions(n * CANDIDATES, rng).astype(np.float32)
    solutions = Solutions.of(
        quaternion.reshape(n, CANDIDATES, 4),
        rng.integers(0, 2, (n, CANDIDATES)),
        rng.uniform(0, 1, (n, CANDIDATES)),
        explained_disks=rng.integers(5, 30, (n, CANDIDATES)),
        evidence=rng.normal(0, 5, (n, CANDIDATES)),
        pattern_evidence=rng.normal(0, 5, (n, CANDIDATES)),
    )
    return replace(
        empty,
        phase_id=rng.integers(0, 2, n).astype(np.int16),
        quaternion=quaternion.reshape(n, CANDIDATES, 4)[:, 0],
        score=rng.uniform(0, 1, n).astype(np.float32),
        confidence_deg=rng.uniform(0, 5, n).astype(np.float32),
        reason=np.zeros(n, np.uint8),
        solutions=solutions,
    )


def save_watched(session: Session, path: Path) -> tuple[float, float, float]:
    """Seconds, and seconds of the processor, that saving takes; and the longest that this thread waited meanwhile."""
    took: list[float] = []

    def save() -> None:
        start, start_cpu = time.perf_counter(), time.process_time()
        save_session(session.state, path)
        took.extend([time.perf_counter() - start, time.process_time() - start_cpu])

    thread = threading.Thread(target=save)
    thread.start()
    longest, last = 0.0, time.perf_counter()
    while thread.is_alive():
        time.sleep(TICK_S)
        now = time.perf_counter()
        longest, last = max(longest, now - last - TICK_S), now
    return took[0], took[1], longest


def main() -> None:
    """Print a table."""
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    session = make_session(side)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "day.session.h5"
        save_session(session.state, path)  # what is loaded at the first time is loaded
        seconds, cpu, longest = save_watched(session, path)
        start = time.perf_counter()
        saved = open_session(path)
        opening = time.perf_counter() - start
        size = path.stat().st_size / 1e6
    print(f"{side} x {side} positions, {session.peaks.n_peaks:,} peaks, two maps of {CANDIDATES} candidates")
    print(
        f"save   {seconds:6.2f} s ({cpu:.2f} s of the processor), others waited {1000 * longest:.0f} ms at most"
    )
    print(f"open   {opening:6.2f} s, {len(saved.found['results'])} maps")
    print(f"size   {size:6.1f} MB")


if __name__ == "__main__":
    main()
