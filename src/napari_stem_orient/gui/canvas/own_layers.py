"""Own layers: which layers this program has made, and may paint, rename or remove; all others are the user's.

What a layer's metadata say is no answer: a duplicate has the same. A layer is ours as long as it is the object that was
made here and still has the name that it was given: to give it another one is to take it over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari.layers import Labels, Layer

if TYPE_CHECKING:
    import napari

LayerTuple = tuple[Any, dict[str, Any], str]
"""Layer data, keywords and "image", "labels", "points" or "shapes": what napari's Layer.create takes."""

_given_names: WeakKeyDictionary[Layer, str | None] = WeakKeyDictionary()  # None while it gets its place


def add_own(viewer: napari.Viewer, layer_tuple: LayerTuple, *, index: int | None = None) -> Layer:
    """Make a layer of ours in a viewer, at the top or at an index.

    A Labels layer cannot be painted: what is painted would be lost with the next block, and change no map.
    """
    data, keywords, layer_type = layer_tuple
    layer = Layer.create(data, keywords, layer_type)
    _given_names[layer] = None
    viewer.layers.insert(len(viewer.layers) if index is None else index, layer)
    _given_names[layer] = layer.name  # napari numbers names that are taken
    if isinstance(layer, Labels):
        layer.editable = False
        layer.events.editable.connect(_keep_from_painting)
    return layer


def adopt_own(layer: Layer) -> None:
    """Take a layer that napari has made of what this program gave it for one of ours."""
    _given_names[layer] = layer.name


def is_own(layer: Layer) -> bool:
    """Whether a layer is ours: made here, and not renamed by the user."""
    if layer not in _given_names:
        return False
    name = _given_names[layer]
    return name is None or layer.name == name


def rename_own(layer: Layer, name: str) -> None:
    """Give a layer of ours another name."""
    if is_own(layer) and layer.name != name:
        _given_names[layer] = None
        layer.name = name
        _given_names[layer] = layer.name


def _keep_from_painting(event: Any) -> None:
    """Napari makes a layer editable again when the view changes, to three dimensions and back, say."""
    layer = event.source
    if layer.editable and is_own(layer):
        layer.editable = False
