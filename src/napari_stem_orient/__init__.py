"""Crystal orientation and phase maps from 4D-STEM scans: the version and the small public interface."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_stem_orient._version import __version__

if TYPE_CHECKING:
    from napari_stem_orient.core.crystal import load_crystal
    from napari_stem_orient.detection.correlation import detect_bragg_peaks
    from napari_stem_orient.indexing.index import index_bragg_peaks
    from napari_stem_orient.io.maps import open_orientation_map, save_orientation_map
    from napari_stem_orient.io.peaks import open_bragg_peaks, save_bragg_peaks
    from napari_stem_orient.io.scans import open_datacube
    from napari_stem_orient.simulation.kinematic import simulate_pattern

__all__ = [
    "__version__",
    "detect_bragg_peaks",
    "index_bragg_peaks",
    "load_crystal",
    "open_bragg_peaks",
    "open_datacube",
    "open_orientation_map",
    "save_bragg_peaks",
    "save_orientation_map",
    "simulate_pattern",
]

# Public name -> the module that holds it. Nothing is imported before it is asked for: `import napari_stem_orient`
# costs milliseconds, torch and orix cost seconds.
_HOME = {
    "detect_bragg_peaks": "napari_stem_orient.detection.correlation",
    "index_bragg_peaks": "napari_stem_orient.indexing.index",
    "load_crystal": "napari_stem_orient.core.crystal",
    "open_bragg_peaks": "napari_stem_orient.io.peaks",
    "open_datacube": "napari_stem_orient.io.scans",
    "open_orientation_map": "napari_stem_orient.io.maps",
    "save_bragg_peaks": "napari_stem_orient.io.peaks",
    "save_orientation_map": "napari_stem_orient.io.maps",
    "simulate_pattern": "napari_stem_orient.simulation.kinematic",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(__all__)
