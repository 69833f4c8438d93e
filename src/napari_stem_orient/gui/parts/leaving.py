"""Leaving: asks, once and in words, before a window closes or another scan opens over results that are not saved.

napari has no hook by which a plugin may say "not yet", so the main window's close event is looked at before the window
gets it: it comes with Ctrl+Q, File > Close Window and the window's own button alike. Nobody is asked where nobody could
answer: in a window that is not shown, or by a script that calls viewer.close(), after which there is no way back, or
closes a window outside the event loop. Whatever is answered, only Discard loses anything: journals keep the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import ref

from psygnal import Signal
from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QMainWindow, QMessageBox, QPushButton, QWidget

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.gui.jobs.connections import when_destroyed
from napari_stem_orient.gui.jobs.resume_jobs import Kept, forget
from napari_stem_orient.gui.jobs.workers import JobHandle, plain_job, start_job
from napari_stem_orient.gui.parts.file_dialogs import ask_save_file
from napari_stem_orient.session.saved import Result
from napari_stem_orient.session.state import Stage
from napari_stem_orient.session.unsaved import (
    Loss,
    loss_on_closing,
    loss_on_opening,
    scan_name,
)
from napari_stem_orient.steps.export import save_result

if TYPE_CHECKING:
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.gui.parts.panel import Panel
    from napari_stem_orient.session.session import Session

Then = Callable[[], object]
_WAIT_MS = 50
_FILE_KINDS = {"map": "Orientation map (*.h5)", "peaks": "Bragg peaks (*.h5 *.emd)"}


def leaving_of(session: Session) -> Leaving:
    """The one Leaving of a Session, which keeps it: in a dictionary it would keep its Session alive, and its window."""
    if not isinstance(session.leaving, Leaving):
        session.leaving = Leaving(session)
    return session.leaving


class Leaving:
    """Stands between a Session's results and whatever would replace or close them; main thread only.

    Parameters
    ----------
    session
        What is open and found.

    Attributes
    ----------
    box
        The question that is shown, or None.
    discarded, gone
        The user has given up what was not saved; the window that was watched is no more.
    """

    discarded = Signal()
    gone = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._window_reference: ref[QMainWindow] | None = (
            None  # or the Session would keep its own viewer alive
        )
        self._filter: _CloseFilter | None = None
        self._panels: list[Panel] = []
        self.box: LossBox | None = None

    @property
    def window(self) -> QMainWindow | None:
        """The main window that is watched."""
        return None if self._window_reference is None else self._window_reference()

    def watch(self, panel: Panel) -> None:
        """Ask before the main window that a panel is docked in closes; the panel shown last asks for files."""
        if panel not in self._panels:
            when_destroyed(panel, _forget, self._panels, panel)
        else:
            self._panels.remove(panel)
        self._panels.append(panel)
        window = _main_window_of(panel)
        if window is not None and window is not self.window:
            self._window_reference = ref(window)
            self._filter = _CloseFilter(window, self)
            window.destroyed.connect(self._on_window_gone)

    def before_opening(
        self, content: DataCube | Result, then: Then, *, otherwise: Then = lambda: None
    ) -> None:
        """Do ``then``, which opens something, once what it replaces is saved, kept or given up; else ``otherwise``."""
        loss = loss_on_opening(self._session.state, content)
        if loss and self._somebody_is_there():
            self._ask(loss, then, otherwise)
        else:
            then()

    def before_replacing_all(self, then: Then, *, otherwise: Then = lambda: None) -> None:
        """Do ``then``, which replaces all that is there, once that is saved, kept or given up; else ``otherwise``."""
        loss = loss_on_closing(self._session.state)
        if loss and self._somebody_is_there():
            self._ask(loss, then, otherwise)
        else:
            then()

    def holds_back(self, window: QMainWindow, *, by_user: bool) -> bool:
        """Whether a window must not close yet, because the user is being asked."""
        if not window.isVisible() or _is_torn_down(window) or not (by_user or self._somebody_is_there()):
            return False
        loss = loss_on_closing(self._session.state)
        if loss:
            self._ask(loss, self._close_window, lambda: None)
        return bool(loss)

    def _somebody_is_there(self) -> bool:
        """Whether a question can be seen, and answered: the window is shown and its event loop runs."""
        application = QCoreApplication.instance()
        thread = None if application is None else application.thread()
        shown = self.window is not None and self.window.isVisible()
        return shown and thread is not None and thread.loopLevel() > 0

    def _on_window_gone(self) -> None:
        self._window_reference = self._filter = self.box = None
        self.gone.emit()

    def _close_window(self) -> None:
        if self.window is not None and self._filter is not None:
            self._filter.open = True
            # not napari's own close(), which would forget that Ctrl+Q ends the program, too
            if not QMainWindow.close(self.window) and self._filter is not None:
                self._filter.open = False

    # --- the question --------------------------------------------------------------------------------------

    def _ask(self, loss: Loss, then: Then, otherwise: Then) -> None:
        if self.box is not None:  # the newest wish counts
            self.box.done(QMessageBox.StandardButton.Cancel)
        box = self.box = LossBox(loss, parent=self.window)
        box.finished.connect(partial(self._on_answered, box, loss, then, otherwise))
        box.open()

    def _on_answered(self, box: LossBox, loss: Loss, then: Then, otherwise: Then, _: int) -> None:
        answer, self.box = box.answer, None
        if answer == "keep":
            QTimer.singleShot(0, then)
        elif answer == "discard":
            self._discard(loss, then)
        elif answer != "save" or not self._save(loss, then, otherwise):
            otherwise()

    def _save(self, loss: Loss, then: Then, otherwise: Then) -> bool:
        """Ask where to, write, and go on; False where a question for a file is left without an answer."""
        if not self._panels:
            return False
        files: list[tuple[Result, Path]] = []
        several = sum(each.file_name == "map" for each in loss.unsaved) > 1
        for each in loss.unsaved:
            name = f"{each.file_name}{each.told_apart if several else ''}"
            start = self._folder() / f"{scan_name(self._session.state)}_{name}.h5"
            title = f"Save: {each.words}"
            path = ask_save_file(self._panels[-1], title, start=start, kinds=_FILE_KINDS[each.file_name])
            if path is None:
                return False
            files.append((each.result, path))

        def saved(_: None) -> None:
            for result, _path in files:
                self._session.mark_saved(result)
            then()

        copies = [(r.copy() if isinstance(r, OrientationMap) else r, path) for r, path in files]
        start_job(
            plain_job(partial(_save_all, copies)),
            title="Saving",
            on_done=saved,
            on_error=lambda _: otherwise(),
        )
        return True

    def _discard(self, loss: Loss, then: Then) -> None:
        """Let runs end first, so that they leave no journal behind; then remove what journals keep of all this."""
        session = self._session
        jobs = [session.running_job(stage) for stage, _ in loss.running]
        kept = kept_of(session, loss)
        self.discarded.emit()
        for stage, _ in loss.running:
            session.discard_job(stage)

        def go_on() -> None:
            if any(isinstance(job, JobHandle) and job.running for job in jobs):
                QTimer.singleShot(_WAIT_MS, go_on)
            else:
                start_job(plain_job(partial(forget, kept)), title="Discarding", on_done=lambda _: then())

        go_on()

    def _folder(self) -> Path:
        datacube = self._session.datacube
        return Path.home() if datacube is None or datacube.path is None else datacube.path.parent


class LossBox(QMessageBox):
    """The question: what would be lost, and what is to become of it.

    Parameters
    ----------
    loss
        What is not saved or still runs.
    parent
        The main window.

    Attributes
    ----------
    answer
        "save", "keep", "discard" or "cancel".
    """

    def __init__(self, loss: Loss, *, parent: QWidget | None) -> None:
        from napari_stem_orient.runs.run_journal import limits_in_words

        super().__init__(parent)
        self.answer = "cancel"
        self.setIcon(QMessageBox.Icon.Warning)
        self.setWindowTitle("Not saved")
        self.setText("\n".join(loss.lines) + ".")
        self.save_button = self._button("Save…", QMessageBox.ButtonRole.AcceptRole) if loss.unsaved else None
        self.keep_button: QPushButton | None = None
        if loss.kept:
            self.keep_button = self._button("Keep for next time", QMessageBox.ButtonRole.YesRole)
            runs = "What runs is stopped; what it has found can be kept. " if loss.running else ""
            self.setInformativeText(
                f"{runs}What you keep for next time is offered when this scan is opened again, "
                f"{limits_in_words()}."
            )
        else:
            self.setInformativeText(
                "It cannot be kept for the next time, because it is not in a journal: save it, or it is lost."
            )
        self.discard_button = self._button("Discard", QMessageBox.ButtonRole.DestructiveRole)
        self.cancel_button = self._button("Cancel", QMessageBox.ButtonRole.RejectRole)
        self.setDefaultButton(self.save_button or self.keep_button or self.cancel_button)
        self.setEscapeButton(self.cancel_button)
        self.buttonClicked.connect(self._on_clicked)
        self.finished.connect(self.deleteLater)

    def _button(self, words: str, role: QMessageBox.ButtonRole) -> QPushButton:
        button = self.addButton(words, role)
        assert button is not None
        return button

    def _on_clicked(self, button: object) -> None:
        answers = {"save": self.save_button, "keep": self.keep_button, "discard": self.discard_button}
        self.answer = next((name for name, own in answers.items() if own is button), "cancel")


class _CloseFilter(QObject):
    """Sees the close event of a main window before the window does."""

    def __init__(self, window: QMainWindow, leaving: Leaving) -> None:
        super().__init__(window)
        self.open = False
        self._leaving = leaving
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 - Qt's name
        """Hold the window back while the user is asked."""
        if (
            not self.open
            and event is not None
            and event.type() == QEvent.Type.Close
            and isinstance(watched, QMainWindow)
            and self._leaving.holds_back(watched, by_user=event.spontaneous())
        ):
            event.ignore()
            return True
        return False


def kept_of(session: Session, loss: Loss) -> Kept:
    """What journals keep of these results and runs."""
    from napari_stem_orient.runs.peaks_journal import running_detections

    peaks = [each.result for each in loss.unsaved if isinstance(each.result, BraggPeaks)]
    maps = [each.result for each in loss.unsaved if isinstance(each.result, OrientationMap)]
    stages = [stage for stage, _ in loss.running]
    if Stage.INDEX in stages and session.current_map is not None:
        maps.append(session.current_map)
    datacube = session.datacube
    return Kept(
        peaks=peaks[0] if peaks else None,
        maps=tuple(maps),
        running=running_detections(datacube) if Stage.DETECT in stages and datacube is not None else (),
    )


def _forget(panels: list[Panel], panel: Panel) -> None:
    panels.remove(panel)


def _save_all(files: list[tuple[Result, Path]]) -> None:
    for result, path in files:
        save_result(result, path, overwrite=True)


def _is_torn_down(window: QMainWindow) -> bool:
    """Whether a script has called viewer.close(): it has removed the layers and closed the canvas before the window."""
    central = window.centralWidget()
    children = (
        []
        if central is None
        else central.findChildren(QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly)
    )
    return bool(children) and not any(child.isVisible() for child in children)


def _main_window_of(widget: QWidget) -> QMainWindow | None:
    """The main window that a widget is in, also where its dock floats."""
    parent: QWidget | None = widget
    while parent is not None and not isinstance(parent, QMainWindow):
        parent = parent.parentWidget()
    return parent
