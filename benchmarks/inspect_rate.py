"""How often a second the Inspect dock redraws while the mouse is dragged over a map, picture and overlays and all.

A simulated scan is written to HDF5 and opened lazily; the mouse moves 200 times a second for a few seconds. Run it on a
desktop, or under a virtual screen: ``xvfb-run -a -s "-screen 0 1920x1080x24" python benchmarks/inspect_rate.py``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import h5py
import napari
import numpy as np
from qtpy.QtCore import QCoreApplication, QTimer
from report import machine, table

from napari_stem_orient.core.answers import IndexedBlock
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.orientation import random_quaternions
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.gui.inspect.widget import InspectWidget
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.gui.parts.pattern_view import PatternView
from napari_stem_orient.io.scans import open_datacube
from napari_stem_orient.simulation.kinematic import simulate_pattern

SCAN_SHAPE = (48, 48)


def write_scan(path: Path, detector_px: int) -> None:
    """Write patterns of noise: only their size matters here."""
    rng = np.random.default_rng(0)
    patterns = rng.poisson(3.0, (16, detector_px, detector_px)).astype(np.uint16)
    data = patterns[rng.integers(0, 16, SCAN_SHAPE)]
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "datacube", data=data, chunks=(1, 1, detector_px, detector_px), compression="gzip"
        )


def calibrated(datacube: DataCube) -> DataCube:
    detector_px = datacube.detector_shape[0]
    return datacube.with_calibration(
        Calibration(
            voltage_kv=300.0,
            pixel_size_inv_angstrom=2.4 / detector_px,
            origin_px=(detector_px / 2, detector_px / 2),
            scan_step_nm=2.0,
            convergence_angle_mrad=1.5,
        )
    )


def true_map(calibration: Calibration) -> tuple[BraggPeaks, OrientationMap]:
    """Peaks of one random orientation a position, and the map that knows them."""
    crystal = load_crystal("Cu")
    n_positions = SCAN_SHAPE[0] * SCAN_SHAPE[1]
    quaternion = random_quaternions(n_positions, np.random.default_rng(1))
    lists = []
    for orientation in quaternion:
        pattern = simulate_pattern(crystal, orientation, voltage_kv=300.0, q_max=1.2)
        lists.append(np.column_stack([pattern.q_x, pattern.q_y, pattern.intensity]))
    peaks = BraggPeaks.from_lists(lists, SCAN_SHAPE, calibration)
    orientation_map = OrientationMap.empty(peaks, (crystal,), method="transformer", parameters={})
    block = IndexedBlock.not_indexed(
        np.arange(n_positions), Reason.INDEXED, progress=Progress(n_positions, n_positions, "patterns")
    )
    block.phase_id[:] = 0
    block.quaternion[:] = quaternion
    block.score[:] = 0.8
    orientation_map.fill(block)
    return peaks, orientation_map


class Drag:
    """Moves the position along the scan 200 times a second, and counts what is painted on the screen."""

    def __init__(self, session: object, view: PatternView) -> None:
        self.moves = self.paints = 0
        self._session = session
        self._timer = QTimer()
        self._timer.setInterval(5)
        self._timer.timeout.connect(self._move)
        paint = view.paintEvent

        def counted(event: object) -> None:
            self.paints += 1
            paint(event)

        view.paintEvent = counted

    def run(self, seconds: float) -> tuple[float, float]:
        """Drag for some seconds; return the updates a second, and the main thread's own milliseconds for each."""
        self.moves = self.paints = 0
        self._timer.start()
        start, start_cpu = time.perf_counter(), time.thread_time()
        while time.perf_counter() - start < seconds:
            QCoreApplication.processEvents()
        self._timer.stop()
        cpu_ms = 1000 * (time.thread_time() - start_cpu)
        return self.paints / (time.perf_counter() - start), cpu_ms / max(1, self.paints)

    def _move(self) -> None:
        self.moves += 1
        self._session.set_position((self.moves // SCAN_SHAPE[1] % SCAN_SHAPE[0], self.moves % SCAN_SHAPE[1]))


def cells(measured: tuple[float, float]) -> tuple[str, str]:
    return f"{measured[0]:.0f}", f"{measured[1]:.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of dragging for each row (default: 3)")
    arguments = parser.parse_args()
    rows = []
    for detector_px in (128, 256, 512):
        viewer = napari.Viewer()
        session = session_of(viewer)
        inspect = InspectWidget(viewer)
        viewer.window.add_dock_widget(inspect, name="Inspect")
        drag = Drag(session, inspect.panel.view)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "scan.h5"
            write_scan(path, detector_px)
            datacube = calibrated(open_datacube(path))
            peaks, orientation_map = true_map(datacube.calibration)
            session.set_datacube(datacube)
            session.set_peaks(peaks)
            session.set_map(orientation_map)
            drag.run(1.0)
            one = drag.run(arguments.seconds)
            run_map = OrientationMap.empty(peaks, orientation_map.crystals, method="template", parameters={})
            run_map.phase_id[:], run_map.quaternion[:] = 0, orientation_map.quaternion
            session.orientation_maps["template"] = run_map
            inspect.compare_box.setChecked(True)
            two = drag.run(arguments.seconds)
            rows.append((f"{detector_px} x {detector_px} px", *cells(one), *cells(two)))
            session.set_datacube(None)
        viewer.close()
    print(machine())
    print(
        table(
            (
                "detector, HDF5 on disk",
                "updates a second",
                "CPU each",
                "both methods side by side",
                "CPU each",
            ),
            rows,
        )
    )


if __name__ == "__main__":
    main()
