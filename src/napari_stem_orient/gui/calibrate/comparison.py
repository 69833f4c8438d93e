"""CalibrationComparison: a picture of the calibration before and after the last change, drawn up in a thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.gui.calibrate.jobs import BeforeAndAfter, View, pictures
from napari_stem_orient.gui.jobs.connections import when_destroyed
from napari_stem_orient.gui.jobs.latest_job import LatestJob
from napari_stem_orient.gui.parts.form_layout import narrow_box
from napari_stem_orient.gui.parts.panel import plain_label
from napari_stem_orient.gui.parts.theme_colours import ThemeColours
from napari_stem_orient.session.calibration_state import CalibrationState

if TYPE_CHECKING:
    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.gui.calibrate.views import CalibrationViews

VIEWS: dict[View, str] = {
    "map": "Bragg vector map",
    "histogram": "Radial histogram",
    "origin": "Direct beam over the scan",
}
#: The view that shows best what a change has done, by how its title begins.
VIEW_OF_STEP: dict[str, View] = {
    "Origin": "origin",
    "Ellipse": "histogram",
    "Pixel size": "histogram",
    "Rotation": "map",
}
Subject = tuple[BraggPeaks | None, CalibrationState | None, tuple["Crystal", ...]]


class CalibrationComparison(QWidget):
    """Chooses a view and shows it, before or after; nothing is drawn up while it is out of sight.

    Parameters
    ----------
    subject : what to draw, asked for in the main thread: peaks, their state before the last change, and crystals
    """

    def __init__(self, subject: Callable[[], Subject]) -> None:
        super().__init__()
        self._subject = subject
        self._views: CalibrationViews | None = None
        self._colours: ThemeColours | None = None
        self.error_label = plain_label()
        self.error_label.hide()
        self.view_box = narrow_box()
        for words in VIEWS.values():
            self.view_box.addItem(words)
        self.view_box.setToolTip("What to look at: each shows whether a change has made it better.")
        self.view_box.currentIndexChanged.connect(self._on_chosen)
        self.before_button = self._toggle("Before", "As it was before the last change.")
        self.after_button = self._toggle("After", "As it is now.")
        self.after_button.setChecked(True)
        group = QButtonGroup(self)
        for button in (self.before_button, self.after_button):
            group.addButton(button)
        row = QHBoxLayout()
        row.addWidget(self.view_box, 1)
        row.addWidget(self.before_button)
        row.addWidget(self.after_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(row)
        self._place_of_views = QVBoxLayout()
        layout.addLayout(self._place_of_views)
        layout.addWidget(self.error_label)
        self._job: LatestJob[object, BeforeAndAfter] = LatestJob(
            title="Draw the calibration", on_result=self._on_pictures, on_error=self._on_error
        )
        self._asked: tuple[object, ...] | None = None
        when_destroyed(self, LatestJob.close, self._job)

    @property
    def views(self) -> CalibrationViews:
        """The pictures, made when they are first needed: their library takes a while to load."""
        if self._views is None:
            from napari_stem_orient.gui.calibrate.views import CalibrationViews

            self._views = CalibrationViews()
            self._place_of_views.addWidget(self._views)
            if self._colours is not None:
                self._views.apply_theme(self._colours)
        return self._views

    @property
    def view(self) -> View:
        """The view that is chosen."""
        return list(VIEWS)[max(0, self.view_box.currentIndex())]

    def show_change(self, title: str) -> None:
        """Turn to the view that shows a change best."""
        for beginning, view in VIEW_OF_STEP.items():
            if title.startswith(beginning):
                self.view_box.setCurrentIndex(list(VIEWS).index(view))
        self.after_button.setChecked(True)

    def update_pictures(self) -> None:
        """Draw anew what there is now, if it is in sight."""
        peaks, before, crystals = self._subject()
        self.setVisible(peaks is not None)
        if peaks is None:
            self._job.forget()
            self._asked = None
        elif self.isVisible() and self._asked != (self.view, peaks, before, crystals):
            self._asked = (self.view, peaks, before, crystals)
            if self.views.content is not None and self.views.content.view != self.view:
                self.views.show_nothing()
            self._job.request(self._asked, partial(pictures, self.view, peaks, before, crystals))

    def apply_theme(self, colours: ThemeColours) -> None:
        """Take the colours of napari's theme."""
        self._colours = colours
        if self._views is not None:
            self._views.apply_theme(colours)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw what has changed while nobody looked."""
        super().showEvent(event)
        self.update_pictures()

    def _on_chosen(self, _: int) -> None:
        self.update_pictures()

    def _on_pictures(self, key: object, content: BeforeAndAfter) -> None:
        if key == self._asked:
            self.error_label.hide()
            self.views.show()
            self._show(content)

    def _on_error(self, key: object, message: str) -> None:
        if key != self._asked:
            return
        self.views.hide()
        self.error_label.setText(f"No picture: {message}")
        self.error_label.show()

    def _on_toggled(self, _: bool) -> None:
        if self._views is None:
            return
        if self.views.content is not None and self.views.content.view == self.view:
            self._show(self.views.content)

    def _show(self, content: BeforeAndAfter) -> None:
        """Show it; the histogram has both in one picture, and without a change there is nothing before."""
        both = content.before is not None and content.view != "histogram"
        self.before_button.setVisible(both)
        self.after_button.setVisible(both)
        self.views.show_content(content, before=both and self.before_button.isChecked())

    def _toggle(self, text: str, tooltip: str) -> QPushButton:
        button = QPushButton(text)
        button.setCheckable(True)
        button.setToolTip(tooltip)
        button.toggled.connect(self._on_toggled)
        return button
