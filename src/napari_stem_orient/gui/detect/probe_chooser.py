"""ProbeChooser: the direct beam as measured, the disk radius, and where the probe template comes from."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_stem_orient.gui.canvas.scan_region import VACUUM_REGION
from napari_stem_orient.gui.detect.planner import DetectPlanner, expected_radius_px
from napari_stem_orient.gui.parts.form_layout import form_label, form_layout, narrow_box
from napari_stem_orient.gui.parts.number_box import NumberBox
from napari_stem_orient.gui.parts.panel import plain_label
from napari_stem_orient.gui.parts.stage_panel import StagePanel
from napari_stem_orient.steps.probe import ProbeChoice, ProbeSource, vacuum_choice

if TYPE_CHECKING:
    from napari_stem_orient.detection.probe import DirectBeam

SOURCES: dict[ProbeSource, str] = {
    "measured": "Automatic",
    "synthetic": "Synthetic disk",
    "mean": "Mean direct beam",
    "vacuum": "Vacuum region",
}


class ProbeChooser(QWidget):
    """Part of the Detect stage: where the probe template comes from.

    Parameters
    ----------
    panel
        The stage that it stands in: shows its messages.
    planner
        Keeps what is chosen, and what was measured for it.
    """

    def __init__(self, panel: StagePanel, planner: DetectPlanner) -> None:
        super().__init__()
        self._panel, self._session, self._planner = panel, panel.session, planner
        self._beam: DirectBeam | None = None  # as it was measured last in this scan
        self._shown: ProbeChoice | None = None
        self.beam_label = plain_label()
        self.radius_box = NumberBox(minimum=0.7, maximum=2000)
        self.radius_box.setToolTip("Radius of the synthetic disk on the detector in px.")
        self.source_box = narrow_box()
        for source, words in SOURCES.items():
            self.source_box.addItem(words, source)
        self.source_box.setToolTip(
            "<qt>What one disk looks like. Automatic: the direct beam averaged over patterns of the whole scan, "
            "or a flat disk where the convergence angle agrees with it. Synthetic: a flat disk. Mean direct beam: "
            "cut out of the mean pattern. Vacuum region: averaged over a region that you draw.</qt>"
        )
        self.region_row = self._region_row()
        self._build()
        self.radius_box.valueChanged.connect(self._on_radius_typed)
        self.source_box.currentIndexChanged.connect(self._on_source_chosen)
        panel.watch(("opening",), self._on_opening)
        panel.watch(("calibration",), self._on_calibration_changed)
        panel.listen(planner.changed, self._on_planned)
        self._on_planned()

    # --- what the user does --------------------------------------------------------------------------------

    def _on_source_chosen(self, index: int) -> None:
        self._show_rows()
        source = self.source_box.itemData(index)
        if source != "vacuum":  # that needs a region first
            self._planner.choose(probe=ProbeChoice(source=source))

    def _on_radius_typed(self, radius_px: float) -> None:
        self._planner.choose(probe=ProbeChoice(radius_px=radius_px))

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
        region = self._panel.attempt(
            partial(
                VACUUM_REGION.drawn, self._panel.viewer, datacube.scan_shape, calibration=datacube.calibration
            )
        )
        if region is not None:
            self._planner.choose(probe=vacuum_choice(region))

    # --- what changes --------------------------------------------------------------------------------------

    def _on_calibration_changed(self) -> None:
        calibration = self._session.calibration
        if calibration is not None:
            VACUUM_REGION.regrid(self._panel.viewer, calibration)
        self._show_beam()

    def _on_opening(self) -> None:
        self._beam = self._shown = None
        VACUUM_REGION.forget(self._panel.viewer)
        self._on_planned()

    def _on_planned(self) -> None:
        """Show what is chosen, and what was measured for it."""
        plan, probe = self._planner.plan, self._planner.choice.probe
        if probe != self._shown:  # a box that waits for a region to be drawn stays as it is
            self._shown = probe
            with signals_blocked(self.source_box):
                self.source_box.setCurrentIndex(self.source_box.findData(probe.source))
        if plan is not None:
            measured = plan.measured
            self._beam = self._beam if measured is None or measured.beam is None else measured.beam
            with signals_blocked(self.radius_box):
                self.radius_box.set_number(probe.radius_px or round(plan.probe.radius_px, 3))
        self._show_rows()
        self._show_beam()

    def _show_rows(self) -> None:
        source = self.source_box.currentData()
        self.region_row.setVisible(source == "vacuum")
        self.radius_box.setVisible(source == "synthetic")
        self.radius_label.setVisible(source == "synthetic")

    def _show_beam(self) -> None:
        datacube, plan, found = self._session.datacube, self._planner.plan, self._planner.found
        parts = []
        if self._beam is not None:
            behind_a_stop = found is not None and found.beam_stop.any()
            what = "Beam stop found; brightest disk" if behind_a_stop else "Direct beam"
            parts.append(
                f"{what} at row {self._beam.y_px:.1f}, column {self._beam.x_px:.1f} px, radius "
                f"{self._beam.radius_px:.2f} px"
            )
        expected = None if datacube is None else expected_radius_px(datacube)
        if expected is not None:
            parts.append(f"{expected:.2f} px expected from the convergence angle")
        if plan is not None:
            parts.append(f"template of {plan.probe.radius_px:.2f} px ({plan.probe.source})")
        self.beam_label.setText("; ".join(parts))
        self.beam_label.setVisible(bool(parts))

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
