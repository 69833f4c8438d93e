"""PatternChooser: which pattern the virtual detectors are drawn over: mean, maximum, one position's, or a region's."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox, QGridLayout, QPushButton, QWidget

from napari_stem_orient.gui.canvas.scan_region import DIFFRACTION_REGION
from napari_stem_orient.gui.jobs.connections import when_destroyed
from napari_stem_orient.gui.jobs.pattern_reader import PatternReader
from napari_stem_orient.gui.parts.form_layout import narrow_box
from napari_stem_orient.gui.parts.pattern_view import IntensityScale
from napari_stem_orient.gui.parts.stage_panel import JobPanel
from napari_stem_orient.gui.virtual.jobs import origin_at, region_choice, scan_origins, virtual_scene
from napari_stem_orient.gui.virtual.pattern_window import open_in_a_window, pattern_layer
from napari_stem_orient.steps.virtual import VirtualScene, pattern_of
from napari_stem_orient.virtual.diffraction import DiffractionBlock, VirtualDiffraction

if TYPE_CHECKING:
    from napari_stem_orient.gui.jobs.workers import JobHandle

EDITED_DELAY_MS = 250


class Source(StrEnum):
    """Where the pattern comes from."""

    MEAN = "Mean pattern"
    MAXIMUM = "Maximum pattern"
    POSITION = "Clicked position"
    REGION = "Mean of the region"
    REGION_MAXIMUM = "Maximum of the region"


REGION_SOURCES = (Source.REGION, Source.REGION_MAXIMUM)


class PatternChooser(QWidget):
    """Part of the dock: keeps the pattern that is shown as chosen, and averages a region that is drawn.

    Parameters
    ----------
    panel : the dock that it stands in: runs its jobs and shows its messages

    Attributes
    ----------
    changed : another pattern, or the direct beam elsewhere: draw again
    """

    changed = Signal()

    def __init__(self, panel: JobPanel) -> None:
        super().__init__()
        self._panel, self._session = panel, panel.session
        self._pattern: NDArray[np.float32] | None = None  # of the clicked position
        self._position: tuple[int, int] | None = None  # that it is of
        self._region: VirtualDiffraction | None = None
        self._so_far: NDArray[np.float32] | None = None  # mean of a region that is being read
        self._asked: tuple[VirtualScene, NDArray[np.bool_]] | None = (
            None  # the region (scan_y, scan_x), and in what
        )
        self._job: JobHandle[DiffractionBlock, VirtualDiffraction] | None = None
        self._reader = PatternReader(self._on_pattern)
        self._edited = QTimer(self)
        self._edited.setSingleShot(True)
        self._edited.setInterval(EDITED_DELAY_MS)
        self._edited.timeout.connect(self._on_edited)
        self._build()
        when_destroyed(self, PatternReader.close, self._reader)
        panel.watch(("opening",), self._on_datacube_changed)
        panel.watch(("position",), self._on_position_changed)
        panel.watch(("calibration",), self._on_calibration_changed)
        panel.watch(("mean_pattern", "summary", "patterns"), self.changed.emit)
        panel.watch(("peaks", "detector_mask"), self._on_surroundings_changed)

    # --- what is shown -------------------------------------------------------------------------------------

    @property
    def source(self) -> Source:
        """Where the pattern comes from."""
        return Source(self.source_box.currentText())

    @property
    def intensity_scale(self) -> IntensityScale:
        """How counts become grey values; Gamma, with an exponent of 0.25, shows weak reflections best."""
        return IntensityScale(self.scale_box.currentText())

    @property
    def region(self) -> VirtualDiffraction | None:
        """The pattern of the region that was drawn last, or None."""
        return self._region

    @property
    def pattern(self) -> NDArray[np.float32] | None:
        """(det_y, det_x), or None where there is none yet."""
        session, source = self._session, self.source
        if source is Source.POSITION:
            return self._pattern if self._position == session.position else None
        if source is Source.MAXIMUM:
            return None if session.summary is None else session.summary.maximum_pattern
        if source in REGION_SOURCES:
            if self._region is None:
                return self._so_far
            return self._region.mean if source is Source.REGION else self._region.maximum
        return session.mean_pattern

    @property
    def origin_px(self) -> tuple[float, float] | None:
        """Row and column of the direct beam in that pattern in px; None without a scan."""
        session, origins = self._session, scan_origins(self._session)
        if session.datacube is None or origins is None:
            return None
        if self.source in REGION_SOURCES and self._region is not None:
            return self._region.origin_px
        position = session.position if self.source is Source.POSITION else None
        return origin_at(origins, position, session.datacube.scan_shape)

    @property
    def title(self) -> str:
        """What is shown, or what to do to see something."""
        session, source = self._session, self.source
        if session.datacube is None:
            return "Open a 4D-STEM scan in the dock “Orientation mapping”."
        if source is Source.POSITION:
            if session.position is None:
                return "Click a position in the map."
            return f"Row {session.position[0]}, column {session.position[1]}"
        if source is Source.MAXIMUM and session.summary is None:
            return "The maximum is there when the whole scan has been read."
        if source in REGION_SOURCES:
            if self._region is not None:
                return f"{source.value}: {self._region.n_positions:,} patterns"
            if self._so_far is not None:
                return "Reading …"
            asked = DIFFRACTION_REGION.layer(self._panel.viewer) is not None
            return "Draw over the map." if asked else "Press Draw region and draw over the map."
        return source.value

    # --- the region ----------------------------------------------------------------------------------------

    def use_region(self) -> None:
        """Average the patterns of what is drawn, and show them."""
        scene = virtual_scene(self._session)
        if scene is None:
            self._panel.show_message("Open a scan first: the region is averaged over its patterns.")
            return
        scan = scene.datacube
        mask = self._panel.attempt(
            partial(
                DIFFRACTION_REGION.drawn, self._panel.viewer, scan.scan_shape, calibration=scan.calibration
            )
        )
        if mask is not None:
            self._start(scene, mask)

    def _start(self, scene: VirtualScene, mask: NDArray[np.bool_]) -> None:
        if self._job is not None:
            self._job.discard()
        self._so_far, self._asked = None, (scene, mask)
        if self.source not in REGION_SOURCES:
            self.source_box.setCurrentText(Source.REGION)
        self._job = self._panel.run(
            pattern_of(region_choice(self._session, mask), scene),
            title="Averaging the region",
            on_record=self._on_block,
            on_done=self._on_region,
            on_stopped=self._on_no_region,
            on_error=self._on_no_region,
        )

    def _on_block(self, block: DiffractionBlock) -> None:
        """Show the mean so far where nothing of a region was shown before."""
        self._so_far = block.mean
        if self._region is None and self.source in REGION_SOURCES:
            self.changed.emit()

    def _on_region(self, region: VirtualDiffraction) -> None:
        self._region, self._so_far, self._job = region, None, None
        self.changed.emit()

    def _on_no_region(self, _: str = "") -> None:
        """Nothing is read any more; what was shown before stays."""
        self._so_far, self._asked, self._job = None, None, None
        self.changed.emit()

    def _follow_surroundings(self) -> None:
        """Average the region anew where the direct beam is elsewhere by now, or other pixels count."""
        if self._asked is None or self.source not in REGION_SOURCES:
            return
        (made_in, region), scene = self._asked, virtual_scene(self._session)
        if scene is not None and not made_in.same_as(scene):
            self._start(scene, region)

    def _on_draw(self) -> None:
        calibration = self._session.calibration
        if self._session.datacube is None or calibration is None:
            self._panel.show_message("Open a scan first: the region is drawn over its map.")
            return
        layer = DIFFRACTION_REGION.start_drawing(self._panel.viewer, calibration)
        layer.events.data.disconnect(self._on_shapes)
        layer.events.data.connect(self._on_shapes)
        self.source_box.setCurrentText(Source.REGION)
        self.changed.emit()
        self._panel.show_message("Draw over the map: the pattern of the region follows what you draw.")

    def _on_shapes(self) -> None:
        self._edited.start()

    def _on_edited(self) -> None:
        """Average again when the shapes have been left alone for a moment."""
        scene = virtual_scene(self._session)
        if scene is None or self.source not in REGION_SOURCES:
            return
        scan = scene.datacube
        try:
            mask = DIFFRACTION_REGION.drawn(self._panel.viewer, scan.scan_shape, calibration=scan.calibration)
        except ValueError:
            return  # the last shape was deleted
        self._start(scene, mask)

    def _on_open(self) -> None:
        """Open what is shown in a window of its own."""
        pattern, origin, scan = self.pattern, self.origin_px, self._session.datacube
        if pattern is None or origin is None or scan is None:
            self._panel.show_message("There is no pattern to open yet.")
            return
        name = f"{scan.name}: {self.title}"
        self._panel.attempt(
            partial(open_in_a_window, pattern_layer(pattern, scan.calibration, origin, name=name))
        )

    # --- the Session's signals -----------------------------------------------------------------------------

    def _on_datacube_changed(self) -> None:
        if self._job is not None:
            self._job.discard()
        self._edited.stop()
        self._reader.forget()
        self._pattern, self._position, self._region, self._so_far = None, None, None, None
        self._asked, self._job = None, None
        DIFFRACTION_REGION.forget(self._panel.viewer)
        self.source_box.setCurrentText(Source.MEAN)
        self.changed.emit()

    def _on_position_changed(self) -> None:
        if self.source is Source.POSITION:
            self._read()

    def _on_calibration_changed(self) -> None:
        calibration = self._session.calibration
        if calibration is not None:
            DIFFRACTION_REGION.regrid(self._panel.viewer, calibration)
        self._follow_surroundings()
        self.changed.emit()

    def _on_surroundings_changed(self) -> None:
        self._follow_surroundings()
        self.changed.emit()

    def _on_source_chosen(self) -> None:
        if self.source is Source.POSITION:
            self._read()
        self._follow_surroundings()
        self.changed.emit()

    def _on_scale_chosen(self) -> None:
        self.changed.emit()

    def _read(self) -> None:
        datacube, position = self._session.datacube, self._session.position
        if datacube is not None and position is not None:
            self._reader.request(datacube, position)
        else:
            self.changed.emit()

    def _on_pattern(
        self, position: tuple[int, int], pattern: NDArray[np.float32] | None, message: str
    ) -> None:
        self._pattern, self._position = pattern, position
        if message:
            self._panel.show_message(message)
        self.changed.emit()

    # --- widgets -------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.source_box = narrow_box()
        self.source_box.addItems([source.value for source in Source])
        self.source_box.setToolTip(
            "<qt>The pattern that detectors are drawn over: mean or maximum of the whole scan, of the position that "
            "was clicked in the map, or of a region that you draw. The maximum shows reflections that few grains "
            "have.</qt>"
        )
        self.scale_box = QComboBox()
        self.scale_box.addItems([scale.value for scale in IntensityScale])
        self.scale_box.setCurrentText(IntensityScale.GAMMA.value)
        self.scale_box.setToolTip(
            "How counts become grey values; Gamma, with an exponent of 0.25, shows weak reflections best."
        )
        self.draw_button = _button(
            "Draw region", "Draw a region over the map; its pattern is averaged as you draw.", self._on_draw
        )
        self.use_button = _button(
            "Use selected",
            "Average over the selected Shapes layer, or over all that is labelled in the selected Labels layer.",
            self.use_region,
        )
        self.open_button = _button(
            "Open as layer", "Open the pattern that is shown in a napari window of its own.", self._on_open
        )
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        grid.addWidget(self.source_box, 0, 0, 1, 2)
        grid.addWidget(self.scale_box, 0, 2)
        for column, button in enumerate((self.draw_button, self.use_button, self.open_button)):
            grid.addWidget(button, 1, column)
        self.source_box.currentIndexChanged.connect(lambda _: self._on_source_chosen())
        self.scale_box.currentIndexChanged.connect(lambda _: self._on_scale_chosen())


def _button(words: str, tooltip: str, slot: Callable[[], None]) -> QPushButton:
    button = QPushButton(words)
    button.setToolTip(tooltip)
    button.clicked.connect(slot)
    return button
