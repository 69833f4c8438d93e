"""DetectorForm: radii and place of the selected virtual detector as numbers, in px, with 1/Å and mrad beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from qtpy.QtWidgets import QCheckBox, QGridLayout, QHBoxLayout, QLabel, QWidget

from napari_stem_orient.gui.jobs.connections import Connections
from napari_stem_orient.gui.parts.number_box import NumberBox
from napari_stem_orient.gui.parts.panel import plain_label
from napari_stem_orient.gui.virtual.detectors import VirtualDetectors
from napari_stem_orient.gui.virtual.text import length_text, place_text
from napari_stem_orient.virtual.detector import SMALLEST_RADIUS_PX, VirtualDetector

if TYPE_CHECKING:
    from napari_stem_orient.core.calibration import Calibration

LARGEST_PX = 20_000.0
BOX_WIDTH = 88

_ONE_PLACE = "One place serves the whole scan until disks are detected: detect them if the beam drifts."


class DetectorForm(QWidget):
    """Mirrors the selected detector of a list, and changes it.

    Parameters
    ----------
    detectors : the list
    connections : leaves the list's signals when the dock goes
    """

    def __init__(self, detectors: VirtualDetectors, connections: Connections) -> None:
        super().__init__()
        self._detectors = detectors
        self._calibration: Calibration | None = None
        self._beam, self._beam_moves = (0.0, 0.0), False
        self.inner_box = NumberBox(minimum=0.0, maximum=LARGEST_PX)
        self.outer_box = NumberBox(minimum=SMALLEST_RADIUS_PX, maximum=LARGEST_PX)
        self.row_box = NumberBox(minimum=-LARGEST_PX, maximum=LARGEST_PX)
        self.column_box = NumberBox(minimum=-LARGEST_PX, maximum=LARGEST_PX)
        self.follow_box = QCheckBox("Follows the direct beam")
        self._inner_label, self._outer_label = QLabel("Inner radius (px)"), QLabel()
        self._centre_label = QLabel("Row, column (px)")
        self._inner_text, self._outer_text, self._place_text = plain_label(), plain_label(), plain_label()
        self._beam_note = plain_label(_ONE_PLACE)
        self._build()
        connections.connect(detectors.changed, self._on_changed)
        connections.connect(detectors.selection_changed, self._on_changed)
        self.refresh()

    def set_surroundings(
        self, calibration: Calibration | None, beam_px: tuple[float, float], *, beam_moves: bool
    ) -> None:
        """Take what turns px into other units, and the mean place of the direct beam (row, column).

        ``beam_moves`` says whether its place is known at every position of the scan.
        """
        self._calibration, self._beam, self._beam_moves = calibration, beam_px, beam_moves
        self.refresh()

    def refresh(self) -> None:
        """Show the selected detector."""
        entry = self._detectors.selected
        self.setVisible(entry is not None)
        if entry is None:
            return
        detector = entry.detector
        annulus = detector.shape == "annulus"
        values = (detector.inner_radius_px, detector.outer_radius_px, *detector.centre_px)
        boxes = (self.inner_box, self.outer_box, self.row_box, self.column_box)
        for box, value in zip(boxes, values, strict=True):
            box.blockSignals(True)
            box.set_number(round(value, 2))
            box.blockSignals(False)
        self.follow_box.blockSignals(True)
        self.follow_box.setChecked(detector.follows_beam)
        self.follow_box.blockSignals(False)
        for widget in (self.inner_box, self._inner_label, self._inner_text):
            widget.setVisible(annulus)
        self._outer_label.setText("Outer radius (px)" if annulus else "Radius (px)")
        self._inner_text.setText(length_text(detector.inner_radius_px, self._calibration))
        self._outer_text.setText(length_text(detector.outer_radius_px, self._calibration))
        self._beam_note.setVisible(detector.follows_beam and not self._beam_moves)
        self._place_text.setText(place_text(detector, self._calibration))

    # --- what the user does --------------------------------------------------------------------------------

    def _on_changed(self, _: object) -> None:
        self.refresh()

    def _on_inner(self, value: float) -> None:
        self._change(inner_radius_px=value)

    def _on_outer(self, value: float) -> None:
        self._change(outer_radius_px=value)

    def _on_centre(self, _: float) -> None:
        self._change(centre_px=(self.row_box.value(), self.column_box.value()))

    def _on_follow(self, follows: bool) -> None:
        """Keep the detector where it is seen, and only measure its place from elsewhere."""
        entry = self._detectors.selected
        if entry is not None:
            row, column = entry.detector.centre_px
            sign = -1 if follows else 1
            centre = (row + sign * self._beam[0], column + sign * self._beam[1])
            self._change(follows_beam=follows, centre_px=centre)

    def _change(self, **changes: Any) -> None:
        """Change the selected detector, or show its old values again where the new ones make no sense."""
        entry = self._detectors.selected
        if entry is None:
            return
        try:
            detector: VirtualDetector = entry.detector.updated(**changes)
        except ValidationError:
            self.refresh()
            return
        self._detectors.change(entry.key, detector)

    # --- widgets -------------------------------------------------------------------------------------------

    def _build(self) -> None:
        for box in (self.inner_box, self.outer_box):
            box.setMaximumWidth(BOX_WIDTH)
        self.inner_box.setToolTip("Inner radius of the annulus in px; smaller than the outer one.")
        self.outer_box.setToolTip("Radius of the disk, or outer radius of the annulus, in px.")
        self.row_box.setToolTip("Rows (px, down) of the centre from the direct beam, or on the detector.")
        self.column_box.setToolTip(
            "Columns (px, right) of the centre from the direct beam, or on the detector."
        )
        self.follow_box.setToolTip(
            "<qt>The detector keeps its distance from the direct beam, wherever the Bragg peaks found that at each "
            "scan position. Without, it keeps its place on the detector.</qt>"
        )
        self.inner_box.valueChanged.connect(self._on_inner)
        self.outer_box.valueChanged.connect(self._on_outer)
        self.row_box.valueChanged.connect(self._on_centre)
        self.column_box.valueChanged.connect(self._on_centre)
        self.follow_box.toggled.connect(self._on_follow)
        centre = QHBoxLayout()
        centre.addWidget(self.row_box)
        centre.addWidget(self.column_box)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(3)
        grid.setColumnStretch(2, 1)
        rows = (
            (self._inner_label, self.inner_box, self._inner_text),
            (self._outer_label, self.outer_box, self._outer_text),
        )
        for number, widgets in enumerate(rows):
            for column, widget in enumerate(widgets):
                grid.addWidget(widget, number, column)
        grid.addWidget(self._centre_label, 2, 0)
        grid.addLayout(centre, 2, 1, 1, 2)
        grid.addWidget(self._place_text, 3, 0, 1, 3)
        grid.addWidget(self.follow_box, 4, 0, 1, 3)
        grid.addWidget(self._beam_note, 5, 0, 1, 3)
