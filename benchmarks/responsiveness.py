"""How long the window does not answer while the sample, scans, maps and crystals open; when the first picture comes.

Every row runs in a program of its own with an empty cache, as on the first day. "napari alone" adds layers of the same
kinds with napari itself: what no plugin can go below on this computer. CPU is that of the main thread within the gap:
on a loaded computer it tells more than the time on the clock. Run it on a desktop, or under a virtual screen:
``xvfb-run -a -s "-screen 0 1920x1080x24" python benchmarks/responsiveness.py``; --stacks says what the main thread did.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import napari
import numpy as np
from gap_watch import Gap, GapWatch
from qtpy.QtCore import QEventLoop, QTimer
from report import machine, table

PLUGIN = "napari-stem-orient"
SCAN_SHAPE = (64, 64)
DETECTOR_PX = 64
SETTLED_S = 1.5
PATIENCE_S = 120.0
CIF = """data_spinel
_cell_length_a 8.0806
_cell_length_b 8.0806
_cell_length_c 8.0806
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F d -3 m :2'
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Mg 0.125 0.125 0.125
Al 0.5 0.5 0.5
O 0.2624 0.2624 0.2624
"""


class Walk:
    """One program with a window: what is done in it is watched."""

    def __init__(self, folder: Path, *, longer_than_s: float) -> None:
        self.folder = folder
        self.viewer = napari.Viewer(ndisplay=2)
        self.viewer.window.resize(1860, 1020)
        self.watch = GapWatch(longer_than_s=longer_than_s)
        self.moments: dict[str, float] = {}

    def until(self, condition: Callable[[], object], *, at_most_s: float = PATIENCE_S) -> float:
        """Let the window live until something holds; return the seconds."""
        loop, timer, start = QEventLoop(), QTimer(), time.perf_counter()

        def look() -> None:
            if condition() or time.perf_counter() - start > at_most_s:
                loop.quit()

        timer.setInterval(10)
        timer.timeout.connect(look)
        timer.start()
        loop.exec()
        timer.stop()
        return time.perf_counter() - start

    def settle(self, seconds: float = SETTLED_S) -> None:
        """Let the window live for some seconds."""
        start = time.perf_counter()
        self.until(lambda: time.perf_counter() - start > seconds)

    def watched(self, action: Callable[[], object], until: Callable[[], object]) -> Gap:
        """Do something with the window under watch, until it is done and drawn."""
        self.watch.start()
        QTimer.singleShot(0, action)
        self.moments["done_s"] = self.until(until)
        self.settle()
        return self.watch.stop()

    def desk(self) -> object:
        """Dock the desk and wait for what it loads beforehand."""
        _, desk = self.viewer.window.add_plugin_dock_widget(PLUGIN, "Orientation mapping")
        from napari_stem_orient.gui.jobs import workers

        self.until(lambda: not workers._live_jobs)  # noqa: SLF001
        self.settle()
        return desk


def napari_alone(walk: Walk) -> Gap:
    """Layers of the same kinds, one per turn of the event loop, in a napari with a table of units."""
    viewer, image = walk.viewer, np.random.default_rng(0).random(SCAN_SHAPE).astype(np.float32)
    grid = {"scale": (5.0, 5.0), "units": ("nm", "nm"), "axis_labels": ("y", "x")}

    def add() -> None:
        viewer.add_image(image, **grid)
        viewer.canvas.overlays.scale_bar.visible = True
        viewer.reset_view()

    from napari.layers import Image

    import_module("pandas")
    Image(np.zeros((2, 2)), units=("nm", "nm"), visible=False)
    return walk.watched(add, lambda: True)


def napari_map(walk: Walk) -> Gap:
    """Layers of the same kinds, one per turn of the event loop, in a napari that shows one already."""
    viewer, rng = walk.viewer, np.random.default_rng(0)
    grid = {"scale": (5.0, 5.0), "units": ("nm", "nm"), "axis_labels": ("y", "x")}
    import_module("pandas")  # as the warm-up has

    viewer.add_image(rng.random(SCAN_SHAPE).astype(np.float32), **grid)
    walk.settle()
    adds = [
        lambda: viewer.add_image(rng.integers(0, 255, (*SCAN_SHAPE, 4), dtype=np.uint8), **grid),
        lambda: viewer.add_image(rng.random(SCAN_SHAPE).astype(np.float32), visible=False, **grid),
        lambda: viewer.add_labels(rng.integers(0, 2, SCAN_SHAPE), visible=False, **grid),
    ]

    def add() -> None:
        if adds:
            QTimer.singleShot(0, add)
            adds.pop(0)()

    return walk.watched(add, lambda: not adds)


def sample(walk: Walk) -> Gap:
    """File > Open Sample in a window that has just opened."""
    from napari_stem_orient.gui.parts import job_bar

    start: list[float] = []

    def click() -> None:
        start.append(time.perf_counter())
        walk.viewer.open_sample(PLUGIN, "simulated_polycrystal")

    def shown() -> bool:
        if start and "progress_s" not in walk.moments:
            docked = walk.viewer.window.dock_widgets.values()
            bars = [bar for dock in docked for bar in dock.findChildren(job_bar.JobBar)]
            if any(bar.isVisible() for bar in bars):
                walk.moments["progress_s"] = time.perf_counter() - start[0]
        names = [layer.name for layer in walk.viewer.layers if layer.visible]
        if "Virtual dark field" in names and "picture_s" not in walk.moments:
            walk.moments["picture_s"] = time.perf_counter() - start[0]
        return "picture_s" in walk.moments and _at_rest(walk)

    return walk.watched(click, shown)


def first_file(walk: Walk) -> Gap:
    """A scan dropped into a window that has just opened."""
    path = write_scan(walk.folder / "A.h5", 0)
    return walk.watched(
        lambda: walk.viewer.open(path, plugin=PLUGIN), lambda: len(walk.viewer.layers) and _at_rest(walk)
    )


def second_scan(walk: Walk) -> Gap:
    """Another scan of the same shape where one is open, with its maps."""
    desk, second = _two_scans(walk)
    session = _session(walk)
    return walk.watched(
        lambda: _open_widget(desk).open_path(second),
        lambda: session.datacube is not None and session.datacube.path == second and _at_rest(walk),
    )


def map_opened(walk: Walk) -> Gap:
    """The map of a scan that is open."""
    from napari_stem_orient.io.maps import save_orientation_map

    desk = walk.desk()
    path = write_scan(walk.folder / "A.h5", 0)
    _open(walk, desk, path)
    save_orientation_map(map_of(path), walk.folder / "map.h5")
    return walk.watched(
        lambda: _open_widget(desk).open_path(walk.folder / "map.h5"),
        lambda: _session(walk).current_map is not None and len(walk.viewer.layers) >= 6,
    )


def first_cif(walk: Walk) -> Gap:
    """The first CIF file chosen in Index."""
    from napari_stem_orient.gui.index.widget import IndexWidget

    desk = walk.desk()
    path = walk.folder / "spinel.cif"
    path.write_text(CIF)
    index = desk.findChild(IndexWidget)
    return walk.watched(lambda: index.crystals.add(path), lambda: len(_session(walk).crystals) == 1)


WALKS = {
    "napari alone: the first layer": napari_alone,
    "napari alone: layers of a map": napari_map,
    "sample": sample,
    "first scan dropped": first_file,
    "second scan": second_scan,
    "map opened": map_opened,
    "first CIF": first_cif,
}


def write_scan(path: Path, seed: int) -> Path:
    """Write patterns of noise with a direct beam: only their number matters here."""
    import h5py

    rng = np.random.default_rng(seed)
    frames = rng.poisson(3.0, (*SCAN_SHAPE, DETECTOR_PX, DETECTOR_PX)).astype(np.uint16)
    frames[..., 29:35, 29:35] += 500
    with h5py.File(path, "w") as file:
        file.create_dataset("datacube", data=frames, chunks=(1, 16, DETECTOR_PX, DETECTOR_PX))
    return path


def map_of(path: Path) -> object:
    """A map of two crystals with random answers that knows its scan."""
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.crystal import load_crystal
    from napari_stem_orient.core.orientation import random_quaternions
    from napari_stem_orient.core.orientation_map import OrientationMap
    from napari_stem_orient.core.reason import Reason
    from napari_stem_orient.io.scans import open_datacube

    n_positions, rng = int(np.prod(SCAN_SHAPE)), np.random.default_rng(1)
    calibration = Calibration(voltage_kv=300.0, pixel_size_inv_angstrom=0.02, scan_step_nm=5.0)
    peaks = BraggPeaks.from_lists([np.zeros((0, 3))] * n_positions, SCAN_SHAPE, calibration)
    crystals = (load_crystal("Cu"), load_crystal("Cu2O"))
    made = OrientationMap.empty(peaks, crystals, method="transformer", parameters={})
    made.reason[:], made.phase_id[:], made.score[:] = Reason.INDEXED, rng.integers(0, 2, n_positions), 0.8
    made.confidence_deg[:], made.phase_probability[:] = 1.0, 0.9
    made.quaternion[:] = random_quaternions(n_positions, rng)
    return replace(made, name=path.stem, source_fingerprint=open_datacube(path).fingerprint)


def _two_scans(walk: Walk) -> tuple[object, Path]:
    desk = walk.desk()
    first, second = write_scan(walk.folder / "A.h5", 0), write_scan(walk.folder / "B.h5", 1)
    _open(walk, desk, first)
    session = _session(walk)
    session.set_map(map_of(first))
    walk.until(lambda: len(walk.viewer.layers) >= 6)
    session.mark_saved(session.current_map)  # nothing to be asked about
    walk.settle()
    return desk, second


def _open(walk: Walk, desk: object, path: Path) -> None:
    _open_widget(desk).open_path(path)
    walk.until(lambda: _session(walk).datacube is not None and _at_rest(walk))
    walk.settle()


def _open_widget(desk: object) -> object:
    from napari_stem_orient.gui.open.widget import OpenWidget

    return desk.findChild(OpenWidget)


def _session(walk: Walk) -> object:
    from napari_stem_orient.gui.jobs.sessions import session_of

    return session_of(walk.viewer)


def _at_rest(walk: Walk) -> bool:
    from napari_stem_orient.session.state import Stage

    session = _session(walk)
    return session.summary is not None and session.running_job(Stage.OPEN) is None


def run_one(name: str, *, stacks: bool) -> None:
    """Walk once, and print what was seen as a line of JSON."""
    with tempfile.TemporaryDirectory() as folder:
        walk = Walk(Path(folder), longer_than_s=0.05)
        walk.settle()
        longest = WALKS[name](walk)
        wall = max((gap.wall_s for gap in walk.watch.gaps), default=0.0)
        seen = {"cpu_s": longest.cpu_s, "wall_s": wall, "gaps": len(walk.watch.gaps), **walk.moments}
        print("SEEN " + json.dumps(seen), flush=True)
        if stacks:
            for gap in sorted(walk.watch.gaps, key=lambda gap: -gap.cpu_s)[:6]:
                print(f"  {gap.at_s:6.2f} s: {gap.wall_s:.2f} s, CPU {gap.cpu_s:.2f} s")
                for place, count in gap.stacks.most_common(12):
                    print(f"      {count:3d}  {place}")
            sys.stdout.flush()
        os._exit(0)  # nothing is left to be saved


def run_alone(name: str, *, stacks: bool) -> dict[str, float]:
    """Walk in a fresh program with an empty cache and napari's own settings."""
    with tempfile.TemporaryDirectory() as folder:
        places = {"XDG_CACHE_HOME": f"{folder}/cache", "NAPARI_CONFIG": f"{folder}/napari/settings.yaml"}
        command = [sys.executable, __file__, "--only", name, *(["--stacks"] if stacks else []), "--child"]
        ran = subprocess.run(
            command, env={**os.environ, **places}, capture_output=True, text=True, timeout=300, check=False
        )
    seen = [line for line in ran.stdout.splitlines() if line.startswith("SEEN ")]
    if not seen:
        raise RuntimeError(f"the walk {name!r} ended early:\n{ran.stderr[-3000:]}")
    if stacks:
        print(f"\n{name}\n{ran.stdout}")
    return dict(json.loads(seen[0].removeprefix("SEEN ")))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=tuple(WALKS), action="append", help="walk this one (repeatable)")
    parser.add_argument("--stacks", action="store_true", help="say what the main thread did in the gaps")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = arguments.only or list(WALKS)
    if arguments.child:
        run_one(names[0], stacks=arguments.stacks)
    rows = []
    for name in names:
        seen = run_alone(name, stacks=arguments.stacks)
        rows.append(
            (
                name,
                f"{seen['cpu_s']:.2f} s",
                f"{seen['wall_s']:.2f} s",
                f"{seen['progress_s']:.1f} s" if "progress_s" in seen else "",
                f"{seen['picture_s']:.1f} s" if "picture_s" in seen else "",
                f"{seen['done_s']:.1f} s",
            )
        )
    print(machine())
    print(
        table(
            (
                "what opens",
                "longest gap, CPU",
                "on the clock",
                "progress after",
                "picture after",
                "done after",
            ),
            rows,
        )
    )


if __name__ == "__main__":
    main()
