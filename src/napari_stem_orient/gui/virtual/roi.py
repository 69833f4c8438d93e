"""DetectorItem: a virtual detector drawn over a pattern, as circles that the mouse moves and resizes."""

from __future__ import annotations

from typing import Any

import pyqtgraph as pg
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtGui import QPainterPath, QPainterPathStroker

from napari_stem_orient.gui.virtual.detectors import DetectorEntry
from napari_stem_orient.virtual.detector import SMALLEST_RADIUS_PX, VirtualDetector

_OUTER_HANDLE, _INNER_HANDLE = 0.5 + 0.5 * 2**-0.5, 0.5 - 0.5 * 2**-0.5
_HANDLE_PX = 6
_HANDLE_GAP_PX = 5  # between the rim of a disk and its handle, so that a small disk is moved from its middle
_RIM_PX = 5  # on either side of a rim that is taken hold of
_LEAST_WIDTH_PX = 0.5  # of an annulus, on the detector
_LOW, _HIGH = 20, 30


class DetectorItem:
    """One or two circles in a plot whose coordinates are (column, row) from the direct beam times the pixel size.

    Parameters
    ----------
    plot : that it is drawn in
    entry : what is drawn

    Attributes
    ----------
    dragged : emits the detector as the mouse has left it
    clicked : the detector was clicked
    """

    dragged = Signal(object)
    clicked = Signal()

    def __init__(self, plot: pg.PlotItem, entry: DetectorEntry) -> None:
        self._plot = plot
        self._detector = entry.detector
        self._origin_px, self._pixel_size = (0.0, 0.0), 1.0
        self._placing = False
        annulus = entry.detector.shape == "annulus"
        self._outer = _Circle(entry.colour, handle_at=_OUTER_HANDLE, rim_only=annulus)
        self._circles = [self._outer]
        if annulus:
            self._circles.append(_Circle(entry.colour, handle_at=_INNER_HANDLE, rim_only=True))
        for circle in self._circles:
            circle.sigRegionChanged.connect(self._on_dragged)
            circle.sigClicked.connect(self._on_clicked)
            plot.addItem(circle, ignoreBounds=True)

    @property
    def circles(self) -> list[pg.CircleROI]:
        """The outer circle and, of an annulus, the inner one."""
        return list(self._circles)

    def show(
        self,
        detector: VirtualDetector,
        *,
        origin_px: tuple[float, float],
        pixel_size: float,
        selected: bool,
    ) -> None:
        """Draw a detector where it lies with the direct beam at ``origin_px`` (row, column)."""
        self._detector, self._origin_px, self._pixel_size = detector, origin_px, pixel_size
        row, column = (float(value) for value in detector.place_px(origin_px))
        x, y = (column - origin_px[1]) * pixel_size, (row - origin_px[0]) * pixel_size
        radii = (detector.outer_radius_px, detector.inner_radius_px)
        self._placing = True
        try:
            for circle, radius in zip(self._circles, radii, strict=False):
                circle.place(x, y, radius * pixel_size)
                circle.set_selected(selected)
        finally:
            self._placing = False

    def remove(self) -> None:
        """Take the circles out of the plot."""
        for circle in self._circles:
            circle.sigRegionChanged.disconnect(self._on_dragged)
            circle.sigClicked.disconnect(self._on_clicked)
            self._plot.removeItem(circle)
        self._circles.clear()

    def _on_clicked(self, *_: Any) -> None:
        self.clicked.emit()

    def _on_dragged(self, circle: _Circle) -> None:
        """Tell the detector that the circles make now: moved by any of them, resized by one's handle."""
        if self._placing:
            return
        x, y, radius = (value / self._pixel_size for value in circle.geometry())
        changes: dict[str, Any] = {"centre_px": (y, x)}
        if not self._detector.follows_beam:
            changes["centre_px"] = (y + self._origin_px[0], x + self._origin_px[1])
        outer, inner = self._detector.outer_radius_px, self._detector.inner_radius_px
        if circle is self._outer:
            changes["outer_radius_px"] = max(radius, inner + _LEAST_WIDTH_PX, SMALLEST_RADIUS_PX)
        else:
            changes["inner_radius_px"] = min(max(radius, 0.0), outer - _LEAST_WIDTH_PX)
        self._detector = self._detector.updated(**changes)
        self.dragged.emit(self._detector)


class _Circle(pg.CircleROI):
    """A circle that is moved by its inside, or by its rim only, and resized by one handle."""

    def __init__(self, colour: str, *, handle_at: float, rim_only: bool) -> None:
        self._handle_at, self._rim_only, self._colour = handle_at, rim_only, colour
        super().__init__(
            (0, 0),
            radius=1,
            pen=pg.mkPen(colour, width=1.5),
            hoverPen=pg.mkPen(colour, width=3.5),
            handlePen=pg.mkPen(colour, width=2),
            handleHoverPen=pg.mkPen("#ffffff", width=2),
        )
        self.setAcceptedMouseButtons(Qt.MouseButton.LeftButton)

    def _addHandles(self) -> None:  # noqa: N802 - pyqtgraph's name
        self.handleSize = _HANDLE_PX
        at = [self._handle_at, self._handle_at]
        self.addScaleHandle(at, [0.5, 0.5], lockAspect=True)

    def place(self, x: float, y: float, radius: float) -> None:
        """Put the circle somewhere."""
        radius = max(radius, 1e-9)
        self._place_handle(radius)
        self.setPos((x - radius, y - radius), update=False)
        self.setSize((2 * radius, 2 * radius), finish=False)

    def _place_handle(self, radius: float) -> None:
        """Keep the handle of a disk out of the disk, however small that is on the screen."""
        if self._rim_only:
            return
        gap = _HANDLE_GAP_PX * max(self.pixelWidth(), self.pixelHeight())
        at = self._handle_at + gap / (2 * radius)
        self.handles[0]["pos"] = pg.Point(at, at)

    def geometry(self) -> tuple[float, float, float]:
        """Return x and y of the centre and the radius, in the coordinates of the plot."""
        radius = abs(self.size().x()) / 2
        return self.pos().x() + radius, self.pos().y() + radius, radius

    def set_selected(self, selected: bool) -> None:
        """Show the handle, and draw the line thicker, of the one that is edited."""
        self.setPen(pg.mkPen(self._colour, width=2.5 if selected else 1.5))
        self.setZValue(_HIGH if selected else _LOW)
        for handle in self.getHandles():
            handle.setVisible(selected)

    def shape(self) -> QPainterPath:
        """Return where the mouse takes hold of the circle."""
        path: QPainterPath = super().shape()
        if not self._rim_only:
            return path
        stroker = QPainterPathStroker()
        stroker.setWidth(2 * _RIM_PX * max(self.pixelWidth(), self.pixelHeight()))
        return stroker.createStroke(path)
