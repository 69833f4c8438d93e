"""CrystalList: crystals to index with or to train for, from the built-in list and from CIF files."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from psygnal import Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QListWidget,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_stem_orient.core.crystal import BUILTIN_CRYSTALS, Crystal
from napari_stem_orient.core.crystal_checks import composition_text
from napari_stem_orient.gui.parts.crystal_chooser import CrystalChooser
from napari_stem_orient.gui.parts.crystal_question import load_for, notes_text
from napari_stem_orient.gui.parts.file_dialogs import ask_open_file
from napari_stem_orient.gui.parts.stage_panel import JobPanel
from napari_stem_orient.gui.parts.theme_colours import theme_colours

ROWS_SHOWN = 3


class ChosenCrystals(Protocol):
    """Where the chosen crystals are kept: the Session, or a choice of a panel's own."""

    @property
    def crystals(self) -> tuple[Crystal, ...]:
        """The crystals now."""
        ...

    def set_crystals(self, crystals: tuple[Crystal, ...]) -> None:
        """Choose others."""
        ...


class CrystalChoice:
    """Crystals that a panel has chosen for itself; the Session keeps its own."""

    crystals_changed = Signal(object)  # tuple[Crystal, ...]

    def __init__(self) -> None:
        self.crystals: tuple[Crystal, ...] = ()

    def set_crystals(self, crystals: tuple[Crystal, ...]) -> None:
        """Choose others."""
        self.crystals = tuple(crystals)
        self.crystals_changed.emit(self.crystals)


class CrystalList(QWidget):
    """Mirrors the chosen crystals and changes them.

    Parameters
    ----------
    panel
        The panel that it stands in, which shows what goes wrong.
    chosen
        Where the crystals are kept; the Session where nothing else is given.
    tooltip
        What the crystals are for.
    """

    def __init__(
        self,
        panel: JobPanel,
        *,
        chosen: CrystalChoice | None = None,
        tooltip: str = "The crystals that each pattern is compared with; several make a phase map.",
    ) -> None:
        super().__init__()
        self._panel = panel
        self._chosen: ChosenCrystals = panel.session if chosen is None else chosen
        self.list = QListWidget()
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.list.setToolTip(tooltip)
        self.list.setMinimumHeight(24)
        self._yours: dict[str, Crystal] = {}  # from files, by name, to be added again
        self.add_box = CrystalChooser()
        self.add_box.chosen.connect(self._on_chosen)
        self.add_box.not_found.connect(self._on_not_found)
        self.cif_button = QPushButton("CIF…")
        self.cif_button.setToolTip("Add a crystal from a CIF file.")
        self.cif_button.clicked.connect(self._on_cif)
        self.remove_button = QPushButton("Remove")
        self.remove_button.clicked.connect(self._on_remove)
        row = QHBoxLayout()
        row.addWidget(self.add_box, 1)
        row.addWidget(self.cif_button)
        row.addWidget(self.remove_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.list)
        layout.addLayout(row)
        self.list.itemSelectionChanged.connect(self._on_selection_changed)
        panel.listen(panel.viewer.events.theme, self._on_theme_changed)
        self._on_theme_changed()
        if chosen is None:
            panel.watch(("crystals",), self._on_crystals_changed)
        else:
            panel.listen(chosen.crystals_changed, self._on_crystals_changed)
        self._on_crystals_changed()

    def add(self, name_or_path: str | Path) -> None:
        """Add a crystal by its built-in name or its CIF file; one that is there already stays once."""
        crystal = load_for(self._panel, name_or_path)
        if crystal is not None:
            self._add(crystal)

    def _add(self, crystal: Crystal) -> None:
        if crystal not in self._chosen.crystals:
            self._chosen.set_crystals((*self._chosen.crystals, crystal))

    def _on_chosen(self, name: str) -> None:
        if name in self._yours:
            self._add(self._yours[name])
        else:
            self.add(name)

    def _on_not_found(self, text: str) -> None:
        self._panel.show_message(f"“{text}” is none of the crystals in the list; CIF… takes any other.")

    def _on_cif(self) -> None:
        path = ask_open_file(self, "Add a crystal", kinds="CIF (*.cif);;All files (*)", purpose="crystals")
        if path is not None:
            self.add(path)

    def _on_theme_changed(self, _: object = None) -> None:
        self.add_box.apply_theme(theme_colours(self._panel.viewer))

    def _on_remove(self) -> None:
        """Remove the selected crystals; the last one where none is selected."""
        crystals = self._chosen.crystals
        rows = {index.row() for index in self.list.selectedIndexes()} or {len(crystals) - 1}
        self._chosen.set_crystals(tuple(c for row, c in enumerate(crystals) if row not in rows))

    def _on_selection_changed(self) -> None:
        self.remove_button.setEnabled(bool(self._chosen.crystals))

    def _on_crystals_changed(self) -> None:
        crystals = self._chosen.crystals
        own = {crystal.name: crystal for crystal in crystals if crystal.name not in BUILTIN_CRYSTALS}
        if not own.items() <= self._yours.items():
            self._yours.update(own)
            self.add_box.set_yours(tuple(self._yours))
        self.list.clear()
        self.list.addItems([crystal_text(crystal) for crystal in crystals])
        for row, crystal in enumerate(crystals):
            item = self.list.item(row)
            if item is not None:
                item.setToolTip(crystal_tooltip(crystal))
        self.list.setVisible(bool(crystals))
        rows = min(ROWS_SHOWN, max(1, len(crystals)))
        self.list.setFixedHeight(rows * max(18, self.list.sizeHintForRow(0)) + 2 * self.list.frameWidth() + 8)
        self.remove_button.setEnabled(bool(crystals))


def crystal_text(crystal: Crystal) -> str:
    """Say a crystal in a line: name, structure type or space group, and cell."""
    a, b, c, *_ = crystal.lattice
    kind = crystal.structure_type or f"space group {crystal.space_group_name}"
    lengths = f"a = {a:.4g}" if a == b == c else f"a, b, c = {a:.4g}, {b:.4g}, {c:.4g}"
    return f"{crystal.name} · {kind} · {lengths} Å"


def crystal_tooltip(crystal: Crystal) -> str:
    """Say all of a crystal that tells whether it is the right one: content, space group, cell, what was decided."""
    a, b, c, alpha, beta, gamma = crystal.lattice
    lines = [
        f"{composition_text(crystal.composition)} in the cell, space group {crystal.space_group_name}",
        f"a, b, c = {a:.5g}, {b:.5g}, {c:.5g} Å; α, β, γ = {alpha:.5g}, {beta:.5g}, {gamma:.5g}°",
        notes_text(crystal),
    ]
    return "\n".join(line for line in lines if line)
