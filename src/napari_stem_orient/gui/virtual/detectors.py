"""VirtualDetectors: the virtual detectors of one viewer, each with its colour, and signals for what changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from psygnal import Signal

from napari_stem_orient.steps.virtual import free_name
from napari_stem_orient.virtual.detector import VirtualDetector

if TYPE_CHECKING:
    from napari_stem_orient.session.session import Session
    from napari_stem_orient.session.state import ScanState

COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#f0e442", "#d55e00")
"""Told apart by colour-blind eyes too (Okabe and Ito), on dark patterns and on bright ones."""


@dataclass(frozen=True, slots=True)
class DetectorEntry:
    """A virtual detector in the list: ``key`` stays the same whatever happens to it."""

    key: int
    detector: VirtualDetector
    colour: str


class VirtualDetectors:
    """The list that the dock shows and edits; free of Qt.

    Parameters
    ----------
    session
        Another scan with another detector empties the list.

    Attributes
    ----------
    listed
        A detector came or went.
    changed
        A detector has another name, place or size: its `DetectorEntry`.
    selection_changed
        Another detector is selected: its key, or None.
    """

    listed = Signal()
    changed = Signal(object)
    selection_changed = Signal(object)

    def __init__(self, session: Session) -> None:
        self._entries: dict[int, DetectorEntry] = {}
        self._keys = count(1)
        self._selected: int | None = None
        self._detector_shape = None if session.datacube is None else session.datacube.detector_shape
        session.changed.connect(self._on_session_changed)

    @property
    def entries(self) -> tuple[DetectorEntry, ...]:
        """All of them, in the order in which they came."""
        return tuple(self._entries.values())

    @property
    def selected(self) -> DetectorEntry | None:
        """The one that is being edited."""
        return None if self._selected is None else self._entries.get(self._selected)

    def entry(self, key: int) -> DetectorEntry | None:
        """The detector with this key, or None where it is gone."""
        return self._entries.get(key)

    def add(self, detector: VirtualDetector) -> DetectorEntry:
        """Add a detector and select it; a name that is taken gets a number."""
        key = next(self._keys)
        detector = detector.updated(name=self._free_name(detector.name))
        used = [entry.colour for entry in self.entries]
        colour = min(COLOURS, key=used.count)
        self._entries[key] = entry = DetectorEntry(key, detector, colour)
        self._selected = key
        self.listed.emit()
        self.selection_changed.emit(key)
        return entry

    def change(self, key: int, detector: VirtualDetector) -> None:
        """Give a detector another place, size or name; a name that another one has gets a number."""
        entry = self._entries.get(key)
        if entry is None or detector == entry.detector:
            return
        if detector.name != entry.detector.name:
            detector = detector.updated(name=self._free_name(detector.name, but=key))
        self._entries[key] = replace(entry, detector=detector)
        self.changed.emit(self._entries[key])

    def remove(self, key: int) -> None:
        """Remove a detector; the one before it is selected."""
        if key not in self._entries:
            return
        keys = list(self._entries)
        place = keys.index(key)
        del self._entries[key]
        keys.remove(key)
        self.listed.emit()
        if self._selected == key:
            self.select(keys[max(0, place - 1)] if keys else None)

    def select(self, key: int | None) -> None:
        """Select a detector, or none."""
        if key is not None and key not in self._entries:
            return
        if key != self._selected:
            self._selected = key
            self.selection_changed.emit(key)

    def clear(self) -> None:
        """Remove all."""
        if self._entries:
            self._entries.clear()
            self.listed.emit()
        self.select(None)

    def _free_name(self, name: str, *, but: int | None = None) -> str:
        taken = [entry.detector.name for entry in self.entries if entry.key != but]
        return free_name(name, taken)

    def _on_session_changed(self, before: ScanState, after: ScanState) -> None:
        datacube = after.datacube
        if after.opening == before.opening:
            return
        if datacube is not None and datacube.detector_shape != self._detector_shape:
            self._detector_shape = datacube.detector_shape
            self.clear()


_lists: WeakKeyDictionary[Session, VirtualDetectors] = WeakKeyDictionary()


def virtual_detectors_of(session: Session) -> VirtualDetectors:
    """Return the one list of virtual detectors of a Session: it outlives the dock that shows it."""
    detectors = _lists.get(session)
    if detectors is None:
        detectors = _lists[session] = VirtualDetectors(session)
    return detectors
