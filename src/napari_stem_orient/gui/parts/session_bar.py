"""SessionBar: the button with which a session is saved and opened, and the offer of one that was not saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut, QShowEvent
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QMenu, QPushButton, QWidget

from napari_stem_orient.gui.jobs.connections import Connections, when_destroyed
from napari_stem_orient.gui.parts.autosaver import Offer, autosaver_of
from napari_stem_orient.gui.parts.file_dialogs import ask_open_file, ask_save_file
from napari_stem_orient.gui.parts.job_bar import JobBar
from napari_stem_orient.gui.parts.leaving import leaving_of
from napari_stem_orient.gui.parts.panel import Panel, plain_label
from napari_stem_orient.gui.parts.session_files import SessionFiles, session_files_of
from napari_stem_orient.io.own_files import SESSION_ENDING
from napari_stem_orient.session.unsaved import scan_name

if TYPE_CHECKING:
    import napari

SHORTCUT = "Ctrl+Shift+S"
_KINDS = "Session (*.h5)"


class SessionBar(Panel):
    """A row below the desk: Session, and above it what is said about it.

    Parameters
    ----------
    napari_viewer
        The viewer whose session it is.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.files: SessionFiles = session_files_of(napari_viewer)
        self.autosaver = autosaver_of(napari_viewer)
        self.files.shown_in(self)
        self.button = QPushButton("Session")
        self.button.setToolTip(
            "<qt>Save all that is open, chosen and found into one file, and go on with it another day.</qt>"
        )
        menu = QMenu(self.button)
        self.save_action = menu.addAction("Save session…")
        self.open_action = menu.addAction("Open session…")
        assert self.save_action is not None
        assert self.open_action is not None
        self.save_action.setText(f"Save session…\t{SHORTCUT}")
        self.save_action.triggered.connect(lambda _=False: self.save())
        self.open_action.triggered.connect(lambda _=False: self.open())
        self.button.setMenu(menu)
        self.offer_row = _OfferRow()
        self.offer_row.open_button.clicked.connect(lambda _=False: self._on_take())
        self.offer_row.discard_button.clicked.connect(lambda _=False: self._on_discard())
        self.message_label = plain_label()
        self.message_label.hide()
        self.job_bar = JobBar(self)
        self._lay_out()
        self._connections = Connections()
        self._connections.connect(self.files.said, self.show_message)
        self._connections.connect(self.files.started, self.job_bar.watch)
        self._connections.connect(self.autosaver.offers_changed, self._show_offer)
        self._connections.connect(self.autosaver.said, self.show_message)
        when_destroyed(self, _let_go, self._connections, self.files)
        self._show_offer()
        self.autosaver.look()

    def shortcut_for(self, desk: QWidget) -> QShortcut:
        """Make the shortcut that saves while the desk, or anything in it, has the focus."""
        shortcut = QShortcut(QKeySequence(SHORTCUT), desk)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        shortcut.activated.connect(self.save)
        # another program in the window may have given the keys a meaning: in the desk, this one is meant
        shortcut.activatedAmbiguously.connect(self.save)
        return shortcut

    def save(self) -> None:
        """Ask where, and save."""
        path = ask_save_file(self, "Save session", start=self._proposal(), kinds=_KINDS)
        if path is not None:
            self.files.save(path)

    def open(self) -> None:
        """Ask for a session, and open it."""
        path = ask_open_file(self, "Open session", start=self._folder(), kinds=_KINDS)
        if path is not None:
            self.files.open(path)

    def _proposal(self) -> Path:
        if self.files.path is not None:
            return self.files.path
        name = scan_name(self.session.state)
        return (
            self._folder() or Path.home()
        ) / f"{'session' if name == 'the scan' else name}{SESSION_ENDING}"

    def _folder(self) -> Path | None:
        if self.files.path is not None:
            return self.files.path.parent
        datacube = self.session.datacube
        return None if datacube is None or datacube.path is None else datacube.path.parent

    # --- what was not saved ----------------------------------------------------------------------------------

    def _show_offer(self) -> None:
        self.offer_row.show_offer(self.autosaver.offer)

    def _on_take(self) -> None:
        offer = self.autosaver.offer
        if offer is not None:
            self.autosaver.take()

    def _on_discard(self) -> None:
        self.autosaver.discard()

    # --- widgets ---------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Have the window ask before it closes, where no other panel has."""
        super().showEvent(event)
        leaving_of(self.session).watch(self)

    def _lay_out(self) -> None:
        layout = QGridLayout(self)
        layout.setContentsMargins(2, 0, 2, 0)
        layout.addWidget(self.offer_row, 0, 0)
        layout.addWidget(self.job_bar, 1, 0)
        layout.addWidget(self.message_label, 2, 0)


class _OfferRow(QWidget):
    """Says what was not saved when napari ended, and offers to go on with it; hidden where there is nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.label = plain_label()
        self.open_button = QPushButton("Go on with it")
        self.open_button.setToolTip("Open the scan, the results and the layers as they were.")
        self.discard_button = QPushButton("Discard")
        self.discard_button.setToolTip("Remove these results: they are in no file of yours.")
        buttons = QHBoxLayout()
        buttons.addWidget(self.open_button)
        buttons.addWidget(self.discard_button)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.label, 0, 0)
        layout.addLayout(buttons, 1, 0)
        self.hide()

    def show_offer(self, offer: Offer | None) -> None:
        """Show what is offered, or nothing."""
        self.setVisible(offer is not None)
        if offer is not None:
            self.label.setText(offer.words)


def _let_go(connections: Connections, files: SessionFiles) -> None:
    connections.disconnect_all()
    files.close()
