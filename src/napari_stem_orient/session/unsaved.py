"""What of a session is not safe in a file yet, in words, and what opening something else would replace of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.session.results import file_suffix, named, result_title
from napari_stem_orient.session.state import Stage

if TYPE_CHECKING:
    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.session.saved import Result
    from napari_stem_orient.session.state import ScanState


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

    @property
    def told_apart(self) -> str:
        """What tells its file from those of other results: "_transformer_2"; empty for peaks."""
        if isinstance(self.result, BraggPeaks):
            return ""
        return file_suffix(self.result)


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """What would go from a window: results that are not saved, and runs that would be stopped, in words."""

    unsaved: tuple[Unsaved, ...] = ()
    running: tuple[tuple[Stage, str], ...] = ()

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


def scan_name(state: ScanState) -> str:
    """What the scan of a session is called."""
    return Path(state.source.name).stem or "the scan"


def unsaved_results(state: ScanState) -> tuple[Unsaved, ...]:
    """The finished or stopped results of a session that are in no file, maps first."""
    running = state.current_map if state.runs.get(Stage.INDEX) is not None else None
    maps = [m for m in state.orientation_maps.values() if m is not running and m.done.any()]
    found: list[Unsaved] = []
    for result in maps:
        if not state.saved.has(result):
            which = result_title(result)
            method = f" ({which[:1].lower()}{which[1:]})" if len(maps) > 1 else ""
            done = _positions(int(result.done.sum()), result.n_positions)
            words = f"Map of {scan_name(state)}{method}, {done}"
            found.append(Unsaved(result, words, state.saved.is_kept(result)))
    peaks = state.peaks
    if peaks is not None and not state.saved.has(peaks):
        in_file = state.datacube is not None and state.datacube.path is not None
        done = _positions(int(peaks.detected.sum()), peaks.n_positions)
        words = f"Bragg peaks of {scan_name(state)}, {done}"
        found.append(Unsaved(peaks, words, in_file and state.saved.is_kept(peaks)))
    return tuple(found)


def running_results(state: ScanState) -> tuple[tuple[Stage, str], ...]:
    """The runs of a session that find peaks or orientations, in words."""
    words = []
    for stage, name in ((Stage.DETECT, "The detection"), (Stage.INDEX, "The indexing")):
        job: Any = state.runs.get(stage)
        if job is not None:
            progress = getattr(job, "progress", None)
            how_far = "" if progress is None else f" at {_positions(progress.done, progress.total)}"
            words.append((stage, f"{name} of {scan_name(state)} is running{how_far}"))
    return tuple(words)


def loss_on_closing(state: ScanState) -> Loss:
    """What the end of the window would take."""
    return Loss(unsaved_results(state), running_results(state))


def loss_on_opening(state: ScanState, content: DataCube | Result) -> Loss:
    """What a session would let go for something that was opened."""
    everything = loss_on_closing(state)
    if state.belongs(content) is False:
        return everything
    if not isinstance(content, BraggPeaks | OrientationMap):  # the same scan: its results stay
        return Loss((), everything.running) if state.summary is None else Loss()
    if isinstance(content, BraggPeaks):
        return Loss(tuple(each for each in everything.unsaved if isinstance(each.result, BraggPeaks)))
    replaced = named(state, content).key
    same = [
        each
        for each in everything.unsaved
        if isinstance(each.result, OrientationMap) and each.result.key == replaced
    ]
    return Loss(tuple(same), tuple(run for run in everything.running if run[0] is Stage.INDEX))


def _positions(done: int, total: int) -> str:
    return f"{total:,} positions" if done == total else f"{done:,} of {total:,} positions"
