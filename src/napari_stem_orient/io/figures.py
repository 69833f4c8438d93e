"""Pictures of orientation maps for papers and slides: maps with scale bar, colour keys and legend."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient._version import __version__
from napari_stem_orient.core.crystal_setting import laue_class
from napari_stem_orient.core.ipf import colour_key_image, colour_key_labels, phase_colour
from napari_stem_orient.core.map_kinds import Legend, MapKind, map_kind, map_kinds
from napari_stem_orient.io.atomic import complete_or_absent
from napari_stem_orient.io.own_files import EXPORT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.core.orientation_map import OrientationMap

OVERVIEW = "overview"
"""The figure of several maps: out of plane, in plane, phase and score."""

FIGURE_SUFFIXES = (".png", ".tif", ".tiff", ".pdf", ".svg")

_PANEL_INCHES = 4.0
_KEY_INCHES = 1.9
_KEY_PX = 400
# Scans longer than this are stretched across, or nothing could be seen on them.
_LONGEST_ASPECT = 5.0
_TIFF_SOFTWARE = 305  # the number of the tag
PROGRAM = f"napari-stem-orient {__version__}"


def figure_kinds() -> dict[str, str]:
    """Return what a figure may show, with its title: the overview and every kind of map."""
    return {OVERVIEW: "Overview", **{kind.key: kind.title for kind in map_kinds()}}


def export_figure(
    orientation_map: OrientationMap,
    path: str | Path,
    *,
    kind: str = OVERVIEW,
    dpi: int = 200,
    overwrite: bool = False,
) -> None:
    """Draw a map into a picture file, complete or not at all.

    Parameters
    ----------
    orientation_map : whole or partly done; black where not indexed
    path : ends in .png, .tif, .pdf or .svg
    kind : one of `figure_kinds`: a kind of map, or "overview" for IPF-Z, IPF-X, phase and score together
    dpi : pixels an inch
    overwrite : replace a picture of somebody else, but for one that an open scan is read from
    """
    path = Path(path)
    if path.suffix.lower() not in FIGURE_SUFFIXES:
        raise ValueError(
            f"{path.name} must end in {', '.join(FIGURE_SUFFIXES)}; rename it to {path.stem}.png"
        )
    figure = map_figure(orientation_map, kind=kind)
    with complete_or_absent(path, replaces=(EXPORT,), overwrite=overwrite) as temporary:
        save_figure(figure, temporary, dpi=dpi, **_signed(path.suffix.lower()))


def save_figure(figure: Figure, path: Path, *, dpi: int, **metadata: Any) -> None:
    """Save a matplotlib figure whose words stay words: TrueType fonts in PDF, which journals ask for, text in SVG."""
    from matplotlib import rc_context

    with rc_context({"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none"}):
        figure.savefig(path, dpi=dpi, facecolor="white", **metadata)


def map_figure(orientation_map: OrientationMap, *, kind: str = OVERVIEW) -> Figure:
    """Return the matplotlib figure that `export_figure` saves; it belongs to no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if kind not in figure_kinds():
        raise ValueError(f'figure kind "{kind}" is not known; choose one of {", ".join(figure_kinds())}')
    overview = tuple(each for each in map_kinds() if each.in_overview)
    kinds = overview if kind == OVERVIEW else (map_kind(kind),)
    keys = any(each.legend is Legend.COLOUR_KEY for each in kinds)
    crystals = _crystals_to_explain(orientation_map) if keys else ()
    rows = math.ceil(math.sqrt(len(kinds)))
    width, height = _panel_size(_shape(orientation_map))
    keys_height = _KEY_INCHES if crystals else 0.0
    figure = Figure(figsize=(width * rows, height * rows + keys_height), layout="constrained")
    FigureCanvasAgg(figure)
    parts = figure.subfigures(2 if crystals else 1, 1, squeeze=False, **_heights(height * rows, keys_height))
    axes = parts[0, 0].subplots(rows, rows, squeeze=False).ravel()
    for panel, axis in zip(kinds, axes, strict=False):
        _draw_map(axis, orientation_map, panel)
    for axis in axes[len(kinds) :]:
        axis.set_axis_off()
    if crystals:
        _draw_keys(parts[1, 0], crystals)
    return figure


def save_picture(pixels: NDArray[np.uint8], path: str | Path, *, overwrite: bool = False) -> None:
    """Write pixels (h, w, 3 or 4) as a .png file, complete or not at all; ``overwrite`` as in `export_figure`."""
    from matplotlib.image import imsave

    with complete_or_absent(path, replaces=(EXPORT,), overwrite=overwrite) as temporary:
        imsave(temporary, pixels, **_signed(".png"))


def _signed(ending: str) -> dict[str, Any]:
    """What matplotlib is told so that the file says who made it, and may be replaced by a newer one."""
    if ending in (".tif", ".tiff"):
        return {"pil_kwargs": {"tiffinfo": {_TIFF_SOFTWARE: PROGRAM}}}
    return {"metadata": {"Software" if ending == ".png" else "Creator": PROGRAM}}


def scale_bar_length(width: float) -> float:
    """Return the round number (1, 2 or 5 times a power of ten) next below a quarter of a map's width."""
    target = width / 4
    power = 10.0 ** math.floor(math.log10(target))
    return max(step * power for step in (1, 2, 5) if step * power <= target * (1 + 1e-9))


def _heights(maps: float, keys: float) -> dict[str, Any]:
    return {"height_ratios": [maps, keys]} if keys else {}


def _shape(orientation_map: OrientationMap) -> float:
    """Width of the scanned field over its height."""
    rows, columns = orientation_map.scan_shape
    down, along = orientation_map.calibration.scan_steps_nm or (1.0, 1.0)
    return columns * along / (rows * down)


def _panel_size(shape: float) -> tuple[float, float]:
    """Return width and height in inches of one map with its title and legend."""
    aspect = min(max(shape, 1 / _LONGEST_ASPECT), _LONGEST_ASPECT)
    width = _PANEL_INCHES * min(1.0, max(aspect, 0.5))
    return width + 0.9, max(width / aspect, 0.5) + 0.7


def _crystals_to_explain(orientation_map: OrientationMap) -> tuple[Crystal, ...]:
    """Return one crystal for each colour key: those in the map, or all where nothing is indexed."""
    present = np.unique(orientation_map.phase_id[orientation_map.indexed])
    return tuple(orientation_map.crystals[index] for index in present) or orientation_map.crystals


def _draw_map(axis: Axes, orientation_map: OrientationMap, kind: MapKind) -> None:
    """Draw one map, its title, legend or colour bar, and the scale bar."""
    rows, columns = orientation_map.scan_shape
    down, along = orientation_map.calibration.scan_steps_nm or (1.0, 1.0)
    aspect = "equal" if 1 / _LONGEST_ASPECT <= _shape(orientation_map) <= _LONGEST_ASPECT else "auto"
    frame: dict[str, Any] = {
        "extent": (0, columns * along, rows * down, 0),
        "interpolation": "nearest",
        "aspect": aspect,
    }
    axis.set_title(kind.title_with_unit, fontsize=10)
    axis.set_xticks([])
    axis.set_yticks([])
    if kind.legend is Legend.COLOUR_KEY:
        colours = kind.values(orientation_map, _everywhere(orientation_map))
        axis.imshow(colours.reshape(rows, columns, 3), **frame)
    elif kind.legend is Legend.PHASES:
        _draw_phases(axis, orientation_map, kind, frame)
    else:
        _draw_values(axis, orientation_map, kind, frame)
    _draw_scale_bar(axis, orientation_map)


def _draw_phases(axis: Axes, orientation_map: OrientationMap, kind: MapKind, frame: dict[str, Any]) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    phases = range(len(orientation_map.crystals))
    palette = np.array([to_rgb(phase_colour(phase)) for phase in (*phases, -1)])
    phase_id = kind.values(orientation_map, _everywhere(orientation_map))
    axis.imshow(palette[phase_id].reshape(*orientation_map.scan_shape, 3), **frame)
    entries = [
        Patch(color=phase_colour(phase), label=orientation_map.crystals[phase].name) for phase in phases
    ]
    if not orientation_map.indexed.all():
        entries.append(Patch(color="black", label="not indexed"))
    axis.legend(handles=entries, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, **_LEGEND_STYLE)


_LEGEND_STYLE: dict[str, Any] = {"frameon": False, "fontsize": 8, "handlelength": 1.0, "columnspacing": 1.0}


def _draw_values(axis: Axes, orientation_map: OrientationMap, kind: MapKind, frame: dict[str, Any]) -> None:
    from matplotlib import colormaps

    values = kind.values(orientation_map, _everywhere(orientation_map))
    colours = colormaps["viridis_r" if kind.smaller_is_better else "viridis"].with_extremes(bad="black")
    shown = np.where(orientation_map.indexed, values, np.nan).reshape(orientation_map.scan_shape)
    low, high = kind.limits
    image = axis.imshow(shown, cmap=colours, vmin=low, vmax=high, **frame)
    bar = axis.figure.colorbar(
        image, ax=axis, fraction=0.05, pad=0.02, extend="max" if kind.open_ended else "neither"
    )
    bar.ax.tick_params(labelsize=8)


def _everywhere(orientation_map: OrientationMap) -> NDArray[np.int64]:
    return np.arange(orientation_map.n_positions)


def _draw_scale_bar(axis: Axes, orientation_map: OrientationMap) -> None:
    """Draw a white bar outlined in black at the lower left, with its length; its thickness is in points."""
    from matplotlib.patheffects import withStroke

    steps = orientation_map.calibration.scan_steps_nm
    rows, columns = orientation_map.scan_shape
    down, along = steps or (1.0, 1.0)
    width, height = columns * along, rows * down
    length = scale_bar_length(width)
    left, low = 0.04 * width, 0.95 * height
    axis.autoscale(False)
    axis.plot(
        [left, left + length],
        [low, low],
        color="white",
        linewidth=3.5,
        solid_capstyle="butt",
        path_effects=[withStroke(linewidth=5, foreground="black")],
    )
    axis.annotate(
        _length_in_words(length, known=steps is not None),
        (left, low),
        xytext=(0, 4),
        textcoords="offset points",
        color="white",
        fontsize=9,
        path_effects=[withStroke(linewidth=1.5, foreground="black")],
    )


def _length_in_words(length: float, *, known: bool) -> str:
    if not known:
        return f"{length:g} positions"
    return f"{length / 1000:g} µm" if length >= 1000 else f"{length:g} nm"


def _draw_keys(part: SubFigure, crystals: tuple[Crystal, ...]) -> None:
    """Draw the colour key of each crystal side by side, with its name and the names of the corners."""
    axes = part.subplots(1, len(crystals), squeeze=False).ravel()
    for axis, crystal in zip(axes, crystals, strict=True):
        image = colour_key_image(crystal, size_px=_KEY_PX)
        height, width = image.shape[:2]
        axis.imshow(image)
        axis.set_axis_off()
        # Room for the labels, the same around every key.
        axis.set_xlim(-0.35 * _KEY_PX, width + 0.35 * _KEY_PX)
        axis.set_ylim(height + 0.22 * _KEY_PX, -0.18 * _KEY_PX)
        axis.set_title(f"{crystal.name} ({laue_class(crystal)})", fontsize=9)
        for label in colour_key_labels(crystal, size_px=_KEY_PX):
            row_step, column_step = label.outward
            axis.text(
                label.column + 0.09 * _KEY_PX * column_step,
                label.row + 0.09 * _KEY_PX * row_step,
                label.text,
                ha="left" if column_step > 0.3 else "right" if column_step < -0.3 else "center",
                va="top" if row_step > 0.3 else "bottom" if row_step < -0.3 else "center",
                fontsize=8,
            )
