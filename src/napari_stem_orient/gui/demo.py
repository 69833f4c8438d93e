"""The demo: napari with the sample scan, the desk clicked through to finished maps, pictures of both themes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow

from napari_stem_orient.core.orientation import disorientation_angle_deg
from napari_stem_orient.gui.desk_widget import OrientationMappingWidget
from napari_stem_orient.gui.detect.widget import DetectWidget
from napari_stem_orient.gui.index.widget import IndexWidget
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.gui.parts.stage_panel import StagePanel
from napari_stem_orient.session.rules import StageState
from napari_stem_orient.session.session import Session
from napari_stem_orient.session.state import Stage

PLUGIN = "napari-stem-orient"
CRYSTAL = "Cu"
WINDOW_SIZE = 1860, 1020
DOCK_WIDTHS = 370, 430
TICK_MS = 100
SETTLE_TICKS = 15
LONGEST_WAIT_S = 600.0

Condition = Callable[[], bool]


class Demo:
    """Clicks through the stages in a viewer, waiting for each as a person would; keep it until it has ended.

    Parameters
    ----------
    viewer
        An open viewer with a window.
    output
        Folder for pictures of both themes and the map; None to write nothing.
    on_end
        Called once, with the error or None, when the maps are finished.
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        *,
        output: Path | None,
        on_end: Callable[[Exception | None], object],
    ) -> None:
        self._viewer = viewer
        self._output = output
        self._on_end = on_end
        self._script = self._stages()
        self._waiting_for: Condition = lambda: True
        self._since = time.monotonic()
        self._timer = QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self._on_tick)
        self._timer.start()

    @property
    def session(self) -> Session:
        """The Session of the viewer."""
        return session_of(self._viewer)

    def stop(self) -> None:
        """Click nothing more."""
        self._timer.stop()

    def _on_tick(self) -> None:
        try:
            if not self._waiting_for():
                if time.monotonic() - self._since > LONGEST_WAIT_S:
                    raise RuntimeError(f"the demo waited for {LONGEST_WAIT_S:.0f} s without progress")
                return
            self._waiting_for = next(self._script)
            self._since = time.monotonic()
        except StopIteration:
            self._end(None)
        except (RuntimeError, ValueError, OSError) as error:
            self._end(error)

    def _end(self, error: Exception | None) -> None:
        self.stop()
        self._on_end(error)

    def _stages(self) -> Iterator[Condition]:
        """Do one thing, then yield what to wait for before the next."""
        viewer, session = self._viewer, self.session
        inspect_dock, _ = viewer.window.add_plugin_dock_widget(PLUGIN, "Inspect")
        desk_dock, desk = viewer.window.add_plugin_dock_widget(PLUGIN, "Orientation mapping")
        assert isinstance(desk, OrientationMappingWidget)
        _put_side_by_side(desk_dock, inspect_dock)
        detecting, indexing = desk.panels[Stage.DETECT], desk.panels[Stage.INDEX]
        assert isinstance(detecting, DetectWidget)
        assert isinstance(indexing, IndexWidget)
        yield _after(2)
        _share_width(desk_dock, inspect_dock)
        viewer.open_sample(PLUGIN, "simulated_polycrystal")
        yield lambda: session.summary is not None or _has_failed(session, desk.panels[Stage.OPEN])
        yield lambda: detecting.run_button.isEnabled() or _has_failed(session, detecting)
        detecting.run_button.click()
        yield lambda: _is_done(session, detecting)
        desk.panels[Stage.CALIBRATE].goes_on.emit()  # the sample knows its calibration
        indexing.crystals.add(CRYSTAL)
        yield indexing.run_button.isEnabled
        indexing.run_button.click()
        yield lambda: _is_done(session, indexing)
        session.set_position(_position_to_show(session))
        yield _after(SETTLE_TICKS)
        if self._output is not None:
            yield from self._write(self._output)

    def _write(self, folder: Path) -> Iterator[Condition]:
        from napari_stem_orient.io.figures import save_picture
        from napari_stem_orient.io.maps import save_orientation_map

        folder.mkdir(parents=True, exist_ok=True)
        before = self._viewer.theme
        for theme in ("dark", "light"):
            self._viewer.theme = theme
            yield _after(SETTLE_TICKS)
            shown = self._viewer.screenshot(canvas_only=False, flash=False)
            save_picture(shown, folder / f"demo-{theme}.png", overwrite=True)
        self._viewer.theme = before
        assert self.session.current_map is not None
        save_orientation_map(self.session.current_map, folder / "demo-map.h5", overwrite=True)


def run_demo(*, output: Path | None = None, close: bool = False) -> str:
    """Open napari, run the main job on the sample scan, and say in a line what came out.

    Parameters
    ----------
    output
        Folder to write pictures of both themes and the map to.
    close
        Close the window when the maps are finished; without it, until the user closes it.

    Raises
    ------
    RuntimeError
        When a stage fails or the window is closed before the maps are finished.
    """
    viewer = napari.Viewer(title="STEM Orient: demo", ndisplay=2)
    viewer.window.resize(*WINDOW_SIZE)
    ends: list[Exception | None] = []
    sentences: list[str] = []

    def on_end(error: Exception | None) -> None:
        ends.append(error)
        if error is None:
            sentences.append(summary_sentence(demo.session))
        if close:
            demo.session.discard_jobs()
            viewer.close()

    demo = Demo(viewer, output=output, on_end=on_end)
    napari.run()
    demo.stop()
    if not ends:
        raise RuntimeError("the window was closed before the maps were finished; run the demo again")
    if ends[0] is not None:
        raise RuntimeError(f"the demo did not finish: {ends[0]}") from ends[0]
    where = "" if output is None else f"; pictures and map are in {output}"
    return f"{sentences[0]}{where}"


def summary_sentence(session: Session) -> str:
    """How much of the sample was indexed, and how far it is from the simulated truth where that is known."""
    from napari_stem_orient.io.simulated_scans import open_truth, truth_path

    found = session.current_map
    if found is None:
        return "nothing was indexed"
    text = f"{100 * found.indexed_fraction:.1f} % of {found.n_positions:,} positions indexed"
    path = None if session.datacube is None else session.datacube.path
    if path is None or not truth_path(path).is_file():
        return text
    truth = open_truth(path)
    known = found.indexed & (np.ravel(truth.phase_id) >= 0)
    angle = disorientation_angle_deg(
        truth.quaternion.reshape(-1, 4)[known],
        found.quaternion[known],
        found.crystals[0].proper_point_group,
    )
    return f"{text}, {100 * np.mean(angle < 3):.1f} % of them within 3° of the truth (median {np.median(angle):.2f}°)"


def _put_side_by_side(left: QDockWidget, right: QDockWidget) -> None:
    """Show both docks at their full height."""
    window = left.window()
    if isinstance(window, QMainWindow):
        window.splitDockWidget(left, right, Qt.Orientation.Horizontal)


def _share_width(left: QDockWidget, right: QDockWidget) -> None:
    """Give both docks the width they need; Qt heeds this only once they have been laid out."""
    window = left.window()
    if isinstance(window, QMainWindow):
        window.resizeDocks([left, right], list(DOCK_WIDTHS), Qt.Orientation.Horizontal)


def _is_done(session: Session, panel: StagePanel) -> bool:
    """Whether a stage is done; RuntimeError, with the panel's message, where it has failed."""
    if session.stage_state(panel.stage) is StageState.DONE:
        return True
    _has_failed(session, panel)
    return False


def _has_failed(session: Session, panel: StagePanel) -> bool:
    """RuntimeError where the panel's job has ended with a message instead of a result; otherwise False."""
    message = panel.message_label.text()
    idle = session.running_job(panel.stage) is None
    if idle and message and session.stage_state(panel.stage) is not StageState.DONE:
        raise RuntimeError(f"{panel.stage.value}: {message}")
    return False


def _position_to_show(session: Session) -> tuple[int, int]:
    """A well indexed position near the middle of the scan."""
    found = session.current_map
    assert found is not None
    rows, columns = np.divmod(np.arange(found.n_positions), found.scan_shape[1])
    distance = np.hypot(rows - found.scan_shape[0] / 2, columns - found.scan_shape[1] / 2)
    good = (
        found.indexed & (found.score >= np.median(found.score[found.indexed]))
        if found.indexed.any()
        else None
    )
    best = int(np.argmin(distance if good is None else np.where(good, distance, np.inf)))
    return int(rows[best]), int(columns[best])


def _after(ticks: int) -> Condition:
    """A condition that holds after some ticks: time for the window to draw."""
    left = [ticks]

    def passed() -> bool:
        left[0] -= 1
        return left[0] <= 0

    return passed
