"""The kinds of maps that there are of a result: one table, from which layers, legends, figures and exports are made.

A new kind is one more entry of MAP_KINDS, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.ipf import SampleDirection, map_colours
from napari_stem_orient.core.orientation_map import OrientationMap

Positions = NDArray[np.int64]


class Legend(Enum):
    """How the colours of a map are explained."""

    COLOUR_KEY = "colour key"
    PHASES = "phases"
    COLOUR_BAR = "colour bar"


@dataclass(frozen=True, slots=True)
class MapKind:
    """A kind of map.

    Attributes
    ----------
    key : its name on the command line and in files, "ipf_z"
    name : of its layer
    title : of its figure, and in lists to choose from
    legend : how its colours are explained, which says what ``values`` gives
    values : of a map at flat positions (m,); for a colour key colours (m, 3) uint8, for phases phase_id (m,), for a
        colour bar numbers (m,)
    is_of : whether a map has it
    in_overview : whether the overview figure has it
    on_request : its layer is made when it is first asked for
    direction : the sample direction of a colour key
    unit : of the numbers
    limits : numbers that have the first and the last colour
    smaller_is_better : the colours run the other way
    open_ended : there may be larger numbers than the limits
    column : of the numbers in tables and in the file that orix reads
    """

    key: str
    name: str
    title: str
    legend: Legend
    values: Callable[[OrientationMap, Positions], NDArray[Any]]
    is_of: Callable[[OrientationMap], bool] = lambda _: True
    in_overview: bool = False
    on_request: bool = False
    direction: SampleDirection | None = None
    unit: str = ""
    limits: tuple[float, float] = (0.0, 1.0)
    smaller_is_better: bool = False
    open_ended: bool = False
    column: str = ""

    @property
    def name_with_unit(self) -> str:
        """The name, and the unit of its numbers."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def title_with_unit(self) -> str:
        """The title, and the unit of its numbers."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


def _ipf(direction: SampleDirection, where: str, **more: Any) -> MapKind:
    def colours(orientation_map: OrientationMap, positions: Positions) -> NDArray[np.uint8]:
        return map_colours(orientation_map, direction=direction, positions=positions)

    name = f"IPF-{direction.upper()}"
    return MapKind(
        key=f"ipf_{direction}",
        name=name,
        title=f"{name} ({where})",
        legend=Legend.COLOUR_KEY,
        values=colours,
        direction=direction,
        **more,
    )


def _array(name: str, orientation_map: OrientationMap, positions: Positions) -> NDArray[Any]:
    return np.asarray(getattr(orientation_map, name)[positions])


def _knows_the_error(orientation_map: OrientationMap) -> bool:
    """Template matching knows no expected error."""
    return orientation_map.method != "template"


def _knows_the_probability(orientation_map: OrientationMap) -> bool:
    """Template matching knows no probability, and of a single crystal the phase is sure."""
    return orientation_map.method != "template" and len(orientation_map.crystals) > 1


MAP_KINDS: tuple[MapKind, ...] = (
    _ipf("z", "out of plane", in_overview=True),
    _ipf("x", "in plane, along x", in_overview=True),
    _ipf("y", "in plane, along y", on_request=True),
    MapKind(
        key="phase",
        name="Phase",
        title="Phase",
        legend=Legend.PHASES,
        values=partial(_array, "phase_id"),
        in_overview=True,
    ),
    MapKind(
        key="score",
        name="Score",
        title="Score",
        legend=Legend.COLOUR_BAR,
        values=partial(_array, "score"),
        in_overview=True,
        column="score",
    ),
    MapKind(
        key="confidence",
        name="Expected error",
        title="Expected error",
        legend=Legend.COLOUR_BAR,
        values=partial(_array, "confidence_deg"),
        is_of=_knows_the_error,
        unit="°",
        limits=(0.0, 10.0),
        smaller_is_better=True,
        open_ended=True,
        column="confidence_deg",
    ),
    MapKind(
        key="phase_probability",
        name="Phase probability",
        title="Phase probability",
        legend=Legend.COLOUR_BAR,
        values=partial(_array, "phase_probability"),
        is_of=_knows_the_probability,
        column="phase_probability",
    ),
)
"""All kinds, from the topmost layer down."""


def map_kinds() -> tuple[MapKind, ...]:
    """Return all kinds of maps, from the topmost layer down."""
    return MAP_KINDS


def map_kind(key: str) -> MapKind:
    """Return the kind that a key names; UserError where there is none."""
    for kind in MAP_KINDS:
        if kind.key == key:
            return kind
    known = ", ".join(kind.key for kind in MAP_KINDS)
    raise UserError(f'map kind "{key}" is not known', value=key, fix=f"choose one of {known}")


def kinds_of(orientation_map: OrientationMap) -> tuple[MapKind, ...]:
    """Return the kinds that a map has, from the topmost layer down; those on request among them."""
    return tuple(kind for kind in MAP_KINDS if kind.is_of(orientation_map))


def numbers_of(orientation_map: OrientationMap) -> dict[str, NDArray[Any]]:
    """Return the numbers (n,) of all positions by the names of their columns, as tables and orix's file have them."""
    everywhere = np.arange(orientation_map.n_positions)
    return {
        kind.column: kind.values(orientation_map, everywhere)
        for kind in MAP_KINDS
        if kind.column and kind.legend is Legend.COLOUR_BAR
    }
