"""VirtualImager: computes the images of virtual detectors and knows which of them are up to date."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QObject, QTimer

from napari_stem_orient.gui.canvas.layers_button import OfferedLayer
from napari_stem_orient.gui.jobs.throttle import Throttle
from napari_stem_orient.gui.jobs.workers import JobHandle
from napari_stem_orient.gui.parts.stage_panel import JobPanel
from napari_stem_orient.gui.virtual.detectors import DetectorEntry, VirtualDetectors
from napari_stem_orient.gui.virtual.jobs import origin_at, virtual_choice, virtual_scene
from napari_stem_orient.gui.virtual.layers import VirtualLayers
from napari_stem_orient.steps.virtual import VirtualScene, images_of
from napari_stem_orient.virtual.detector import VirtualDetector
from napari_stem_orient.virtual.images import VirtualBlock, VirtualImages

LIVE_INTERVAL_MS = 200
LATE_MS = 700
"""A live computation that takes longer than this shows its progress."""


class VirtualImager(QObject):
    """Runs one pass over the scan at a time, for all detectors or for those that have moved.

    Parameters
    ----------
    panel : the dock that it works for: runs its jobs and shows its messages
    detectors : the list
    layers : take the images

    Attributes
    ----------
    changed : an image was begun or finished, or is out of date now
    live : whether the image of a detector is computed anew whenever that is moved
    """

    changed = Signal()

    def __init__(self, panel: JobPanel, detectors: VirtualDetectors, layers: VirtualLayers) -> None:
        super().__init__(panel)
        self._panel, self._detectors, self._layers = panel, detectors, layers
        self.live = False
        self._made_with: dict[int, tuple[VirtualDetector, VirtualScene]] = {}
        self._results: dict[int, NDArray[np.float32]] = {}
        self._job: JobHandle[VirtualBlock, VirtualImages] | None = None
        self._scene: VirtualScene | None = None
        self._running: tuple[DetectorEntry, ...] = ()
        self._wanted: set[int] = set()  # keys of the images that are owed
        self._soon = Throttle(self._compute_wanted, interval_ms=LIVE_INTERVAL_MS, parent=self)
        self._late = QTimer(self)
        self._late.setSingleShot(True)
        self._late.setInterval(LATE_MS)
        self._late.timeout.connect(self._on_late)

    @property
    def running(self) -> bool:
        """Whether a pass over the scan is under way."""
        return self._job is not None

    # --- what is there -------------------------------------------------------------------------------------

    def up_to_date(self, entry: DetectorEntry) -> bool:
        """Whether the image was made with the detector, the direct beam and the mask as they are now."""
        made_with = self._made_with.get(entry.key)
        return made_with is not None and _same_place(made_with[0], entry.detector)

    def note(self, entry: DetectorEntry) -> str:
        """Say how the image of a detector is."""
        if any(running.key == entry.key for running in self._running):
            return "▶ computing"
        if self.up_to_date(entry):
            return "✓"
        return "⚠ out of date" if entry.key in self._results else "○ not computed"

    def images(self) -> VirtualImages | None:
        """Return all images that are up to date; None where there are none."""
        entries = [entry for entry in self._detectors.entries if self.up_to_date(entry)]
        scene = virtual_scene(self._panel.session)
        if not entries or scene is None:
            return None
        scan = scene.datacube
        return VirtualImages(
            tuple(entry.detector for entry in entries),
            np.stack([self._results[entry.key] for entry in entries]),
            scan.calibration,
            origin_px=origin_at(scene.origins, None, scan.scan_shape),
            n_masked=0 if scene.mask is None else int(scene.mask.sum()),
            name=scan.name,
            source_fingerprint=scan.fingerprint,
        )

    def offered(self) -> list[OfferedLayer]:
        """Return the images that there are, with their layers."""
        scan = self._panel.session.datacube
        entries = [entry for entry in self._detectors.entries if entry.key in self._results]
        if scan is None:
            return []
        return [
            OfferedLayer(
                entry.detector.name,
                self._layers.layer(entry.key),
                partial(self._layers.bring_back, entry.key, self._results[entry.key], scan.calibration),
            )
            for entry in entries
        ]

    # --- what is asked for ---------------------------------------------------------------------------------

    def want(self, key: int) -> None:
        """Compute an image soon, where that is done by itself."""
        if self.live and self._panel.session.datacube is not None:
            self._wanted.add(key)
            self._soon()

    def compute_all(self) -> None:
        """Compute the images of all detectors."""
        self._start(self._detectors.entries, live=False)

    def forget(self) -> None:
        """Stop, and forget all images: another scan is open."""
        if self._job is not None:
            self._job.discard()
        self._wanted.clear()
        self._made_with.clear()
        self._results.clear()
        self._end()

    def compare_surroundings(self) -> None:
        """Mark images that were made with the direct beam elsewhere, or with another mask, as out of date."""
        scene = virtual_scene(self._panel.session)
        gone = [key for key, (_, made_with) in self._made_with.items() if not made_with.same_as(scene)]
        for key in gone:
            del self._made_with[key]
            self.want(key)
        if gone:
            self.changed.emit()

    # --- running -------------------------------------------------------------------------------------------

    def _compute_wanted(self) -> None:
        entries = tuple(entry for entry in self._detectors.entries if entry.key in self._wanted)
        if entries:
            self._start(entries, live=True)

    def _start(self, entries: tuple[DetectorEntry, ...], *, live: bool) -> None:
        scene = virtual_scene(self._panel.session)
        if scene is None or not entries:
            self._panel.show_message("Open a scan and add a detector first.")
            return
        if self._job is not None:
            self._job.discard()
        self._scene, self._running = scene, entries
        self._layers.start(entries, scene.datacube.scan_shape, scene.datacube.calibration)
        choice = virtual_choice(self._panel.session, tuple(entry.detector for entry in entries))
        self._job = self._panel.run(
            images_of(choice, scene, coarse_first=True),
            title="Virtual images",
            on_record=self._layers.fill,
            on_done=self._on_done,
            on_stopped=self._on_stopped,
            on_error=self._on_error,
        )
        if live:
            self._panel.job_bar.watch(None)  # a bar that comes and goes would shake the panel
            self._late.start()
        self.changed.emit()

    def _on_late(self) -> None:
        if self._job is not None and self._job.running:
            self._panel.job_bar.watch(self._job)

    def _on_done(self, images: VirtualImages) -> None:
        assert self._scene is not None
        self._layers.paint()
        for entry, image in zip(self._running, images.images, strict=True):
            self._made_with[entry.key] = (entry.detector, self._scene)
            self._results[entry.key] = image
            now = self._detectors.entry(entry.key)
            if now is None or _same_place(now.detector, entry.detector):
                self._wanted.discard(entry.key)
        if images.n_invalid:
            self._panel.show_message(f"In {images.n_invalid:,} patterns NaN or infinite pixels counted as 0.")
        self._end()
        self.compare_surroundings()  # they may have changed during the pass

    def _on_stopped(self) -> None:
        self._layers.paint()
        self._panel.show_message("Stopped: the images show what was counted by then.")
        self._wanted.clear()
        self._end()

    def _on_error(self, _: str) -> None:
        self._wanted.clear()
        self._end()

    def _end(self) -> None:
        self._job, self._scene, self._running = None, None, ()
        self._late.stop()
        self.changed.emit()


def _same_place(first: VirtualDetector, second: VirtualDetector) -> bool:
    """Whether two detectors cover the same pixels, whatever they are called."""
    return first.updated(name="detector") == second.updated(name="detector")
