"""JobBar: how far a job is, how long it will still take, and a button that cancels it."""

from __future__ import annotations

import time
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QProgressBar, QPushButton, QSizePolicy, QWidget

from napari_stem_orient.core.progress import Progress
from napari_stem_orient.gui.jobs.workers import JobHandle

_RANGE = 1000
_SHOW_EVERY_S = 0.1


class JobBar(QWidget):
    """Shows one job at a time, the latest that it was given; hidden while there is none.

    Parameters
    ----------
    parent
        The widget that it stands in.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._job: JobHandle[Any, Any] | None = None
        self._shown_at = 0.0
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.label = QLabel()
        self.label.setTextFormat(Qt.TextFormat.PlainText)
        self.label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip("Stop within a second; what is done so far is kept.")
        self.cancel_button.clicked.connect(self._on_cancel)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.bar, 0, 0)
        layout.addWidget(self.cancel_button, 0, 1, 2, 1)
        layout.addWidget(self.label, 1, 0)
        self.hide()

    @property
    def job(self) -> JobHandle[Any, Any] | None:
        """The job that is shown, or None."""
        return self._job

    def watch(self, job: JobHandle[Any, Any] | None) -> None:
        """Show a job until it ends; None hides the bar."""
        if job is self._job:
            return
        if self._job is not None:
            self._job.progressed.disconnect(self._on_progressed)
            self._job.ended.disconnect(self._on_ended)
        self._job = job if job is not None and job.running else None
        if self._job is None:
            self.hide()
            return
        self._job.progressed.connect(self._on_progressed)
        self._job.ended.connect(self._on_ended)
        self.cancel_button.setEnabled(not self._job.stopping)
        self._show(self._job.progress)
        self.show()

    def _on_progressed(self, progress: Progress) -> None:
        """Show some records only: a progress bar repaints the whole window at once, the maps with it."""
        if time.monotonic() - self._shown_at >= _SHOW_EVERY_S:
            self._show(progress)

    def _on_ended(self) -> None:
        self.watch(None)

    def _on_cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self.cancel_button.setEnabled(False)
            self.label.setText("Stopping …")

    def _show(self, progress: Progress | None) -> None:
        if self._job is None:
            return
        self._shown_at = time.monotonic()
        if progress is None or progress.total <= 1:
            self.bar.setRange(0, 0)
            self.label.setText(f"{self._job.title} …")
            return
        self.bar.setRange(0, _RANGE)
        self.bar.setValue(round(_RANGE * progress.fraction))
        if self._job.stopping:
            self.label.setText("Stopping …")
            return
        left = self._job.seconds_left
        self.label.setText(str(progress) if left is None else f"{progress} · {time_left(left)}")
        self.label.setToolTip(self._job.title)


def time_left(seconds: float) -> str:
    """Say a time in the two units that matter: "12 s left", "3 min left", "1 h 5 min left"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s left"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min left"
    return f"{minutes // 60} h {minutes % 60} min left"
