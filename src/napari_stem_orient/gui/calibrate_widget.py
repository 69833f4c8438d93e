"""CalibrateWidget: the third step, which may be skipped: how far the Bragg peaks are calibrated, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QPushButton

from napari_stem_orient.gui.session import Step
from napari_stem_orient.gui.step_panel import StepPanel

if TYPE_CHECKING:
    import napari


class CalibrateWidget(StepPanel):
    """Shows how far the Bragg peaks are calibrated, and goes on to the next step when the user says so.

    Parameters
    ----------
    napari_viewer
        The viewer whose Session this shows.
    """

    step = Step.CALIBRATE

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.go_on_button = QPushButton("Skip")
        self.go_on_button.setToolTip("Go on to Index with the calibration as it is.")
        self.go_on_button.clicked.connect(self._on_go_on)
        self.content.addWidget(self.go_on_button)
        self.refresh()

    @property
    def wants_attention(self) -> bool:
        """Stay in sight until the user goes on: there is more than one thing to do here."""
        return True

    def refresh(self) -> None:
        """Bring the buttons in line with the Session."""
        super().refresh()
        self.go_on_button.setEnabled(self.session.peaks is not None)
        self.go_on_button.setText("Go on to Index" if self.session.calibration_settled else "Skip")

    def _on_go_on(self) -> None:
        if not self.session.calibration_settled:
            self.session.skip_calibration()
        self.goes_on.emit()
