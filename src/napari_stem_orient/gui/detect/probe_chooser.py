"""ProbeChooser: the direct beam as measured, the disk radius, and where the probe template comes from."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_stem_orient.gui.canvas.scan_region import VACUUM_REGION
from napari_stem_orient.gui.detect.mask_jobs import MeasuredScan, measured_scan, suggested_parameters
from napari_stem_orient.gui.jobs.connections import when_destroyed
from napari_stem_orient.gui.jobs.latest_job import LatestJob
from napari_stem_orient.gui.jobs.stage_jobs import vacuum_probe
from napari_stem_orient.gui.jobs.workers import plain_job
from napari_stem_orient.gui.parts.form_layout import form_label, form_layout, narrow_box
from napari_stem_orient.gui.parts.number_box import NumberBox
from napari_stem_orient.gui.parts.panel import plain_label
from napari_stem_orient.gui.parts.stage_panel import StagePanel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.detection.parameters import DetectionParameters
    from napari_stem_orient.detection.probe import ProbeTemplate
    from napari_stem_orient.detection.suggestion import Suggestion

MEASURED, SYNTHETIC, MEAN, VACUUM = "Automatic", "Synthetic disk", "Mean direct beam", "Vacuum region"
FALLBACK_RADIUS_PX = 3.0


class ProbeChooser(QWidget):
    """Part of the Detect stage: keeps the Session's probe template as chosen.

    Once the first patterns of a scan are read, it has beam, template and parameters suggested.

    Parameters
    ----------
    panel
        The stage that it stands in: runs its jobs and shows its messages.

    Attributes
    ----------
    mask_found : emits the `FoundMask` of a scan, before the template and parameters that were chosen without its pixels
    """

    mask_found = Signal(object)

    def __init__(self, panel: StagePanel) -> None:
        super().__init__()
        self._panel = panel
        self._session = panel.session
        self._suggestion: Suggestion | None = None
        self._behind_a_stop = False  # the direct beam cannot be seen
        self._asked_for: object = None  # the data that a suggestion was last asked for
        self.beam_label = plain_label()
        self.radius_box = NumberBox(minimum=0.7, maximum=2000)
        self.radius_box.setToolTip("Radius of the synthetic disk on the detector in px.")
        self.source_box = narrow_box()
        self.source_box.addItems([MEASURED, SYNTHETIC, MEAN, VACUUM])
        self.source_box.setToolTip(
            "<qt>What one disk looks like. Automatic: the direct beam averaged over patterns of the whole scan, "
            "or a flat disk where the convergence angle agrees with it. Synthetic: a flat disk. Mean direct beam: "
            "cut out of the mean pattern. Vacuum region: averaged over a region that you draw.</qt>"
        )
        self.region_row = self._region_row()
        self._build()
        self._suggesting: LatestJob[object, MeasuredScan] = LatestJob(
            title="Measure the direct beam", on_result=self._on_suggested, on_error=self._on_not_suggested
        )
        when_destroyed(self, LatestJob.close, self._suggesting)
        self.radius_box.valueChanged.connect(self._make_probe)
        self.source_box.currentTextChanged.connect(self._on_source_chosen)
        panel.watch(("opening",), self._on_datacube_changed)
        panel.watch(("calibration",), self._on_calibration_changed)
        panel.watch(("mean_pattern", "summary"), self._on_mean_pattern)
        panel.watch(("calibration", "probe"), self._show_beam)
        self._on_source_chosen(MEASURED)
        self._on_mean_pattern()
        self._show_beam()

    # --- suggestion ----------------------------------------------------------------------------------------

    def suggest_parameters(self) -> None:
        """Have parameters suggested that suit the template as it is now."""
        session, suggestion = self._session, self._suggestion
        if session.datacube is None:
            self._panel.show_message("Open a scan first: parameters are suggested from its patterns.")
        elif suggestion is None or session.probe is None:
            self._ask()
        else:
            self._panel.run(
                plain_job(
                    partial(
                        suggested_parameters,
                        session.datacube,
                        suggestion.beam,
                        session.probe,
                        session.detector_mask,
                    )
                ),
                title="Suggesting parameters",
                about_scan=True,
                on_done=self._on_parameters,
            )

    def _on_parameters(self, parameters: DetectionParameters) -> None:
        self._session.set_detection_parameters(parameters)
        self._panel.show_message("Parameters suggested from 64 patterns.")

    def _on_calibration_changed(self) -> None:
        calibration = self._session.calibration
        if calibration is not None:
            VACUUM_REGION.regrid(self._panel.viewer, calibration)

    def _on_datacube_changed(self) -> None:
        self._suggestion = None
        VACUUM_REGION.forget(self._panel.viewer)
        if self._session.datacube is None:
            self._suggesting.forget()
        self.source_box.setCurrentText(MEASURED)
        self._show_beam()

    def _on_mean_pattern(self) -> None:
        """Ask once for each scan, when reading it is seen to work."""
        datacube = self._session.datacube
        if datacube is None or self._session.mean_pattern is None or self._asked_for is datacube.data:
            return
        if self._session.probe is None:
            self._ask()

    def _ask(self) -> None:
        datacube = self._session.datacube
        if datacube is not None:
            self._asked_for = datacube.data
            self._suggesting.request(datacube.data, partial(measured_scan, datacube))

    def _on_suggested(self, key: object, measured: MeasuredScan) -> None:
        session, suggestion = self._session, measured.suggestion
        if session.datacube is None or key is not session.datacube.data:
            return
        self._behind_a_stop = bool(measured.found.beam_stop.any())
        self.mask_found.emit(measured.found)
        if isinstance(suggestion, str):
            self._panel.show_message(suggestion)
            self._fall_back()
            return
        self._suggestion = suggestion
        self._set_radius(suggestion.beam.radius_px)
        session.set_detection_parameters(suggestion.parameters)
        if self.source_box.currentText() != VACUUM:
            self._make_probe()
        self._show_beam()

    def _on_not_suggested(self, key: object, message: str) -> None:
        datacube = self._session.datacube
        if datacube is None or key is not datacube.data:
            return  # it was about another scan
        self._panel.show_message(message)
        self._fall_back()

    def _fall_back(self) -> None:
        """Use a synthetic disk, of the radius that the calibration gives, until the user knows better."""
        expected = self._expected_radius()
        self._set_radius(FALLBACK_RADIUS_PX if expected is None else expected)
        self.source_box.setCurrentText(SYNTHETIC)
        self._make_probe()

    # --- the direct beam -----------------------------------------------------------------------------------

    def _expected_radius(self) -> float | None:
        """The radius in px that the convergence angle gives; None where the calibration lacks something."""
        datacube = self._session.datacube
        try:
            return None if datacube is None else datacube.calibration.disk_radius_px()
        except ValueError:
            return None

    def _show_beam(self) -> None:
        parts = []
        if self._suggestion is not None:
            beam = self._suggestion.beam
            what = "Direct beam" if not self._behind_a_stop else "Beam stop found; brightest disk"
            parts.append(
                f"{what} at row {beam.y_px:.1f}, column {beam.x_px:.1f} px, radius {beam.radius_px:.2f} px"
            )
        expected = self._expected_radius()
        if expected is not None:
            parts.append(f"{expected:.2f} px expected from the convergence angle")
        probe = self._session.probe
        if probe is not None:
            parts.append(f"template of {probe.radius_px:.2f} px ({probe.source})")
        self.beam_label.setText("; ".join(parts))
        self.beam_label.setVisible(bool(parts))

    # --- the template --------------------------------------------------------------------------------------

    def _on_source_chosen(self, source: str) -> None:
        self.region_row.setVisible(source == VACUUM)
        self.radius_box.setVisible(source == SYNTHETIC)
        self.radius_label.setVisible(source == SYNTHETIC)
        if source != VACUUM:
            self._make_probe()

    def _make_probe(self) -> None:
        datacube = self._session.datacube
        if datacube is None:
            return
        probe = self._panel.attempt(partial(self._probe, datacube))
        if probe is not None:
            self._session.set_probe(probe)

    def _probe(self, datacube: DataCube) -> ProbeTemplate | None:
        """The template of the chosen source; None where that takes a job of its own."""
        from napari_stem_orient.detection.probe import probe_from_mean_pattern, synthetic_probe

        source, pattern = self.source_box.currentText(), self._session.mean_pattern
        beam = None if self._suggestion is None else self._suggestion.beam
        if source == SYNTHETIC:
            return synthetic_probe(self.radius_box.value(), datacube.detector_shape)
        if source == MEAN and pattern is not None:
            return probe_from_mean_pattern(self._usable(pattern), beam=beam)
        return self._suggestion.probe if source == MEASURED and self._suggestion is not None else None

    def _usable(self, pattern: NDArray[np.float32]) -> NDArray[np.float32]:
        """The pattern with the background where the detector mask is."""
        if self._session.detector_mask is None:
            return pattern
        from napari_stem_orient.detection.detector_mask import fill_masked

        return fill_masked(pattern, self._session.detector_mask)

    def _on_draw(self) -> None:
        calibration = self._session.calibration
        if calibration is not None:
            VACUUM_REGION.start_drawing(self._panel.viewer, calibration)
            self._panel.show_message("Draw a rectangle over vacuum in the map, then press Use.")

    def _on_use(self) -> None:
        datacube = self._session.datacube
        if datacube is None:
            self._panel.show_message("Open a scan first: the template is averaged over its patterns.")
            return
        mask = self._panel.attempt(
            partial(
                VACUUM_REGION.drawn, self._panel.viewer, datacube.scan_shape, calibration=datacube.calibration
            )
        )
        if mask is not None:
            self._panel.run(
                plain_job(partial(vacuum_probe, datacube, mask, self._session.detector_mask)),
                title="Averaging the vacuum region",
                about_scan=True,
                on_done=self._session.set_probe,
            )

    def _set_radius(self, radius_px: float) -> None:
        self.radius_box.blockSignals(True)
        self.radius_box.set_number(round(radius_px, 3))
        self.radius_box.blockSignals(False)

    # --- widgets -------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.radius_label = form_label("Disk radius (px)")
        form = form_layout()
        form.addRow(form_label("Template"), self.source_box)
        form.addRow(self.radius_label, self.radius_box)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.beam_label)
        layout.addLayout(form)
        layout.addWidget(self.region_row)

    def _region_row(self) -> QWidget:
        row = QWidget()
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        self.draw_button = QPushButton("Draw")
        self.draw_button.setToolTip("Draw a rectangle over vacuum in the map.")
        self.draw_button.clicked.connect(self._on_draw)
        self.use_button = QPushButton("Use")
        self.use_button.setToolTip(
            "Average the direct beam over the drawn region, or the selected Labels layer."
        )
        self.use_button.clicked.connect(self._on_use)
        layout.addWidget(self.draw_button)
        layout.addWidget(self.use_button)
        return row
