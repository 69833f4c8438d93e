"""KeptMapRow: offers a map of the open scan, or of its peaks, that was not saved when napari was closed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.gui.jobs.connections import when_destroyed
from napari_stem_orient.gui.jobs.latest_job import LatestJob
from napari_stem_orient.gui.jobs.resume_jobs import OfferedMap, forget_kept, kept_map
from napari_stem_orient.gui.jobs.workers import plain_job
from napari_stem_orient.gui.parts.panel import plain_label
from napari_stem_orient.gui.parts.stage_panel import StagePanel
from napari_stem_orient.session.state import Stage

if TYPE_CHECKING:
    from pathlib import Path

    from napari_stem_orient.session.session import Session

Key = tuple[str | None, str | None]


class KeptMapRow(QWidget):
    """Part of the Index stage; hidden while there is nothing to offer.

    Parameters
    ----------
    panel
        The stage that it stands in.
    """

    def __init__(self, panel: StagePanel) -> None:
        super().__init__()
        self._panel = panel
        self._offered: OfferedMap | None = None
        self._asked: Path | None = None
        self.label = plain_label()
        self.take_button = QPushButton("Take it")
        self.take_button.setToolTip("Go on with this map; one that was stopped can be resumed.")
        self.take_button.clicked.connect(self._on_take)
        self.discard_button = QPushButton("Discard")
        self.discard_button.setToolTip("Remove this map: it is in no file.")
        self.discard_button.clicked.connect(self._on_discard)
        buttons = QHBoxLayout()
        buttons.addWidget(self.take_button)
        buttons.addWidget(self.discard_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.label)
        layout.addLayout(buttons)
        self.hide()
        self._looking: LatestJob[Key, OfferedMap | None] = LatestJob(
            title="Look for a map that was not saved", on_result=self._on_found, on_error=lambda *_: None
        )
        when_destroyed(self, LatestJob.close, self._looking)
        panel.watch(("opening", "peaks"), self.look)
        self.look()

    @property
    def offers(self) -> bool:
        """Whether there is a map to take."""
        return self._offered is not None

    def look(self) -> None:
        """See whether a map of what is open was not saved, beside those that are there."""
        self.withdraw()
        session = self._panel.session
        key = _key(session)
        if any(key) and session.running_job(Stage.INDEX) is None:
            there = tuple(session.orientation_maps.values())
            self._looking.request(key, partial(kept_map, *key, there))

    def withdraw(self) -> None:
        """Offer nothing."""
        self._looking.forget()
        self._offered = None
        self.hide()

    def _on_found(self, key: Key, offered: OfferedMap | None) -> None:
        session = self._panel.session
        if offered is None or key != _key(session) or session.running_job(Stage.INDEX) is not None:
            return
        found = offered.orientation_map
        if session.scan_shape != found.scan_shape or any(
            not each.made_otherwise(found) for each in session.orientation_maps.values()
        ):
            return
        self._offered = offered
        self.label.setText(f"{offered.words[:1].upper()}{offered.words[1:]}.")
        if offered.path != self._asked:  # it is seen once; each change of the calibration finds it again
            self._asked = offered.path
            self._panel.asks.emit()
        self.show()

    def _on_take(self) -> None:
        offered, session = self._offered, self._panel.session
        self.withdraw()
        if offered is None or session.running_job(Stage.INDEX) is not None:
            return
        session.note_journal(OrientationMap, lost=False)
        session.set_crystals(offered.orientation_map.crystals)
        session.set_map(offered.orientation_map)
        self._panel.show_message("The map is as it was; it is not saved yet.")
        self.look()  # others may lie behind it

    def _on_discard(self) -> None:
        offered = self._offered
        self.withdraw()
        if offered is not None:
            self._panel.run(
                plain_job(lambda: forget_kept(offered.path)),
                title="Discarding the map",
                on_done=lambda _: self.look(),  # others may lie behind it
            )


def _key(session: Session) -> Key:
    """Fingerprints of the scan and of the peaks that are open."""
    scan = None if session.datacube is None else session.datacube.fingerprint
    return scan, session.peaks_fingerprint
