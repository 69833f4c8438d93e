"""The text of an EDAX .ang file: header, phases in the axes that EDAX knows, one line a position.

What its readers ask for: MTEX takes another column for the phase where one is negative, and looks 100 lines past each
phase; DefDAP wants the phases in ascending order, each ended by an empty comment; orix knows the columns by a line
that names them.
"""

from __future__ import annotations

import unicodedata
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient._version import __version__
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.crystal_setting import CrystalSetting, laue_class, setting_with
from napari_stem_orient.core.one_variant import one_variant_per_grain
from napari_stem_orient.core.orientation import euler_bunge_deg
from napari_stem_orient.core.orientation_map import OrientationMap

_CODES = {
    "-1": {"Ci": "1"},
    "2/m": {"C2y": "20", "C2h": "2"},
    "mmm": {"D2h": "22"},
    "4/m": {"C4h": "4"},
    "4/mmm": {"D4h": "42"},
    "-3": {"S6": "3"},
    "-3m": {"D3d": "32"},
    "6/m": {"C6h": "6"},
    "6/mmm": {"D6h": "62"},
    "m-3": {"Th": "23"},
    "m-3m": {"Oh": "43"},
}
"""EDAX's code for a Laue class with the axes of an orix group; 20 has the two-fold axis along b, 2 along c."""

_UNKNOWN_FIT_DEG = 180.0
_MTEX_LOOKS_AHEAD = 100

_FRAME = (
    "Frame of the sample: x along scan columns, y along scan rows, z with the electrons (into the screen).",
    "The Euler angles (Bunge, sample to crystal) and the coordinates share this frame: turn neither on import.",
    "Frame of the crystal: x along a, z along c* (y completes it), in the cell given with the phase.",
)


def edax_setting(crystal: Crystal) -> tuple[str, CrystalSetting]:
    """EDAX's symmetry code of a crystal, and the cell whose axes are where the code wants them."""
    codes = _CODES[laue_class(crystal)]
    setting = setting_with(crystal, tuple(codes), otherwise="C2y")
    return codes[setting.group], setting


def write_ang(orientation_map: OrientationMap, file: TextIO) -> None:
    """Write a map to an open text file, in µm and radians; see `export_ang` for what the columns hold."""
    settings = [edax_setting(crystal) for crystal in orientation_map.crystals]
    steps_nm = orientation_map.calibration.scan_steps_nm
    step = (1.0, 1.0) if steps_nm is None else (steps_nm[0] / 1000, steps_nm[1] / 1000)
    header = [
        f"Written by napari-stem-orient {__version__}",
        "TEM_PIXperUM           1.000000",
        "x-star                 0.000000",
        "y-star                 0.000000",
        "z-star                 0.000000",
        "WorkingDistance        0.000000",
        "",
    ]
    for number, (crystal, setting) in enumerate(
        zip(orientation_map.crystals, settings, strict=True), start=1
    ):
        header += _phase_lines(number, crystal, *setting)
    header += _grid_lines(orientation_map.scan_shape, step)
    # The last phase begins this many lines before the data do.
    missing = (
        _MTEX_LOOKS_AHEAD
        + 1
        - orientation_map.n_positions
        - (len(header) - header.index(f"Phase {len(settings)}"))
    )
    header += [""] * max(0, missing)
    file.writelines(f"# {line}".rstrip() + "\n" for line in header)
    np.savetxt(file, _columns(orientation_map, [s for _, s in settings], step), fmt=_FORMAT)


_FORMAT = "%8.5f  %8.5f  %8.5f  %12.5f  %12.5f  %8.5f  %8.5f  %2i  %8.5f  %9.5f"


def _columns(
    orientation_map: OrientationMap, settings: list[CrystalSetting], step: tuple[float, float]
) -> NDArray[np.float64]:
    """Columns (n, 10): three Euler angles in rad, x, y, image quality, confidence index, phase, signal, fit."""
    indexed = orientation_map.indexed
    quaternion = one_variant_per_grain(orientation_map)
    for phase, setting in enumerate(settings):
        here = orientation_map.phase_id == phase
        quaternion[here] = setting.orientations(quaternion[here])
    row, column = np.indices(orientation_map.scan_shape).reshape(2, -1)
    score = orientation_map.score.astype(np.float64)
    fit = np.nan_to_num(orientation_map.confidence_deg.astype(np.float64), nan=_UNKNOWN_FIT_DEG)
    return np.column_stack(
        [
            np.where(indexed[:, None], np.deg2rad(euler_bunge_deg(quaternion)), 4 * np.pi),
            column * step[1],
            row * step[0],
            np.where(indexed, score, 0.0),
            np.where(indexed, score, -1.0),
            np.where(indexed, orientation_map.phase_id.astype(np.int64) + 1, 0),
            np.zeros(len(row)),
            np.where(indexed, fit, _UNKNOWN_FIT_DEG),
        ]
    )


def _phase_lines(number: int, crystal: Crystal, code: str, setting: CrystalSetting) -> list[str]:
    name = _one_ascii_word(crystal.name) or f"phase{number}"
    cell = " ".join(f"{value:.3f}" for value in setting.structure(crystal).lattice.abcABG())
    lines = [
        f"Phase {number}",
        f"MaterialName    {name}",
        f"Formula    {name}",
        "Info",
        f"Symmetry    {code}",
        f"LatticeConstants    {cell}",
        "NumberFamilies    0",
        "",
    ]
    if not setting.is_own:
        axes = ", ".join("(" + " ".join(str(i) for i in row) + ")" for row in setting.cell.tolist())
        lines[-1:] = ["", f"The axes of this cell are {axes} in those of the crystal's own cell.", ""]
    return lines


def _grid_lines(scan_shape: tuple[int, int], step: tuple[float, float]) -> list[str]:
    rows, columns = scan_shape
    return [
        "GRID: SqrGrid",
        f"XSTEP: {step[1]:.6f}",
        f"YSTEP: {step[0]:.6f}",
        f"NCOLS_ODD: {columns}",
        f"NCOLS_EVEN: {columns}",
        f"NROWS: {rows}",
        "",
        "OPERATOR:",
        "",
        "SAMPLEID:",
        "",
        "SCANID:",
        "",
        *_FRAME,
        "",
        "Column names: phi1, Phi, phi2, x, y, image_quality, confidence_index, phase_id, detector_signal, pattern_fit",
        "",
    ]


def _one_ascii_word(name: str) -> str:
    """The name without spaces, and with letters that every reader can decode: "β-Ti 2" is "beta-Ti_2"."""
    plain = unicodedata.normalize("NFKD", name)
    letters = (
        c if c.isascii() else unicodedata.name(c, "").split(" ")[-1].lower() if c.isalpha() else ""
        for c in plain
    )
    return "_".join("".join(letters).split())
