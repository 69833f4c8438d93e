"""World: between the coordinates of a viewer, which all its layers share, and those of one layer.

A viewer counts in the smallest unit among its layers, hidden ones too: open an image in Å beside maps in nm, and the
cursor is told in Å. A layer's own `world_to_data` knows nothing of that. Whatever turns a place in the viewer into a
scan position, or back, goes through this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pint
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

_EDGE_ON = 0.02  # of a line of sight of length 1: less goes through a layer that is seen from its edge
_ALIGNMENT = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


def world_to_layer(viewer: napari.Viewer, layer: Layer, world: ArrayLike) -> NDArray[np.float64]:
    """Return where a place in the viewer lies in the data of a layer.

    Parameters
    ----------
    world : (n,) coordinates of the viewer, as mouse events and the cursor have them
    layer : of the viewer, however it is scaled, moved or turned
    """
    place = np.asarray(world, dtype=np.float64)
    place = np.concatenate([np.zeros(max(0, layer.ndim - len(place))), place])[-layer.ndim :]
    return np.asarray(layer.world_to_data(place * _layer_units_per_world_unit(viewer, layer.units)))


def in_sight(
    viewer: napari.Viewer, layer: Layer, world: ArrayLike, direction: ArrayLike | None = None
) -> NDArray[np.float64] | None:
    """Return the place on a flat layer that is seen at a place in the viewer: in three dimensions it may be tilted.

    Parameters
    ----------
    world : (n,) coordinates of the viewer, as mouse events and the cursor have them
    direction : (n,) of the line of sight, as mouse events have it; that of the camera where it is not known

    Returns
    -------
    (n,) coordinates of the viewer; None where the layer is seen from its edge, or not at all
    """
    place = np.asarray(world, dtype=np.float64)
    if viewer.dims.ndisplay < 3 or layer.ndim > 2:
        return place
    shown = tuple(viewer.dims.displayed)
    camera = viewer.scene.camera
    if (
        len(shown) < 3
    ):  # flat layers alone: napari tells rows and columns of a place whose depth it keeps to itself
        return _behind(place, np.asarray(camera.center), np.asarray(camera.view_direction))
    (*more, depth) = [axis for axis in shown if axis < len(place) - layer.ndim] or [None]
    if more or depth is None:
        return None
    seen = camera.calculate_nd_view_direction(len(place), shown) if direction is None else direction
    sight = np.asarray(seen, dtype=np.float64)
    if abs(sight[depth]) < _EDGE_ON:
        return None
    return np.asarray(place - sight * place[depth] / sight[depth])  # a flat layer lies at 0


def _behind(
    place: NDArray[np.float64], centre: NDArray[np.float64], sight: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return row and column at depth 0 behind a place (row, column) on the plane through the camera's centre.

    Centre and sight are (depth, row, column); the plane is that of the canvas, at right angles to the line of sight.
    """
    if abs(sight[0]) < _EDGE_ON:
        return None
    depth = centre[0] - sight[1:] @ (place[-2:] - centre[1:]) / sight[0]
    return np.asarray(place[-2:] - sight[1:] * depth / sight[0])


def layer_to_world(viewer: napari.Viewer, layer: Layer, place: ArrayLike) -> NDArray[np.float64]:
    """Return where a place (n,) in the data of a layer lies in the viewer."""
    return np.asarray(layer.data_to_world(place)) / _layer_units_per_world_unit(viewer, layer.units)


def layer_to_layer(
    viewer: napari.Viewer, source: Layer, target: Layer, places: ArrayLike
) -> NDArray[np.float64]:
    """Return where places (n, ndim) in the data of one layer lie in that of another one of as many axes.

    The way from one to the other is linear: the unit vectors tell it, however many places there are.
    """
    corners = np.concatenate([np.zeros((1, source.ndim)), np.eye(source.ndim)])
    origin, *ends = (
        world_to_layer(viewer, target, layer_to_world(viewer, source, corner)) for corner in corners
    )
    return np.asarray(places, dtype=np.float64) @ (np.array(ends) - origin) + origin


def in_world_units(viewer: napari.Viewer, grid: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords of a layer (scale, translate, units) in the units of the viewer.

    For layers that the user draws in: napari's tools take the cursor for a place in the layer's own units.
    """
    units = viewer.layers.units
    if units is None:
        return grid
    grid, factors = dict(grid), _layer_units_per_world_unit(viewer, _units(grid["units"]))
    for name in {"scale", "translate"} & set(grid):
        grid[name] = tuple(float(value) for value in np.asarray(grid[name]) / factors)
    grid["units"] = tuple(units[-len(factors) :])
    return grid


def same_grid(layer: Layer, grid: dict[str, Any]) -> bool:
    """Whether a layer has the scale of a grid, and its units: 1 nm is not 1 pixel."""
    return tuple(layer.scale) == tuple(grid["scale"]) and tuple(layer.units) == _units(grid["units"])


def alignment_of(layer: Layer) -> dict[str, Any]:
    """Return the keywords that put another layer exactly over this one, also where the user has moved or turned it."""
    return {name: getattr(layer, name) for name in _ALIGNMENT}


def align(layer: Layer, other: Layer) -> None:
    """Put a layer exactly over another one of as many axes."""
    for name, value in alignment_of(other).items():
        if not np.array_equal(np.asarray(getattr(layer, name)), np.asarray(value)):
            setattr(layer, name, value)


def _layer_units_per_world_unit(viewer: napari.Viewer, units: Sequence[Any]) -> NDArray[np.float64]:
    """How many units of a layer one unit of the viewer is, along each axis of the layer.

    Where the units of the layers cannot be brought together (pixels beside nm), napari draws every layer in its own.
    """
    world_units = viewer.layers.units
    if world_units is None or len(world_units) < len(units):
        return np.ones(len(units))
    pairs = zip(world_units[-len(units) :], units, strict=True)
    return np.array([1.0 if of_world == own else (1.0 * of_world).m_as(own) for of_world, own in pairs])


def _units(names: Sequence[Any]) -> tuple[Any, ...]:
    """The units that are named, as napari has them in its layers."""
    return tuple(pint.Unit(name) for name in names)
