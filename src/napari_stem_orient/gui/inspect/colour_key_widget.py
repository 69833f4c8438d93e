"""ColourKeyWidget: the IPF colour key of every phase, with the orientation under the cursor marked on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_stem_orient.core.ipf import (
    KeyLabel,
    SampleDirection,
    colour_key_image,
    colour_key_labels,
    colour_key_position,
    phase_colour,
)
from napari_stem_orient.core.map_kinds import map_kinds
from napari_stem_orient.gui.canvas.layers import kind_of_layer
from napari_stem_orient.gui.canvas.map_layers import map_layers_of
from napari_stem_orient.gui.jobs.connections import Connections
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.gui.jobs.throttle import Throttle
from napari_stem_orient.gui.parts.theme_colours import theme_colours

if TYPE_CHECKING:
    import napari

    from napari_stem_orient.core.crystal import Crystal

_SIZE_PX = 84
_MARGIN_PX = 22
_MARKER_RADIUS = 4.5


class ColourKey(QWidget):
    """The colour key of one crystal, with its corners named.

    Parameters
    ----------
    crystal : its Laue class chooses the key
    """

    def __init__(self, crystal: Crystal, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._crystal = crystal
        self._pixels = np.ascontiguousarray(colour_key_image(crystal, size_px=2 * _SIZE_PX))
        rows, columns = self._pixels.shape[:2]
        self._image = QImage(
            self._pixels.tobytes(), columns, rows, 4 * columns, QImage.Format.Format_RGBA8888
        ).copy()  # of its own bytes
        self._labels = colour_key_labels(crystal, size_px=2 * _SIZE_PX)
        self._text_colour = QColor("white")
        self._marker: tuple[float, float] | None = None
        self.setFixedSize(self.sizeHint())

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Room for the key and the names of its corners."""
        rows, columns = self._pixels.shape[:2]
        return QSize(columns // 2 + 2 * _MARGIN_PX, rows // 2 + 2 * _MARGIN_PX)

    @property
    def marker(self) -> tuple[float, float] | None:
        """(row, column) in px of the key where the marker is, or None."""
        return self._marker

    def set_text_colour(self, colour: str) -> None:
        """Take the theme's colour for the names of the corners."""
        self._text_colour = QColor(colour)
        self.update()

    def mark(self, quaternion: NDArray[Any] | None, direction: SampleDirection) -> None:
        """Mark an orientation (4,), sample to crystal, in the key of a sample direction; None takes it away."""
        if quaternion is None:
            self._marker = None
        else:
            row, column = colour_key_position(quaternion, self._crystal, direction, size_px=2 * _SIZE_PX)
            self._marker = row / 2, column / 2
        self.update()

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw key, names and marker."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        rows, columns = self._pixels.shape[:2]
        painter.drawImage(QRectF(_MARGIN_PX, _MARGIN_PX, columns / 2, rows / 2), self._image)
        painter.setPen(self._text_colour)
        for label in self._labels:
            painter.drawText(self._label_place(painter, label), Qt.AlignmentFlag.AlignCenter, label.text)
        if self._marker is not None:
            centre = QPointF(self._marker[1] + _MARGIN_PX, self._marker[0] + _MARGIN_PX)
            for colour, width in (("white", 3.5), ("black", 1.5)):
                painter.setPen(QPen(QColor(colour), width))
                painter.drawEllipse(centre, _MARKER_RADIUS, _MARKER_RADIUS)
        painter.end()

    def _label_place(self, painter: QPainter, label: KeyLabel) -> QRectF:
        """Return where a corner's name goes: below the lower corners, above the upper ones, inside the widget."""
        metrics = painter.fontMetrics()
        width, height = metrics.horizontalAdvance(label.text) + 2.0, float(metrics.height())
        column, row = label.column / 2 + _MARGIN_PX, label.row / 2 + _MARGIN_PX
        below = label.outward[0] > 0
        top = row + 2 if below else row - height - 2
        left = min(max(0.0, column - width / 2), self.width() - width)
        return QRectF(left, min(max(0.0, top), self.height() - height), width, height)


class ColourKeyWidget(QWidget):
    """The colour keys of the current map's phases; follows the active IPF layer, the cursor and the theme.

    Parameters
    ----------
    napari_viewer : given by napari
    """

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self._session = session_of(napari_viewer)
        self._layers = map_layers_of(napari_viewer, self._session)
        self._pointer = self._layers.pointer
        self._keys: list[ColourKey] = []
        self._crystals: tuple[Crystal, ...] = ()
        self._direction = QComboBox()
        for kind in map_kinds():
            if kind.direction is not None:
                self._direction.addItem(kind.title, kind.direction)
        self._direction.setToolTip("The sample direction whose colours the map shows and whose key this is.")
        self._direction.activated.connect(self._on_direction_chosen)
        self._direction.currentIndexChanged.connect(self._mark)
        self._row = QHBoxLayout()
        self._build()
        self._mark_soon = Throttle(self._mark, interval_ms=30, parent=self)
        self._connections = Connections()
        self._listen()
        self._on_map_changed()

    def _build(self) -> None:
        inside = QWidget()
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.addStretch(1)
        inside.setLayout(self._row)
        self._scroll = QScrollArea()
        self._scroll.setWidget(inside)
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        self._scroll.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._direction)
        layout.addWidget(self._scroll)

    def disconnect_all(self) -> None:
        """Listen no more: the panel that this is part of goes away."""
        self._connections.disconnect_all()

    @property
    def keys(self) -> tuple[ColourKey, ...]:
        """The keys, one a phase, in the order of the map's crystals."""
        return tuple(self._keys)

    @property
    def direction_box(self) -> QComboBox:
        """Chooses the sample direction."""
        return self._direction

    @property
    def direction(self) -> SampleDirection:
        """The sample direction that the markers stand for."""
        direction: SampleDirection = self._direction.currentData()
        return direction

    def _listen(self) -> None:
        connect, viewer = self._connections.connect, self._viewer
        watch, session = self._connections.watch, self._session
        watch(session, ("current_result",), self._on_map_changed)
        watch(session, ("position",), self._mark_soon)
        connect(self._pointer.hovered, self._mark_soon)
        connect(viewer.events.theme, self._on_theme_changed)
        connect(viewer.layers.selection.events.active, self._on_active_layer_changed)

    def _on_map_changed(self) -> None:
        current = self._session.current_map
        crystals = () if current is None else current.crystals
        if crystals != self._crystals:
            self._crystals = crystals
            self._make_keys()
        self.setVisible(bool(crystals))
        self._mark()

    def _make_keys(self) -> None:
        while self._row.count():
            item = self._row.takeAt(0)
            widget = None if item is None else item.widget()
            if widget is not None:
                widget.deleteLater()
        self._keys = []
        for phase_id, crystal in enumerate(self._crystals):
            key = ColourKey(crystal)
            name = QLabel(f'<span style="color:{phase_colour(phase_id)}">■</span> {crystal.name}')
            name.setAlignment(Qt.AlignmentFlag.AlignCenter)
            column = QWidget()
            column_layout = QVBoxLayout(column)
            column_layout.setContentsMargins(0, 0, 0, 0)
            column_layout.setSpacing(0)
            column_layout.addWidget(name)
            column_layout.addWidget(key)
            self._row.addWidget(column)
            self._keys.append(key)
        self._row.addStretch(1)
        height = max((key.height() for key in self._keys), default=0) + self.fontMetrics().height() + 6
        self._scroll.setFixedHeight(height)
        self._on_theme_changed()

    def _on_theme_changed(self) -> None:
        colours = theme_colours(self._viewer)
        for key in self._keys:
            key.set_text_colour(colours.text)

    def _on_active_layer_changed(self) -> None:
        """Follow the IPF map that the user looks at."""
        active = self._viewer.layers.selection.active
        kind = None if active is None else kind_of_layer(active)
        if kind is not None and kind.direction is not None:
            self._direction.setCurrentIndex(self._direction.findData(kind.direction))

    def _on_direction_chosen(self) -> None:
        """Show the map that the user asks for; IPF-Y is painted when first asked for."""
        self._layers.show_ipf(self.direction)

    def _mark(self) -> None:
        """Mark the orientation under the cursor, or else the one that was clicked."""
        current = self._session.current_map
        position = self._pointer.hovered_position or self._session.position
        phase_id, quaternion = -1, None
        if current is not None and position is not None:
            index = position[0] * current.scan_shape[1] + position[1]
            phase_id, quaternion = int(current.phase_id[index]), current.quaternion[index]
        for key_phase, key in enumerate(self._keys):
            key.mark(quaternion if key_phase == phase_id else None, self.direction)
