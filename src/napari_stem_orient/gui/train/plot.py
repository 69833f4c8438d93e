"""TrainingPlot: loss and median errors of a training against the patterns that it has learned from, live."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyqtgraph as pg
from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QWidget

from napari_stem_orient.gui.parts.fit_button import ZOOM_WORDS, FitButton
from napari_stem_orient.gui.parts.theme_colours import ThemeColours

if TYPE_CHECKING:
    from napari_stem_orient.transformer.checkpoint import Evaluation
    from napari_stem_orient.transformer.training_run import TrainingProgress

BEST_COLOUR = "#56b4e9"
CHOSEN_COLOUR = "#e69f00"
LOSS_COLOUR = "#cc79a7"

#: A curve keeps at most so many points: then every other one is left out, and as many are skipped from there on.
MOST_POINTS = 800


#: An axis of a modest plot has room for so many numbers.
MOST_NUMBERS = 5


class Curve:
    """A growing curve that never holds more than a screen can show."""

    def __init__(self) -> None:
        self.x: list[float] = []
        self.y: list[float] = []
        self._stride, self._skipped = 1, 0

    def add(self, x: float, y: float) -> None:
        """Add a point, or leave it out where there are many."""
        self._skipped += 1
        if self._skipped < self._stride:
            return
        self._skipped = 0
        self.x.append(x)
        self.y.append(y)
        if len(self.x) > MOST_POINTS:
            self.x, self.y = self.x[::2], self.y[::2]
            self._stride *= 2


class DegreeAxis(pg.AxisItem):
    """A logarithmic axis with plain numbers: 0.5, 1, 2, not powers of ten."""

    def logTickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:  # noqa: ARG002, N802 - pyqtgraph's
        """Write the values themselves; where they would run into each other, those that begin with 1, 2 and 5."""
        texts = [f"{10**value:.2g}" for value in values]
        if len(texts) <= MOST_NUMBERS:
            return texts
        return [text if text.lstrip("0.")[:1] in "125" else "" for text in texts]


class TrainingPlot(pg.GraphicsLayoutWidget):
    """Two plots, one below the other: median errors on a logarithmic scale, and the loss.

    Parameters
    ----------
    parent : the widget that it is part of
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.errors: pg.PlotItem = self.addPlot(row=0, col=0, axisItems={"left": DegreeAxis("left")})
        self.loss: pg.PlotItem = self.addPlot(row=1, col=0)
        self.ci.layout.setRowStretchFactor(0, 3)
        self.ci.layout.setRowStretchFactor(1, 2)
        self.ci.layout.setContentsMargins(2, 2, 2, 2)
        self._legend = self.errors.addLegend(offset=(-4, 4), labelTextSize="8pt", verSpacing=-4)
        self.errors.setLogMode(y=True)
        self.loss.setXLink(self.errors)
        self._best = self.errors.plot(pen=pg.mkPen(BEST_COLOUR, width=1), name="best, training")
        self._held_out_best = self._points(BEST_COLOUR, name="best, held out")
        self._held_out_chosen = self._points(CHOSEN_COLOUR, name="chosen, held out")
        self._loss = self.loss.plot(pen=pg.mkPen(LOSS_COLOUR, width=1))
        for plot in (self.errors, self.loss):
            plot.setMenuEnabled(False)
            plot.hideButtons()
            plot.showGrid(x=True, y=True, alpha=0.2)
            plot.getAxis("left").setWidth(56)
            plot.getAxis("left").enableAutoSIPrefix(False)
        self.errors.getAxis("bottom").setStyle(showValues=False)
        self.errors.setLabel("left", "error (°)")
        self.loss.setLabel("left", "loss")
        self.loss.setLabel("bottom", "patterns")
        self.setToolTip(
            "<qt>Median error of the best of the candidates in training, and of the best and the chosen candidate on "
            f"patterns that the network never learns from; below, the loss. {ZOOM_WORDS}</qt>"
        )
        self.fit_button = FitButton(self, self._fit)
        self.clear_curves()

    def _fit(self) -> None:
        """Follow the curves again as they grow."""
        for plot in (self.errors, self.loss):
            plot.enableAutoRange()

    def _points(self, colour: str, *, name: str) -> pg.PlotDataItem:
        return self.errors.plot(
            pen=pg.mkPen(colour, width=2, style=Qt.PenStyle.DotLine),
            symbol="o",
            symbolSize=5,
            symbolBrush=colour,
            symbolPen=None,
            name=name,
        )

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a modest size: the panel is narrow."""
        return QSize(320, 260)

    # --- what is shown -------------------------------------------------------------------------------------

    def clear_curves(self) -> None:
        """Start with empty curves."""
        self._training, self._losses, self._best_points, self._chosen_points = (Curve() for _ in range(4))
        self.draw()

    def add(self, progress: TrainingProgress) -> None:
        """Take a record; `draw` shows it."""
        if progress.loss == progress.loss and progress.patterns:
            self._training.add(progress.patterns, progress.best_error_deg)
            self._losses.add(progress.patterns, progress.loss)
        if progress.evaluation is not None:
            self.add_evaluation(progress.evaluation)

    def add_evaluation(self, evaluation: Evaluation) -> None:
        """Take held-out errors."""
        self._best_points.add(evaluation.patterns, evaluation.best_median_deg)
        self._chosen_points.add(evaluation.patterns, evaluation.chosen_median_deg)

    def draw(self) -> None:
        """Bring the curves on the screen up to date."""
        for item, curve in (
            (self._best, self._training),
            (self._loss, self._losses),
            (self._held_out_best, self._best_points),
            (self._held_out_chosen, self._chosen_points),
        ):
            item.setData(curve.x, curve.y)

    def apply_theme(self, colours: ThemeColours) -> None:
        """Take the colours of napari's theme."""
        self.setBackground(colours.background)
        for plot in (self.errors, self.loss):
            for name in ("left", "bottom"):
                axis = plot.getAxis(name)
                axis.setPen(colours.faint)
                axis.setTextPen(colours.text)
        self._legend.setLabelTextColor(colours.text)
        for _, label in self._legend.items:
            label.setText(label.text, color=colours.text)
