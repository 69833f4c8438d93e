"""The pictures of a calibration: Bragg vector map, radial histogram and direct beam, before and after a change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPen
from qtpy.QtWidgets import QGraphicsRectItem, QLabel, QStackedWidget, QWidget

from napari_stem_orient.gui.calibrate.jobs import BeforeAndAfter, OriginPicture, Picture
from napari_stem_orient.gui.parts.fit_button import ZOOM_WORDS, FitButton
from napari_stem_orient.gui.parts.theme_colours import ThemeColours

if TYPE_CHECKING:
    from napari_stem_orient.calibration.rings import Rings

RING_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7")
BEFORE_COLOUR = "#999999"
AFTER_COLOUR = "#d55e00"
LABEL_WIDTH = 0.085  # of the axis
HEIGHT = 280
LEFT_AXIS_WIDTH = 48  # the same for all numbers: the picture stays where it is
AXIS_LABEL_MARGIN = 6  # below the axis, whose label hangs out of it by as much
FAINTEST_RING = 0.03
"""Rings weaker than this part of the strongest are not drawn."""
CIRCLE = np.linspace(0, 2 * np.pi, 181)

NamedRings = tuple[tuple[str, "Rings"], ...]


class VectorMapView(pg.PlotWidget):
    """All disks of a scan in one picture, with the rings of the crystals over it."""

    def __init__(self) -> None:
        super().__init__()
        plot = _plain(self.getPlotItem())
        plot.setAspectLocked(True)
        plot.invertY(True)
        self.image = pg.ImageItem(axisOrder="row-major")
        colours = pg.colormap.get("inferno")
        self.image.setColorMap(colours)
        self.ground = QGraphicsRectItem()  # a smaller picture lies on it
        self.ground.setBrush(colours.map(0.0, mode="qcolor"))
        self.ground.setPen(QPen(Qt.PenStyle.NoPen))
        plot.addItem(self.ground, ignoreBounds=True)
        plot.addItem(self.image)
        plot.getAxis("left").setWidth(LEFT_AXIS_WIDTH)
        self.rings = [
            plot.plot(pen=pg.mkPen(_faint(colour), width=1), connect="finite") for colour in RING_COLOURS
        ]
        self.setToolTip(
            "<qt>Bragg vector map: all disks of the scan in one picture, the direct beam left out. Circles: rings of "
            f"the crystal. A calibrated scan of many grains fills the circles. {ZOOM_WORDS}</qt>"
        )
        self.fit_button = FitButton(self, self._fit)

    def _fit(self) -> None:
        self.getPlotItem().getViewBox().setRange(self.ground.rect(), padding=0.0)

    def show_picture(self, picture: Picture, rings: NamedRings, *, frame: float, keep_range: bool) -> None:
        """Draw a vector map in a frame that reaches so far; with `keep_range`, in the view that is shown."""
        found = picture.vector_map
        if found is None:
            return
        left, right, top, bottom = found.extent
        self.image.setImage(_shades(found.image), autoLevels=False, levels=(0.0, 1.0))
        self.image.setRect(QRectF(left, top, right - left, bottom - top))
        outline = QRectF(-frame, -frame, 2 * frame, 2 * frame)
        self.ground.setRect(outline)
        plot = self.getPlotItem()
        plot.setLabel("bottom", f"q<sub>x</sub> ({found.units})")
        plot.setLabel("left", f"q<sub>y</sub> ({found.units})")
        if not keep_range:
            self._fit()
        for index, item in enumerate(self.rings):
            has = index < len(rings) and found.units != "px"
            q = _strong(rings[index][1])[0] if has else np.zeros(0)
            q = q[q < right]
            x = np.concatenate([[*(radius * np.cos(CIRCLE)), np.nan] for radius in q]) if len(q) else q
            y = np.concatenate([[*(radius * np.sin(CIRCLE)), np.nan] for radius in q]) if len(q) else q
            item.setData(x, y)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a modest size: the panel is narrow."""
        return QSize(320, HEIGHT)


class HistogramView(pg.PlotWidget):
    """Disks over their distance from the direct beam, before and after, and the rings of the crystals."""

    def __init__(self) -> None:
        super().__init__()
        plot = _plain(self.getPlotItem())
        self.rings = [
            plot.plot(pen=pg.mkPen(colour, width=1, style=Qt.PenStyle.DashLine), connect="pairs")
            for colour in RING_COLOURS
        ]
        self.before = plot.plot(
            pen=pg.mkPen(BEFORE_COLOUR, width=1), fillLevel=0, brush=_faint(BEFORE_COLOUR)
        )
        self.after = plot.plot(pen=pg.mkPen(AFTER_COLOUR, width=1.5))
        self._labels: list[pg.TextItem] = []
        plot.setLabel("left", "disks")
        plot.getAxis("left").setStyle(showValues=False)
        plot.getAxis("left").setWidth(LEFT_AXIS_WIDTH)  # room for "Fit" where the axes meet
        plot.setMouseEnabled(x=True, y=False)
        self.setToolTip(
            "<qt>Radial histogram: disks of the whole scan over their distance from the direct beam. Orange: now; "
            f"grey: before the last change. Dashed: rings of the crystal, which the peaks shall meet. {ZOOM_WORDS}</qt>"
        )
        self._reach = 1.0
        self.fit_button = FitButton(self, self._fit)

    def _fit(self) -> None:
        self.getPlotItem().getViewBox().setRange(xRange=(0, self._reach), yRange=(0, 1.18), padding=0.0)

    def show_pictures(self, content: BeforeAndAfter) -> None:
        """Draw the histograms and the rings."""
        after = content.after.histogram
        before = None if content.before is None else content.before.histogram
        if after is None:
            return
        counts = _scaled(after.intensity)
        self.after.setData(after.q, counts)
        same = before is not None and before.units == after.units
        self.before.setData(
            *((before.q, _scaled(before.intensity)) if same and before is not None else ([], []))
        )
        plot = self.getPlotItem()
        plot.setLabel("bottom", f"q ({after.units})")
        self._reach = float(after.q[-1])
        self._fit()
        self._draw_rings(content.rings if after.units != "px" else ())

    def _draw_rings(self, rings: NamedRings) -> None:
        plot = self.getPlotItem()
        for label in self._labels:
            plot.removeItem(label)
        self._labels = []
        for index, item in enumerate(self.rings):
            if index >= len(rings):
                item.setData([], [])
                continue
            q, names = _strong(rings[index][1])
            item.setData(np.repeat(q, 2), np.tile([0.0, 1.06], len(q)))
            reach = plot.getViewBox().viewRange()[0][1]
            for radius, name in _apart(q, names, LABEL_WIDTH * reach):
                label = pg.TextItem(name, color=RING_COLOURS[index], anchor=(0.5, 0.8))
                label.setPos(radius, 1.08)
                plot.addItem(label, ignoreBounds=True)
                self._labels.append(label)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a modest size: the panel is narrow."""
        return QSize(320, HEIGHT)


class OriginView(pg.GraphicsLayoutWidget):
    """The direct beam over the scan: where it was measured, and where the calibration puts it."""

    def __init__(self) -> None:
        super().__init__()
        self.ci.layout.setContentsMargins(2, 2, 2, 2)
        self.ci.layout.setSpacing(2)
        self.images: dict[tuple[int, int], pg.ImageItem] = {}
        self.plots: list[pg.PlotItem] = []
        self._labels: list[pg.LabelItem] = []
        for axis in (0, 1):
            self._labels.append(self.addLabel("", row=2 * axis, col=0, colspan=2, size="8pt"))
            for column in (0, 1):
                plot = _plain(self.addPlot(row=2 * axis + 1, col=column))
                plot.setAspectLocked(True)
                plot.invertY(True)
                plot.hideAxis("left")
                plot.hideAxis("bottom")
                image = pg.ImageItem(axisOrder="row-major")
                image.setColorMap(pg.colormap.get("viridis"))
                plot.addItem(image)
                self.images[axis, column] = image
                self.plots.append(plot)
        self._colour = "#888888"
        self._texts = ["", ""]
        self.setToolTip(
            "<qt>Row and column of the direct beam over the scan. Left: where it was found among the disks of each "
            "position. Right: where the calibration puts it. The fit shall follow the drift, not single strong "
            f"disks. {ZOOM_WORDS}</qt>"
        )
        self.fit_button = FitButton(self, self._fit)

    def _fit(self) -> None:
        for plot in self.plots:
            plot.getViewBox().autoRange(padding=0.0)

    def show_picture(self, picture: Picture) -> None:
        """Draw measured and used origins, rows above columns, each pair in one colour scale."""
        if picture.origin is None:
            return
        for axis, name in enumerate(("row", "column")):
            low, high = _levels(picture.origin, axis)
            for column, values in enumerate((picture.origin.measured, picture.origin.used)):
                self.images[axis, column].setImage(values[..., axis], autoLevels=False, levels=(low, high))
            self._texts[axis] = f"{name}: measured, fitted · {low:.2f} to {high:.2f} px"
        self._fit()
        self._write()

    def take_colours(self, colours: ThemeColours) -> None:
        """Take the colours of napari's theme."""
        self._colour = colours.text
        self._write()

    def _write(self) -> None:
        for label, text in zip(self._labels, self._texts, strict=True):
            label.setText(text, color=self._colour)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a modest size: the panel is narrow."""
        return QSize(320, HEIGHT)


class CalibrationViews(QStackedWidget):
    """One of the three pictures at a time."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.vector_map, self.histogram, self.origin = VectorMapView(), HistogramView(), OriginView()
        for view in (self.vector_map, self.histogram, self.origin):
            view.setMinimumSize(100, 200)
            self.addWidget(view)
        self._content: BeforeAndAfter | None = None
        self._wait_label = QLabel("Drawing …")
        self._wait_label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.addWidget(self._wait_label)
        self.setFixedHeight(HEIGHT)

    @property
    def content(self) -> BeforeAndAfter | None:
        """What is shown."""
        return self._content

    def show_nothing(self) -> None:
        """Say that another view is being drawn."""
        self.setCurrentWidget(self._wait_label)

    def show_content(self, content: BeforeAndAfter, *, before: bool) -> None:
        """Show a view as it is, or as it was before the last change."""
        flipped = self._content is content  # the same pictures: the eye compares them in one frame
        self._content = content
        picture = content.before if before and content.before is not None else content.after
        if content.view == "map":
            self.vector_map.show_picture(
                picture,
                content.rings,
                frame=_frame(content, picture),
                keep_range=flipped and _same_units(content),
            )
            self.setCurrentWidget(self.vector_map)
        elif content.view == "histogram":
            self.histogram.show_pictures(content)
            self.setCurrentWidget(self.histogram)
        else:
            self.origin.show_picture(picture)
            self.setCurrentWidget(self.origin)

    def apply_theme(self, colours: ThemeColours) -> None:
        """Take the colours of napari's theme."""
        for view in (self.vector_map, self.histogram):
            view.setBackground(colours.background)
            for name in ("left", "bottom"):
                axis = view.getPlotItem().getAxis(name)
                axis.setPen(colours.faint)
                axis.setTextPen(colours.text)
        self.origin.setBackground(colours.background)
        self.origin.take_colours(colours)


def _faint(colour: str) -> QColor:
    faint = QColor(colour)
    faint.setAlpha(110)
    return faint


def _plain(plot: pg.PlotItem) -> pg.PlotItem:
    plot.setMenuEnabled(False)
    plot.hideButtons()
    plot.getAxis("bottom").setHeight(38)
    plot.layout.setContentsMargins(1, 1, 1, AXIS_LABEL_MARGIN)
    for name in ("left", "bottom"):
        plot.getAxis(name).enableAutoSIPrefix(False)
    return plot


def _same_units(content: BeforeAndAfter) -> bool:
    pair = (content.before, content.after)
    units = {p.vector_map.units for p in pair if p is not None and p.vector_map is not None}
    return len(units) < 2


def _frame(content: BeforeAndAfter, shown: Picture) -> float:
    """How far the frame of a vector map reaches: as far as both pictures do, where their units are the same."""
    pair = (content.before, content.after) if _same_units(content) else (shown,)
    return max(p.vector_map.extent[1] for p in pair if p is not None and p.vector_map is not None)


def _strong(rings: Rings) -> tuple[NDArray[np.float64], list[str]]:
    """Radii and names of the rings that are worth drawing."""
    kept = np.flatnonzero(rings.weight >= FAINTEST_RING)
    labels = rings.labels()
    return rings.q[kept], [labels[index] for index in kept]


def _apart(q: NDArray[np.float64], names: list[str], least: float) -> list[tuple[float, str]]:
    """Radii and names from the innermost on, without those that would run into the one before."""
    chosen: list[tuple[float, str]] = []
    for radius, name in zip(q.tolist(), names, strict=True):
        if not chosen or radius - chosen[-1][0] >= least:
            chosen.append((radius, name))
    return chosen


def _scaled(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts with the highest at 1."""
    return counts / max(float(counts.max(initial=0)), 1e-30)


def _shades(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values 0 to 1 in which faint disks are seen beside crowded places."""
    filled = image[image > 0]
    high = float(np.percentile(filled, 99.5)) if len(filled) else 1.0
    return np.asarray(np.clip(image / max(high, 1e-30), 0, 1) ** 0.5, dtype=np.float32)


def _levels(origin: OriginPicture, axis: int) -> tuple[float, float]:
    """Range of the fitted values and of most measured ones, at least a tenth of a pixel wide."""
    measured = origin.measured[..., axis]
    known = measured[np.isfinite(measured)]
    values = np.concatenate(
        [np.percentile(known, (5, 95)) if len(known) else [], origin.used[..., axis].ravel()]
    )
    low, high = float(values.min()), float(values.max())
    middle, half = (low + high) / 2, max((high - low) / 2, 0.05)
    return middle - half, middle + half
