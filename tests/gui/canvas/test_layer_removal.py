"""Removing layers: all at once, and without a look at every object of the program for each."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_stem_orient.gui.canvas.layer_removal import remove_layers


@pytest.fixture
def viewer() -> ViewerModel:
    viewer = ViewerModel()
    for number in range(3):
        viewer.add_image(np.zeros((4, 4)), name=f"layer {number}")
    return viewer


def test_layers_go_and_others_stay(viewer: ViewerModel) -> None:
    first, second, third = viewer.layers
    viewer.layers.remove(second)
    remove_layers(viewer, [first, second])  # type: ignore[arg-type]
    assert list(viewer.layers) == [third]


def test_a_collection_during_removal_looks_at_no_old_object_and_later_ones_do(viewer: ViewerModel) -> None:
    """napari collects at every removal: 0.3 s each with all the objects that torch brings."""
    frozen: list[int] = []
    viewer.layers.events.removed.connect(lambda _: frozen.append(gc.get_freeze_count()))
    removed = weakref.ref(viewer.layers[0])
    remove_layers(viewer, list(viewer.layers)[:2])  # type: ignore[arg-type]
    assert len(frozen) == 2
    assert min(frozen) > 1000
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert removed() is None


def test_what_somebody_else_has_frozen_stays_so(viewer: ViewerModel) -> None:
    gc.freeze()
    try:
        count = gc.get_freeze_count()
        remove_layers(viewer, list(viewer.layers))  # type: ignore[arg-type]
        assert gc.get_freeze_count() >= count - 1000
    finally:
        gc.unfreeze()


def test_an_error_thaws_too(viewer: ViewerModel) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("no")

    viewer.layers.events.removing.connect(refuse)
    with pytest.raises(Exception, match="no"):
        remove_layers(viewer, list(viewer.layers))  # type: ignore[arg-type]
    assert gc.get_freeze_count() == 0
