"""RecipeBox: what was decided to make the results, to be read, copied and saved; and the choices of a recipe opened."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QFontDatabase, QGuiApplication
from qtpy.QtWidgets import QHBoxLayout, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from napari_stem_orient.core.errors import UserError
from napari_stem_orient.gui.jobs.workers import plain_job
from napari_stem_orient.gui.parts.file_dialogs import ask_open_file, ask_save_file
from napari_stem_orient.gui.parts.panel import plain_label
from napari_stem_orient.session.recorder import lost_mask, recorded_recipe, save_recorded

if TYPE_CHECKING:
    from napari_stem_orient.gui.parts.stage_panel import StagePanel
    from napari_stem_orient.steps.recipe import Recipe

LEFT = {
    "open": "How the file is read, and values entered then, are yours to give in Open.",
    "calibrate": "It also calibrates: that is yours to repeat in Calibrate.",
    "mask": "The painted mask that it names is not here: the mask stays as it is.",
}
"""Step that opening a recipe does not set -> what to do about it."""
KINDS = "Recipe (*.yaml *.yml)"
NOTHING_KNOWN = "The result does not say how it was made: it is of an earlier version, or of another program."
MASK_LOST = "The painted detector mask is not open any more: the recipe names it, and cannot keep it."


class RecipeBox(QWidget):
    """Part of the Export stage.

    Parameters
    ----------
    panel
        The stage that it stands in: runs its jobs and shows its messages.
    """

    def __init__(self, panel: StagePanel) -> None:
        super().__init__()
        self._panel, self._session = panel, panel.session
        self.note = plain_label()
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setToolTip(
            "<qt>What was decided to make the map, or else the peaks: as they were made, not as the panels are set by "
            "now. What is not named is measured in each scan.</qt>"
        )
        self.show_button = self._button(
            "Show recipe", self._on_shown, "Show what was decided to make the map, or else the peaks."
        )
        self.show_button.setCheckable(True)
        self.copy_button = self._button("Copy", self._on_copy, "Copy the recipe as text.")
        self.save_button = self._button(
            "Recipe…",
            self._on_save,
            "Save the recipe, to do the same with others: napari-stem-orient run RECIPE.yaml SCAN … --output FOLDER",
        )
        self.open_button = self._button(
            "Open recipe…",
            self._on_open,
            "Set the panels as a recipe says: one that was saved, or that of a saved map or peaks.",
        )
        self._lay_out()
        panel.watch(("current_result", "peaks", "datacube", "detector_mask"), self.refresh)
        self.refresh()

    # --- what the user does --------------------------------------------------------------------------------

    def _on_shown(self) -> None:
        self.refresh()

    def _on_copy(self) -> None:
        clipboard = QGuiApplication.clipboard()
        recipe = self._recipe()
        if clipboard is not None and recipe is not None:
            clipboard.setText(_as_text(recipe))
            self._panel.show_message("Copied the recipe.")

    def _on_save(self) -> None:
        recipe = self._recipe()
        if recipe is None:
            self._panel.show_message("There is nothing to record yet: open a scan and detect its disks.")
            return
        name = Path(self._session.source.name).stem or "scan"
        scan = self._session.datacube
        folder = Path.home() if scan is None or scan.path is None else scan.path.parent
        start = folder / f"{name}_recipe.yaml"
        path = ask_save_file(self._panel, "Save the recipe", start=start, kinds=KINDS)
        if path is not None:
            write = partial(save_recorded, recipe, path, mask=self._session.detector_mask)
            done = f"Saved {path.name}."
            self._panel.run(
                plain_job(write),
                title=f"Saving {path.name}",
                on_done=lambda _: self._panel.show_message(done),
            )

    def _on_open(self) -> None:
        from napari_stem_orient.session.recorder import opened_recipe

        kinds = f"{KINDS};;Maps and peaks (*.h5 *.hdf5 *.emd);;All files (*)"
        path = ask_open_file(self._panel, "Open a recipe", start=None, kinds=kinds)
        if path is not None:
            self._panel.run(
                plain_job(partial(opened_recipe, path)),
                title=f"Opening {path.name}",
                on_done=self._on_opened,
            )

    def _on_opened(self, opened: object) -> None:
        from napari_stem_orient.session.recorder import OpenedRecipe, what_is_left

        assert isinstance(opened, OpenedRecipe)
        self._session.take_recipe(opened)
        left = [LEFT[name] for name in what_is_left(self._session.state, opened)]
        words = f"Detect and Index are set as in {opened.name}; nothing is done yet."
        self._panel.show_message(" ".join([words, *left]))

    # --- what is shown -------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show the recipe of what there is."""
        recipe, mask = self._recipe(), self._session.detector_mask
        shown = self.show_button.isChecked() and recipe is not None
        self.text.setVisible(shown)
        if shown and recipe is not None:
            text = _as_text(recipe)
            if text != self.text.toPlainText():
                self.text.setPlainText(text)
        for button in (self.show_button, self.copy_button, self.save_button):
            button.setEnabled(recipe is not None)
        state = self._session.state
        lacks = NOTHING_KNOWN if recipe is None and (state.peaks or state.current_map) else ""
        note = MASK_LOST if recipe is not None and lost_mask(recipe, mask) else lacks
        self.note.setText(note)
        self.note.setVisible(bool(note))

    def _recipe(self) -> Recipe | None:
        try:
            return recorded_recipe(self._session.state)
        except UserError as error:
            self._panel.show_message(str(error))
            return None

    def _button(self, words: str, slot: Callable[[], None], tooltip: str) -> QPushButton:
        button = QPushButton(words)
        button.setToolTip(tooltip if tooltip.startswith("<qt>") else f"<qt>{tooltip}</qt>")
        button.clicked.connect(slot)
        return button

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        for button in (self.save_button, self.open_button, self.show_button, self.copy_button):
            row.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.note)
        layout.addWidget(self.text)
        layout.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.text.setMinimumHeight(160)


def _as_text(recipe: Recipe) -> str:
    from napari_stem_orient.steps.recipe_text import recipe_as_text

    return recipe_as_text(recipe)
