"""DisplayControls: how a pattern's counts become grey values, and which overlays are drawn."""

from __future__ import annotations

from psygnal import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QWidget

from napari_stem_orient.gui.parts.number_box import NumberBox
from napari_stem_orient.gui.parts.pattern_view import (
    DISK_COLOUR,
    SIMULATED_COLOUR,
    IntensityScale,
    PatternView,
    circle_icon,
)


class DisplayControls(QWidget):
    """One row of controls for any number of pattern views.

    Attributes
    ----------
    changed : the user changed something: apply it
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.scale_box, self.gamma_box = QComboBox(), NumberBox(minimum=0.1, maximum=1.0)
        self.disks_box, self.simulated_box = QCheckBox("Disks"), QCheckBox("Simulated")
        self.scale_box.addItems([scale.value for scale in IntensityScale])
        self.scale_box.setToolTip("How counts become grey values.")
        self.gamma_box.setValue(0.4)
        self.gamma_box.setToolTip("Exponent of the grey values (no unit): small values show weak disks.")
        self.gamma_box.hide()
        self.disks_box.setIcon(circle_icon(DISK_COLOUR, filled=False))
        self.disks_box.setToolTip("Circles of their true radius around the detected Bragg disks.")
        self.simulated_box.setIcon(circle_icon(SIMULATED_COLOUR, filled=True))
        self.simulated_box.setToolTip("Kinematic pattern of the solution; the area goes with the intensity.")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.scale_box)
        row.addWidget(self.gamma_box)
        row.addStretch(1)
        for box in (self.disks_box, self.simulated_box):
            box.setChecked(True)
            box.toggled.connect(self._on_changed)
            row.addWidget(box)
        self.scale_box.currentIndexChanged.connect(self._on_changed)
        self.gamma_box.valueChanged.connect(self._on_changed)

    def apply_to(self, view: PatternView) -> None:
        """Show a view's pattern and overlays as chosen here."""
        view.set_intensity_scale(IntensityScale(self.scale_box.currentText()), gamma=self.gamma_box.value())
        view.show_overlays(disks=self.disks_box.isChecked(), simulated=self.simulated_box.isChecked())

    def _on_changed(self) -> None:
        self.gamma_box.setVisible(self.scale_box.currentText() == IntensityScale.GAMMA.value)
        self.changed.emit()
