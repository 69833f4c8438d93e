"""Loads in a thread, ahead of time, what the first layer, map and overlay need: seconds of imports and tables."""

from __future__ import annotations

from collections.abc import Generator
from functools import lru_cache
from importlib import import_module

import numpy as np
from napari.layers import Image

from napari_stem_orient.gui.canvas.layers import phase_colormap
from napari_stem_orient.gui.jobs.workers import PlainProgress, start_job


def start_warm_up() -> None:
    """Load the libraries of colour keys and simulated patterns in a thread, unless they are there already."""
    if not _load.cache_info().currsize:
        start_job(_warm_up(), title="Load libraries", on_record=_prepare_first_layer)


def _warm_up() -> Generator[PlainProgress, None, None]:
    """Import what napari needs for the first layer, say so, then load the rest."""
    for name in ("pint", "scipy.ndimage", "dask.array"):
        import_module(name)
    yield PlainProgress(0)
    _load()


def _prepare_first_layer(_: PlainProgress) -> None:
    """Have napari read its table of units, in the main thread, which alone may do so."""
    Image(np.zeros((2, 2)), units=("nm", "nm"), visible=False)


@lru_cache(maxsize=1)
def _load() -> None:
    """Colour and simulate one orientation: all that is slow the first time is loaded, or compiled, then."""
    import_module("pandas")  # napari does so for the features of the first Labels layer: the phase map
    for name in ("gemmi", "spglib"):  # of the first CIF
        import_module(name)
    from napari_stem_orient.core.crystal import load_crystal
    from napari_stem_orient.core.ipf import colour_key_image, ipf_colours
    from napari_stem_orient.simulation.kinematic import simulate_pattern

    crystal, orientation = load_crystal("Cu"), [1.0, 0.0, 0.0, 0.0]
    ipf_colours([orientation], crystal)
    colour_key_image(crystal, size_px=8)
    phase_colormap(1).map(np.zeros((2, 2), dtype=np.uint8))
    simulate_pattern(crystal, orientation, voltage_kv=300.0, q_max=0.6)
