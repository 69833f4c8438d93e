"""The results of a session by their names: which one a map is, what a new one is called, and how one goes."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from napari_stem_orient.indexing.methods import method_title
from napari_stem_orient.session.state import MapResult

if TYPE_CHECKING:
    from napari_stem_orient.core.orientation_map import OrientationMap
    from napari_stem_orient.session.state import ScanState


def named(state: ScanState, orientation_map: OrientationMap) -> OrientationMap:
    """Return the map with the name that it has among the results.

    A map that is made in the same way as a result is that result, further on or done again; any other stands beside
    those that there are, with a name of its own.
    """
    before = state.results.get(orientation_map.result_name)
    if before is not None and not before.orientation_map.made_otherwise(orientation_map):
        return orientation_map
    for name, result in reversed(list(state.results.items())):
        if not result.orientation_map.made_otherwise(orientation_map):
            return called(orientation_map, name)
    return called(orientation_map, _free_name(state, orientation_map))


def with_current(state: ScanState, orientation_map: OrientationMap) -> ScanState:
    """The state with a map among the results, and the panels about it."""
    result = named(state, orientation_map)
    results = {**state.results, result.key: MapResult(result)}
    return replace(state, results=results, current=result.key)


def without_result(state: ScanState, name: str) -> ScanState:
    """The state without a result; where the panels were about it, they are about the newest of those left."""
    results = {key: result for key, result in state.results.items() if key != name}
    current = state.current if state.current in results else next(reversed(list(results)), None)
    return replace(state, results=results, current=current)


def result_title(orientation_map: OrientationMap) -> str:
    """Return what a result is called for people: "Template matching, Au 2"."""
    told_apart = orientation_map.key.removeprefix(orientation_map.method)
    return f"{method_title(orientation_map.method)}{told_apart}"


def file_suffix(orientation_map: OrientationMap) -> str:
    """Return what tells the file of a result from those of others: "_transformer_2"."""
    return "_" + "_".join(re.findall(r"\w+", orientation_map.key))


def called(orientation_map: OrientationMap, name: str) -> OrientationMap:
    """The map under a name among the results; itself where it goes by that already."""
    return orientation_map if orientation_map.key == name else replace(orientation_map, result_name=name)


def _free_name(state: ScanState, orientation_map: OrientationMap) -> str:
    """A name that no result has: the method; with the crystals, where results have others; else with a number."""
    method, crystals = str(orientation_map.method), orientation_map.crystals
    alike = [r.orientation_map for r in state.results.values() if r.orientation_map.method == method]
    name = method
    if alike and all(each.crystals != crystals for each in alike):
        name = f"{method}, {' + '.join(crystal.name for crystal in crystals)}"
    numbered = (f"{name} {number}" for number in count(2))
    return name if name not in state.results else next(each for each in numbered if each not in state.results)
