"""The dock "Inspect": the pattern at the clicked position, what was detected in it, and what explains it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from napari_stem_orient.gui.canvas.map_layers import map_layers_of
from napari_stem_orient.gui.canvas.solution_text import difference_text
from napari_stem_orient.gui.inspect.colour_key_widget import ColourKeyWidget
from napari_stem_orient.gui.inspect.display_controls import DisplayControls
from napari_stem_orient.gui.inspect.lent_width import LentWidth, room_beside
from napari_stem_orient.gui.inspect.pattern_matcher import PatternMatcher
from napari_stem_orient.gui.inspect.rejection_legend import RejectionLegend
from napari_stem_orient.gui.inspect.solution_panel import SolutionPanel
from napari_stem_orient.gui.jobs.connections import Connections, when_destroyed
from napari_stem_orient.gui.jobs.pattern_reader import PatternReader
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.gui.parts.missing_values import asking_label
from napari_stem_orient.gui.parts.pattern_overlay import (
    Disks,
    detected_disks,
    detector_shape_of,
    disk_radius_px,
    pattern_origin_px,
    preview_disks,
    simulated_reflections,
)
from napari_stem_orient.gui.parts.theme_colours import theme_colours
from napari_stem_orient.gui.parts.wheel_guard import guard_wheel
from napari_stem_orient.indexing.methods import method_title

if TYPE_CHECKING:
    import napari

    from napari_stem_orient.core.answers import IndexedBlock
    from napari_stem_orient.core.orientation_map import OrientationMap
    from napari_stem_orient.core.solution import Solution

LOWEST = 160  # of what scrolls: between two other docks on a small screen
UPDATE_INTERVAL_MS = 15
"""Positions that come within this time while dragging are drawn once: up to 60 updates a second."""

LEAST_HEADER_WIDTH = 140

LATE_MS = 250
"""After this time without its pattern, a position is shown without it."""

Position = tuple[int, int]

_NOTHING_OPEN = "Open a 4D-STEM scan, Bragg peaks or a map in the dock “Orientation mapping”."
_CLICK = "Click or drag over a map to see single patterns."


class InspectWidget(QWidget):
    """Shows single patterns with their solutions, the colour keys, and another method's answer beside them.

    Parameters
    ----------
    napari_viewer : given by napari
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        guard_wheel(self)
        self._viewer = napari_viewer
        self._session = session_of(napari_viewer)
        self._layers = map_layers_of(napari_viewer, self._session)
        self._shown: Position | None = None
        self._comparison_title = ""
        self._reader = PatternReader(self._on_pattern)
        self._matcher = PatternMatcher(self._session, self._draw_comparison)
        self._update_timer = self._single_shot(UPDATE_INTERVAL_MS, self._update)
        self._late_timer = self._single_shot(LATE_MS, self._on_late)
        self._connections = Connections()
        label, other_label = (asking_label(napari_viewer, self._session, self._connections) for _ in range(2))
        self._header, self._body, self._scroll = label, QWidget(), QScrollArea()
        self._panel, self._comparison = SolutionPanel(), SolutionPanel(other_label)
        self._splitter = QSplitter(Qt.Orientation.Horizontal)
        self._mean_button = QPushButton("Mean pattern")
        self._compare, self._side_by_side = QCheckBox("Compare methods"), QCheckBox("Maps side by side")
        self.display = DisplayControls()
        self.legend = RejectionLegend()
        self.colour_keys = ColourKeyWidget(napari_viewer)
        self._lent_width = LentWidth(self)
        self._build()
        self._listen()
        self._fit_width()
        self._on_theme_changed()
        self._draw_mask()
        self._update()

    # --- building ------------------------------------------------------------------------------------------

    def _single_shot(self, interval_ms: int, slot: Any) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(interval_ms)
        timer.timeout.connect(slot)
        return timer

    def _build(self) -> None:
        self._mean_button.setToolTip("Show the mean pattern of the scan instead of a single one.")
        self._mean_button.clicked.connect(self._on_mean_clicked)
        top = QHBoxLayout()
        top.addWidget(self._header, 1)
        top.addWidget(self._mean_button)
        splitter = self._splitter
        splitter.addWidget(self._panel)
        splitter.addWidget(self._comparison)
        splitter.setChildrenCollapsible(False)
        splitter.setMinimumWidth(1)  # its own minimum counts the hidden panel
        inside = QVBoxLayout(self._body)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addWidget(splitter, 1)
        inside.addWidget(self.legend)
        inside.addWidget(self.display)
        inside.addLayout(self._build_toggle_row())
        inside.addWidget(self.colour_keys)
        # In a low dock the picture keeps its size, and what is below it is scrolled to.
        self._scroll.setWidget(self._body)
        self._scroll.setWidgetResizable(True)
        self._scroll.setMinimumHeight(LOWEST)
        self._scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        layout = QVBoxLayout(self)
        layout.addLayout(top)
        layout.addWidget(self._scroll, 1)
        layout.addStretch(0)
        for panel in (self._panel, self._comparison):
            panel.choice_changed.connect(self._draw_reflections)
        self.display.changed.connect(self._on_display_changed)
        self.legend.changed.connect(self._on_display_changed)
        self._comparison.hide()

    def _build_toggle_row(self) -> QHBoxLayout:
        self._compare.setToolTip(
            "Show the other method's answer beside this one: from its map, or by template matching of this pattern."
        )
        self._compare.toggled.connect(self._on_compare_toggled)
        self._side_by_side.setToolTip(
            "Show out-of-plane, in-plane and phase map beside one another in the viewer."
        )
        self._side_by_side.toggled.connect(self._layers.side_by_side)
        row = QHBoxLayout()
        row.addWidget(self._compare)
        row.addStretch(1)
        row.addWidget(self._side_by_side)
        return row

    def _listen(self) -> None:
        session, connect = self._session, self._connections.connect
        watch = self._connections.watch
        shown = ("opening", "peaks", "probe", "calibration", "position", "current_result")
        watch(session, shown, self._schedule)
        watch(session, ("mean_pattern", "summary"), self._on_mean_pattern_changed)
        watch(session, ("preview",), self._draw_disks)
        watch(session, ("detector_mask",), self._draw_mask)
        watch(session, ("four_indices",), self._on_four_indices_changed)
        connect(session.map_filled, self._on_map_filled)
        for panel in (self._panel, self._comparison):
            panel.four_indices_toggled.connect(session.set_four_indices)
        connect(self._viewer.events.theme, self._on_theme_changed)
        connect(self._viewer.canvas.grid.events.enabled, self._on_grid_changed)
        when_destroyed(self, _close, ref(self))

    def close_connections(self) -> None:
        """Listen no more and read no more: the window goes away. Touches nothing of Qt that may be gone."""
        self._connections.disconnect_all()
        self.colour_keys.disconnect_all()
        self._reader.close()
        self._matcher.close()

    # --- for tests and neighbours --------------------------------------------------------------------------

    @property
    def panel(self) -> SolutionPanel:
        """The panel of the current map."""
        return self._panel

    @property
    def comparison(self) -> SolutionPanel:
        """The panel of the other method."""
        return self._comparison

    @property
    def shown_position(self) -> Position | None:
        """The position whose pattern is drawn now; None for the mean pattern."""
        return self._shown

    @property
    def header_text(self) -> str:
        """Where the pattern comes from, or what to do first."""
        return self._header.text()

    @property
    def mean_button(self) -> QPushButton:
        """Goes back to the mean pattern."""
        return self._mean_button

    @property
    def compare_box(self) -> QCheckBox:
        """Switches the other method's panel on and off."""
        return self._compare

    # --- what changes --------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if not self._update_timer.isActive():
            self._update_timer.start()

    def _update(self) -> None:
        """Get the pattern of the chosen position; all else is drawn when it is there."""
        datacube, position = self._session.datacube, self._session.position
        if position is None or datacube is None:
            self._reader.forget()
            self._late_timer.stop()
            self._draw(position, self._session.mean_pattern if position is None else None)
            return
        if position != self._shown:
            self._late_timer.start()
        self._reader.request(datacube, position)

    def _on_pattern(self, position: Position, pattern: NDArray[np.float32] | None, message: str) -> None:
        if self._session.position is None:
            return
        if position == self._session.position:
            self._late_timer.stop()
        self._draw(position, pattern, message=message)

    def _on_late(self) -> None:
        """Show disks and solution of a position whose pattern is slow to come."""
        position = self._session.position
        if position is not None and position != self._shown:
            self._draw(position, None, message="Reading the pattern …")

    def _on_mean_pattern_changed(self) -> None:
        if self._session.position is None:
            self._schedule()

    def _on_four_indices_changed(self) -> None:
        for panel in (self._panel, self._comparison):
            panel.set_four_indices(self._session.four_indices)

    def _on_map_filled(self, orientation_map: OrientationMap, block: IndexedBlock) -> None:
        if self._shown is not None:
            index = self._shown[0] * orientation_map.scan_shape[1] + self._shown[1]
            if index in block.positions:
                self._schedule()

    def _on_mean_clicked(self) -> None:
        self._session.set_position(None)

    def _on_display_changed(self) -> None:
        for panel in (self._panel, self._comparison):
            self.display.apply_to(panel.view)
            panel.view.show_rejected(self.legend.wanted)

    def _on_compare_toggled(self, shown: bool) -> None:
        beside = room_beside(self, self._comparison.minimumWidth())
        self._splitter.setOrientation(beside if shown else Qt.Orientation.Horizontal)
        if shown:
            self._lent_width.take()
        else:
            self._lent_width.give_back()
        self._comparison.setVisible(shown)
        self._fit_width()
        self._layers.framing.frame_soon()
        self._schedule()

    def _on_grid_changed(self) -> None:
        """Follow napari's own grid button."""
        self._side_by_side.blockSignals(True)
        self._side_by_side.setChecked(bool(self._viewer.canvas.grid.enabled))
        self._side_by_side.blockSignals(False)

    def _fit_width(self) -> None:
        """Ask for the width that the panels need: the scroll area scrolls up and down only."""
        widths = [panel.minimumWidth() for panel in self._panels()]
        beside = self._splitter.orientation() is Qt.Orientation.Horizontal
        panels = sum(widths) if beside else max(widths)
        bar = self._scroll.verticalScrollBar()
        bar_width = 0 if bar is None else bar.sizeHint().width()
        below = self._body.minimumSizeHint().width()
        self._scroll.setMinimumWidth(max(panels, below) + bar_width)
        self._header.setMinimumWidth(LEAST_HEADER_WIDTH)  # where nothing is open it is all there is

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Fit the width again: napari's style, which makes the controls wider, comes with the dock."""
        super().showEvent(event)
        self._fit_width()

    def _on_theme_changed(self) -> None:
        colours = theme_colours(self._viewer)
        for panel in (self._panel, self._comparison):
            panel.view.apply_theme(colours)

    # --- drawing -------------------------------------------------------------------------------------------

    def _draw(
        self, position: Position | None, pattern: NDArray[np.float32] | None, *, message: str = ""
    ) -> None:
        """Draw everything of one position, so that picture, disks and solution always belong together."""
        self._shown = position
        self._write_header(message)
        for panel in self._panels():
            self._set_frame(panel)
            panel.view.set_pattern(pattern)
        self._draw_disks()
        self._panel.set_solution(self._solution(self._session.current_map))
        current = self._session.current_map
        for panel in self._panels():
            panel.exploratory.show_for(None if current is None else current.calibration)
        title = " " if current is None else method_title(current.method)  # as high in both panels
        self._panel.set_title("" if self._comparison.isHidden() else title)
        self._draw_comparison()

    def _write_header(self, message: str) -> None:
        session = self._session
        self._mean_button.setEnabled(self._shown is not None and session.mean_pattern is not None)
        nothing_open = session.scan_shape is None
        self._scroll.setVisible(not nothing_open)
        self._mean_button.setVisible(not nothing_open)
        if nothing_open:
            self._header.setText(_NOTHING_OPEN)
            return
        if self._shown is None:
            known = session.mean_pattern is not None
            self._header.setText(f"Mean pattern. {_CLICK}" if known else _CLICK)
            return
        y, x = self._shown
        text = f"Row {y}, column {x}"
        steps_nm = None if session.calibration is None else session.calibration.scan_steps_nm
        if steps_nm is not None:
            text += f"\ny {y * steps_nm[0]:.4g} nm, x {x * steps_nm[1]:.4g} nm"  # always two lines: the picture stays
        self._header.setText(f"{text}\n{message}" if message else text)

    def _panels(self) -> tuple[SolutionPanel, ...]:
        return (self._panel,) if self._comparison.isHidden() else (self._panel, self._comparison)

    def _set_frame(self, panel: SolutionPanel) -> None:
        session = self._session
        shape = detector_shape_of(session.datacube, session.peaks)
        calibration = session.calibration
        if shape is None or calibration is None:
            return
        panel.view.set_frame(
            origin_px=self._origin_px(shape),
            pixel_size_inv_angstrom=calibration.pixel_size_inv_angstrom,
            detector_shape=shape,
        )

    def _origin_px(self, shape: tuple[int, int]) -> tuple[float, float]:
        session = self._session
        assert session.calibration is not None
        return pattern_origin_px(
            self._shown, peaks=session.peaks, calibration=session.calibration, detector_shape=shape
        )

    def _radius_px(self) -> float:
        calibration = self._session.calibration
        return 0.0 if calibration is None else disk_radius_px(self._session.probe, calibration)

    def _draw_disks(self) -> None:
        """Draw the preview of the Detect stage where there is one, else the disks that were detected."""
        session = self._session
        disks = self._detected()
        preview = session.preview if self._shown == session.position else None
        if self._shown is not None and preview is not None:
            disks = preview_disks(preview, radius_px=self._radius_px())
        for panel in self._panels():
            panel.view.set_disks(disks, preview=preview is not None)
        self.legend.explain(disks)

    def _draw_mask(self) -> None:
        for panel in (self._panel, self._comparison):
            panel.view.set_mask(self._session.detector_mask)

    def _detected(self) -> Disks | None:
        peaks = self._session.peaks
        if self._shown is None or peaks is None:
            return None
        return detected_disks(peaks, self._shown, radius_px=self._radius_px())

    def _draw_comparison(self) -> None:
        """Show the other method's map here, or match this pattern where there is none."""
        if not self._comparison.isHidden():
            comparison = self._matcher.answer(self._shown)
            self._comparison_title = comparison.title
            self._comparison.set_solution(comparison.solution, message=comparison.message)
        room = any(panel.says_something for panel in self._panels())
        for panel in self._panels():
            panel.keep_room(room)  # pictures of the same size
        self._draw_reflections()

    def _draw_reflections(self) -> None:
        session = self._session
        shape = detector_shape_of(session.datacube, session.peaks)
        for panel in self._panels():
            chosen = panel.chosen()
            reflections = None
            if chosen is not None and shape is not None and session.calibration is not None:
                crystal, quaternion = chosen
                reflections = simulated_reflections(
                    crystal,
                    quaternion,
                    calibration=self._calibration_of_map(),
                    origin_px=self._origin_px(shape),
                    detector_shape=shape,
                    disks=self._detected(),
                )
            panel.view.set_reflections(reflections, radius_px=self._radius_px())
        if not self._comparison.isHidden():
            difference = difference_text(self._panel.chosen(), self._comparison.chosen())
            self._comparison.set_title(" · ".join(filter(None, (self._comparison_title, difference))) or " ")

    def _calibration_of_map(self) -> Any:
        """Return the calibration that the map was made with: the overlay shows what was found, then."""
        current = self._session.current_map
        return self._session.calibration if current is None else current.calibration

    def _solution(self, orientation_map: OrientationMap | None) -> Solution | None:
        if orientation_map is None or self._shown is None:
            return None
        return orientation_map.at(*self._shown)


def _close(widget_reference: ref[InspectWidget]) -> None:
    widget = widget_reference()
    if widget is not None:
        widget.close_connections()
