"""napari's sample data: a simulated scan with known truth, made once and kept in the user's cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QTimer

from napari_stem_orient.gui.layers import METADATA_KEY, scan_grid
from napari_stem_orient.gui.reader import lazy_layer, open_widget_of
from napari_stem_orient.gui.session import Step
from napari_stem_orient.io.simulated_scans import (
    SAMPLE_CALIBRATION,
    SAMPLE_NAME,
    SAMPLE_SCAN_SHAPE,
    make_sample,
)

_PLACEHOLDER = {METADATA_KEY: {"kind": "placeholder"}}


def simulated_polycrystal() -> list[tuple[Any, ...]]:
    """Open the simulated Cu polycrystal in the current viewer's Session, by way of its Open step.

    A worker makes the scan (some seconds, the first time) and opens it; its layers come with the first
    patterns read. napari wants a layer at once and refuses an empty list: it gets a black one, which goes
    as soon as it has it. Without a viewer window the scan is made here and returned as a lazy image layer.
    """
    viewer = napari.current_viewer()
    if viewer is None:
        return [lazy_layer(_made_now())]
    open_widget = open_widget_of(viewer)
    open_widget.run(
        make_sample(),
        title=f"Making {SAMPLE_NAME}",
        step=Step.OPEN,
        on_done=open_widget.open_path,
        on_stopped=lambda: open_widget.show_message("Stopped; the sample scan is not made."),
    )
    QTimer.singleShot(0, lambda: _remove_placeholder(viewer))
    return [_placeholder()]


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
    keywords = {**scan_grid(SAMPLE_CALIBRATION), "name": SAMPLE_NAME, "metadata": dict(_PLACEHOLDER)}
    return np.zeros(SAMPLE_SCAN_SHAPE, dtype=np.uint8), keywords, "image"


def _remove_placeholder(viewer: napari.Viewer) -> None:
    for layer in list(viewer.layers):
        if layer.metadata.get(METADATA_KEY) == _PLACEHOLDER[METADATA_KEY]:
            viewer.layers.remove(layer)
