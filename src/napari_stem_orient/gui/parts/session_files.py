"""SessionFiles: saves the session of a viewer into a file, and opens one with everything as it was."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ref

from psygnal import Signal
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMessageBox, QWidget

from napari_stem_orient.core.map_kinds import map_kinds
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.gui.canvas.layer_looks import RestoredLooks, looks_of
from napari_stem_orient.gui.canvas.layers import layers_of_map
from napari_stem_orient.gui.canvas.map_layers import map_layers_of
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.gui.jobs.workers import JobHandle, plain_job, start_job
from napari_stem_orient.gui.parts.docks import PLUGIN, give_sizes, own_docks
from napari_stem_orient.gui.parts.file_dialogs import ask_folder, ask_open_file
from napari_stem_orient.gui.parts.leaving import leaving_of
from napari_stem_orient.gui.parts.opener import opener_of
from napari_stem_orient.session.state import Stage

if TYPE_CHECKING:
    import napari

    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.session.session import Session
    from napari_stem_orient.session.session_file import PartWritten, SavedSession
    from napari_stem_orient.session.state import ScanState
    from napari_stem_orient.session.window_looks import DockLook, WindowLooks

_FOLDER_ENDINGS = (".zarr", ".zspy")


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    """A session that was read, its scan where that was found, and what was wrong with it in words."""

    saved: SavedSession
    datacube: DataCube | None = None
    problem: str = ""


def session_files_of(napari_viewer: napari.Viewer) -> SessionFiles:
    """Return the one SessionFiles of a viewer, which its Session keeps."""
    session = session_of(napari_viewer)
    if not isinstance(session.files, SessionFiles):
        session.files = SessionFiles(napari_viewer, session)
    return session.files


class SessionFiles:
    """Saves and opens whole sessions; main thread only, the work is done in workers.

    Parameters
    ----------
    napari_viewer : whose session it is; held weakly
    session : what is open

    Attributes
    ----------
    said : one line about what was done or went wrong
    started : a JobHandle that has begun, to be watched
    opened : the path of a session that has been opened
    box : the question where the scan is, or None
    path : of the session file that was saved or opened last, or None
    """

    said = Signal(str)
    started = Signal(object)
    opened = Signal(object)

    def __init__(self, napari_viewer: napari.Viewer, session: Session) -> None:
        self._viewer = ref(getattr(napari_viewer, "__wrapped__", napari_viewer))
        self._session = session
        self._looks: RestoredLooks | None = None
        self._parent: ref[QWidget] | None = None
        self._jobs: list[JobHandle[Any, Any]] = []
        self.box: QMessageBox | None = None
        self.path: Path | None = None
        opener_of(session).open_session = self.open

    def shown_in(self, panel: QWidget) -> None:
        """Ask over this panel."""
        self._parent = ref(panel)

    def close(self) -> None:
        """End what runs: the window closes."""
        if self._looks is not None:
            self._looks.stop()
        for job in list(self._jobs):
            job.join()

    def looks(self) -> WindowLooks | None:
        """How the window shows the session now."""
        viewer = self._viewer()
        return None if viewer is None else looks_of(viewer).model_copy(update={"docks": own_docks(viewer)})

    # --- saving ----------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Save the session; what is in it then counts as saved, and journals need not keep it any more."""
        from napari_stem_orient.session.session_file import frozen  # brings dask: not with the desk

        state = frozen(self._session.state)
        self._run(
            _saved(state, path, self.looks(), safe=_at_rest(self._session.state)),
            title=f"Saving {path.name}",
            on_done=partial(self._on_saved, state),
            on_stopped=lambda: self.said.emit("Saving was stopped; there is no new session file."),
        )

    def _on_saved(self, state: ScanState, path: Path) -> None:
        self.path = path
        now = self._session.state  # by now another scan may be open, or a map done again
        there = [each.phase_id for each in now.orientation_maps.values()]
        written = [
            each
            for each in _results(state)
            if not isinstance(each, OrientationMap) or any(each.phase_id is other for other in there)
        ]
        self._session.update(saved=now.saved.with_files(written))
        self.said.emit(f"Saved {path.name}.")

    # --- opening ---------------------------------------------------------------------------------------------

    def open(self, path: Path, *, otherwise: Callable[[], object] = lambda: None) -> None:
        """Open a session in the place of all that is there, once that is saved, kept or given up."""
        read = partial(self._read, path)
        leaving_of(self._session).before_replacing_all(read, otherwise=otherwise)

    def _read(self, path: Path) -> None:
        self._run(
            plain_job(partial(_load, path)),
            title=f"Opening {path.name}",
            on_done=self._on_loaded,
            on_stopped=lambda: self.said.emit("Opening was stopped."),
        )

    def _on_loaded(self, loaded: _Loaded) -> None:
        scan = loaded.saved.scan
        moved = scan is not None and scan.path is not None and loaded.datacube is None and not loaded.problem
        if moved:
            self._ask_where(loaded)
        else:
            self._restore(loaded)

    def _restore(self, loaded: _Loaded) -> None:
        viewer, saved = self._viewer(), loaded.saved
        if viewer is None:
            return
        if self._looks is not None:
            self._looks.stop()
        painter = map_layers_of(viewer, self._session)
        self._session.restore(saved.state(loaded.datacube))
        self.path = None if saved.autosaved else saved.path
        current = self._session.current_map
        for orientation_map in self._session.orientation_maps.values():
            if orientation_map is not current:
                painter.show_map(orientation_map)
        if saved.window is not None:
            for look in saved.window.layers:
                of_map = self._session.orientation_maps.get(look.made_by)
                kinds = tuple(kind for kind in map_kinds() if kind.key == look.kind)
                if of_map is not None and not set(kinds) <= set(layers_of_map(of_map)):  # made when asked for
                    painter.show_map(of_map, kinds=kinds)
            self._looks = RestoredLooks(viewer, saved.window)
            self._show_docks(saved.window.docks)
        painter.pointer.show_position()
        self.said.emit(_opened_words(loaded))
        self.opened.emit(saved.path)

    def _show_docks(
        self, docks: tuple[DockLook, ...], shown: tuple[tuple[DockLook, QDockWidget], ...] = ()
    ) -> None:
        """Show the docks that were there, one a turn of the event loop, and then give all of them their sizes."""
        viewer = self._viewer()
        if viewer is None or getattr(viewer, "window", None) is None:
            return
        if not docks:
            give_sizes(shown)
            return
        first, *others = docks
        try:
            dock = viewer.window.add_plugin_dock_widget(PLUGIN, first.name)[0]
        except (KeyError, ValueError):
            self.said.emit(f"There is no dock “{first.name}” in this version.")
        else:
            dock.show()
            shown = (*shown, (first, dock))
        QTimer.singleShot(0, partial(self._show_docks, tuple(others), shown))

    # --- a scan that has moved -------------------------------------------------------------------------------

    def _ask_where(self, loaded: _Loaded) -> None:
        scan = loaded.saved.scan
        assert scan is not None
        box = self.box = QMessageBox(self._widget())
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle("Where is the scan?")
        box.setText(f"{scan.file_name} is not where it was when this session was saved.")
        box.setInformativeText(
            f"It was {scan.path}. Without it, peaks and maps open, but no pattern can be looked at."
        )
        find = box.addButton("Find it…", QMessageBox.ButtonRole.AcceptRole)
        without = box.addButton("Open without it", QMessageBox.ButtonRole.RejectRole)
        assert find is not None
        assert without is not None
        find.setObjectName("find")
        without.setObjectName("without")
        box.setDefaultButton(find)
        box.setEscapeButton(without)
        box.buttonClicked.connect(lambda button: self._on_answered(loaded, button is find))
        box.open()

    def _on_answered(self, loaded: _Loaded, find: bool) -> None:
        self.box = None
        # the box goes first: one question at a time
        QTimer.singleShot(0, partial(self._find if find else self._restore, loaded))

    def _find(self, loaded: _Loaded) -> None:
        scan, parent = loaded.saved.scan, self._widget()
        assert scan is not None
        title = f"Where is {scan.file_name}?"
        start = loaded.saved.path.parent
        if parent is None:
            path = None
        elif scan.file_name.endswith(_FOLDER_ENDINGS):
            path = ask_folder(parent, title, start=start)
        else:
            path = ask_open_file(parent, title, start=start)
        if path is None:
            self._restore(loaded)
            return
        self._run(
            plain_job(partial(_with_scan_from, loaded.saved, path)),
            title=f"Opening {path.name}",
            on_done=self._restore,
            on_stopped=partial(self._restore, loaded),
        )

    def _widget(self) -> QWidget | None:
        panel = None if self._parent is None else self._parent()
        return panel if panel is not None else leaving_of(self._session).window

    def _run(
        self,
        job: Generator[Any, None, Any],
        *,
        title: str,
        on_done: Callable[[Any], object],
        on_stopped: Callable[[], object],
    ) -> None:
        self.said.emit("")
        handle = start_job(job, title=title, on_done=on_done, on_stopped=on_stopped, on_error=self.said.emit)
        self._jobs.append(handle)
        handle.ended.connect(partial(self._jobs.remove, handle))
        self.started.emit(handle)


def _saved(
    state: ScanState, path: Path, looks: WindowLooks | None, *, safe: list[Any]
) -> Generator[PartWritten, None, Path]:
    """Save a session; then journals need not keep those of its results that are safe in it."""
    from napari_stem_orient.runs.map_journal import remove_saved_maps
    from napari_stem_orient.runs.peaks_journal import remove_saved_peaks
    from napari_stem_orient.session.session_file import saving

    yield from saving(state, path, window=looks)
    for result in safe:
        if isinstance(result, OrientationMap):
            remove_saved_maps(result)
        else:
            remove_saved_peaks(result)
    return path


def _results(state: ScanState) -> list[Any]:
    """Peaks and maps of a state."""
    peaks = [] if state.peaks is None else [state.peaks]
    return [*peaks, *state.orientation_maps.values()]


def _at_rest(state: ScanState) -> list[Any]:
    """Results that no run adds to: of one that ends while a session is written, only its journal has the rest."""
    filled = [
        state.peaks if Stage.DETECT in state.runs else None,
        state.current_map if Stage.INDEX in state.runs else None,
    ]
    return [result for result in _results(state) if not any(result is each for each in filled)]


def _load(path: Path) -> _Loaded:
    """Read a session, and open its scan where it is to be found."""
    from napari_stem_orient.session.scan_record import find_scan
    from napari_stem_orient.session.session_file import open_session

    saved = open_session(path)
    if saved.scan is None:
        return _Loaded(saved)
    try:
        return _Loaded(saved, find_scan(saved.scan, path))
    except (ValueError, OSError) as error:
        return _Loaded(saved, problem=str(error))


def _with_scan_from(saved: SavedSession, path: Path) -> _Loaded:
    from napari_stem_orient.session.scan_record import open_recorded

    assert saved.scan is not None
    try:
        return _Loaded(saved, open_recorded(saved.scan, path))
    except (ValueError, OSError) as error:
        return _Loaded(saved, problem=str(error))


def _opened_words(loaded: _Loaded) -> str:
    """Say what was opened, and what of it is not there."""
    saved, scan = loaded.saved, loaded.saved.scan
    name = "The session" if saved.autosaved else f"“{saved.path.name}”"
    if scan is None or loaded.datacube is not None:
        return f"{name} is as it was."
    if loaded.problem:
        return f"{name} was opened without its scan. {loaded.problem[:1].upper()}{loaded.problem[1:]}."
    if scan.path is None:
        return f"{name} was opened without its scan, which was in no file."
    return f"{name} was opened without its scan; open that by itself to look at its patterns."
