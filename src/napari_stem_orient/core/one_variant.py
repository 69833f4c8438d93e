"""Orientations of a map reduced by symmetry so that every grain holds one of the equivalents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.orientation import (
    disorientation_angle_deg,
    multiply,
    normalise,
    reduce_to_fundamental,
    symmetry_quaternions,
)
from napari_stem_orient.core.orientation_map import OrientationMap

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_SAME_GRAIN_DEG = 5.0
_AT_ONCE = 20_000


def one_variant_per_grain(orientation_map: OrientationMap) -> FloatArray:
    """Return the map's orientations with the same equivalent throughout a grain.

    Noise takes orientations at the edge of the fundamental zone to its other side, where every angle looks different.
    So each grain (neighbours within 5°) starts from its orientation deepest in the zone, and each position takes the
    equivalent nearest to the neighbour before it.

    Returns
    -------
    quaternion : (n, 4) float64; sample to crystal, scalar first, w >= 0; as they are where nothing is indexed
    """
    quaternion = orientation_map.quaternion.astype(np.float64)
    for phase, crystal in enumerate(orientation_map.crystals):
        positions = np.flatnonzero(orientation_map.phase_id == phase)
        operators = symmetry_quaternions(crystal.proper_point_group)
        for start in range(0, len(positions), _AT_ONCE):
            part = positions[start : start + _AT_ONCE]
            quaternion[part] = reduce_to_fundamental(quaternion[part], crystal.proper_point_group)
        if len(operators) > 1 and len(positions):
            pairs = _neighbours_in_grain(quaternion, orientation_map, phase)
            _spread(quaternion, operators, pairs)
    quaternion[orientation_map.indexed] = normalise(quaternion[orientation_map.indexed])
    return quaternion


def _neighbours_in_grain(quaternion: FloatArray, orientation_map: OrientationMap, phase: int) -> IntArray:
    """Pairs (m, 2) of flat positions of one phase beside each other whose disorientation is that of a grain."""
    at = np.arange(orientation_map.n_positions).reshape(orientation_map.scan_shape)
    beside = np.concatenate(
        [
            np.stack([at[:, :-1].ravel(), at[:, 1:].ravel()], axis=1),
            np.stack([at[:-1].ravel(), at[1:].ravel()], axis=1),
        ]
    )
    beside = beside[np.all(orientation_map.phase_id[beside] == phase, axis=1)]
    group = orientation_map.crystals[phase].proper_point_group
    angle = np.empty(len(beside))
    for start in range(0, len(beside), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        first, second = beside[part].T
        angle[part] = disorientation_angle_deg(quaternion[first], quaternion[second], group)
    in_grain: IntArray = beside[angle < _SAME_GRAIN_DEG]
    return in_grain


def _spread(quaternion: FloatArray, operators: FloatArray, pairs: IntArray) -> None:
    """Choose, in place, the equivalent of each position that is nearest to that of the neighbour it is reached from."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import breadth_first_order, connected_components

    if not len(pairs):
        return
    members, edges = np.unique(pairs, return_inverse=True)
    edges = edges.reshape(-1, 2)
    n = len(members)
    _, grain = connected_components(coo_matrix((np.ones(len(edges)), edges.T), shape=(n, n)), directed=False)
    # Reduced orientations with a small angle are deep in the fundamental zone: the last of each grain in this order.
    order = np.lexsort((np.abs(quaternion[members, 0]), grain))
    roots = order[np.append(np.diff(grain[order]) > 0, True)]
    # One more node joins all grains, so that one pass reaches everything.
    edges = np.concatenate([edges, np.stack([np.full(len(roots), n), roots], axis=1)])
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(n + 1, n + 1)).tocsr()
    reached, before = breadth_first_order(graph, n, directed=False)
    depth = np.zeros(n + 1, dtype=np.int64)
    for node in reached[1:].tolist():
        depth[node] = depth[before[node]] + 1
    nodes = reached[1 + len(roots) :]
    for level in np.split(nodes, np.flatnonzero(np.diff(depth[nodes])) + 1):
        here, there = members[level], members[before[level]]
        equivalents = multiply(operators, quaternion[here][:, None])
        best = np.abs(np.einsum("nsi,ni->ns", equivalents, quaternion[there])).argmax(axis=1)
        quaternion[here] = equivalents[np.arange(len(here)), best]
