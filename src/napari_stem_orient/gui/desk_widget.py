"""OrientationMappingWidget: the desk: the stages from a file to maps, one below the other."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from napari_stem_orient.gui.calibrate.widget import CalibrateWidget
from napari_stem_orient.gui.canvas.layers_button import LayersButton
from napari_stem_orient.gui.canvas.map_layers import map_layers_of
from napari_stem_orient.gui.detect.widget import DetectWidget
from napari_stem_orient.gui.export.widget import ExportWidget
from napari_stem_orient.gui.index.widget import IndexWidget
from napari_stem_orient.gui.jobs.connections import Connections
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.gui.open.widget import OpenWidget
from napari_stem_orient.gui.parts.folding import Folding
from napari_stem_orient.gui.parts.session_bar import SessionBar
from napari_stem_orient.gui.parts.stage_panel import STATE_SIGNS, StagePanel, state_sentence
from napari_stem_orient.session.rules import RULE_FIELDS, StageState
from napari_stem_orient.session.state import Stage

if TYPE_CHECKING:
    import napari

WIDTH = 350
LOWEST = 210  # between two other docks on a small screen: a stage's title and its first rows
PANELS: tuple[type[StagePanel], ...] = (OpenWidget, DetectWidget, CalibrateWidget, IndexWidget, ExportWidget)


class OrientationMappingWidget(QWidget):
    """Shows the stages in order, each with its state; the next stage unfolds when one is done.

    Parameters
    ----------
    napari_viewer
        The viewer that the maps go into.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.session = session_of(napari_viewer)
        self.panels = {panel.stage: panel for panel in (kind(napari_viewer) for kind in PANELS)}
        self.sections = {
            stage: Folding(f"{number}  {stage.value}", panel, unfolded=stage is Stage.OPEN)
            for number, (stage, panel) in enumerate(self.panels.items(), start=1)
        }
        stages = QWidget()
        column = QVBoxLayout(stages)
        column.setContentsMargins(2, 2, 2, 2)
        column.setSpacing(2)
        for section in self.sections.values():
            font = section.button.font()
            font.setBold(True)
            section.button.setFont(font)
            column.addWidget(section)
        column.addStretch(1)
        self.scroll_area = QScrollArea()
        self.scroll_area.setWidgetResizable(True)
        self.scroll_area.setFrameShape(QFrame.Shape.NoFrame)
        self.scroll_area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scroll_area.setWidget(stages)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.scroll_area)
        self.layers_button = LayersButton(napari_viewer, map_layers_of(napari_viewer, self.session))
        self.session_bar = SessionBar(napari_viewer)
        self.session_bar.shortcut_for(self)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(self.session_bar.button)
        buttons.addWidget(self.layers_button)
        layout.addWidget(self.session_bar)
        layout.addLayout(buttons)
        self.setMinimumSize(WIDTH, LOWEST)
        for stage, panel in self.panels.items():
            panel.asks.connect(partial(self._unfold, stage))
            panel.goes_on.connect(partial(self._go_on_from, stage))
            panel.must_be_seen.connect(self._on_must_be_seen)
        self._states = {stage: self.session.stage_state(stage) for stage in Stage}
        self._next = Stage.OPEN
        self._to_be_seen: QWidget | None = None
        self._connections = Connections()
        self._connections.watch(self.session, RULE_FIELDS, self._on_stages_changed)
        self.destroyed.connect(self._connections.disconnect_all)
        self._show_states()
        self._unfold_what_is_next()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Wide enough for the forms; as high as there is room."""
        return QSize(WIDTH + 20, 640)

    def _on_stages_changed(self) -> None:
        before, self._states = self._states, {stage: self.session.stage_state(stage) for stage in Stage}
        self._show_states()
        for stage, state in self._states.items():
            finished = before[stage] is not state and self._is_settled(stage)
            # a value that is filled in later, here or by Calibrate, leads nowhere else
            if stage is Stage.OPEN:
                finished = finished and before[stage] in (StageState.READY, StageState.RUNNING)
            if finished and not self.panels[stage].wants_attention:
                self._go_on_from(stage)

    def _is_settled(self, stage: Stage) -> bool:
        """Whether the next stage may be turned to: this one is done, or lacks only what a later one can measure."""
        if stage is not Stage.OPEN:
            return self._states[stage] is StageState.DONE
        session = self.session
        is_open = session.scan_shape is not None and session.open_needs is None
        reading = self._states[stage] is StageState.RUNNING
        return is_open and not reading and not self._calibration_is_missing()

    def _show_states(self) -> None:
        for stage, section in self.sections.items():
            state = self._states[stage]
            word = "stopped" if state is StageState.READY and self.session.is_partial(stage) else state.value
            sentence = state_sentence(self.session, stage)
            if state is StageState.BLOCKED:
                word = sentence[:1].lower() + sentence[1:].rstrip(".")
            section.note.setText(f"{STATE_SIGNS[state]} {word}")
            section.note.setToolTip(sentence)

    def _go_on_from(self, stage: Stage) -> None:
        """Fold a stage that is done, and unfold the one after it."""
        stages = list(Stage)
        following = stages.index(stage) + 1
        if following < len(stages):
            self.sections[stage].set_unfolded(False)
            self._unfold(stages[following])

    def _unfold(self, stage: Stage) -> None:
        self.sections[stage].set_unfolded(True)
        self._next = stage
        QTimer.singleShot(0, self._reveal_next)

    def _reveal_next(self) -> None:
        """Scroll the stage that was unfolded last into sight, its title above all."""
        section = self.sections[self._next]
        self.scroll_area.ensureWidgetVisible(section)
        self.scroll_area.ensureWidgetVisible(section.button)

    def _on_must_be_seen(self, widget: QWidget) -> None:
        self._to_be_seen = widget
        QTimer.singleShot(0, self._reveal)

    def _reveal(self) -> None:
        """Scroll what must be seen into sight, when it has got its place."""
        if self._to_be_seen is not None:
            self.scroll_area.ensureWidgetVisible(self._to_be_seen)

    def _unfold_what_is_next(self) -> None:
        """On a Session in which something is open already, start where it stands."""
        for stage in Stage:
            if self._is_settled(stage) and not self._calibration_is_missing():
                self._go_on_from(stage)

    def _calibration_is_missing(self) -> bool:
        """Whether Open lacks what no later stage can measure."""
        calibration = self.session.calibration
        return calibration is not None and calibration.voltage_kv is None
