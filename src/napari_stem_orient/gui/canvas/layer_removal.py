"""remove_layers: takes layers out of a viewer at once, without the pause that napari makes for each."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer


def remove_layers(napari_viewer: napari.Viewer, layers: Iterable[Layer]) -> None:
    """Remove layers, those that are not in the viewer aside."""
    with _without_old_objects():
        for layer in list(layers):
            if layer in napari_viewer.layers:
                napari_viewer.layers.remove(layer)


@contextmanager
def _without_old_objects() -> Iterator[None]:
    """Let garbage collections look at nothing that is there now.

    napari collects garbage at every removal. With the half million objects of torch and its like that takes 0.3 s a
    layer, and seconds for the maps of a scan; what is garbage goes with the next collection all the same.
    """
    if gc.get_freeze_count():  # somebody else has frozen objects, and must thaw them
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
