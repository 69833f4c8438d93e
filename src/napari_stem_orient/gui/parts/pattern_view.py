"""PatternView: one diffraction pattern with its disks and the simulated pattern over it, axes in Å⁻¹."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPen, QPixmap
from qtpy.QtWidgets import QWidget

from napari_stem_orient.gui.canvas.solution_text import overlined
from napari_stem_orient.gui.parts.fit_button import ZOOM_WORDS, FitButton
from napari_stem_orient.gui.parts.pattern_overlay import (
    Disks,
    Reflections,
    disk_text,
    hkl_text,
    reflection_text,
)
from napari_stem_orient.gui.parts.rejected_overlay import RejectedOverlay
from napari_stem_orient.gui.parts.theme_colours import ThemeColours

DISK_COLOUR = "#56b4e9"
PREVIEW_COLOUR = "#f0e442"
SIMULATED_COLOUR = "#ff8c00"
MASK_RGBA = (255, 60, 50, 110)

_SMALLEST_AREA = 0.06  # of a simulated reflection, relative to the strongest: weak ones stay visible


class IntensityScale(StrEnum):
    """How counts become grey values."""

    LOGARITHMIC = "Logarithmic"
    GAMMA = "Gamma"
    LINEAR = "Linear"


class PatternView(pg.PlotWidget):
    """Shows a raw pattern as it is on the detector, with the direct beam at the origin of both axes.

    Parameters
    ----------
    parent : the widget that it is part of

    Attributes
    ----------
    hover_changed : emits what is said of the reflection, disk or rejected maximum under the mouse, "" for none
    """

    hover_changed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pattern: NDArray[np.float32] | None = None
        self._reflections: Reflections | None = None
        self._pixel_size = 1.0
        self._origin_px = (0.0, 0.0)
        self._scale = IntensityScale.LOGARITHMIC
        self._gamma = 0.5
        self._shape: tuple[int, int] | None = None
        self._zoomed = False  # the user has chosen what is in view
        self._hover_text = ""
        self._image = pg.ImageItem(axisOrder="row-major")
        self._disks = pg.ScatterPlotItem(pxMode=False, brush=None)
        self._simulated = pg.ScatterPlotItem(pxMode=False)
        self._shown_disks: Disks | None = None
        self.rejected = RejectedOverlay()
        self._mask_image = pg.ImageItem(axisOrder="row-major")
        self._mask: NDArray[np.bool_] | None = None
        self._label = pg.TextItem(anchor=(0, 1))
        self._build()

    def _build(self) -> None:
        plot = self.getPlotItem()
        plot.setAspectLocked(True)
        plot.invertY(True)
        plot.setMenuEnabled(False)
        plot.getViewBox().setDefaultPadding(0.0)
        plot.getViewBox().sigRangeChangedManually.connect(self._on_zoomed)
        plot.hideButtons()
        self.fit_button = FitButton(self, self.reset_view)
        plot.autoBtn.clicked.connect(
            self.fit_button.click
        )  # pyqtgraph's own fits nothing: the items have no bounds
        for axis in (plot.getAxis("bottom"), plot.getAxis("left")):
            axis.enableAutoSIPrefix(False)
            axis.setStyle(tickTextOffset=3)
        for z_value, item in enumerate(self._items()):
            item.setZValue(z_value)
            plot.addItem(item, ignoreBounds=True)
        self._label.setVisible(False)
        self._name_axes(known=False)
        self.setToolTip(
            "<qt>The pattern as it was recorded; the direct beam is at 0. Blue circles: detected disks; yellow: those "
            "that Detect would find with its present parameters; small signs: what it would leave out, and why. "
            "Orange: simulated pattern of the solution, area by intensity. Red: masked pixels. Hold the mouse over a "
            f"reflection, a disk or a sign for what is known of it. {ZOOM_WORDS}</qt>"
        )
        plot.scene().sigMouseMoved.connect(self._on_mouse_moved)

    def _items(self) -> tuple[pg.GraphicsObject, ...]:
        """All that is drawn, from the lowest to the topmost."""
        return (
            self._image,
            self._mask_image,
            self._simulated,
            self._disks,
            self.rejected.item,
            self._label,
        )

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a modest size: the maps need the window more."""
        return QSize(340, 340)

    def _on_zoomed(self, _: object) -> None:
        self._zoomed = True

    # --- what is shown -------------------------------------------------------------------------------------

    def set_frame(
        self,
        *,
        origin_px: tuple[float, float],
        pixel_size_inv_angstrom: float | None,
        detector_shape: tuple[int, int] | None,
    ) -> None:
        """Say where on the detector the axes are zero (row, column), and their scale; px where it is unknown.

        The whole detector stays in view; where the user has zoomed in, what is seen stays with the direct beam.
        """
        before = self._origin_px, self._pixel_size
        self._origin_px = origin_px
        self._pixel_size = pixel_size_inv_angstrom or 1.0
        self._name_axes(known=pixel_size_inv_angstrom is not None)
        self._place_image()
        if detector_shape != self._shape and detector_shape is not None:
            self._shape = detector_shape
            self.reset_view()
        elif self._zoomed:
            self._scale_view(self._pixel_size / before[1])
        elif before != (self._origin_px, self._pixel_size):
            self.reset_view()

    def set_pattern(self, pattern: NDArray[np.float32] | None) -> None:
        """Show a pattern (det_y, det_x), or none."""
        self._pattern = pattern
        self._paint()

    def set_intensity_scale(self, scale: IntensityScale, *, gamma: float) -> None:
        """Choose how counts become grey values; gamma is the exponent."""
        self._scale, self._gamma = scale, gamma
        self._paint()

    def set_disks(self, disks: Disks | None, *, preview: bool = False) -> None:
        """Draw detected disks as circles of their radius, those of a preview in another colour."""
        self._shown_disks = disks
        self._tell("", "")
        rejected = None if disks is None else disks.rejected
        empty = np.zeros(0)
        places = (empty, empty) if rejected is None else self._to_view(rejected.x_px, rejected.y_px)
        self.rejected.set(rejected, x=places[0], y=places[1])
        if disks is None:
            self._disks.setData([], [])
            return
        x, y = self._to_view(disks.x_px, disks.y_px)
        colour = PREVIEW_COLOUR if preview else DISK_COLOUR
        diameter = 2 * disks.radius_px * self._pixel_size
        self._disks.setData(x=x, y=y, size=diameter, pen=pg.mkPen(colour, width=1.5), brush=None)

    def set_mask(self, mask: NDArray[np.bool_] | None) -> None:
        """Tint the masked pixels (det_y, det_x), or none."""
        self._mask = mask if mask is not None and mask.any() else None
        if self._mask is None:
            self._mask_image.clear()
            return
        tint = np.zeros((*self._mask.shape, 4), dtype=np.uint8)
        tint[self._mask] = MASK_RGBA
        self._mask_image.setImage(tint, autoLevels=False, levels=(0, 255))
        self._place_image()

    def set_reflections(self, reflections: Reflections | None, *, radius_px: float) -> None:
        """Draw simulated reflections as disks whose area goes with the intensity, the strongest of radius_px."""
        self._reflections = reflections
        self._tell("", "")
        if reflections is None:
            self._simulated.setData([], [])
            return
        x, y = self._to_view(reflections.x_px, reflections.y_px)
        area = np.clip(reflections.intensity, _SMALLEST_AREA, 1)
        size = 2 * radius_px * self._pixel_size * np.sqrt(area)
        fill = pg.mkColor(SIMULATED_COLOUR)
        fill.setAlpha(80)
        self._simulated.setData(x=x, y=y, size=size, pen=pg.mkPen(SIMULATED_COLOUR, width=1), brush=fill)

    def show_overlays(self, *, disks: bool, simulated: bool) -> None:
        """Show or hide disks and simulated reflections."""
        self._disks.setVisible(disks)
        self._simulated.setVisible(simulated)

    def show_rejected(self, shown: bool) -> None:
        """Show or hide the signs of rejected maxima."""
        self.rejected.item.setVisible(shown)

    def reset_view(self) -> None:
        """Show the whole detector."""
        self._zoomed = False
        if self._shape is not None:
            self.getPlotItem().getViewBox().setRange(self._image_rect(self._shape), padding=0.02)

    def _scale_view(self, factor: float) -> None:
        """Keep the same pixels around the direct beam in view in other units."""
        if factor != 1:
            x_range, y_range = self.getPlotItem().getViewBox().viewRange()
            self.getPlotItem().getViewBox().setRange(
                xRange=[factor * x for x in x_range], yRange=[factor * y for y in y_range], padding=0.0
            )

    def apply_theme(self, colours: ThemeColours) -> None:
        """Take the colours of napari's theme."""
        self.setBackground(colours.background)
        for axis in (self.getPlotItem().getAxis("bottom"), self.getPlotItem().getAxis("left")):
            axis.setPen(colours.faint)
            axis.setTextPen(colours.text)
        self._label.fill = pg.mkBrush(colours.foreground)
        self._label.setColor(colours.text)

    # --- for tests and neighbours --------------------------------------------------------------------------

    @property
    def reflections(self) -> Reflections | None:
        """The simulated reflections that are drawn."""
        return self._reflections

    @property
    def pattern(self) -> NDArray[np.float32] | None:
        """The pattern that is shown."""
        return self._pattern

    @property
    def hover_text(self) -> str:
        """What is said of the reflection, disk or sign under the mouse; empty when there is none."""
        return self._hover_text

    @property
    def grey_values(self) -> NDArray[np.float32] | None:
        """The picture (det_y, det_x) as it is drawn, 0 to 1."""
        drawn: NDArray[np.float32] | None = self._image.image
        return drawn

    @property
    def shows_disks(self) -> bool:
        """Whether detected disks are drawn."""
        return bool(self._disks.isVisible())

    @property
    def shows_simulated(self) -> bool:
        """Whether simulated reflections are drawn."""
        return bool(self._simulated.isVisible())

    def disk_positions(self) -> NDArray[np.float64]:
        """(n, 2) x and y of the circles that are drawn, in the units of the axes."""
        return np.column_stack(self._disks.getData()).astype(np.float64)

    def view_position(self, x_px: float, y_px: float) -> tuple[float, float]:
        """Return where a detector position is drawn, in the units of the axes."""
        x, y = self._to_view(np.array([x_px]), np.array([y_px]))
        return float(x[0]), float(y[0])

    def hover(self, x: float, y: float) -> None:
        """Tell what is at a place in the units of the axes: a rejected maximum, a reflection, a disk."""
        pixel = self.getPlotItem().getViewBox().viewPixelSize()[0]
        sign = self.rejected.nearest(x, y, screen_px=pixel)
        reflection = self._nearest_reflection(x, y, screen_px=pixel)
        if sign is not None and (reflection is None or sign[1] < reflection[1]):
            self._place_label(*self.rejected.place(sign[0]), wide=True)
            self._tell(*self.rejected.words(sign[0]))
        elif reflection is not None and self._reflections is not None:
            place = self._to_view(self._reflections.x_px, self._reflections.y_px)
            self._place_label(place[0][reflection[0]], place[1][reflection[0]])
            self._tell(
                hkl_text(self._reflections, reflection[0]), reflection_text(self._reflections, reflection[0])
            )
        else:
            self._tell("", self._disk_at(x, y))

    def _nearest_reflection(self, x: float, y: float, *, screen_px: float) -> tuple[int, float] | None:
        """Number of the reflection under the mouse and its distance; None for none."""
        reflections = self._reflections
        if reflections is None or len(reflections.x_px) == 0 or not self._simulated.isVisible():
            return None
        view_x, view_y = self._to_view(reflections.x_px, reflections.y_px)
        distance = np.hypot(view_x - x, view_y - y)
        nearest = int(np.argmin(distance))
        reach = max(float(np.max(self._simulated.data["size"])) / 2, 6 * screen_px)
        return (nearest, float(distance[nearest])) if distance[nearest] <= reach else None

    def _disk_at(self, x: float, y: float) -> str:
        """What is said of the detected disk at a place; empty for none."""
        disks = self._shown_disks
        if disks is None or len(disks.x_px) == 0 or not self._disks.isVisible():
            return ""
        view_x, view_y = self._to_view(disks.x_px, disks.y_px)
        distance = np.hypot(view_x - x, view_y - y)
        nearest = int(np.argmin(distance))
        return disk_text(disks, nearest) if distance[nearest] <= disks.radius_px * self._pixel_size else ""

    # --- private -------------------------------------------------------------------------------------------

    def _on_mouse_moved(self, scene_position: QPointF) -> None:
        view_box = self.getPlotItem().getViewBox()
        if not view_box.sceneBoundingRect().contains(scene_position):
            self._tell("", "")
            return
        point = view_box.mapSceneToView(scene_position)
        self.hover(point.x(), point.y())

    def _tell(self, label: str, text: str) -> None:
        """Write the label beside the reflection, and tell the panel the whole text."""
        if text == self._hover_text:
            return
        self._hover_text = text
        self._label.setVisible(bool(label))
        self._label.setHtml(overlined(label))
        self.hover_changed.emit(text)

    def _place_label(self, x: float, y: float, *, wide: bool = False) -> None:
        """Put the label beside a reflection, to the side where there is room; a wide one above or below."""
        (left, right), (top, bottom) = self.getPlotItem().getViewBox().viewRange()
        above = y > (top + bottom) / 2
        if wide:
            self._label.setAnchor((float(np.clip((x - left) / (right - left), 0, 1)), 1.3 if above else -0.3))
        else:
            self._label.setAnchor((0 if x < (left + right) / 2 else 1, 1 if above else 0))
        self._label.setPos(x, y)

    def _to_view(
        self, x_px: NDArray[Any], y_px: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return (
            (np.asarray(x_px, dtype=np.float64) - self._origin_px[1]) * self._pixel_size,
            (np.asarray(y_px, dtype=np.float64) - self._origin_px[0]) * self._pixel_size,
        )

    def _image_rect(self, shape: tuple[int, int]) -> QRectF:
        """The detector's outline: pixel centres are whole numbers."""
        left, top = self.view_position(-0.5, -0.5)
        return QRectF(left, top, shape[1] * self._pixel_size, shape[0] * self._pixel_size)

    def _place_image(self) -> None:
        if self._pattern is not None:
            self._image.setRect(self._image_rect((self._pattern.shape[0], self._pattern.shape[1])))
        if self._mask is not None:
            self._mask_image.setRect(self._image_rect((self._mask.shape[0], self._mask.shape[1])))

    def _paint(self) -> None:
        if self._pattern is None:
            self._image.clear()
            return
        grey = grey_values(self._pattern, self._scale, gamma=self._gamma)
        self._image.setImage(grey, autoLevels=False, levels=(0.0, 1.0))
        self._place_image()

    def _name_axes(self, *, known: bool) -> None:
        unit = "Å⁻¹" if known else "px"
        plot = self.getPlotItem()
        plot.setLabel("bottom", f"detector x ({unit})")
        plot.setLabel("left", f"detector y ({unit})")


def circle_icon(colour: str, *, filled: bool) -> QIcon:
    """Return the sign of a drawing's colour for the box that switches it on and off."""
    pixmap = QPixmap(14, 14)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(colour), 2))
    if filled:
        painter.setBrush(QColor(colour))
    painter.drawEllipse(2, 2, 10, 10)
    painter.end()
    return QIcon(pixmap)


def grey_values(pattern: NDArray[np.float32], scale: IntensityScale, *, gamma: float) -> NDArray[np.float32]:
    """Return grey values 0 to 1 of a pattern (det_y, det_x): between its background and its brightest pixels.

    NaN counts as dark. Robust to a few hot pixels.
    """
    counts = np.nan_to_num(np.asarray(pattern, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = (float(value) for value in np.percentile(counts, (1.0, 99.9)))
    if high <= low:
        high = float(counts.max())
    if high <= low:
        return np.zeros_like(counts)
    fraction = np.clip((counts - low) / (high - low), 0, 1)
    if scale is IntensityScale.LINEAR:
        return np.asarray(fraction)
    if scale is IntensityScale.GAMMA:
        return np.asarray(np.power(fraction, np.float32(gamma)))
    # Counts at a hundredth of the range are still seen.
    return np.asarray(np.log1p(100 * fraction) / np.log1p(np.float32(100)), dtype=np.float32)
