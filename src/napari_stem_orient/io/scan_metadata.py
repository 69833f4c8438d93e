"""Units and metadata of detector files, turned into a Calibration where they are understood."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_stem_orient.core.calibration import Calibration, pixel_size_of_angle

#: One unit of a detector axis in Å⁻¹, after `plain_unit`.
RECIPROCAL_UNITS = {"1/nm": 0.1, "1/a": 1.0, "1/pm": 100.0, "1/um": 1e-4, "1/m": 1e-10}
#: One unit of a detector axis in rad.
ANGLE_UNITS = {"mrad": 1e-3, "rad": 1.0, "urad": 1e-6, "deg": math.pi / 180, "mdeg": math.pi / 180e3}
#: One unit of a scan axis in nm.
LENGTH_UNITS = {"nm": 1.0, "a": 0.1, "um": 1e3, "pm": 1e-3, "mm": 1e6, "m": 1e9}
#: Pixels whose sides differ by less are square, as far as anybody measures; and how oblong they may be.
SAME_STEP = 1.01
"""Scan steps that differ by no more than this factor are one."""
SQUARE, MOST_OBLONG = 1.0005, 2.0
#: Pixel sizes in mrad that a detector can have.
PIXEL_ANGLES_MRAD = (1e-4, 200.0)
#: Pixel sizes in Å⁻¹ that a detector can have: outside lie placeholders and other quantities.
PIXEL_SIZES = (1e-5, 0.99)

#: Where in the metadata of a scan of ours, and what of its calibration, is kept that HyperSpy has no place for.
OWN_NODE, OWN_ITEM = "napari_stem_orient", "geometry"
_GEOMETRY = ("ellipse_ratio", "ellipse_angle_deg", "scan_rotation_deg", "flip")

_SPELLINGS = {
    "angstrom": "a",
    "°": "deg",
    "degree": "deg",
    "radian": "rad",
    "milliradian": "mrad",
    "microradian": "urad",
    "ang": "a",
    "å": "a",
    "micron": "um",
    "micrometer": "um",
    "nanometer": "nm",
    "picometer": "pm",
    "meter": "m",
}


def plain_unit(text: object) -> str:
    """One spelling of a unit: "$A^{-1}$", "Å⁻¹", "1 / Angstrom" and "[n_m^-1]" become "1/a" or "1/nm"."""
    if text is None:
        return ""
    unit = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    unit = (
        unit.replace("\u212b", "Å")
        .replace("Ångström", "Å")
        .replace("ångström", "Å")
        .replace("⁻¹", "^-1")
        .replace("−", "-")
        .replace("µ", "u")
    )
    unit = unit.replace("μ", "u").lower()
    for mark in " $[]{}()_\\":
        unit = unit.replace(mark, "")
    inverse = False
    for start in ("1/", "/"):
        if unit.startswith(start):
            unit, inverse = unit[len(start) :], True
            break
    for end in ("**-1", "^-1", "-1"):
        if unit.endswith(end):
            unit, inverse = unit[: -len(end)], True
            break
    else:
        unit = unit.removesuffix("**1").removesuffix("^1")
    unit = unit.removesuffix("s") if len(unit) > 3 else unit
    unit = _SPELLINGS.get(unit, unit)
    return f"1/{unit}" if inverse else unit


def pixel_size(scale: object, unit: object, voltage_kv: float | None) -> float | None:
    """Width of a detector pixel in Å⁻¹, or None where the unit or the value is not understood.

    A scale of exactly 1 is a reader's placeholder. An angle needs the voltage.
    """
    value = _positive(scale)
    if value is None or value == 1:
        return None
    angle = pixel_angle(scale, unit)
    factor = RECIPROCAL_UNITS.get(reciprocal_unit(unit))
    if factor is not None:
        value *= factor * (1 / (2 * math.pi) if is_angular_wavenumber(unit) else 1)
    elif angle is not None and voltage_kv is not None:
        value = pixel_size_of_angle(angle, voltage_kv)
    else:
        return None
    return value if PIXEL_SIZES[0] <= value <= PIXEL_SIZES[1] else None


def pixel_angle(scale: object, unit: object) -> float | None:
    """Width of a detector pixel in mrad of the scattering angle, or None where it is no angle, or a placeholder."""
    value, factor = _positive(scale), ANGLE_UNITS.get(plain_unit(_without_quantity(unit, "2th")))
    if value is None or factor is None or value == 1:
        return None
    angle = value * factor * 1e3
    return angle if PIXEL_ANGLES_MRAD[0] <= angle <= PIXEL_ANGLES_MRAD[1] else None


def reciprocal_unit(unit: object) -> str:
    """The unit of a detector axis without the name of the quantity that pyxem puts in front: k_nm^-1, q_A^-1."""
    return plain_unit(_without_quantity(_without_quantity(unit, "k"), "q"))


def is_angular_wavenumber(unit: object) -> bool:
    """Whether a unit is one of q = 2π k, as pyxem writes it: q_nm^-1."""
    return _text(unit).lower().startswith("q_")


def _without_quantity(unit: object, quantity: str) -> str:
    text = _text(unit)
    return text[len(quantity) + 1 :] if text.lower().startswith(f"{quantity}_") else text


def _text(unit: object) -> str:
    if unit is None:
        return ""
    text = unit.decode(errors="replace") if isinstance(unit, bytes) else str(unit)
    return text.strip().strip("$").strip()


def scan_step(scale: object, unit: object) -> float | None:
    """Distance of neighbouring probe positions in nm, or None where the unit is not understood."""
    value = _positive(scale)
    factor = LENGTH_UNITS.get(plain_unit(unit))
    return None if value is None or factor is None else value * factor


def is_spectral(axes: Sequence[Mapping[str, Any]]) -> bool:
    """Whether one of the axes is an energy."""
    names = [str(axis.get("name") or "").lower() for axis in axes]
    units = [plain_unit(axis.get("units")) for axis in axes]
    return any(unit in ("ev", "kev") for unit in units) or any("energy" in name for name in names)


def step_along_line(axes: Sequence[Mapping[str, Any]]) -> float | None:
    """Distance in nm of positions along a line, of three axes; None where the first just counts frames."""
    if len(axes) != 3 or any(_kind(axis.get("units")) != "detector" for axis in axes[1:]):
        return None
    return scan_step(_size(axes[0]), axes[0].get("units"))


def is_scan_last(axes: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether the units say that the scan's axes are the last two of four; None where they do not tell."""
    kinds = ["".join(sorted({_kind(axis.get("units")) for axis in pair})) for pair in (axes[:2], axes[2:])]
    if kinds == ["detector", "scan"]:
        return True
    return False if kinds == ["scan", "detector"] else None


@dataclass(frozen=True, slots=True)
class AxesRead:
    """A calibration that was read from axes, and sentences about what of it should be known."""

    calibration: Calibration
    notes: tuple[str, ...] = ()


def calibration_of_axes(
    axes: Sequence[Mapping[str, Any]], *, voltage_kv: float | None, **known: Any
) -> Calibration:
    """Calibration from axes with the keys scale and units; see `read_axes`."""
    return read_axes(axes, voltage_kv=voltage_kv, **known).calibration


def read_axes(axes: Sequence[Mapping[str, Any]], *, voltage_kv: float | None, **known: Any) -> AxesRead:
    """Calibration from axes with the keys scale and units, of which the last two are the detector's, rows first.

    Pixels that are not square become pixel size and ellipse: a ring is wider in px where the pixels are narrower. An
    axis that runs backwards mirrors the detector, unless the scan's runs backwards with it. Scan steps that differ
    by no more than 1 % are one.
    """
    notes: list[str] = []
    scan = [scan_step(_size(axis), axis.get("units")) for axis in axes[:-2]] if len(axes) == 4 else []
    sizes = [pixel_size(_size(axis), axis.get("units"), voltage_kv) for axis in axes[-2:]]
    angles = [pixel_angle(_size(axis), axis.get("units")) for axis in axes[-2:]]
    angle = size = None
    shape: dict[str, Any] = {}
    if len(angles) == 2 and angles[0] is not None and angles[1] is not None:
        angle, shape = _square_and_ellipse(angles[0], angles[1], "mrad", notes)
        size = None if voltage_kv is None or angle is None else pixel_size_of_angle(angle, voltage_kv)
    elif len(sizes) == 2 and sizes[0] is not None and sizes[1] is not None:
        size, shape = _square_and_ellipse(sizes[0], sizes[1], "1/Å", notes)
    if size is not None or angle is not None:
        shape |= _mirrored(axes, notes)
    calibration = Calibration(
        voltage_kv=voltage_kv,
        pixel_size_inv_angstrom=size,
        pixel_angle_mrad=angle,
        **_scan_steps(scan, notes),
        **{**shape, **known},
    )
    return AxesRead(calibration, tuple(notes))


def _square_and_ellipse(
    rows: float, columns: float, unit: str, notes: list[str]
) -> tuple[float | None, dict[str, Any]]:
    """Pixel size and ellipse of pixels that are ``rows`` high and ``columns`` wide.

    The ellipse is made a circle of the same area: sizes s and S along its major and minor axis are those of
    a pixel size of sqrt(s S) with a ratio of S/s.
    """
    size, ratio = math.sqrt(rows * columns), max(rows, columns) / min(rows, columns)
    if ratio <= SQUARE:
        return size, {}
    text = f"pixels are not square, {rows:.4g} {unit} high and {columns:.4g} {unit} wide"
    if ratio > MOST_OBLONG:
        notes.append(
            f"{text}: more than a factor of {MOST_OBLONG:.0f}, which is not corrected. Bin the longer rows or columns"
        )
        return None, {}
    ratio = min(ratio, float(MOST_OBLONG))
    angle = 90.0 if rows < columns else 0.0
    direction = "down" if rows < columns else "across"
    notes.append(
        f"{text}: taken as a pixel size of {size:.4g} {unit} and an ellipse of {ratio:.4g} with its major axis "
        f"{direction} the detector ({angle:.0f}°)"
    )
    return size, {"ellipse_ratio": ratio, "ellipse_angle_deg": angle}


def _mirrored(axes: Sequence[Mapping[str, Any]], notes: list[str]) -> dict[str, Any]:
    """Mirroring and rotation of a detector whose axes run backwards against those of the scan."""
    signs = [_sign(axis) for axis in axes]
    scan = signs[:-2] if len(axes) == 4 else [1, 1]
    down, right = signs[-2] * scan[0], signs[-1] * scan[1]
    if down > 0 and right > 0:
        return {}
    which = "rows and columns" if down < 0 and right < 0 else "rows" if down < 0 else "columns"
    notes.append(
        f"the {which} of the detector run backwards against the scan (a negative scale): taken as "
        + ("turned by 180°" if down < 0 and right < 0 else "mirrored")
    )
    # mirrored is "x changes its sign": rows that run backwards are that and half a turn
    return {"flip": down * right < 0, "scan_rotation_deg": 180.0 if down < 0 else 0.0}


def _size(axis: Mapping[str, Any]) -> float | None:
    """Absolute scale of an axis."""
    try:
        return abs(float(axis.get("scale")))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _sign(axis: Mapping[str, Any]) -> int:
    try:
        return -1 if float(axis.get("scale")) < 0 else 1  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return 1


def microscope_settings(signal: Mapping[str, Any]) -> dict[str, float | None]:
    """voltage_kv, convergence_angle_mrad and precession_angle_deg of a signal read by rosettasciio.

    pyxem keeps the precession angle of a HyperSpy file as "rocking_angle", in mrad.
    """
    wanted = {
        "beam_energy": _item(signal, "metadata.Acquisition_instrument.TEM.beam_energy"),
        "convergence_angle": _item(signal, "metadata.Acquisition_instrument.TEM.convergence_angle"),
        "rocking_angle": _item(signal, "metadata.Acquisition_instrument.TEM.rocking_angle"),
    }
    for source, (target, convert) in dict(signal.get("mapping") or {}).items():
        name = target.rsplit(".", 1)[-1]
        if name in wanted and wanted[name] is None:
            wanted[name] = _mapped(_item(signal, f"original_metadata.{source}"), convert)
    volts = [
        _item(signal, "original_metadata.de_metadata.Instrument Accelerating Voltage (V)"),
        _item(signal, "original_metadata.blockfile_header.Beam_energy"),
        *_values_named(signal.get("original_metadata"), ("get_voltage", "high_voltage")),
    ]
    energy = _positive(wanted["beam_energy"])
    if energy is None:
        energy = next((value / 1e3 for value in map(_positive, volts) if value is not None), None)
    rocking_mrad = _positive(wanted["rocking_angle"])
    precession = None if rocking_mrad is None else math.degrees(rocking_mrad * 1e-3)
    return {
        "voltage_kv": energy if energy is not None and 10 <= energy <= 5000 else None,
        "convergence_angle_mrad": _positive(wanted["convergence_angle"]),
        "precession_angle_deg": precession if precession is not None and precession <= 10 else 0.0,
    }


def geometry_note(calibration: Calibration, detector_shape: tuple[int, int]) -> str:
    """Ellipse, rotation and flip as text, with the detector that they are true for."""
    kept = calibration.model_dump(mode="json", include={"pixel_size_inv_angstrom", *_GEOMETRY})
    return json.dumps({"detector_shape": list(detector_shape), **kept})


def with_noted_geometry(
    calibration: Calibration, signal: Mapping[str, Any], detector_shape: tuple[int, int]
) -> Calibration:
    """The calibration with ellipse, rotation and flip where a signal of ours has them.

    Not where the detector has another shape or pixel size by now: another program has cut, binned or calibrated it.
    """
    try:
        noted = json.loads(_item(signal, f"metadata.{OWN_NODE}.{OWN_ITEM}") or "{}")
        size, now = noted["pixel_size_inv_angstrom"], calibration.pixel_size_inv_angstrom
        same = math.isclose(size, now, rel_tol=1e-6) if size and now else size == now
        if not same or tuple(noted["detector_shape"]) != detector_shape:
            return calibration
        return calibration.updated(**{name: noted[name] for name in _GEOMETRY})
    except (KeyError, TypeError, ValueError):
        return calibration


def _kind(unit: object) -> str:
    if reciprocal_unit(unit) in RECIPROCAL_UNITS or plain_unit(_without_quantity(unit, "2th")) in ANGLE_UNITS:
        return "detector"
    return "scan" if plain_unit(unit) in LENGTH_UNITS else "?"


def _scan_steps(steps: Sequence[float | None], notes: list[str]) -> dict[str, float]:
    """The scan steps of a calibration, from those between rows and between columns."""
    down, along = steps if len(steps) == 2 else (None, None)
    if down is None or along is None:
        return {}
    if max(down, along) <= SAME_STEP * min(down, along):
        return {"scan_step_nm": (down + along) / 2}
    notes.append(f"the scan steps differ: {down:.4g} nm between rows, {along:.4g} nm between columns")
    return {"scan_step_nm": along, "scan_step_y_nm": down}


def _positive(value: object) -> float | None:
    """A finite number above 0, or None."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _item(tree: object, dotted: str) -> Any:
    """Value in nested dictionaries whose keys may hold dots themselves, None where there is none."""
    if not isinstance(tree, Mapping):
        return None
    if dotted in tree:
        return tree[dotted]
    parts = dotted.split(".")
    for length in range(len(parts) - 1, 0, -1):
        head = ".".join(parts[:length])
        if head in tree:
            return _item(tree[head], ".".join(parts[length:]))
    return None


def _values_named(tree: object, names: tuple[str, ...]) -> list[Any]:
    """Values of all keys of nested dictionaries that have one of the names."""
    if not isinstance(tree, Mapping):
        return []
    found = [tree[name] for name in names if name in tree]
    return found + [value for child in tree.values() for value in _values_named(child, names)]


def _mapped(value: Any, convert: Callable[[Any], Any] | None) -> Any:
    if value is None or convert is None:
        return value
    try:
        return convert(value)
    except (TypeError, ValueError, KeyError, IndexError):
        return None
