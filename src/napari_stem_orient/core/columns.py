"""Columns: records of arrays that run over the same positions, each array declared once, with what it holds where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Self, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import ArrayLike, NDArray

CANDIDATES = -1
"""Stands for the number K of candidates among the axes of a column."""


@dataclass(frozen=True, slots=True)
class Column:
    """What one array of a record is made of.

    Attributes
    ----------
    dtype : of its values
    unknown : what stands where nothing is known; a number, or one for each value of the last axis
    axes : lengths of the axes after that of positions; CANDIDATES for as many as there are candidates
    """

    dtype: type[np.generic]
    unknown: Any
    axes: tuple[int, ...] = ()

    def blank(self, n_positions: int, n_candidates: int) -> NDArray[Any]:
        """Return the array of positions of which nothing is known."""
        axes = (n_candidates if length == CANDIDATES else length for length in self.axes)
        array = np.empty((n_positions, *axes), dtype=self.dtype)
        array[...] = self.unknown
        return array


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """What records have in common whose fields are arrays over the same positions.

    A field ``Annotated[NDArray[np.float32], Column(np.float32, 0.0)]`` declares one; a field that is such a record
    itself has its arrays over the same positions, named "solutions.score"; other fields may stand beside them.
    """

    @classmethod
    def columns(cls) -> dict[str, Column]:
        """Return the declaration of every array of the record itself."""
        return {name: how for name, how in cls._declared().items() if isinstance(how, Column)}

    @classmethod
    def within(cls) -> dict[str, type[Columns]]:
        """Return the records within the record."""
        return {name: how for name, how in cls._declared().items() if isinstance(how, type)}

    @classmethod
    def _declared(cls) -> dict[str, Column | type[Columns]]:
        record: Any = cls  # mypy takes no class for hashable whose objects are not
        return _declarations(record)

    @classmethod
    def array_names(cls) -> tuple[str, ...]:
        """Return the names of all arrays."""
        inner = (f"{name}.{each}" for name, record in cls.within().items() for each in record.array_names())
        return (*cls.columns(), *inner)

    @classmethod
    def blank_fields(cls, n_positions: int, n_candidates: int) -> dict[str, Any]:
        """Return the fields of a record of positions of which nothing is known."""
        made: dict[str, Any] = {
            name: how.blank(n_positions, n_candidates) for name, how in cls.columns().items()
        }
        for name, record in cls.within().items():
            made[name] = record(**record.blank_fields(n_positions, n_candidates))
        return made

    @classmethod
    def fields_from(cls, arrays: Mapping[str, ArrayLike]) -> dict[str, Any]:
        """Return the fields of a record from its arrays by name; KeyError where one is missing."""
        made: dict[str, Any] = {
            name: np.asarray(arrays[name], dtype=how.dtype) for name, how in cls.columns().items()
        }
        for name, record in cls.within().items():
            inner = {
                key.removeprefix(f"{name}."): arrays[key] for key in arrays if key.startswith(f"{name}.")
            }
            made[name] = record(**record.fields_from(inner))
        return made

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays by name."""
        made: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in self.columns()}
        for name in self.within():
            made.update({f"{name}.{key}": array for key, array in getattr(self, name).arrays().items()})
        return made

    def arrays_at(self, rows: NDArray[np.int64] | slice) -> dict[str, NDArray[Any]]:
        """Return copies of the arrays of some positions by name."""
        return {name: np.array(array[rows]) for name, array in self.arrays().items()}

    def put(self, rows: NDArray[np.int64], other: Columns) -> None:
        """Write the positions of another record into ``rows`` of this one, in place.

        Where the other has fewer candidates, the places of the rest become empty; more do not fit: ValueError.
        """
        for name, how in self.columns().items():
            mine, theirs = getattr(self, name), getattr(other, name)
            if CANDIDATES in how.axes and theirs.shape[1] != mine.shape[1]:
                if theirs.shape[1] > mine.shape[1]:
                    raise ValueError(
                        f"{name} of {theirs.shape[1]} candidates does not fit where there is room for {mine.shape[1]}"
                    )
                mine[rows, theirs.shape[1] :] = how.unknown
                mine[rows, : theirs.shape[1]] = theirs
            else:
                mine[rows] = theirs
        for name in self.within():
            getattr(self, name).put(rows, getattr(other, name))

    def widened(self, n_candidates: int) -> Self:
        """Return the record with places for at least so many candidates; itself where it has them."""
        changed: dict[str, Any] = {}
        for name, how in self.columns().items():
            array = getattr(self, name)
            if CANDIDATES in how.axes and array.shape[1] < n_candidates:
                changed[name] = how.blank(len(array), n_candidates)
                changed[name][:, : array.shape[1]] = array
        for name in self.within():
            inner = getattr(self, name)
            wide = inner.widened(n_candidates)
            if wide is not inner:
                changed[name] = wide
        return replace(self, **changed) if changed else self

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays().values())


@cache
def _declarations(record: type[Any]) -> dict[str, Column | type[Columns]]:
    """What the fields of a record declare: an array, or a record within; other fields are left out."""
    found: dict[str, Column | type[Columns]] = {}
    for name, hint in get_type_hints(record, include_extras=True).items():
        if get_origin(hint) is Annotated:
            for how in get_args(hint)[1:]:
                if isinstance(how, Column):
                    found[name] = how
        elif isinstance(hint, type) and issubclass(hint, Columns):
            found[name] = hint
    return found
