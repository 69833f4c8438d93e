"""ExportWidget: the fifth stage: maps, tables, figures and peaks into files, and maps from files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QPushButton

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.gui.export.recipe_box import RecipeBox
from napari_stem_orient.gui.jobs.workers import plain_job
from napari_stem_orient.gui.parts.exploratory_note import ExploratoryNote
from napari_stem_orient.gui.parts.file_dialogs import ask_open_file, ask_save_file
from napari_stem_orient.gui.parts.form_layout import narrow_box
from napari_stem_orient.gui.parts.opened_results import take_result
from napari_stem_orient.gui.parts.panel import plain_label
from napari_stem_orient.gui.parts.stage_panel import StagePanel
from napari_stem_orient.io.figures import figure_kinds
from napari_stem_orient.io.maps import open_orientation_map
from napari_stem_orient.session.results import file_suffix
from napari_stem_orient.session.saved import Result
from napari_stem_orient.session.state import Stage
from napari_stem_orient.session.unsaved import unsaved_results
from napari_stem_orient.steps.export import ExportChoice, Exported, export

if TYPE_CHECKING:
    import napari

FILES: dict[Exported, tuple[str, str]] = {
    Exported.MAP: ("Save the map", "Orientation map (*.h5)"),
    Exported.PEAKS: ("Save Bragg peaks", "Bragg peaks (*.h5 *.emd)"),
    Exported.ANG: ("Export .ang", "EBSD data (*.ang)"),
    Exported.TABLE: ("Export a table", "Table (*.csv)"),
    Exported.FIGURE: ("Export a figure", "Pictures (*.png *.tif *.pdf *.svg)"),
}
"""What the question for a file is called, and the kinds of files that it offers."""


class ExportWidget(StagePanel):
    """Writes what the Session holds; every file is complete or absent.

    Parameters
    ----------
    napari_viewer
        The viewer whose Session this shows.
    """

    stage = Stage.EXPORT

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self._folder: Path | None = None
        self.save_button = self._button(
            "Save map…", self._on_save, "HDF5 that orix opens, and this plugin again."
        )
        self.ang_button = self._button(".ang…", self._on_ang, "For EBSD programs (EDAX / OIM, MTEX).")
        self.csv_button = self._button(
            "CSV…",
            self._on_csv,
            "One row for each scan position; zone axes as in Inspect.",
        )
        self.peaks_button = self._button(
            "Save peaks…", self._on_peaks, "Bragg peaks as py4DSTEM BraggVectors."
        )
        self.open_button = self._button("Open map…", self._on_open, "Open a map that was saved here.")
        self.figure_button = self._button(
            "Figure…", self._on_figure, "Picture with scale bar and colour key."
        )
        self.figure_box = narrow_box()
        for kind, title in figure_kinds().items():
            self.figure_box.addItem(title, kind)
        self.exploratory = ExploratoryNote()
        self.unsaved_label = plain_label()
        self._lay_out()
        self.recipe_box = RecipeBox(self)
        self.content.addWidget(self.recipe_box)
        self.content.addWidget(self.unsaved_label)
        self.content.addWidget(self.exploratory)
        self.refresh()

    # --- what the user does --------------------------------------------------------------------------------

    def _on_save(self) -> None:
        self._export(ExportChoice(what=Exported.MAP))

    def _on_ang(self) -> None:
        self._export(ExportChoice(what=Exported.ANG))

    def _on_csv(self) -> None:
        self._export(ExportChoice(what=Exported.TABLE, four_indices=self.session.four_indices))

    def _on_figure(self) -> None:
        self._export(ExportChoice(what=Exported.FIGURE, figure=self.figure_box.currentData()))

    def _on_peaks(self) -> None:
        self._export(ExportChoice(what=Exported.PEAKS))

    def _on_open(self) -> None:
        path = ask_open_file(
            self, "Open a map", start=self._start_folder(), kinds="Orientation map (*.h5 *.hdf5)"
        )
        if path is not None:
            self._folder = path.parent
            self.run(
                plain_job(partial(open_orientation_map, path)),
                title=f"Opening {path.name}",
                on_done=partial(take_result, self),
            )

    # --- writing -------------------------------------------------------------------------------------------

    def _export(self, choice: ExportChoice) -> None:
        wants_peaks = choice.what is Exported.PEAKS
        result = self.session.peaks if wants_peaks else self.session.current_map
        if result is None:
            peaks, no_map = (
                "Bragg peaks to save: detect or open some first",
                "orientation map yet: index, or open one",
            )
            self.show_message(f"There {f'are no {peaks}' if wants_peaks else f'is no {no_map}'}.")
            return
        path = self._ask(choice)
        if path is not None:
            written = result if isinstance(result, BraggPeaks) else result.copy()  # it may still be painted
            saved = result if choice.what in (Exported.MAP, Exported.PEAKS) else None
            self._write(choice.for_name(path), written, path, saved)

    def _ask(self, choice: ExportChoice) -> Path | None:
        title, kinds = FILES[choice.what]
        start = (self._start_folder() or Path.home()) / f"{self._name(choice.what)}{choice.file_ending}"
        path = ask_save_file(self, title, start=start, kinds=kinds)
        if path is not None:
            self._folder = path.parent
        return path

    def _write(self, choice: ExportChoice, result: Result, path: Path, saved: Result | None) -> None:
        def tell(_: object) -> None:
            if saved is not None:
                self.session.mark_saved(saved)
            self.show_message(f"Saved {path.name}.")

        write = partial(export, choice, result, path, overwrite=True)  # the user has been asked
        self.run(plain_job(write), title=f"Saving {path.name}", on_done=tell)

    def _start_folder(self) -> Path | None:
        datacube = self.session.datacube
        if self._folder is not None or datacube is None or datacube.path is None:
            return self._folder
        return datacube.path.parent

    def _name(self, what: Exported) -> str:
        name = Path(self.session.source.name).stem or "orientation"
        current, several = self.session.current_map, len(self.session.orientation_maps) > 1
        if current is None or not several or what is Exported.PEAKS:
            return name
        return f"{name}{file_suffix(current)}"

    # --- widgets -------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Enable what there is something to write for."""
        super().refresh()
        result = self.session.current_map or self.session.peaks
        self.exploratory.show_for(None if result is None else result.calibration)
        has_map = self.session.current_map is not None
        for button in (self.save_button, self.ang_button, self.csv_button, self.figure_button):
            button.setEnabled(has_map)
        self.peaks_button.setEnabled(self.session.peaks is not None)
        lines = [f"• {each.words}" for each in unsaved_results(self.session.state)]
        self.unsaved_label.setText("\n".join(["Not saved yet:", *lines]) if lines else "")
        self.unsaved_label.setVisible(bool(lines))

    def _button(self, words: str, slot: Callable[[], None], tooltip: str) -> QPushButton:
        button = QPushButton(words)
        button.setToolTip(tooltip)
        button.clicked.connect(slot)
        return button

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.addWidget(self.save_button, 0, 0)
        grid.addWidget(self.ang_button, 0, 1)
        grid.addWidget(self.csv_button, 0, 2)
        grid.addWidget(self.peaks_button, 1, 0)
        grid.addWidget(self.open_button, 1, 1, 1, 2)
        self.content.addLayout(grid)
        figure_row = QHBoxLayout()
        figure_row.addWidget(self.figure_box, 1)
        figure_row.addWidget(self.figure_button)
        self.content.addLayout(figure_row)
