"""Space groups: their operations in the standard setting and in any other, from gemmi's tables."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@lru_cache(maxsize=256)
def standard_rotations(space_group: int) -> IntArray:
    """The point group (n, 3, 3) of the standard setting, in fractional coordinates, sorted."""
    import gemmi

    # gemmi keeps the standard setting of a number first: unique axis b, hexagonal axes.
    group = gemmi.find_spacegroup_by_number(space_group).operations()
    rotations = np.array([operation.rot for operation in group.sym_ops], dtype=np.int64) // gemmi.Op.DEN
    unique: IntArray = np.unique(rotations, axis=0)
    unique.flags.writeable = False
    return unique
