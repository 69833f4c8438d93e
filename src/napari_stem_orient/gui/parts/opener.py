"""opener_of: what opens files in a viewer, with jobs in threads and questions in windows; it needs no panel."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

from qtpy.QtWidgets import QWidget

from napari_stem_orient.gui.jobs.connections import when_destroyed
from napari_stem_orient.gui.jobs.workers import JobHandle, start_job
from napari_stem_orient.gui.parts.leaving import leaving_of
from napari_stem_orient.gui.parts.opened_results import UserAsked
from napari_stem_orient.io.own_files import SESSION, kind_of_own_file
from napari_stem_orient.session.opener import Opener

if TYPE_CHECKING:
    from pathlib import Path

    from napari_stem_orient.core.frames import FrameChoice
    from napari_stem_orient.core.progress import Record
    from napari_stem_orient.session.session import Session
    from napari_stem_orient.session.state import Stage


def opener_of(session: Session) -> WindowOpener:
    """Return the one WindowOpener of a Session, which keeps it."""
    if not isinstance(session.opener, WindowOpener):
        session.opener = WindowOpener(session)
    return session.opener


class WindowOpener(Opener):
    """Opens files in the Session of a viewer; what runs ends with the last panel that shows it.

    Parameters
    ----------
    session
        Where files are opened.

    Attributes
    ----------
    open_session
        Opens a session file, whoever was asked for it; None where nobody does.
    """

    open_session: Callable[[Path], object] | None = None

    def __init__(self, session: Session) -> None:
        self._panels: list[ref[QWidget]] = []
        self._jobs: list[JobHandle[Any, Any]] = []
        asks = UserAsked(session, parent=self._parent)
        super().__init__(session, start=partial(_start, session, self._jobs), asks=asks)

    def open(
        self,
        path: Path,
        *,
        scan_shape: tuple[int, int] | None = None,
        frames: FrameChoice | None = None,
        dataset: str | None = None,
    ) -> None:
        """Open a file or folder; a session takes the place of all that is there."""
        if self.open_session is not None and kind_of_own_file(path) == SESSION:
            self.open_session(path)
        else:
            super().open(path, scan_shape=scan_shape, frames=frames, dataset=dataset)

    def shown_in(self, panel: QWidget) -> None:
        """Ask over this panel, and end what runs when it goes, if it is the last one."""
        self._panels.append(ref(panel))
        when_destroyed(panel, _panel_gone, self._panels, self._panels[-1], self._jobs)

    def _parent(self) -> QWidget | None:
        panels = [panel for each in self._panels if (panel := each()) is not None]
        return panels[-1] if panels else leaving_of(self._session).window


def _start(
    session: Session,
    jobs: list[JobHandle[Any, Any]],
    generator: Generator[Record, None, Any],
    *,
    title: str,
    stage: Stage,
    on_done: Callable[[Any], object],
    on_stopped: Callable[[], object],
    on_error: Callable[[str], object],
    on_record: Callable[[Any], object] | None = None,
) -> None:
    job = start_job(
        generator,
        title=title,
        on_record=on_record,
        on_done=on_done,
        on_stopped=on_stopped,
        on_error=on_error,
    )
    jobs.append(job)
    job.ended.connect(partial(_forget, session, jobs, job, stage))
    session.begin(stage, job)


def _forget(
    session: Session, jobs: list[JobHandle[Any, Any]], job: JobHandle[Any, Any], stage: Stage
) -> None:
    jobs.remove(job)
    session.end(stage, job)


def _panel_gone(panels: list[ref[QWidget]], panel: ref[QWidget], jobs: list[JobHandle[Any, Any]]) -> None:
    panels.remove(panel)
    if not panels:
        for job in list(jobs):
            job.join()
