"""CrystalBox: one choice of the crystals whose rings a calibration is compared with."""

from __future__ import annotations

from pathlib import Path

from psygnal import Signal
from qtpy.QtGui import QStandardItemModel
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_stem_orient.core.crystal import BUILTIN_CRYSTALS, Crystal
from napari_stem_orient.gui.crystal_chooser import builtin_groups, heading
from napari_stem_orient.gui.crystal_question import load_for
from napari_stem_orient.gui.file_dialogs import ask_open_file
from napari_stem_orient.gui.form_layout import narrow_box
from napari_stem_orient.gui.step_panel import JobPanel

NONE = "No crystal"
CIF = "CIF…"
HEADING = ""  # stands for the lines that cannot be chosen


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
        self._choices: list[tuple[Crystal, ...] | str] = []
        self.box = narrow_box()
        self.box.setMinimumContentsLength(8)  # a button and a tick stand beside it
        self.box.setToolTip(tooltip)
        self.box.activated.connect(self._on_activated)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box)
        panel.listen(panel.session.crystals_changed, self._on_session_crystals)
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

    def _on_activated(self, index: int) -> None:
        choice = self._choices[index]
        if choice == CIF:
            self._on_cif()
        elif choice == HEADING:
            self._fill()
        elif isinstance(choice, str):
            self.choose(choice)
        else:
            self._set(None if choice == self._panel.session.crystals else choice)

    def _on_cif(self) -> None:
        path = ask_open_file(self, "Choose a crystal", kinds="CIF (*.cif);;All files (*)", purpose="crystals")
        if path is not None:
            self.choose(path)
        self._fill()

    def _on_session_crystals(self, _: object) -> None:
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
            (f"Built in: {kind}", [name for name in names if name not in listed])
            for kind, names in builtin_groups()
        ]
        self._choices = [*chosen]
        self.box.clear()
        self.box.addItems([_names(choice) for choice in chosen])
        model = self.box.model()
        assert isinstance(model, QStandardItemModel)
        for title, names in built_in:
            if names:
                model.appendRow(heading(title))
                self.box.addItems(names)
                self._choices += [HEADING, *names]
        self.box.insertSeparator(self.box.count())
        self.box.addItem(CIF)
        self._choices += [HEADING, CIF]
        self.box.setCurrentIndex(chosen.index(self.crystals))


def _names(crystals: tuple[Crystal, ...]) -> str:
    return " and ".join(crystal.name for crystal in crystals) or NONE
