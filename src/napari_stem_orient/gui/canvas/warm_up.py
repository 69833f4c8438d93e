"""Loads in a thread, ahead of time, what the first layer, map and overlay need: seconds of imports and tables."""

from __future__ import annotations

import time
from collections.abc import Generator
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from napari.layers import Image

from napari_stem_orient.gui.canvas.layers import phase_colormap
from napari_stem_orient.gui.jobs.workers import PlainProgress, somebody_waits, start_job

LONGEST_WAIT_S = 30.0
_LOOK_EVERY_S = 0.5  # fewer records in all than a job may have waiting


class _Units(PlainProgress):
    """pint's table of units, read in the thread."""

    __slots__ = ("table",)

    def __init__(self, table: Any) -> None:
        super().__init__(0)
        self.table = table


def start_warm_up() -> None:
    """Load the libraries of colour keys and simulated patterns in a thread, unless they are there already."""
    if not _load.cache_info().currsize:
        start_job(_warm_up(), title="Load libraries", on_record=_take_units, background=True)


def _warm_up() -> Generator[PlainProgress, None, None]:
    """Read what napari needs for the first layer, then load the rest, once nobody waits for something else.

    Python runs one thread at a time: what is loaded here would make the first picture of a scan wait.
    """
    pint = _pint()
    if isinstance(pint.get_application_registry().get(), pint.LazyRegistry):
        yield _Units(pint.UnitRegistry())
    yield PlainProgress(0)
    deadline = time.monotonic() + LONGEST_WAIT_S
    while somebody_waits() and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
        yield PlainProgress(0)
    _load()


def _pint() -> Any:
    """Return pint, whose types are not declared throughout."""
    return import_module("pint")


def _take_units(record: PlainProgress) -> None:
    """Hand the table to napari, and have it make a first layer of it, in the main thread, which alone may do so.

    A table that is there already stays: units of two tables cannot be compared.
    """
    pint = _pint()
    if isinstance(record, _Units) and isinstance(pint.get_application_registry().get(), pint.LazyRegistry):
        pint.set_application_registry(record.table)
        Image(np.zeros((2, 2)), units=("nm", "nm"), visible=False)


@lru_cache(maxsize=1)
def _load() -> None:
    """Colour and simulate one orientation: all that is slow the first time is loaded, or compiled, then."""
    for name in ("scipy.ndimage", "dask.array", "gemmi", "spglib"):  # of the first scan and the first CIF
        import_module(name)
    import_module("pandas")  # napari does so for the features of the first Labels layer: the phase map
    from napari_stem_orient.core.crystal import load_crystal
    from napari_stem_orient.core.ipf import colour_key_image, ipf_colours
    from napari_stem_orient.simulation.kinematic import simulate_pattern

    crystal, orientation = load_crystal("Cu"), [1.0, 0.0, 0.0, 0.0]
    ipf_colours([orientation], crystal)
    colour_key_image(crystal, size_px=8)
    phase_colormap(1).map(np.zeros((2, 2), dtype=np.uint8))
    simulate_pattern(crystal, orientation, voltage_kv=300.0, q_max=0.6)
