"""PatternMatcher: the other method's answer at one position, from its map or by matching this one pattern."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.py4dstem_extra import why_no_py4dstem
from napari_stem_orient.gui.jobs.latest_job import LatestJob
from napari_stem_orient.indexing.methods import method_title
from napari_stem_orient.indexing.template_matching import match_pattern
from napari_stem_orient.indexing.template_plan import TemplatePlans

if TYPE_CHECKING:
    from napari_stem_orient.core.answers import IndexedBlock
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.core.solution import Solution
    from napari_stem_orient.session.session import Session

Position = tuple[int, int]
_Key = tuple[Position, str, tuple["Crystal", ...]]  # where, fingerprint of the peaks, which crystals
_Request = tuple[_Key, "Calibration"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the other method says: its name, its solution if there is one, and a message if not."""

    title: str
    solution: Solution | None
    message: str = ""


class PatternMatcher:
    """Answers for the method that the current map was not made with.

    Parameters
    ----------
    session : has maps, peaks and crystals
    on_answer : called in the main thread when a pattern has been matched: ask again
    """

    def __init__(self, session: Session, on_answer: Callable[[], object]) -> None:
        self._session = session
        self._on_answer = on_answer
        self._plans = TemplatePlans()
        self._answered: tuple[_Key, Comparison] | None = None
        self._asked: _Key | None = None
        self._job: LatestJob[_Request, IndexedBlock | str] = LatestJob(
            title="Template matching", on_result=self._on_matched, on_error=self._on_error
        )

    @property
    def busy(self) -> bool:
        """Whether a pattern is being matched."""
        return self._job.busy

    def answer(self, position: Position | None) -> Comparison:
        """Return what the other method says at a position (y, x), asking a worker where no map tells.

        Until the worker has answered, the solution is None and the message says so.
        """
        current = self._session.current_map
        method = "transformer" if current is not None and current.method == "template" else "template"
        title = method_title(method)
        made = [each for each in self._session.orientation_maps.values() if each.method == method]
        other = made[-1] if made else None
        if position is None or not self._session.contains(position):  # of a larger scan that was open before
            return Comparison(title, None, "Click or drag over a map.")
        if other is not None:
            return Comparison(title, other.at(*position))
        if method == "transformer":
            return Comparison(title, None, "No map by the transformer yet: choose it in Index and run.")
        return self._match(position)

    def close(self) -> None:
        """Match nothing more."""
        self._job.close()

    def _match(self, position: Position) -> Comparison:
        title = method_title("template")
        peaks = self._session.peaks
        current = self._session.current_map
        crystals = self._session.crystals if current is None else current.crystals
        if peaks is None or not crystals:
            missing = "Bragg peaks" if peaks is None else "a crystal"
            return Comparison(title, None, f"Template matching needs {missing}.")
        if lacking := why_no_py4dstem():
            return Comparison(title, None, f"Template matching: {lacking}")
        key = (position, peaks.fingerprint, crystals)
        if self._answered is not None and self._answered[0] == key:
            return self._answered[1]
        if self._asked != key:
            self._asked = key
            self._job.request(
                (key, peaks.calibration),
                partial(_match_in_words, peaks, position, crystals, self._plans),
            )
        return Comparison(title, None, "Matching this pattern …")

    def _on_matched(self, request: _Request, result: IndexedBlock | str) -> None:
        key, calibration = request
        position, _, crystals = key
        title = method_title("template")
        if isinstance(result, str):
            comparison = Comparison(title, None, result)
        else:
            solution = _solution_of(result, crystals, calibration)
            comparison = Comparison(title, replace(solution, position=position))
        self._answered = key, comparison
        if key == self._asked:
            self._on_answer()

    def _on_error(self, request: _Request, message: str) -> None:
        self._on_matched(request, message)


def _match_in_words(
    peaks: BraggPeaks, position: Position, crystals: tuple[Crystal, ...], plans: TemplatePlans
) -> IndexedBlock | str:
    """Match one pattern, or say in a line why that cannot be: a notification for each position would be too loud."""
    try:
        return match_pattern(peaks, position, crystals, plans=plans)
    except (ValueError, ImportError) as error:
        return str(error)


def _solution_of(block: IndexedBlock, crystals: tuple[Crystal, ...], calibration: Calibration) -> Solution:
    """Return the solution of a block of one position, through a map of one position."""
    arrays = OrientationMap.fields_from(block.arrays())
    others = {
        "scan_shape": (1, 1),
        "crystals": crystals,
        "calibration": calibration,
        "method": "template",
        "parameters": {},
        "model": None,
        "peaks_fingerprint": None,
        "software_version": "",
    }
    return OrientationMap(**arrays, **others).at(0, 0)  # type: ignore[arg-type]
