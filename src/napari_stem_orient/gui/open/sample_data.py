"""napari's sample data: a simulated scan with known truth, made once and kept in the user's cache."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ref

import napari
import numpy as np
from qtpy.QtCore import QTimer

from napari_stem_orient.gui.canvas.layer_removal import remove_layers
from napari_stem_orient.gui.jobs.sessions import session_of
from napari_stem_orient.gui.jobs.workers import JobHandle, PlainProgress, start_job
from napari_stem_orient.session.session import Session
from napari_stem_orient.session.state import Stage

if TYPE_CHECKING:
    from napari_stem_orient.core.progress import Record

# What a sample needs is imported where it is used: in the worker, or in a later turn of the event loop. All together
# it would keep the window from answering for more than a second.

SAMPLE_NAME = "Simulated Cu polycrystal"
_PLACEHOLDER = {"napari_stem_orient": {"kind": "placeholder"}}


def simulated_polycrystal() -> list[tuple[Any, ...]]:
    """Open the simulated Cu polycrystal in the current viewer's Session, by way of its Open stage.

    A worker makes the scan (some seconds, the first time), the Open stage, docked meanwhile, opens it; its layers come
    with the first patterns read. napari wants a layer at once and refuses an empty list: it gets a hidden one, which
    goes as soon as it has it. Without a viewer window the scan is made here and returned as a lazy image layer.
    """
    viewer = napari.current_viewer()
    if viewer is None:
        from napari_stem_orient.gui.open.reader import lazy_layer

        return [lazy_layer(_made_now())]
    session, viewer_reference = session_of(viewer), ref(getattr(viewer, "__wrapped__", viewer))
    job: JobHandle[Any, Path] = start_job(
        make_sample(),
        title=f"Making {SAMPLE_NAME}",
        on_done=partial(_open, viewer_reference),
        on_error=partial(_say, viewer_reference),
        on_stopped=partial(_say, viewer_reference, "Stopped; the sample scan is not made."),
    )
    session.begin(Stage.OPEN, job)
    job.ended.connect(partial(_end, session, job))
    QTimer.singleShot(0, partial(_remove_placeholder, viewer_reference))
    QTimer.singleShot(0, partial(_show_progress, viewer_reference, job))
    return [_placeholder()]


def make_sample() -> Generator[Record, None, Path]:
    """Make the sample; even the import takes too long for the window."""
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


def _show_progress(viewer_reference: ref[napari.Viewer], job: JobHandle[Any, Path]) -> None:
    """Dock the Open stage, which shows how far the job is and ends it when it goes."""
    viewer = viewer_reference()
    if viewer is not None and job.running:
        from napari_stem_orient.gui.open.reader import open_widget_of

        open_widget_of(viewer).adopt(job)


def _open(viewer_reference: ref[napari.Viewer], path: Path) -> None:
    viewer = viewer_reference()
    if viewer is not None:
        from napari_stem_orient.gui.open.reader import open_widget_of

        open_widget_of(viewer).open_path(path)


def _say(viewer_reference: ref[napari.Viewer], message: str = "") -> None:
    viewer = viewer_reference()
    if viewer is not None:
        from napari_stem_orient.gui.open.reader import open_widget_of

        open_widget_of(viewer).show_message(message)


def _end(session: Session, job: JobHandle[Any, Path]) -> None:
    session.end(Stage.OPEN, job)


def _placeholder() -> tuple[Any, ...]:
    units = {"units": ("nm", "nm"), "axis_labels": ("y", "x")}  # as the maps of a scan that may be open
    keywords = {**units, "name": SAMPLE_NAME, "metadata": dict(_PLACEHOLDER), "visible": False}
    return np.zeros((2, 2), dtype=np.uint8), keywords, "image"


def _remove_placeholder(viewer_reference: ref[napari.Viewer]) -> None:
    viewer = viewer_reference()
    if viewer is not None:
        remove_layers(viewer, [layer for layer in viewer.layers if layer.metadata == _PLACEHOLDER])
