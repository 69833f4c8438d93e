"""ExportWidget: the fifth stage: maps, tables, figures and peaks into files, and maps from files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QPushButton

from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.gui.jobs.resume_jobs import save_result
from napari_stem_orient.gui.jobs.workers import plain_job
from napari_stem_orient.gui.parts.exploratory_note import ExploratoryNote
from napari_stem_orient.gui.parts.file_dialogs import ask_open_file, ask_save_file
from napari_stem_orient.gui.parts.form_layout import narrow_box
from napari_stem_orient.gui.parts.opened_results import take_result
from napari_stem_orient.gui.parts.panel import plain_label
from napari_stem_orient.gui.parts.stage_panel import StagePanel
from napari_stem_orient.io.figures import export_figure, figure_kinds
from napari_stem_orient.io.maps import export_ang, export_csv, open_orientation_map
from napari_stem_orient.session.saved import Result
from napari_stem_orient.session.state import Stage
from napari_stem_orient.session.unsaved import unsaved_results

if TYPE_CHECKING:
    import napari


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
        self.content.addWidget(self.unsaved_label)
        self.content.addWidget(self.exploratory)
        self.refresh()

    # --- what the user does --------------------------------------------------------------------------------

    def _on_save(self) -> None:
        self._export("Save the map", "_map.h5", "Orientation map (*.h5)", save_result, marks=True)

    def _on_ang(self) -> None:
        self._export("Export .ang", ".ang", "EBSD data (*.ang)", partial(export_ang, overwrite=True))

    def _on_csv(self) -> None:
        write = partial(export_csv, four=self.session.four_indices, overwrite=True)
        self._export("Export a table", ".csv", "Table (*.csv)", write)

    def _on_figure(self) -> None:
        kind: str = self.figure_box.currentData()
        kinds = "Pictures (*.png *.tif *.pdf *.svg)"
        self._export(
            "Export a figure", f"_{kind}.png", kinds, partial(export_figure, kind=kind, overwrite=True)
        )

    def _on_peaks(self) -> None:
        peaks = self.session.peaks
        if peaks is None:
            self.show_message("There are no Bragg peaks to save: detect or open some first.")
            return
        path = self._ask("Save Bragg peaks", "_peaks.h5", "Bragg peaks (*.h5 *.emd)")
        if path is not None:
            self._write(partial(save_result, peaks), path, saved=peaks)

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

    def _export(
        self,
        title: str,
        ending: str,
        kinds: str,
        write: Callable[[OrientationMap, Path], object],
        *,
        marks: bool = False,
    ) -> None:
        current = self.session.current_map
        if current is None:
            self.show_message("There is no orientation map yet: index, or open one.")
            return
        path = self._ask(title, ending, kinds)
        if path is not None:
            self._write(partial(write, current.copy()), path, saved=current if marks else None)

    def _ask(self, title: str, ending: str, kinds: str) -> Path | None:
        start = (self._start_folder() or Path.home()) / f"{self._name()}{ending}"
        path = ask_save_file(self, title, start=start, kinds=kinds)
        if path is not None:
            self._folder = path.parent
        return path

    def _write(self, write: Callable[[Path], object], path: Path, *, saved: Result | None = None) -> None:
        def tell(_: object) -> None:
            if saved is not None:
                self.session.mark_saved(saved)
            self.show_message(f"Saved {path.name}.")

        self.run(plain_job(partial(write, path)), title=f"Saving {path.name}", on_done=tell)

    def _start_folder(self) -> Path | None:
        datacube = self.session.datacube
        if self._folder is not None or datacube is None or datacube.path is None:
            return self._folder
        return datacube.path.parent

    def _name(self) -> str:
        return Path(self.session.source.name).stem or "orientation"

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
