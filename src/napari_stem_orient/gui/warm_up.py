"""Loads in a thread, ahead of time, what the first map and the first overlay need: seconds of imports and tables."""

from __future__ import annotations

import sys

from napari_stem_orient.gui.workers import one_step_job, start_job

_LAST_LOADED = "napari_stem_orient.simulation.kinematic"


def start_warm_up() -> None:
    """Load the libraries of colour keys and simulated patterns in a thread, unless they are there already."""
    if _LAST_LOADED not in sys.modules:
        start_job(one_step_job(_load), title="Load libraries")


def _load() -> None:
    """Colour and simulate one orientation: everything that is slow the first time is loaded then."""
    from napari_stem_orient.core.crystal import load_crystal
    from napari_stem_orient.core.ipf import colour_key_image, ipf_colours
    from napari_stem_orient.simulation.kinematic import simulate_pattern

    crystal, orientation = load_crystal("Cu"), [1.0, 0.0, 0.0, 0.0]
    ipf_colours([orientation], crystal)
    colour_key_image(crystal, size_px=8)
    simulate_pattern(crystal, orientation, voltage_kv=300.0, q_max=0.6)
