"""CalibrationRows: what is known of origin, ellipse, pixel size and rotation, and what calibrates each of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, get_args

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_stem_orient.calibration.origin import OriginModel
from napari_stem_orient.core.calibration import Calibration, Quantity
from napari_stem_orient.core.merged_calibration import QUANTITIES
from napari_stem_orient.gui.calibrate.status import Status, known_text, status_of
from napari_stem_orient.gui.parts.form_layout import narrow_box
from napari_stem_orient.gui.parts.missing_values import LinkLabel
from napari_stem_orient.gui.parts.number_box import NumberBox
from napari_stem_orient.gui.parts.panel import plain_label

if TYPE_CHECKING:
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.session.calibration_state import CalibrationChange

SIGNS = {Status.UNKNOWN: "○", Status.ENTERED: "●", Status.CALIBRATED: "✓"}
MEANINGS = {
    Status.UNKNOWN: "Unknown: nothing was measured, entered or read from the file.",
    Status.ENTERED: "Entered, read from the file or left by Detect, but neither fitted here nor confirmed: results "
    "are exploratory.",
    Status.CALIBRATED: "Calibrated: measured on this scan, or confirmed.",
}
TITLE_WIDTH = 96
INDENT = 16
WHAT: dict[Quantity, str] = {
    "origin": "Where the direct beam is on the detector at each scan position.",
    "ellipse": "Major over minor axis of a ring that should be a circle, and the direction of the major axis, from "
    "detector x (right) toward y (down).",
    "pixel size": "Width of a detector pixel in reciprocal space, in 1/Å (not 2π/d).",
    "rotation": "By how much the detector is turned against the scan, from x toward y, and whether it is mirrored. "
    "Disks alone cannot tell it: it comes from the microscope, or from a defocused image of the sample.",
}
MODELS: dict[OriginModel, tuple[str, str]] = {
    "plane": ("Plane", "the beam wanders evenly over the scan"),
    "parabola": ("Parabola", "it wanders in a curve"),
    "constant": ("Constant", "it stays in one place"),
    "measured": ("As measured", "it jumps: where it was found at each position, else the plane"),
}


class QuantityRow(QWidget):
    """Title with a sign and value in one line, the controls and a tick in a line below.

    Parameters
    ----------
    quantity : what the row is about
    controls : what calibrates it, from left to right; the first takes the room there is
    value_label : what shows the value; a plain label where none is given
    """

    confirmed = Signal(bool)  # the user ticked "calibrated", or took the tick away

    def __init__(
        self, quantity: Quantity, controls: Sequence[QWidget], *, value_label: QLabel | None = None
    ) -> None:
        super().__init__()
        self.quantity = quantity
        self.title_label = QLabel()
        self.title_label.setFixedWidth(TITLE_WIDTH)
        font = self.title_label.font()
        font.setBold(True)
        self.title_label.setFont(font)
        self.value_label = plain_label() if value_label is None else value_label
        self.value_label.setToolTip(f"<qt>{WHAT[quantity]}</qt>")
        self.tick = QCheckBox("calibrated")
        self.tick.setToolTip(
            "<qt>Set by a fit. Tick it to confirm a value that you trust from elsewhere; while it is off, results "
            "are called exploratory.</qt>"
        )
        self.tick.clicked.connect(self._on_ticked)
        first, second = QHBoxLayout(), QHBoxLayout()
        first.addWidget(self.title_label, 0, Qt.AlignmentFlag.AlignTop)
        first.addWidget(self.value_label, 1)
        second.setContentsMargins(INDENT, 0, 0, 0)
        for index, control in enumerate(controls):
            second.addWidget(control, 0 if index else 1)
        second.addWidget(self.tick)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(2)
        layout.addLayout(first)
        layout.addLayout(second)

    def show_status(self, status: Status | None, text: str) -> None:
        """Show what is known; None where there are no peaks that it could be known of."""
        sign = SIGNS[status or Status.UNKNOWN]
        self.title_label.setText(f"{sign} {self.quantity.capitalize()}")
        self.title_label.setToolTip(f"<qt>{MEANINGS[status or Status.UNKNOWN]}</qt>")
        self.value_label.setText(text)
        self.tick.setChecked(status is Status.CALIBRATED)
        self.tick.setEnabled(status is not None and text != "unknown")

    def _on_ticked(self, ticked: bool) -> None:
        # not connected by itself: PySide6 passes nothing to what takes any number of values, as psygnal's emit does
        self.confirmed.emit(ticked)


class CalibrationRows(QWidget):
    """The four rows, in the order in which a scan is calibrated.

    Parameters
    ----------
    crystal_box : chooses the crystal, and stands in the row of the pixel size
    pixel_size_label : tells the pixel size or, as a link, that it is unknown
    """

    fit_asked = Signal(str)  # "origin", "ellipse" or "pixel size"
    confirmed = Signal(str, bool)
    rotation_entered = Signal(float, bool)  # degrees, mirrored
    rotation_file_asked = Signal()
    rings_asked = Signal()

    def __init__(self, crystal_box: QWidget, pixel_size_label: LinkLabel) -> None:
        super().__init__()
        self.model_box = self._make_model_box()
        self.rotation_box = NumberBox(minimum=-360, maximum=360)
        self.rotation_box.setSuffix(" °")
        self.rotation_box.setToolTip(f"<qt>{WHAT['rotation']}</qt>")
        self.flip_box = QCheckBox("mirrored")
        self.flip_box.setToolTip("The detector is read mirrored: its x changes its sign before the rotation.")
        self.file_button = QPushButton("File…")
        self.file_button.setToolTip(
            "Take rotation and mirroring from a scan, peaks, map or calibration file."
        )
        self.rings_button = QPushButton("Rings…")
        self.rings_button.setToolTip(
            "<qt>Fit ellipse and pixel size to a picture of a standard with rings (gold, for instance), taken at the "
            "camera length of this scan; the crystal of the row below is that of the standard.</qt>"
        )
        self.rings_button.clicked.connect(lambda _: self.rings_asked.emit())
        self.fit_buttons: dict[Quantity, QPushButton] = {
            "origin": self._fit_button(
                "origin", "Fit the direct beam of all positions; strong disks do no harm."
            ),
            "ellipse": self._fit_button(
                "ellipse",
                "Fit the ellipse that the rings are drawn out to; without a crystal, what makes the radial histogram "
                "sharpest.",
            ),
            "pixel size": self._fit_button(
                "pixel size", "Fit the pixel size to the rings of the crystal; it need not be known before."
            ),
        }
        hint = plain_label("from all disks")
        controls: dict[Quantity, tuple[QWidget, ...]] = {
            "origin": (self.model_box, self.fit_buttons["origin"]),
            "ellipse": (hint, self.rings_button, self.fit_buttons["ellipse"]),
            "pixel size": (crystal_box, self.fit_buttons["pixel size"]),
            "rotation": (self.rotation_box, self.flip_box, self.file_button),
        }
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        labels = {"pixel size": pixel_size_label}
        self.rows = {
            quantity: QuantityRow(quantity, controls[quantity], value_label=labels.get(quantity))
            for quantity in QUANTITIES
        }
        for quantity, row in self.rows.items():
            row.confirmed.connect(partial(self.confirmed.emit, quantity))
            layout.addWidget(row)
        self.rotation_box.valueChanged.connect(self._on_rotation)
        self.flip_box.clicked.connect(self._on_rotation)
        self.file_button.clicked.connect(lambda _: self.rotation_file_asked.emit())
        self.ellipse_hint = hint

    @property
    def origin_model(self) -> OriginModel:
        """How the direct beam is followed over the scan."""
        return list(MODELS)[max(0, self.model_box.currentIndex())]

    def show_peaks(self, peaks: BraggPeaks | None, changes: Sequence[CalibrationChange]) -> None:
        """Show what is known of the peaks' calibration."""
        calibration = Calibration() if peaks is None else peaks.calibration
        for quantity, row in self.rows.items():
            if peaks is None:
                row.show_status(None, "")
            else:
                text = known_text(calibration, quantity, peaks.origin_px, changes)
                row.show_status(status_of(calibration, quantity), text)
        for box in (self.rotation_box, self.flip_box):
            box.blockSignals(True)
        self.rotation_box.set_number(calibration.scan_rotation_deg)
        self.flip_box.setChecked(calibration.flip)
        for box in (self.rotation_box, self.flip_box):
            box.blockSignals(False)

    def set_ready(self, *, peaks: bool, crystals: int) -> None:
        """Offer what can be done with what there is: peaks or none, and so many crystals."""
        for quantity, button in self.fit_buttons.items():
            button.setEnabled(peaks and (crystals > 0 or quantity != "pixel size"))
        self.rings_button.setEnabled(peaks and crystals == 1)
        self.ellipse_hint.setText("with the rings of the crystal" if crystals else "without a crystal")
        for widget in (self.model_box, self.rotation_box, self.flip_box, self.file_button):
            widget.setEnabled(peaks)

    def _on_rotation(self, _: object) -> None:
        number = self.rotation_box.number()
        if number is not None:
            self.rotation_entered.emit(float(number), self.flip_box.isChecked())

    def _make_model_box(self) -> QComboBox:
        box = narrow_box()
        for words, _ in MODELS.values():
            box.addItem(words)
        lines = "<br>".join(f"{words}: {meaning}" for words, meaning in MODELS.values())
        box.setToolTip(f"<qt>How the direct beam is followed over the scan.<br>{lines}</qt>")
        assert set(MODELS) == set(get_args(OriginModel))
        return box

    def _fit_button(self, quantity: Quantity, tooltip: str) -> QPushButton:
        button = QPushButton("Fit")
        button.setToolTip(f"<qt>{tooltip}</qt>")
        button.clicked.connect(lambda _: self.fit_asked.emit(quantity))
        return button
