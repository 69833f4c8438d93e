"""Autosaver: keeps the session of a viewer while it is in no file, and offers one that was left behind by a crash.

The journals say what is not saved; a kept session is how it comes back at once, with calibration, layers and docks. So
there is one offer: a session whose results no journal keeps any more, because they were saved, discarded or taken from
there, is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import ref

from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_stem_orient.gui.jobs.connections import Connections
from napari_stem_orient.gui.jobs.latest_job import LatestJob
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.gui.parts.leaving import leaving_of
from napari_stem_orient.gui.parts.session_files import session_files_of
from napari_stem_orient.runs.autosaves import Autosave, left_behind, remove
from napari_stem_orient.session.unsaved import unsaved_results

if TYPE_CHECKING:
    import napari

    from napari_stem_orient.session.session import Session
    from napari_stem_orient.session.session_file import UnsavedThen
    from napari_stem_orient.session.state import ScanState

DELAY_MS = 2000
"""Changes that come within this time are kept together."""

_WATCHED = ("peaks", "history", "results", "current", "runs", "saved", "opening")


@dataclass(frozen=True, slots=True)
class Offer:
    """A session that was left behind, and what is in it, in words."""

    path: Path
    words: str


def autosaver_of(napari_viewer: napari.Viewer) -> Autosaver:
    """Return the one Autosaver of a viewer, which its Session keeps."""
    session = session_of(napari_viewer)
    if not isinstance(session.autosaver, Autosaver):
        session.autosaver = Autosaver(napari_viewer, session)
    return session.autosaver


class Autosaver:
    """Keeps a session, in a worker, a moment after a job of a stage has ended or the calibration has changed.

    Parameters
    ----------
    napari_viewer : whose session it is; held weakly
    session : what is open

    Attributes
    ----------
    offers_changed : there is another offer, or none any more
    said : one line on why a session is not kept
    offer : a session that was left behind, or None
    """

    offers_changed = Signal()
    said = Signal(str)

    def __init__(self, napari_viewer: napari.Viewer, session: Session) -> None:
        self._viewer = ref(getattr(napari_viewer, "__wrapped__", napari_viewer))
        self._session = session
        self._place = Autosave()
        self.offer: Offer | None = None
        self._taken: Path | None = None
        self._discarded = False
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MS)
        self._timer.timeout.connect(self.keep)
        self._keeping: LatestJob[Path | None, None] = LatestJob(
            title="Keep the session", on_result=self._on_kept, on_error=self._on_not_kept
        )
        self._looking: LatestJob[None, Offer | None] = LatestJob(
            title="Look for a session that was not saved", on_result=self._on_found, on_error=lambda *_: None
        )
        self._connections = Connections()
        self._connections.watch(session, _WATCHED, self._on_changed)
        self._connections.connect(session_files_of(napari_viewer).opened, self._on_opened)
        self._connections.connect(leaving_of(session).discarded, self._on_discarded)
        self._connections.connect(leaving_of(session).gone, self.close)

    @property
    def busy(self) -> bool:
        """Whether something is about to be kept."""
        return self._timer.isActive() or self._keeping.busy

    def close(self) -> None:
        """The window is gone: what is not saved stays, for the next time; all else is forgotten."""
        self._timer.stop()
        self._connections.disconnect_all()
        self._looking.close()
        self._keeping.close()
        if self._discarded or not unsaved_results(self._session.state):
            self._place.clear()
        self._place.close()

    # --- keeping ---------------------------------------------------------------------------------------------

    def _on_changed(self) -> None:
        if self.offer is not None and not _is_empty(self._session.state):
            self._set_offer(None)  # journals offer what they keep of the scan that was opened
        self._discarded = False
        self._timer.start()

    def keep(self) -> None:
        """Keep the session as it is, or forget it where all of it is in files; while a run goes on, journals do."""
        self._timer.stop()
        state, viewer = self._session.state, self._viewer()
        if viewer is None:
            self.close()  # the window is gone
            return
        if state.runs:
            return
        if not unsaved_results(state):
            self._place.clear()
            return
        looks = session_files_of(viewer).looks()
        from napari_stem_orient.session.session_file import frozen, save_session

        frozen_state, place = frozen(state), self._place

        def write() -> None:
            place.begin()
            save_session(frozen_state, place.path, window=looks, autosaved=True)

        self._keeping.request(self._taken, write)

    def _on_kept(self, taken: Path | None, _: None) -> None:
        if taken is not None and taken == self._taken:  # by now it is kept here
            remove(taken)
            self._taken = None

    def _on_not_kept(self, _: Path | None, message: str) -> None:
        self.said.emit(f"The session cannot be kept for the case of a crash: {message}")

    def _on_discarded(self) -> None:
        """Forget what nobody wants; what is found from now on is kept again."""
        self._timer.stop()
        self._keeping.forget()
        self._place.clear()
        self._discarded = True

    # --- what was left behind --------------------------------------------------------------------------------

    def look(self) -> None:
        """See whether a session was left behind; only where nothing is open yet."""
        if _is_empty(self._session.state):
            self._looking.request(None, _find)

    def take(self) -> None:
        """Open what is offered."""
        viewer, offer = self._viewer(), self.offer
        if offer is not None and viewer is not None:
            self._set_offer(None)
            session_files_of(viewer).open(offer.path)

    def discard(self) -> None:
        """Remove what is offered, and what journals keep of it."""
        offer = self.offer
        self._set_offer(None)
        if offer is not None:
            self._looking.request(None, partial(_discard_and_find, offer.path))

    def _on_opened(self, path: Path) -> None:
        if path.parent == self._place.path.parent and path != self._place.path:
            self._taken = path

    def _on_found(self, _: None, offer: Offer | None) -> None:
        if _is_empty(self._session.state):
            self._set_offer(offer)

    def _set_offer(self, offer: Offer | None) -> None:
        self.offer = offer
        self.offers_changed.emit()


def _is_empty(state: ScanState) -> bool:
    return state.datacube is None and state.peaks is None and not state.results


def _find() -> Offer | None:
    """The newest session that was left behind and of which something is still in no file; others are removed."""
    from napari_stem_orient.runs.run_journal import date_in_words
    from napari_stem_orient.session.session_file import session_summary

    for path in left_behind():
        try:
            summary = session_summary(path)
        except (ValueError, OSError):
            remove(path)
            continue
        if not any(map(_is_unsaved_still, summary.unsaved)):
            remove(path)
            continue
        lines = "; ".join(each.words for each in summary.unsaved)
        when = date_in_words(summary.saved_at)
        return Offer(path, f"Not saved when napari ended ({when}): {lines}.")
    return None


def _is_unsaved_still(result: UnsavedThen) -> bool:
    """Whether a result is in no file yet: until it is, or is not wanted, its journal stays, where it has one."""
    from napari_stem_orient.runs.run_journal import journal_folder

    folder = journal_folder()
    return not result.journals or any((folder / name).exists() for name in result.journals)


def _discard_and_find(path: Path) -> Offer | None:
    """Forget a session that was left behind, with what journals keep of it, and look for another."""
    from napari_stem_orient.runs.map_journal import remove_interrupted_maps
    from napari_stem_orient.runs.peaks_journal import remove_kept_peaks
    from napari_stem_orient.session.session_file import open_session

    try:
        state = open_session(path).state(None)
    except (ValueError, OSError):
        remove(path)  # nobody can tell what it was
        return _find()
    if state.peaks is not None:
        remove_kept_peaks(state.peaks)
    for each in state.orientation_maps.values():
        remove_interrupted_maps(each)
    remove(path)
    return _find()
