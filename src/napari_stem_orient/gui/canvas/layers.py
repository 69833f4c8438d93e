"""What napari needs to show a result: layer data and keywords for the virtual dark field and the orientation maps."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import Colormap, DirectLabelColormap, ensure_colormap
from numpy.typing import NDArray

from napari_stem_orient.core.ipf import phase_colour
from napari_stem_orient.core.map_kinds import Legend, MapKind, kinds_of, map_kinds
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.gui.canvas.own_layers import LayerTuple, is_own, rename_own

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.core.orientation_map import OrientationMap

METADATA_KEY = "napari_stem_orient"
"""The entry of a layer's metadata that says which map it shows, and of which scan; a duplicate has it, too."""

NOT_DONE_LABEL = 255
"""Of positions that a run has not come to yet, in the phase map: transparent."""

NOT_DONE_VALUE = -np.inf
"""The same in maps of numbers: below all contrast limits, and left out where napari looks for them."""

_DIRECT_BEAM_INV_ANGSTROM = 0.1
_DIRECT_BEAM_PX = 8.0
_THUMBNAIL_PX = 32
_UNFINISHED = ", unfinished"  # of the colormap of a map with positions to come


class LayerKind(StrEnum):
    """A layer of ours that is no map of a result (these are in `map_kinds`); the value is kept in its metadata."""

    DARK_FIELD = "dark_field"
    VIRTUAL_IMAGE = "virtual_image"
    MARKER = "marker"

    @property
    def label(self) -> str:
        """The layer's name."""
        return {"dark_field": "Virtual dark field", "virtual_image": "Virtual image"}.get(
            self.value, "Inspected position"
        )


def layers_of_map(orientation_map: OrientationMap) -> tuple[MapKind, ...]:
    """Return the kinds whose layers are made for a map by themselves, from the topmost down."""
    return tuple(kind for kind in kinds_of(orientation_map) if not kind.on_request)


def scan_grid(calibration: Calibration) -> dict[str, Any]:
    """Return the layer keywords that every map of a scan shares: scale, units and axis labels.

    Without a scan step, the maps count scan positions.
    """
    steps_nm = calibration.scan_steps_nm
    if steps_nm is None:
        return {"scale": (1.0, 1.0), "units": ("pixel", "pixel"), "axis_labels": ("y", "x")}
    return {"scale": steps_nm, "units": ("nm", "nm"), "axis_labels": ("y", "x")}


def layer_name(kind: MapKind, result: str | None) -> str:
    """Return the name of a map's layer; with the name of its result, "IPF-Z (transformer)"."""
    return kind.name_with_unit if result is None else f"{kind.name_with_unit} ({result})"


def layer_identity(layer: Layer) -> tuple[str, str] | None:
    """Return what a layer of ours shows and of which result, or None for the user's layers.

    What it shows is the key of a kind of map, or a LayerKind, whose result is "".
    """
    entry = layer.metadata.get(METADATA_KEY)
    known = {*LayerKind, *(kind.key for kind in map_kinds())}
    if not is_own(layer) or not isinstance(entry, dict) or entry.get("kind") not in known:
        return None
    return str(entry["kind"]), str(entry.get("method", ""))


def kind_of_layer(layer: Layer) -> MapKind | None:
    """Return the kind of map that a layer of ours shows; None for any other layer."""
    identity = layer_identity(layer)
    keys = {kind.key: kind for kind in map_kinds()}
    return None if identity is None else keys.get(identity[0])


def of_scan(layer_tuple: LayerTuple, token: str) -> LayerTuple:
    """Note in a layer's metadata which scan it shows; see `ScanIdentity.token`."""
    layer_tuple[1]["metadata"][METADATA_KEY]["scan"] = token
    return layer_tuple


def shows_scan(layer: Layer, token: str) -> bool:
    """Whether a layer, ours or what the user has made of it, shows a scan, position by position."""
    entry = layer.metadata.get(METADATA_KEY)
    return isinstance(entry, dict) and entry.get("scan") == token


def dark_field_layer(dark_field: NDArray[np.floating[Any]], calibration: Calibration) -> LayerTuple:
    """Return the layer of a virtual dark field.

    Parameters
    ----------
    dark_field : (scan_y, scan_x); NaN where not summed yet
    calibration : gives the scan step
    """
    data = np.asarray(dark_field, dtype=np.float32)
    keywords = {
        **scan_grid(calibration),
        "name": LayerKind.DARK_FIELD.label,
        "metadata": identity_metadata(LayerKind.DARK_FIELD, ""),
        "colormap": "gray",
        "contrast_limits": contrast_limits(data),
    }
    return data, keywords, "image"


def virtual_image_layer(
    image: NDArray[np.floating[Any]], calibration: Calibration, *, name: str, key: int
) -> LayerTuple:
    """Return the layer of a virtual detector's image.

    Parameters
    ----------
    image : (scan_y, scan_x) counts; NaN, which is drawn black, where not summed yet
    calibration : gives the scan step
    name : of the detector
    key : tells the detector's layer from those of others, see `virtual_key`
    """
    data = np.asarray(image, dtype=np.float32)
    identity = identity_metadata(LayerKind.VIRTUAL_IMAGE, "")
    identity[METADATA_KEY]["detector"] = key
    keywords = {
        **scan_grid(calibration),
        "name": name,
        "metadata": identity,
        "colormap": _on_black("gray"),
        "contrast_limits": contrast_limits(data),
    }
    return data, keywords, "image"


def virtual_key(layer: Layer) -> int | None:
    """Return the key of the virtual detector whose image a layer shows, None for any other layer."""
    identity = layer_identity(layer)
    if identity is None or identity[0] != LayerKind.VIRTUAL_IMAGE:
        return None
    return int(layer.metadata[METADATA_KEY]["detector"])


def dark_field_of_peaks(peaks: BraggPeaks) -> NDArray[np.float32]:
    """Return the summed intensity of the disks outside the direct beam (scan_y, scan_x): for peaks without a scan."""
    inner = _DIRECT_BEAM_INV_ANGSTROM if peaks.calibration.pixel_size_inv_angstrom else _DIRECT_BEAM_PX
    position = np.repeat(np.arange(peaks.n_positions), peaks.counts())
    weights = np.where(np.hypot(peaks.q_x, peaks.q_y) > inner, peaks.intensity, 0)
    total = np.bincount(position, weights=weights, minlength=peaks.n_positions)
    return total.reshape(peaks.scan_shape).astype(np.float32)


def contrast_limits(image: NDArray[np.floating[Any]]) -> tuple[float, float]:
    """Return limits between which 99.5 % of an image's finite values lie; never empty, so that napari takes them."""
    finite = image[np.isfinite(image)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, (0.25, 99.75)))
    return (low, high) if high > low else (low, low + 1.0)


def without_gaps(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a (scan_y, scan_x) image whose NaN pixels have the value of the nearest known one.

    A coarse subsample becomes a coarse picture rather than dots on black.
    """
    missing = np.isnan(image)
    if not missing.any():
        return image
    if missing.all():
        return np.zeros_like(image)
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(missing, return_distances=False, return_indices=True)
    return np.asarray(image[rows, columns])


def map_layer(orientation_map: OrientationMap, kind: MapKind, *, name_of_result: bool = False) -> LayerTuple:
    """Return one layer of an orientation map: data painted with all that is known so far, and its keywords.

    Parameters
    ----------
    orientation_map : finished, stopped or still being filled
    kind : of map
    name_of_result : name the result, because there are several

    Returns
    -------
    data : colours (scan_y, scan_x, 4) uint8, black where not indexed; phases (scan_y, scan_x) uint8, 0 where not
        indexed and else phase_id + 1; numbers (scan_y, scan_x) float32, NaN where not indexed. Where the run has not
        been yet: transparent, NOT_DONE_LABEL and NOT_DONE_VALUE
    """
    data = blank(kind, orientation_map.scan_shape)
    paint(data, orientation_map, kind, positions=np.arange(orientation_map.n_positions))
    keywords = {
        **scan_grid(orientation_map.calibration),
        "name": layer_name(kind, orientation_map.key if name_of_result else None),
        "metadata": identity_metadata(kind.key, orientation_map.key),
        **_appearance(kind, orientation_map.crystals, whole=orientation_map.is_complete),
    }
    return data, keywords, "labels" if kind.legend is Legend.PHASES else "image"


def blank(kind: MapKind, scan_shape: tuple[int, int]) -> NDArray[Any]:
    """Return the data of a layer on which nothing is done yet: all of it is transparent."""
    if kind.legend is Legend.COLOUR_KEY:
        return np.zeros((*scan_shape, 4), dtype=np.uint8)
    if kind.legend is Legend.PHASES:
        return np.full(scan_shape, NOT_DONE_LABEL, dtype=np.uint8)
    return np.full(scan_shape, NOT_DONE_VALUE, dtype=np.float32)


def paint(
    data: NDArray[Any], orientation_map: OrientationMap, kind: MapKind, *, positions: NDArray[np.int64]
) -> None:
    """Paint some scan positions of a map into its layer's data, in place.

    Parameters
    ----------
    data : as `map_layer` returns it; C-contiguous
    positions : (m,) int64; flat, row-major scan positions
    """
    done = orientation_map.reason[positions] != Reason.NOT_DONE
    values = kind.values(orientation_map, positions)
    if kind.legend is Legend.COLOUR_KEY:
        data.reshape(-1, 4)[positions, :3] = values
        data.reshape(-1, 4)[positions, 3] = np.where(done, 255, 0)
        return
    flat = data.reshape(-1)
    if kind.legend is Legend.PHASES:
        flat[positions] = np.where(done, values + 1, NOT_DONE_LABEL).astype(np.uint8)
        return
    known = np.where(orientation_map.phase_id[positions] >= 0, values, np.nan)
    flat[positions] = np.where(done, known, NOT_DONE_VALUE)


def thumbnail(layer: Layer) -> NDArray[np.uint8]:
    """Return a small picture (rows, columns, 4) of a map's layer for the layer list.

    napari makes these of visible layers only, so that a map painted while hidden would look black in the list.
    """
    rows, columns = (
        np.linspace(0, n - 1, max(1, round(_THUMBNAIL_PX * n / max(layer.data.shape[:2])))).astype(int)
        for n in layer.data.shape[:2]
    )
    small = np.asarray(layer.data[np.ix_(rows, columns)])
    if small.ndim == 3:
        return small
    if small.dtype.kind == "f":
        low, high = layer.contrast_limits
        small = (np.clip(small, low, high) - low) / (high - low)
    colours = np.asarray(layer.colormap.map(small)).reshape(*small.shape, 4)
    return np.asarray(np.round(255 * colours), dtype=np.uint8)


def make_thumbnail(layer: Layer) -> None:
    """Give a hidden map its small picture in the layer list."""
    if not layer.visible:
        layer.thumbnail = thumbnail(layer)


def set_grid(layer: Layer, grid: dict[str, Any]) -> None:
    """Put a layer on another grid, see `scan_grid`."""
    layer.scale, layer.units, layer.axis_labels = grid["scale"], grid["units"], grid["axis_labels"]


def take_over(layer: Layer, layer_tuple: LayerTuple) -> None:
    """Give a layer the data of another one of its kind, its grid, and whose scan it is; the name, if it is of ours."""
    data, keywords, _ = layer_tuple
    layer.data = data
    set_grid(layer, keywords)
    layer.metadata = keywords["metadata"]
    rename_own(layer, keywords["name"])


def take_map(layer: Layer, layer_tuple: LayerTuple) -> None:
    """Give a layer the data of another map of its kind; how the user made it look stays."""
    _, keywords, layer_type = layer_tuple
    take_over(layer, layer_tuple)
    if layer_type == "labels":
        layer.colormap, layer.features = keywords["colormap"], keywords["features"]
    elif "colormap" in keywords:
        _take_colormap(layer, keywords["colormap"])


def show_whole(layer: Layer, orientation_map: OrientationMap) -> None:
    """Let a layer of a map that has been painted block by block show that no positions are to come, where none are."""
    kind = kind_of_layer(layer)
    if kind is not None and kind.legend is Legend.COLOUR_BAR:
        look = _appearance(kind, orientation_map.crystals, whole=orientation_map.is_complete)
        _take_colormap(layer, look["colormap"])


def _take_colormap(layer: Layer, colormap: Colormap) -> None:
    """Give a map with positions to come, or a whole one, its colours, unless the user has chosen others."""
    before, after = layer.colormap.name, colormap.name
    if before != after and before.removesuffix(_UNFINISHED) == after.removesuffix(_UNFINISHED):
        layer.colormap = colormap


def marker_layer(position: tuple[int, int]) -> LayerTuple:
    """Return the layer that marks the inspected position (y, x): a white square in a black one."""
    keywords = {
        "name": LayerKind.MARKER.label,
        "metadata": identity_metadata(LayerKind.MARKER, ""),
        "symbol": "square",
        "size": np.array([1.4, 1.0]),
        "canvas_size_limits": (10, 10_000),
        "face_color": "transparent",
        "border_color": np.array(["black", "white"]),
        "border_width": 0.09,
        "blending": "translucent_no_depth",
    }
    return np.array([position, position], dtype=np.float64), keywords, "points"


def phase_colormap(n_phases: int) -> DirectLabelColormap:
    """Return the colours of labels 0 (not indexed, black) to n_phases; transparent where a run has not been yet."""
    colours: dict[int | None, str] = {None: "black", 0: "black", NOT_DONE_LABEL: "transparent"}
    colours.update({phase_id + 1: phase_colour(phase_id) for phase_id in range(n_phases)})
    return DirectLabelColormap(color_dict=colours)


def phase_features(crystals: Sequence[Crystal]) -> dict[str, list[Any]]:
    """Return the features that tell the phase at the cursor: one row a label, 0 for not indexed."""
    return {
        "index": [*range(len(crystals) + 1), NOT_DONE_LABEL],
        "phase": ["not indexed", *(crystal.name for crystal in crystals), "not indexed yet"],
    }


def _appearance(kind: MapKind, crystals: Sequence[Crystal], *, whole: bool) -> dict[str, Any]:
    """Return the keywords of a map's layer that say how it looks; while positions are to come, those see-through."""
    if kind.legend is Legend.COLOUR_KEY:
        return {"rgb": True}
    if kind.legend is Legend.PHASES:
        return {
            "opacity": 1.0,
            "colormap": phase_colormap(len(crystals)),
            "features": phase_features(crystals),
        }
    reverse = kind.smaller_is_better
    colormap = _on_black(
        "viridis", name="viridis reversed" if reverse else None, reverse=reverse, whole=whole
    )
    return {"colormap": colormap, "contrast_limits": kind.limits}


def _on_black(
    colormap: str, *, name: str | None = None, reverse: bool = False, whole: bool = True
) -> Colormap:
    """Return a napari colormap that is black where the data are NaN and, unless whole, nothing below its limits.

    A whole map has no use for that, and shows low values in the lowest colour whatever limits the user chooses.
    """
    colours = np.asarray(ensure_colormap(colormap).map(np.linspace(0.0, 1.0, 64)))
    return Colormap(
        colors=colours[::-1] if reverse else colours,
        # napari knows colormaps by their names: one name, one colormap
        name=f"{name or colormap} on black{'' if whole else _UNFINISHED}",
        nan_color="black",
        low_color=None if whole else "transparent",
    )


def identity_metadata(kind: str, method: str) -> dict[str, Any]:
    """Return the metadata of a layer of ours that shows no scan yet; see `of_scan`."""
    return {METADATA_KEY: {"kind": str(kind), "method": method}}
