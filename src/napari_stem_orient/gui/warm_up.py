"""Loads in a thread, ahead of time, what the first map and the first overlay need: seconds of imports and tables."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module

import numpy as np

from napari_stem_orient.gui.layers import phase_colormap
from napari_stem_orient.gui.workers import one_step_job, start_job


def start_warm_up() -> None:
    """Load the libraries of colour keys and simulated patterns in a thread, unless they are there already."""
    if not _load.cache_info().currsize:
        start_job(one_step_job(_load), title="Load libraries")


@lru_cache(maxsize=1)
def _load() -> None:
    """Colour and simulate one orientation: all that is slow the first time is loaded, or compiled, then."""
    for name in ("scipy.ndimage", "dask.array"):  # of the first scan that is opened
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
