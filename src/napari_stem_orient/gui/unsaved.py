"""What of a Session is not safe in a file yet, in words, and what opening something else would replace of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.gui.steps import Step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.gui.session import Session

METHOD_WORDS = {"transformer": "transformer", "template": "template matching"}
Result = BraggPeaks | OrientationMap


class SavedResults:
    """Remembers which results are in a file, and which are kept in no journal."""

    def __init__(self) -> None:
        self._peaks: set[str] = set()
        self._opened: NDArray[np.float32] | None = None
        self._maps: dict[str, NDArray[np.int16]] = {}
        self._not_kept: set[type[Result]] = set()

    def note(self, result: Result) -> None:
        """A result is in a file, as it is now."""
        if isinstance(result, BraggPeaks):
            self._peaks.add(result.fingerprint)
        else:
            self._maps[result.method] = result.phase_id  # what is confirmed later makes no other map of it

    def note_opened(self, peaks: BraggPeaks) -> None:
        """Peaks come from a file: no journal keeps what is changed of them."""
        self.note(peaks)
        self._opened = peaks.x_px

    def note_journal(self, kind: type[Result], *, lost: bool) -> None:
        """The journal of the results of this kind has begun, or can be kept no longer."""
        (self._not_kept.add if lost else self._not_kept.discard)(kind)

    def has(self, result: Result) -> bool:
        """Whether a result is in a file as it is now."""
        if isinstance(result, BraggPeaks):
            return result.fingerprint in self._peaks
        return self._maps.get(result.method) is result.phase_id

    def is_kept(self, result: Result) -> bool:
        """Whether a journal keeps a result that is in no file."""
        kind = BraggPeaks if isinstance(result, BraggPeaks) else OrientationMap
        opened = isinstance(result, BraggPeaks) and result.x_px is self._opened
        return not opened and kind not in self._not_kept


@dataclass(frozen=True, slots=True, eq=False)
class Unsaved:
    """A result that is in no file, in words, and whether a journal keeps it until the scan is opened again."""

    result: Result
    words: str
    kept: bool

    @property
    def file_name(self) -> str:
        """What it may be called, without a suffix."""
        return "peaks" if isinstance(self.result, BraggPeaks) else "map"


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """What would go from a window: results that are not saved, and runs that would be stopped, in words."""

    unsaved: tuple[Unsaved, ...] = ()
    running: tuple[tuple[Step, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.unsaved or self.running)

    @property
    def kept(self) -> bool:
        """Whether journals keep all of it."""
        return all(each.kept for each in self.unsaved)

    @property
    def lines(self) -> list[str]:
        """Each in one line."""
        lines = [f"{each.words}, not saved" for each in self.unsaved]
        return lines + [words for _, words in self.running]


def scan_name(session: Session) -> str:
    """What the scan of a Session is called."""
    return Path(session.identity.name).stem or "the scan"


def unsaved_results(session: Session) -> tuple[Unsaved, ...]:
    """The finished or stopped results of a Session that are in no file, maps first."""
    running = session.current_map if session.running_job(Step.INDEX) is not None else None
    maps = [m for m in session.orientation_maps.values() if m is not running and m.done.any()]
    found: list[Unsaved] = []
    for result in maps:
        if not session.saved.has(result):
            method = f" ({METHOD_WORDS.get(result.method, result.method)})" if len(maps) > 1 else ""
            done = _positions(int(result.done.sum()), result.n_positions)
            words = f"Map of {scan_name(session)}{method}, {done}"
            found.append(Unsaved(result, words, session.saved.is_kept(result)))
    peaks = session.peaks
    if peaks is not None and not session.saved.has(peaks):
        in_file = session.datacube is not None and session.datacube.path is not None
        done = _positions(int(peaks.detected.sum()), peaks.n_positions)
        words = f"Bragg peaks of {scan_name(session)}, {done}"
        found.append(Unsaved(peaks, words, in_file and session.saved.is_kept(peaks)))
    return tuple(found)


def running_results(session: Session) -> tuple[tuple[Step, str], ...]:
    """The runs of a Session that find peaks or orientations, in words."""
    words = []
    for step, name in ((Step.DETECT, "The detection"), (Step.INDEX, "The indexing")):
        job: Any = session.running_job(step)
        if job is not None:
            progress = getattr(job, "progress", None)
            how_far = "" if progress is None else f" at {_positions(progress.done, progress.total)}"
            words.append((step, f"{name} of {scan_name(session)} is running{how_far}"))
    return tuple(words)


def loss_on_closing(session: Session) -> Loss:
    """What the end of the window would take."""
    return Loss(unsaved_results(session), running_results(session))


def loss_on_opening(session: Session, content: DataCube | Result) -> Loss:
    """What a Session would let go for something that was opened."""
    everything = loss_on_closing(session)
    if session.belongs(content) is False:
        return everything
    if not isinstance(content, BraggPeaks | OrientationMap):  # the same scan: its results stay
        return Loss((), everything.running) if session.summary is None else Loss()
    if isinstance(content, BraggPeaks):
        return Loss(tuple(each for each in everything.unsaved if isinstance(each.result, BraggPeaks)))
    same = [
        each
        for each in everything.unsaved
        if isinstance(each.result, OrientationMap) and each.result.method == content.method
    ]
    return Loss(tuple(same), tuple(run for run in everything.running if run[0] is Step.INDEX))


def _positions(done: int, total: int) -> str:
    return f"{total:,} positions" if done == total else f"{done:,} of {total:,} positions"
