"""CrystalChooser: the crystals that can be added: the user's and the built-in ones under headings, with a search."""

from __future__ import annotations

from functools import lru_cache

from psygnal import Signal
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QColor, QKeyEvent, QPalette, QStandardItem, QStandardItemModel, QWheelEvent
from qtpy.QtWidgets import QComboBox, QCompleter, QListView

from napari_stem_orient.core.builtin_crystals import BUILTIN_STRUCTURES, structure_type_of
from napari_stem_orient.gui.form_layout import narrow_box
from napari_stem_orient.gui.theme_colours import ThemeColours

INVITATION = "Add a crystal…"
YOURS = "Yours"
OTHER = "other structures"
_FIRST = ("fcc", "bcc", "hcp", "diamond", "zinc blende", "rock salt")  # the common ones, before the rest


class CrystalChooser(QComboBox):
    """A list with headings and a line to search in; what is chosen is told, and the line is empty again.

    Attributes
    ----------
    chosen : emits the name of a crystal
    not_found : emits what was entered and is the name of no crystal in the list
    """

    chosen = Signal(str)
    not_found = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._names: dict[str, str] = {}  # by what the search offers
        self._palette_of_search = QPalette()
        self.setEditable(True)
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.setSizeAdjustPolicy(narrow_box().sizeAdjustPolicy())
        self.setMinimumContentsLength(8)
        self.setMaxVisibleItems(20)
        self.setToolTip(
            "<qt>Crystals that are built in, by structure type, and yours from CIF files. Type to search by name or "
            "structure type, or open the list. <i>CIF…</i> takes any other.</qt>"
        )
        self.activated.connect(self._on_activated)
        self.set_yours(())
        line = self.lineEdit()
        assert line is not None
        line.setPlaceholderText(INVITATION)
        line.returnPressed.connect(self._on_entered)

    def set_yours(self, names: tuple[str, ...]) -> None:
        """List these crystals of the user's above those that are built in."""
        groups = [(YOURS, tuple(sorted(names, key=str.casefold)))] if names else []
        groups += [(f"Built in: {kind}", members) for kind, members in builtin_groups()]
        model = QStandardItemModel(self)
        self._names = {}
        for title, members in groups:
            model.appendRow(heading(title))
            for name in members:
                model.appendRow(QStandardItem(name))
                self._names[f"{name}  ·  {title.removeprefix('Built in: ')}"] = name
        self.setModel(model)
        self._offer(list(self._names))
        self._empty()

    def _offer(self, texts: list[str]) -> None:
        completer = QCompleter(texts, self)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setMaxVisibleItems(12)
        completer.activated.connect(self._on_found)
        popup = QListView()
        popup.setPalette(self._palette_of_search)
        popup.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        completer.setPopup(popup)
        line = self.lineEdit()
        if line is not None:
            line.setCompleter(completer)  # of the line: the box's own would look for the text in the list

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
        self._offer(list(self._names))

    def keyPressEvent(self, e: QKeyEvent | None) -> None:  # noqa: N802 - Qt's name
        """Open the list with the arrows, which would choose at once."""
        if e is not None and e.key() in (
            Qt.Key.Key_Up,
            Qt.Key.Key_Down,
            Qt.Key.Key_PageUp,
            Qt.Key.Key_PageDown,
        ):
            self.showPopup()
            return
        super().keyPressEvent(e)

    def wheelEvent(self, e: QWheelEvent | None) -> None:  # noqa: N802 - Qt's name
        """Choose nothing with the wheel."""
        if e is not None:
            e.ignore()

    def _on_activated(self, index: int) -> None:
        name = self.itemText(index)
        self._empty()
        if name in self._names.values():
            self.chosen.emit(name)

    def _on_found(self, text: str) -> None:
        QTimer.singleShot(0, self._empty)  # the line takes the text after this
        if text in self._names:
            self.chosen.emit(self._names[text])

    def _on_entered(self) -> None:
        """Take what was typed where it is one crystal's name, or the beginning of only one."""
        typed = self.currentText().strip()
        names = {name.casefold(): name for name in self._names.values()}
        likely = [name for text, name in self._names.items() if typed.casefold() in text.casefold()]
        name = names.get(typed.casefold()) or (likely[0] if len(likely) == 1 else None)
        if typed in self._names:
            return  # taken from what the search offered
        if name is not None:
            self._empty()
            self.chosen.emit(name)
        elif typed:
            self.not_found.emit(typed)

    def _empty(self) -> None:
        self.setCurrentIndex(-1)
        self.clearEditText()


def heading(text: str) -> QStandardItem:
    """Make a line of a list that cannot be chosen."""
    item = QStandardItem(text)
    item.setFlags(Qt.ItemFlag.NoItemFlags)
    font = item.font()
    font.setBold(True)
    item.setFont(font)
    return item


@lru_cache(maxsize=1)
def builtin_groups() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the names of the built-in crystals by structure type, the common types first, names in order."""
    groups: dict[str, list[str]] = {}
    for name, structure in BUILTIN_STRUCTURES.items():
        elements = structure.as_crystal_arguments()["elements"]
        kind = structure_type_of(structure.space_group, elements) or OTHER
        groups.setdefault(kind, []).append(name)
    rest = sorted(set(groups) - {*_FIRST, OTHER})
    order = [kind for kind in (*_FIRST, *rest, OTHER) if kind in groups]
    return tuple((kind, tuple(sorted(groups[kind], key=str.casefold))) for kind in order)
