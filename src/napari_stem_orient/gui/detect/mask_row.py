"""MaskRow: the part of the Detect stage that says which detector pixels are left out, and lets one choose them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QGridLayout, QPushButton, QVBoxLayout, QWidget

from napari_stem_orient.gui.detect.mask_painting import MaskPainter
from napari_stem_orient.gui.detect.planner import DetectPlanner
from napari_stem_orient.gui.jobs.workers import plain_job
from napari_stem_orient.gui.parts.file_dialogs import ask_open_file, ask_save_file
from napari_stem_orient.gui.parts.folding import Folding
from napari_stem_orient.gui.parts.panel import plain_label
from napari_stem_orient.gui.parts.stage_panel import StagePanel
from napari_stem_orient.steps.mask import NO_MASK, MaskChoice, mask_from_file, save_mask

if TYPE_CHECKING:
    from collections.abc import Callable

MASK_KINDS = "Detector mask (*.npy *.tif *.tiff)"
HOW_TO_PAINT = "Paint over unusable pixels in the viewer (the eraser takes paint away), then press Use mask."


class MaskRow(QWidget):
    """Shows the Session's detector mask in words, and has it found, painted, opened, saved and cleared.

    Parameters
    ----------
    panel
        The stage that it stands in: runs its jobs and shows its messages.
    planner
        Keeps what is chosen, and what was found in the scan.
    """

    def __init__(self, panel: StagePanel, planner: DetectPlanner) -> None:
        super().__init__()
        self._panel, self._session, self._planner = panel, panel.session, planner
        self._asked_to_find = False
        self._painter = MaskPainter(panel.viewer)
        self.words_label = plain_label()
        self.saturated_label = plain_label()
        self._make_buttons()
        self._build()
        panel.watch(("opening",), self._on_opening)
        panel.watch(("detector_mask",), self.refresh)
        panel.watch(("mean_pattern",), self._on_mean_pattern)
        panel.listen(planner.changed, self.refresh)
        panel.listen(planner.planned, self._on_planned)
        self.refresh()

    # --- found ---------------------------------------------------------------------------------------------

    def _choose(self, choice: MaskChoice) -> None:
        self._planner.choose(mask=choice)

    def _on_find(self) -> None:
        """Look in the scan, and leave out what is found beside what is left out already."""
        self._asked_to_find = True
        choice = self._planner.choice.mask
        if choice.found:
            self._planner.measure()
        else:
            self._choose(choice.changed(found=True))

    def _on_planned(self) -> None:
        found = self._planner.found
        if found is None or not self._asked_to_find:
            return
        self._asked_to_find = False
        words = f"Found: {found.bad.sentence()}." if found.bad.mask.any() else "No bad pixels were found."
        offer = " A beam stop was found too." if found.beam_stop.any() else ""
        self._panel.show_message(f"{words}{offer}")

    def _on_stop_added(self) -> None:
        self._choose(self._planner.choice.mask.changed(beam_stop=True))

    # --- painted -------------------------------------------------------------------------------------------

    def _on_paint(self) -> None:
        pattern = self._session.mean_pattern
        if pattern is not None:
            self._panel.attempt(partial(self._painter.start, pattern, self._session.detector_mask))
            self._panel.show_message(HOW_TO_PAINT)
            self.refresh()

    def _on_use(self) -> None:
        mask = self._painter.mask()
        self._end_painting()
        if mask is None:
            self._panel.show_message("The layer “Detector mask” is gone: press Paint mask to have it again.")
        elif mask.all():
            self._panel.show_message("The whole detector is painted over: leave some pixels usable.")
        else:
            self._session.set_detector_mask(mask if mask.any() else None)

    def _end_painting(self) -> None:
        self._painter.stop()
        self._panel.show_message("")
        self.refresh()

    # --- files ---------------------------------------------------------------------------------------------

    def _on_open(self) -> None:
        datacube = self._session.datacube
        path = ask_open_file(self, "Open a detector mask", start=self._folder(), kinds=MASK_KINDS)
        if path is not None and datacube is not None:
            self._panel.run(
                plain_job(partial(mask_from_file, path, datacube.detector_shape)),
                title=f"Opening {path.name}",
                about_scan=True,
                on_done=self._choose,
            )

    def _on_save(self) -> None:
        mask, datacube = self._session.detector_mask, self._session.datacube
        if mask is None or datacube is None:
            return
        start = (self._folder() or Path()) / f"{datacube.name}_mask.npy"
        path = ask_save_file(self._panel, "Save the detector mask", start=start, kinds=MASK_KINDS)
        if path is not None:
            self._panel.run(
                plain_job(partial(save_mask, mask, path, overwrite=True)),
                title=f"Saving {path.name}",
                on_done=lambda _: self._panel.show_message(f"Saved {path.name}."),
            )

    def _on_clear(self) -> None:
        self._choose(NO_MASK)

    def _folder(self) -> Path | None:
        datacube = self._session.datacube
        return None if datacube is None or datacube.path is None else datacube.path.parent

    # --- what changes --------------------------------------------------------------------------------------

    def _on_opening(self) -> None:
        self._asked_to_find = False
        self._painter.stop()
        self.refresh()

    def _on_mean_pattern(self) -> None:
        if not self.paint_button.isEnabled():
            self.refresh()

    def _on_folded(self, _: bool) -> None:
        self.refresh()

    def refresh(self) -> None:
        """Bring words and buttons in line with the Session."""
        session, found = self._session, self._planner.found
        mask, opened = session.detector_mask, session.datacube is not None
        words = self._words(mask)
        self.folding.note.setText(words if opened and not self.folding.unfolded else "")
        self.folding.note.setToolTip(words)
        self.words_label.setText(words if opened else "")
        painting = self._painter.active
        self.paint_button.setVisible(not painting)
        self.use_button.setVisible(painting)
        self.cancel_button.setVisible(painting)
        self.find_button.setVisible(not painting)
        self.paint_button.setEnabled(opened and session.mean_pattern is not None)
        self.find_button.setEnabled(opened)
        self.open_button.setEnabled(opened and not painting)
        for button in (self.clear_button, self.save_button):
            button.setEnabled(mask is not None and not painting)
        stop = None if found is None else found.beam_stop
        offered = stop is not None and bool(stop.any()) and (mask is None or not mask[stop].all())
        self.stop_button.setVisible(offered)
        if stop is not None:
            self.stop_button.setText(f"Leave out the beam stop ({int(stop.sum()):,} px)")
        saturation = None if found is None else found.saturation
        saturated = "" if saturation is None else saturation.sentence()
        self.saturated_label.setText(saturated)
        self.saturated_label.setVisible(bool(saturated))

    def _words(self, mask: NDArray[np.bool_] | None) -> str:
        """Which pixels are left out."""
        if mask is None or not mask.any():
            return "All pixels are used"
        found, choice = self._planner.found, self._planner.choice.mask
        if found is not None and choice == MaskChoice():
            return found.bad.sentence()
        number = int(mask.sum())
        return (
            f"{number:,} {'pixel is' if number == 1 else 'pixels are'} left out ({100 * mask.mean():.2g} %)"
        )

    # --- widgets -------------------------------------------------------------------------------------------

    def _make_buttons(self) -> None:
        def button(text: str, tooltip: str, slot: Callable[[], None]) -> QPushButton:
            made = QPushButton(text)
            made.setToolTip(f"<qt>{tooltip}</qt>")
            made.clicked.connect(slot)
            return made

        self.paint_button = button(
            "Paint mask",
            "Show the mean pattern in the viewer, with a Labels layer to paint over pixels that are not usable.",
            self._on_paint,
        )
        self.use_button = button("Use mask", "Take what is painted, and show the maps again.", self._on_use)
        self.cancel_button = button("Cancel", "Forget what is painted.", self._end_painting)
        self.find_button = button(
            "Find automatically",
            "Look for hot and dead pixels and for a beam stop in 64 patterns of the scan.",
            self._on_find,
        )
        self.clear_button = button("Clear", "Use all pixels.", self._on_clear)
        self.open_button = button(
            "Open…",
            "Open a mask from an image (.npy, .tif) of the detector: not 0 where a pixel is not usable.",
            self._on_open,
        )
        self.save_button = button("Save…", "Save the mask as an image (.npy, .tif).", self._on_save)
        self.stop_button = button(
            "Leave out the beam stop", "Add the beam stop that was found to the mask.", self._on_stop_added
        )

    def _build(self) -> None:
        body = QWidget()
        grid = QGridLayout(body)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(3)
        grid.addWidget(self.words_label, 0, 0, 1, 6)
        for widget, column in ((self.paint_button, 0), (self.use_button, 0)):
            grid.addWidget(widget, 1, column, 1, 3)
        for widget in (self.find_button, self.cancel_button):
            grid.addWidget(widget, 1, 3, 1, 3)
        for column, widget in enumerate((self.clear_button, self.open_button, self.save_button)):
            grid.addWidget(widget, 2, 2 * column, 1, 2)
        self.folding = Folding("Detector mask", body)
        self.folding.button.toggled.connect(self._on_folded)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.folding)
        layout.addWidget(self.stop_button)
        layout.addWidget(self.saturated_label)
