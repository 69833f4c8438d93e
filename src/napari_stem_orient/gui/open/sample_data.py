"""napari's sample data: a simulated scan with known truth, made once and kept in the user's cache."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ref

import napari
import numpy as np
from napari.utils import progress

from napari_stem_orient.gui.jobs.workers import JobHandle, PlainProgress, start_job
from napari_stem_orient.gui.open.docking import load_panels, open_now, open_widget_of

if TYPE_CHECKING:
    from napari_stem_orient.core.progress import Record

# What a sample needs is imported where it is used, in the worker: it would keep the window from answering for seconds.

SAMPLE_NAME = "Simulated Cu polycrystal"
PLACEHOLDER = {"napari_stem_orient": {"kind": "placeholder"}}


def simulated_polycrystal() -> list[tuple[Any, ...]]:
    """Open the simulated Cu polycrystal in the current viewer's Session, by way of its Open stage.

    A worker loads the panels and makes the scan (some seconds, the first time), the Open stage, docked meanwhile, opens
    it. napari wants a layer at once and refuses an empty list: it gets a hidden one, which becomes the virtual dark
    field. Without a viewer window the scan is made here and returned as a lazy image layer.
    """
    viewer = napari.current_viewer()
    if viewer is None:
        from napari_stem_orient.gui.open.reader import lazy_layer

        return [lazy_layer(_made_now())]
    _Making(viewer)
    return [_placeholder()]


class _Making:
    """The sample scan on its way into a viewer; kept by its job.

    Parameters
    ----------
    viewer : held weakly
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = ref(getattr(viewer, "__wrapped__", viewer))
        self._adopted = False
        # napari's own bar, until the panels are there: within the first second, whatever the computer does
        self._bar = progress(total=0, desc=f"Making {SAMPLE_NAME}")
        self._job: JobHandle[Any, Path] = start_job(
            make_sample(),
            title=f"Making {SAMPLE_NAME}",
            on_record=self._on_record,
            on_done=self._on_made,
            on_error=self._say,
            on_stopped=self._on_stopped,
        )
        self._job.ended.connect(self._on_ended)

    def _on_record(self, record: Record) -> None:
        """Dock the Open stage once it is loaded; it shows how far the job is and ends it when it goes."""
        viewer = self._viewer()
        if viewer is None:
            self._job.discard()
            return
        if self._adopted or isinstance(record, _NotLoaded):
            return
        from napari_stem_orient.gui.canvas.map_layers import map_layers_of
        from napari_stem_orient.gui.jobs.sessions import session_of
        from napari_stem_orient.session.state import Stage

        self._adopted = True
        session = session_of(viewer)
        open_widget_of(viewer).adopt(self._job)
        session.begin(Stage.OPEN, self._job)
        map_layers_of(viewer, session).take_placeholders(PLACEHOLDER)
        self._bar.close()

    def _on_made(self, path: Path) -> None:
        viewer = self._viewer()
        if viewer is not None:
            open_now(viewer, path)

    def _on_stopped(self) -> None:
        self._say("Stopped; the sample scan is not made.")

    def _say(self, message: str) -> None:
        viewer = self._viewer()
        if viewer is not None:
            from napari_stem_orient.gui.jobs.sessions import session_of
            from napari_stem_orient.gui.parts.opener import opener_of

            open_widget_of(viewer)  # there is something to be read
            opener_of(session_of(viewer)).say(message)

    def _on_ended(self) -> None:
        self._bar.close()
        viewer = self._viewer()
        if viewer is not None and self._adopted:
            from napari_stem_orient.gui.jobs.sessions import session_of
            from napari_stem_orient.session.state import Stage

            session_of(viewer).end(Stage.OPEN, self._job)  # a hidden layer that waits in vain goes with it


class _NotLoaded(PlainProgress):
    """The record of a job whose panel cannot be shown yet."""


def make_sample() -> Generator[Record, None, Path]:
    """Load the panels and make the sample; even the imports take too long for the window."""
    yield _NotLoaded(0)
    load_panels()
    yield PlainProgress(0)
    from napari_stem_orient.io import simulated_scans

    path: Path = yield from simulated_scans.make_sample()
    return path


def _made_now() -> Path:
    """Make the sample here and now."""
    job = make_sample()
    while True:
        try:
            next(job)
        except StopIteration as finished:
            path: Path = finished.value
            return path


def _placeholder() -> tuple[Any, ...]:
    units = {"units": ("nm", "nm"), "axis_labels": ("y", "x")}  # as the maps of a scan that may be open
    keywords = {**units, "name": SAMPLE_NAME, "metadata": dict(PLACEHOLDER), "visible": False}
    return np.zeros((2, 2), dtype=np.float32), keywords, "image"
