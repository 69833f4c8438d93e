"""CrystalSearch: a list of crystals under headings, with a line to search in by name and structure type."""

from __future__ import annotations

from collections.abc import Sequence

from psygnal import Signal
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import (
    QColor,
    QFocusEvent,
    QKeyEvent,
    QPalette,
    QStandardItem,
    QStandardItemModel,
    QWheelEvent,
)
from qtpy.QtWidgets import QComboBox, QCompleter, QListView

from napari_stem_orient.gui.parts.form_layout import narrow_box
from napari_stem_orient.gui.parts.theme_colours import ThemeColours

Entries = Sequence[tuple[str, Sequence[tuple[str, object]]]]
"""Headings ("" for none), each with the lines below it: text, and what is told when it is chosen."""

POPUP_MARGIN_PX = 16
_OPENS = (Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown)


class CrystalSearch(QComboBox):
    """A list with headings and a line to search in; shows one of its lines, or an invitation.

    Attributes
    ----------
    chosen : emits what belongs to the line that was chosen
    not_found : emits what was entered and is no line of the list
    """

    chosen = Signal(object)
    not_found = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[str, object] = {}  # by what the search offers
        self._values: list[object] = []
        self._shown: str | None = None  # the line that is in force, while there is one
        self._palette_of_search = QPalette()
        self.setEditable(True)
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.setSizeAdjustPolicy(narrow_box().sizeAdjustPolicy())
        self.setMinimumContentsLength(8)
        self.setMaxVisibleItems(20)
        self.activated.connect(self._on_activated)
        line = self.lineEdit()
        assert line is not None
        line.returnPressed.connect(self._on_entered)

    def set_entries(self, entries: Entries, *, shown: str | None = None) -> None:
        """List what there is to choose; ``shown`` is the line that is in force, None for the invitation."""
        model = QStandardItemModel(self)
        self._found = {}
        values: list[object] = []
        for title, members in entries:
            if title and members:
                model.appendRow(heading(title))
            kind = title.removeprefix("Built in: ")
            for text, what in members:
                item = QStandardItem(text)
                item.setData(len(values), Qt.ItemDataRole.UserRole)  # not itself: Qt makes lists of tuples
                model.appendRow(item)
                values.append(what)
                self._found[f"{text}  ·  {kind}" if kind else text] = what
        self._shown, self._values = shown, values
        self.setModel(model)
        self._offer()
        self._show_what_is_in_force()

    def apply_theme(self, colours: ThemeColours) -> None:
        """Give what the search offers the colours of napari's theme, whose style sheet does not reach it."""
        palette = QPalette()
        for role, colour in (
            (QPalette.ColorRole.Base, colours.foreground),
            (QPalette.ColorRole.Text, colours.text),
            (QPalette.ColorRole.Highlight, colours.faint),
            (QPalette.ColorRole.HighlightedText, colours.text),
        ):
            palette.setColor(role, QColor(colour))
        self._palette_of_search = palette
        self._offer()

    # --- what Qt asks --------------------------------------------------------------------------------------

    def keyPressEvent(self, e: QKeyEvent | None) -> None:  # noqa: N802 - Qt's name
        """Open the list with the arrows, which would choose at once; Esc gives up the search."""
        if e is not None and e.key() in _OPENS:
            self.showPopup()
            return
        if e is not None and e.key() == Qt.Key.Key_Escape:
            self._show_what_is_in_force()
            return
        super().keyPressEvent(e)

    def focusInEvent(self, e: QFocusEvent | None) -> None:  # noqa: N802 - Qt's name
        """Select what stands there, so that typing replaces it."""
        super().focusInEvent(e)
        line = self.lineEdit()
        if line is not None and self._shown is not None:
            QTimer.singleShot(0, line.selectAll)

    def focusOutEvent(self, e: QFocusEvent | None) -> None:  # noqa: N802 - Qt's name
        """Show what is in force again where a search was given up: the line never says another crystal."""
        super().focusOutEvent(e)
        if e is not None and e.reason() != Qt.FocusReason.PopupFocusReason and self._shown is not None:
            self._show_what_is_in_force()

    def wheelEvent(self, e: QWheelEvent | None) -> None:  # noqa: N802 - Qt's name
        """Choose nothing with the wheel."""
        if e is not None:
            e.ignore()

    # --- private -------------------------------------------------------------------------------------------

    def _offer(self) -> None:
        completer = QCompleter(list(self._found), self)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setMaxVisibleItems(12)
        completer.activated.connect(self._on_found)
        popup = QListView()
        popup.setPalette(self._palette_of_search)
        popup.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        completer.setPopup(popup)
        bar = popup.verticalScrollBar()
        longest = max((popup.fontMetrics().horizontalAdvance(text) for text in self._found), default=0)
        popup.setMinimumWidth(longest + (0 if bar is None else bar.sizeHint().width()) + POPUP_MARGIN_PX)
        line = self.lineEdit()
        if line is not None:
            line.setCompleter(completer)  # of the line: the box's own would look for the text in the list

    def _on_activated(self, index: int) -> None:
        number = self.itemData(index)
        self._show_what_is_in_force()
        if number is not None:  # a heading has none
            self.chosen.emit(self._values[number])

    def _on_found(self, text: str) -> None:
        QTimer.singleShot(0, self._show_what_is_in_force)  # the line takes the text after this
        if text in self._found:
            self.chosen.emit(self._found[text])

    def _on_entered(self) -> None:
        """Take what was typed where it is one line of the list, or a part of only one."""
        typed = self.currentText().strip()
        if typed in (*self._found, self._shown):
            return  # taken from what the search offered, or not changed
        lines = {text.split("  ·  ")[0].casefold(): text for text in self._found}
        likely = [text for text in self._found if typed.casefold() in text.casefold()]
        line = lines.get(typed.casefold()) or (likely[0] if len(likely) == 1 else None)
        if line is not None:
            self._show_what_is_in_force()
            self.chosen.emit(self._found[line])
        elif typed:
            self.not_found.emit(typed)

    def _show_what_is_in_force(self) -> None:
        self.setCurrentIndex(-1 if self._shown is None else self.findText(self._shown))
        if self._shown is None:
            self.clearEditText()
        else:
            self.setEditText(self._shown)


def heading(text: str) -> QStandardItem:
    """Make a line of a list that cannot be chosen."""
    item = QStandardItem(text)
    item.setFlags(Qt.ItemFlag.NoItemFlags)
    font = item.font()
    font.setBold(True)
    item.setFont(font)
    return item
