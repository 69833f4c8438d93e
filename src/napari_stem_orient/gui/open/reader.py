"""napari's reader: scans, Bragg peaks and orientation maps by drag and drop and File > Open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import napari

from napari_stem_orient.gui.open.docking import open_in
from napari_stem_orient.io.scan_kinds import may_be_scan

LayerData = tuple[Any, ...]
Reader = Callable[[str | Sequence[str]], list[LayerData]]

#: What a reader returns, in a list, to say that it has taken the file and there is no layer to add.
NO_LAYER: LayerData = (None,)


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Reader for a path, or None where it is certain that the file is none of ours.

    Only the name and the first bytes are looked at. Several files at once make no scan.
    """
    if not isinstance(path, str):
        if len(path) != 1:
            return None
        path = path[0]
    return read if may_be_scan(Path(path)) else None


def read(path: str | Sequence[str]) -> list[LayerData]:
    """Open a file in the Session of the current viewer.

    A worker does it, with or without a dock; the Open stage asks for the scan shape or the dataset where it must, tells
    what is wrong with a file in one line, and the layers come with the first patterns read. Without a viewer
    window the scan is returned as one lazy image layer (scan_y, scan_x, det_y, det_x).
    """
    file = Path(path if isinstance(path, str) else path[0])
    viewer = napari.current_viewer()
    if viewer is None:
        return [lazy_layer(file)]
    open_in(viewer, file)
    return [NO_LAYER]


def lazy_layer(path: Path) -> LayerData:
    """Image layer of all patterns of a scan, lazily, the scan's axes as sliders."""
    from napari_stem_orient.io.scans import open_datacube

    datacube = open_datacube(path)
    calibration = datacube.calibration
    keywords = {"name": datacube.name, "metadata": {"calibration": calibration.model_dump()}}
    return datacube.data, keywords, "image"
