"""ExploratoryNote: one quiet line that says what of the calibration nobody has checked, and how to mend it."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel, QSizePolicy

from napari_stem_orient.core.calibration import Calibration

HOW_TO_MEND = (
    "<qt>Errors of the calibration move orientations: half a percent of the pixel size is enough to be seen. Fit what "
    "is named here in the stage Calibrate, or tick “calibrated” there where the value is known from elsewhere.</qt>"
)


class ExploratoryNote(QLabel):
    """Empty and out of sight where everything is calibrated."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.setToolTip(HOW_TO_MEND)
        self.hide()

    def show_for(self, calibration: Calibration | None) -> None:
        """Say what of a calibration is not checked; nothing where there is none."""
        text = "" if calibration is None else calibration.exploratory()
        self.setText(f"{text}." if text else "")
        self.setVisible(bool(text))
