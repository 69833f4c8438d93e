"""WindowLooks: how a window showed a session: layers, camera and docks, as data without a window."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class LayerLook(BaseModel):
    """How one layer of ours looked.

    Attributes
    ----------
    kind, made_by : what it shows, and the id of the result that it shows it of ("" for images of the scan)
    name : in the list of layers
    fields : napari's own attributes by their names, JSON-able: opacity, visible, gamma, ...
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    made_by: str = ""
    name: str = ""
    fields: dict[str, Any] = {}


class DockLook(BaseModel):
    """Where one dock of ours was: its name in napari's menu, its size in px, whether it floated."""

    model_config = ConfigDict(frozen=True)

    name: str
    size: tuple[int, int] = (0, 0)
    floating: bool = False


class WindowLooks(BaseModel):
    """How a window showed a session.

    Attributes
    ----------
    layers : ours, from the lowest to the topmost
    active : kind and maker of the layer that was active, if it was one of ours
    camera : centre (y, x) in nm or positions, and zoom; None where there was nothing to see
    side_by_side : whether the maps stood side by side
    docks : ours that were shown
    """

    model_config = ConfigDict(frozen=True)

    layers: tuple[LayerLook, ...] = ()
    active: tuple[str, str] | None = None
    camera: tuple[float, float, float] | None = None
    side_by_side: bool = False
    docks: tuple[DockLook, ...] = ()
