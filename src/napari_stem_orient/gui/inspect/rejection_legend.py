"""RejectionLegend: what the signs of rejected maxima mean, and whether they are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QSizePolicy, QWidget

from napari_stem_orient.gui.parts.rejected_overlay import legend_html

if TYPE_CHECKING:
    from napari_stem_orient.gui.parts.pattern_overlay import Disks


class RejectionLegend(QWidget):
    """One line below the pattern, while a preview tells of maxima that it leaves out.

    Attributes
    ----------
    changed : the user switched the signs on or off
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.box = QCheckBox("Left out")
        self.box.setChecked(True)
        self.box.setToolTip(
            "<qt>Maxima that the preview of the Detect stage does not take for disks. Hold the mouse over a sign to "
            "read the value against the limit.</qt>"
        )
        self.box.toggled.connect(self._on_toggled)
        self.label = QLabel()
        self.label.setTextFormat(Qt.TextFormat.RichText)
        self.label.setWordWrap(True)
        self.label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.label.setToolTip("Why, and how many of the pattern's strongest ones.")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box)
        layout.addWidget(self.label, 1)
        self.explain(None)

    @property
    def wanted(self) -> bool:
        """Whether the signs are to be drawn."""
        return self.box.isChecked()

    def explain(self, disks: Disks | None) -> None:
        """Name the signs that are drawn with these disks; hidden where there are none."""
        rejected = None if disks is None else disks.rejected
        self.label.setText("" if rejected is None else legend_html(rejected))
        self.setVisible(rejected is not None and len(rejected.reasons) > 0)

    def _on_toggled(self, _: bool) -> None:
        self.changed.emit()
