"""The dock "Inspect": the pattern at the clicked position, what was detected in it, and what explains it."""

from __future__ import annotations

from functools import partial
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
from napari_stem_orient.gui.inspect.reflection_reader import Prepared, ReflectionReader, Wanted
from napari_stem_orient.gui.inspect.rejection_legend import RejectionLegend
from napari_stem_orient.gui.inspect.resolved import Inspected, differs, resolve
from napari_stem_orient.gui.inspect.solution_panel import SolutionPanel
from napari_stem_orient.gui.inspect.text import header_text
from napari_stem_orient.gui.jobs.connections import Connections, when_destroyed
from napari_stem_orient.gui.jobs.pattern_reader import PatternReader
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.gui.parts.missing_values import asking_label
from napari_stem_orient.gui.parts.theme_colours import theme_colours
from napari_stem_orient.gui.parts.wheel_guard import guard_wheel

if TYPE_CHECKING:
    import napari

    from napari_stem_orient.core.answers import IndexedBlock
    from napari_stem_orient.core.orientation_map import OrientationMap
    from napari_stem_orient.gui.parts.pattern_overlay import Reflections

LOWEST = 160  # of what scrolls: between two other docks on a small screen
UPDATE_INTERVAL_MS = 15
"""Positions that come within this time while dragging are drawn once: up to 60 updates a second."""

LEAST_HEADER_WIDTH = 140

LATE_MS = 250
"""After this time without its pattern, a position is shown without it."""

Position = tuple[int, int]


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
        self._drawn: Inspected | None = None  # what is to be seen now
        self._is_new = True  # a panel has come up that nothing is drawn in yet
        self._comparison_title = ""
        self._reader = PatternReader(self._on_pattern)
        self._matcher = PatternMatcher(self._session, self._draw_comparison)
        self._update_timer = self._single_shot(UPDATE_INTERVAL_MS, self._update)
        self._late_timer = self._single_shot(LATE_MS, self._on_late)
        self._connections = Connections()
        label, other_label = (asking_label(napari_viewer, self._session, self._connections) for _ in range(2))
        self._header, self._body, self._scroll = label, QWidget(), QScrollArea()
        self._panel, self._comparison = SolutionPanel(), SolutionPanel(other_label)
        prepared: set[Prepared] = set()
        self._simulated = {
            panel: ReflectionReader(partial(self._on_reflections, panel), prepared)
            for panel in (self._panel, self._comparison)
        }
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
        watch(session, ("opening",), self._reader.forget)  # at once: what is late is of the scan before
        watch(session, shown, self._schedule)
        watch(session, ("mean_pattern", "summary"), self._on_mean_pattern_changed)
        watch(session, ("preview", "detector_mask"), self._redraw)
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
        for reader in self._simulated.values():
            reader.close()

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
        return None if self._drawn is None else self._drawn.position

    @property
    def busy(self) -> bool:
        """Whether a pattern is being read or simulated."""
        return self._reader.busy or any(reader.busy for reader in self._simulated.values())

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
        if position != self.shown_position:
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
        if position is not None and position != self.shown_position:
            self._draw(position, None, message="Reading the pattern …")

    def _on_mean_pattern_changed(self) -> None:
        if self._session.position is None:
            self._schedule()

    def _on_four_indices_changed(self) -> None:
        for panel in (self._panel, self._comparison):
            panel.set_four_indices(self._session.four_indices)

    def _on_map_filled(self, orientation_map: OrientationMap, block: IndexedBlock) -> None:
        if (shown := self.shown_position) is not None:
            index = shown[0] * orientation_map.scan_shape[1] + shown[1]
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
        self._is_new = True
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
        resolved = resolve(self._session.state, position)
        self._write_header(resolved, message)
        for panel in self._panels():
            self._set_frame(panel, resolved)
            panel.view.set_pattern(pattern)
        self._draw_difference(resolved)

    def _redraw(self) -> None:
        """Draw what has changed about the position that is shown; its pattern is there."""
        self._draw_difference(resolve(self._session.state, self.shown_position))

    def _draw_difference(self, resolved: Inspected) -> None:
        """Draw what is not there already; the frame, which all places follow, is set by now."""
        before, self._drawn = None if self._is_new else self._drawn, resolved
        self._is_new = False
        moved = differs("frame", before, resolved)
        if moved or any(differs(name, before, resolved) for name in ("disks", "is_preview")):
            for panel in self._panels():
                panel.view.set_disks(resolved.disks, preview=resolved.is_preview)
            self.legend.explain(resolved.disks)
        if moved or differs("mask", before, resolved):
            for panel in (self._panel, self._comparison):
                panel.view.set_mask(resolved.mask)
        if differs("solution", before, resolved):
            self._panel.set_solution(resolved.solution)
        for panel in self._panels():
            panel.exploratory.show_for(resolved.checked_calibration)
        title = resolved.result or " "  # as high in both panels
        self._panel.set_title("" if self._comparison.isHidden() else title)
        self._draw_comparison()

    def _write_header(self, resolved: Inspected, message: str) -> None:
        self._mean_button.setEnabled(resolved.position is not None and resolved.has_mean)
        self._scroll.setVisible(resolved.is_open)
        self._mean_button.setVisible(resolved.is_open)
        text = header_text(resolved)
        self._header.setText(f"{text}\n{message}" if message and resolved.position is not None else text)

    def _panels(self) -> tuple[SolutionPanel, ...]:
        return (self._panel,) if self._comparison.isHidden() else (self._panel, self._comparison)

    def _set_frame(self, panel: SolutionPanel, resolved: Inspected) -> None:
        frame = resolved.frame
        if frame is not None:
            panel.view.set_frame(
                origin_px=frame.origin_px,
                pixel_size_inv_angstrom=frame.pixel_size_inv_angstrom,
                detector_shape=frame.detector_shape,
            )

    def _draw_comparison(self) -> None:
        """Show the other method's map here, or match this pattern where there is none."""
        if not self._comparison.isHidden():
            comparison = self._matcher.answer(self.shown_position)
            self._comparison_title = comparison.title
            self._comparison.set_solution(comparison.solution, message=comparison.message)
        room = any(panel.says_something for panel in self._panels())
        for panel in self._panels():
            panel.keep_room(room)  # pictures of the same size
        self._draw_reflections()

    def _draw_reflections(self) -> None:
        for panel in self._panels():
            self._simulated[panel].request(self._wanted(panel))
        if not self._comparison.isHidden():
            difference = difference_text(self._panel.chosen(), self._comparison.chosen())
            self._comparison.set_title(" · ".join(filter(None, (self._comparison_title, difference))) or " ")

    def _wanted(self, panel: SolutionPanel) -> Wanted | None:
        """What is to be simulated over the pattern of a panel: what is chosen in it, as the map found it."""
        chosen, drawn = panel.chosen(), self._drawn
        if chosen is None or drawn is None or drawn.frame is None or drawn.map_calibration is None:
            return None
        crystal, quaternion = chosen
        return Wanted(
            crystal,
            quaternion,
            calibration=drawn.map_calibration,
            origin_px=drawn.frame.origin_px,
            detector_shape=drawn.frame.detector_shape,
            disks=drawn.found,
        )

    def _on_reflections(self, panel: SolutionPanel, reflections: Reflections | None) -> None:
        panel.view.set_reflections(
            reflections, radius_px=0.0 if self._drawn is None else self._drawn.radius_px
        )


def _close(widget_reference: ref[InspectWidget]) -> None:
    widget = widget_reference()
    if widget is not None:
        widget.close_connections()
