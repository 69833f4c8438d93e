"""CrystalBox: one choice of the crystals whose rings a calibration is compared with."""

from __future__ import annotations

from pathlib import Path

from psygnal import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_stem_orient.core.crystal import BUILTIN_CRYSTALS, Crystal
from napari_stem_orient.gui.parts.crystal_chooser import builtin_groups
from napari_stem_orient.gui.parts.crystal_question import load_for
from napari_stem_orient.gui.parts.crystal_search import CrystalSearch
from napari_stem_orient.gui.parts.file_dialogs import ask_open_file
from napari_stem_orient.gui.parts.stage_panel import JobPanel
from napari_stem_orient.gui.parts.theme_colours import theme_colours

NONE = "No crystal"
CIF = "CIF…"
CHOSEN = "Chosen before"


class CrystalBox(QWidget):
    """Chooses the crystals of the Session, a built-in one or a CIF; a choice of its own, apart from the Session's.

    Parameters
    ----------
    panel : the panel that it stands in, which shows what goes wrong
    tooltip : what the crystal is for
    """

    changed = Signal()

    def __init__(self, panel: JobPanel, *, tooltip: str) -> None:
        super().__init__()
        self._panel = panel
        self._own: tuple[Crystal, ...] | None = None  # None while the Session's are taken
        self._from_files: tuple[Crystal, ...] = ()
        self.box = CrystalSearch()
        self.box.setToolTip(f"<qt>{tooltip} Type to search by name or structure type, or open the list.</qt>")
        self.box.chosen.connect(self._on_chosen)
        self.box.not_found.connect(self._on_not_found)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box)
        panel.watch(("crystals",), self._on_session_crystals)
        panel.listen(panel.viewer.events.theme, self._on_theme_changed)
        self._on_theme_changed()
        self._fill()

    @property
    def crystals(self) -> tuple[Crystal, ...]:
        """The chosen crystals: those of the Session until another choice is made."""
        return self._panel.session.crystals if self._own is None else self._own

    def choose(self, name_or_path: str | Path) -> None:
        """Choose a built-in crystal by its name, or one from a CIF file."""
        crystal = load_for(self._panel, name_or_path)
        if crystal is not None:
            if crystal.name not in BUILTIN_CRYSTALS and crystal not in self._from_files:
                self._from_files = (*self._from_files, crystal)
            self._set((crystal,))

    def _set(self, crystals: tuple[Crystal, ...] | None) -> None:
        self._own = crystals
        self._fill()
        self.changed.emit()

    def _on_chosen(self, choice: tuple[Crystal, ...] | str) -> None:
        if choice == CIF:
            self._on_cif()
        elif isinstance(choice, str):
            self.choose(choice)
        else:
            self._set(None if choice == self._panel.session.crystals else choice)

    def _on_not_found(self, text: str) -> None:
        self._panel.show_message(f"“{text}” is none of the crystals in the list; CIF… takes any other.")

    def _on_theme_changed(self, _: object = None) -> None:
        self.box.apply_theme(theme_colours(self._panel.viewer))

    def _on_cif(self) -> None:
        path = ask_open_file(self, "Choose a crystal", kinds="CIF (*.cif);;All files (*)", purpose="crystals")
        if path is not None:
            self.choose(path)
        self._fill()

    def _on_session_crystals(self) -> None:
        self._fill()
        if self._own is None:
            self.changed.emit()

    def _fill(self) -> None:
        """List what there is to choose: the Session's crystals, those from files, the built-in ones."""
        of_session = self._panel.session.crystals
        chosen: list[tuple[Crystal, ...]] = [] if of_session else [()]
        chosen += [of_session] if len(of_session) > 1 else []
        chosen += [(crystal,) for crystal in (*of_session, *self._from_files)]
        if self.crystals not in chosen:
            chosen.append(self.crystals)
        listed = {crystals[0].name for crystals in chosen if len(crystals) == 1}
        built_in = [
            (f"Built in: {kind}", [(name, name) for name in names if name not in listed])
            for kind, names in builtin_groups()
        ]
        alone = [(_names(choice), choice) for choice in chosen if not choice]
        yours = [(_names(choice), choice) for choice in chosen if choice]
        self.box.set_entries(
            [("", [*alone, (CIF, CIF)]), (CHOSEN, yours), *built_in], shown=_names(self.crystals)
        )


def _names(crystals: tuple[Crystal, ...]) -> str:
    return " and ".join(crystal.name for crystal in crystals) or NONE
