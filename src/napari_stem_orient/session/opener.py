"""Opener: opens files in a Session and reads the scans that are open, without any panel."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.frames import FrameChoice
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.session.file_request import FileRequest
from napari_stem_orient.session.opened_results import NobodyAsked, take_result
from napari_stem_orient.session.state import Stage
from napari_stem_orient.steps.open import OpenChoice, ScanShapeQuestion, open_file

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.core.progress import Record
    from napari_stem_orient.core.scan_summary import ScanSummary
    from napari_stem_orient.session.opened_results import Asks
    from napari_stem_orient.session.session import Session
    from napari_stem_orient.session.state import ScanState
    from napari_stem_orient.steps.open import OpenedFile


class Start(Protocol):
    """Runs a job of a stage; its callbacks are called where the Session may be changed."""

    def __call__(
        self,
        job: Generator[Record, None, Any],
        *,
        title: str,
        stage: Stage,
        on_done: Callable[[Any], object],
        on_stopped: Callable[[], object],
        on_error: Callable[[str], object],
        on_record: Callable[[Any], object] | None = None,
    ) -> None:
        """Begin the stage, run the job, and end the stage when it has ended."""


class Opener:
    """Opens scans, peaks and maps in a Session, whichever face asks for it; what it says is in `Session.request`.

    Parameters
    ----------
    session : where files are opened
    start : runs the jobs
    asks : the user, where something would be replaced; without, nobody is asked
    """

    def __init__(self, session: Session, *, start: Start, asks: Asks | None = None) -> None:
        self._session, self._start = session, start
        self._asks: Asks = NobodyAsked() if asks is None else asks
        session.changed.connect(self._on_changed)
        self._read_scan()

    def open(
        self,
        path: Path,
        *,
        scan_shape: tuple[int, int] | None = None,
        frames: FrameChoice | None = None,
        dataset: str | None = None,
    ) -> None:
        """Open a file or folder; what it holds then becomes the Session's.

        Parameters
        ----------
        path : of a scan, peaks or a map
        scan_shape, frames : of a scan that does not say it
        dataset : which scan, where a file holds several; the one that was chosen of this file before where None
        """
        before = self._session.request
        choice = before.choice if path == before.path else OpenChoice()
        choice = choice.changed(scan_shape=scan_shape, dataset=dataset or choice.dataset)
        choice = choice.with_frames(frames or FrameChoice())
        self._session.update(request=FileRequest(path, choice, before.datasets))
        self._start(
            _opened(path, choice),
            title=f"Opening {path.name}",
            stage=Stage.OPEN,
            on_done=partial(self._on_opened, path),
            on_error=partial(self._on_refused, path),
            on_stopped=partial(self._on_not_opened, path),
        )

    def enter_calibration(self, calibration: Calibration) -> None:
        """Apply values that the user has entered; what was entered belongs to how the file is read."""
        session, before = self._session, self._session.calibration
        choice = session.request.choice
        given = choice.calibration.with_changes(before or Calibration(), calibration)
        self._note(choice=choice.changed(calibration=given))
        session.set_calibration(calibration if before is None else calibration.following(before))

    def say(self, text: str) -> None:
        """Say in one line what was done or went wrong."""
        self._note(said=text)

    # --- what a file holds -----------------------------------------------------------------------------------

    def _on_opened(self, path: Path, opened: OpenedFile) -> None:
        self._note(datasets=opened.datasets)
        content, otherwise = opened.content, partial(self._on_not_opened, path)
        if isinstance(content, ScanShapeQuestion):
            which = (
                f"a scan shape that fits {path.name}" if content.refused else f"the scan shape of {path.name}"
            )
            self._note(which, question=content, said=content.problem)
        elif isinstance(content, (BraggPeaks, OrientationMap)):
            take_result(self._session, content, asks=self._asks, say=self.say, otherwise=otherwise)
        else:
            self._asks.before_opening(content, partial(self._open_scan, content), otherwise=otherwise)

    def _open_scan(self, datacube: DataCube) -> None:
        """Open a scan, and say what becomes of the results that there are."""
        session = self._session
        had_scan, same = session.datacube is not None, session.belongs(datacube)
        closed = session.source.name if same is False else ""
        session.set_datacube(datacube)
        if had_scan and same:
            self.say("This scan is open already: what was made of it stays.")
        elif closed:
            self.say(f"“{closed}” was closed, with all that was made of it.")

    def _on_refused(self, path: Path, message: str) -> None:
        """Say that it is not open, beside what still is; a scan shape that did not fit is asked for again."""
        asks_shape = self._session.request.choice.scan_shape is not None
        needs = f"another file: {path.name} could not be opened"
        needs = f"a scan shape that fits {path.name}" if asks_shape else needs
        self._note(needs, shape_refused=asks_shape, failed=True, said=message)

    def _on_not_opened(self, path: Path) -> None:
        self._note(f"a file: opening {path.name} was stopped")

    def _note(self, open_needs: str | None = None, **changes: Any) -> None:
        session = self._session
        needs = session.open_needs if open_needs is None else open_needs
        session.update(request=replace(session.request, **changes), open_needs=needs)

    # --- the patterns ----------------------------------------------------------------------------------------

    def _on_changed(self, before: ScanState, after: ScanState) -> None:
        if after.opening != before.opening:
            self._read_scan()

    def _read_scan(self) -> None:
        """Read the virtual dark field and the mean pattern of the scan that is open, unless that is done already."""
        session, datacube = self._session, self._session.datacube
        if datacube is None or session.summary is not None or session.running_job(Stage.OPEN) is not None:
            return
        from napari_stem_orient.core.scan_summary import summarise

        if datacube.path not in (None, session.request.path):
            session.update(request=FileRequest(datacube.path))
        self._note(question=None, shape_refused=False, failed=False, said="")
        self._start(
            summarise(datacube, find_bad=_bad_pixels),
            title=f"Reading {datacube.name}",
            stage=Stage.OPEN,
            on_record=session.fill_summary,
            on_done=self._on_read,
            on_error=lambda message: self._note(failed=True, said=message),
            on_stopped=partial(self.say, "Reading stopped; the virtual dark field is incomplete."),
        )

    def _on_read(self, summary: ScanSummary) -> None:
        self._session.set_summary(summary)
        if summary.n_invalid:
            self.say(f"{summary.n_invalid:,} patterns hold NaN or infinite values, which count as 0.")


class _Begun:
    """The record with which opening begins: nobody can tell how far it is."""

    progress = Progress(0, 1, "steps")


def _opened(path: Path, choice: OpenChoice) -> Generator[_Begun, None, OpenedFile]:
    """Open a file, in a job: it may wait for a disk."""
    yield _Begun()
    return open_file(path, choice)


def _bad_pixels(frames: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Hot and dead pixels (det_y, det_x) of frames (n, det_y, det_x); torch is imported in the worker that asks."""
    from napari_stem_orient.detection.bad_pixels import find_bad_pixels

    return find_bad_pixels(frames).mask
