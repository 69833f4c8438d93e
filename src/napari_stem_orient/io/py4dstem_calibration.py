"""The calibration that py4DSTEM keeps in its files, and ours: read, written, and the frames between them.

py4DSTEM calls the first axis of an array x (down on the screen) and the second one y. Its qx is our
detector row and its qy our detector column. A rotation from its x toward its y is one from our y toward our
x, and so has the opposite sign here. Its flip exchanges qx and qy: that is our mirrored x, turned by 90°. It
scales an ellipse to the circle of its minor axis, we to the circle of the same area: the pixel sizes differ
by the square root of the axes' ratio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.io.scan_metadata import pixel_angle, pixel_size, scan_step

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Py4dstemCalibration:
    """What a calibration group holds, in our frame.

    ``origin_px`` is (n_positions, 2), rows and columns of the direct beam, or None.
    """

    calibration: Calibration
    origin_px: Float64 | None = None


def find_py4dstem_calibration(file: Any) -> Calibration:
    """Calibration of the first root of an EMD 1.0 file that has one; empty where there is none."""
    for key in file:
        try:
            group = file[key]
        except (KeyError, OSError):  # a link that leads nowhere
            continue
        bundle = group.get("metadatabundle/calibration") if hasattr(group, "keys") else None
        if bundle is not None:
            return read_py4dstem_calibration(bundle).calibration
    return Calibration()


def read_py4dstem_calibration(group: Any) -> Py4dstemCalibration:
    """Read a py4DSTEM calibration group (an open h5py group of numbers, texts and arrays)."""
    values = {name: _value(item) for name, item in group.items() if hasattr(item, "shape")}
    origin = _origins(values)
    voltage = _number(values, "accelerating_voltage_kv")
    ratio, angle = _ellipse(values)
    convergence = _number(values, "convergence_semiangle_mrad")
    rotation, flip = _rotation(values)
    size = pixel_size(values.get("Q_pixel_size"), values.get("Q_pixel_units"), voltage)
    pixel_mrad = pixel_angle(values.get("Q_pixel_size"), values.get("Q_pixel_units"))
    return Py4dstemCalibration(
        Calibration(
            voltage_kv=voltage,
            pixel_size_inv_angstrom=None if size is None else size / math.sqrt(ratio),
            pixel_angle_mrad=None if pixel_mrad is None else pixel_mrad / math.sqrt(ratio),
            scan_step_nm=scan_step(values.get("R_pixel_size"), values.get("R_pixel_units")),
            origin_px=None if origin is None else (float(origin[:, 0].mean()), float(origin[:, 1].mean())),
            ellipse_ratio=ratio,
            ellipse_angle_deg=angle,
            convergence_angle_mrad=convergence if convergence is not None and convergence >= 0 else None,
            scan_rotation_deg=rotation,
            flip=flip,
        ),
        origin if origin is not None and len(origin) > 1 else None,
    )


def py4dstem_values(
    calibration: Calibration, origin_px: NDArray[Any] | None, scan_shape: tuple[int, int]
) -> dict[str, Any]:
    """Entries of a py4DSTEM calibration group for one of ours; numbers, texts and (scan_y, scan_x) arrays."""
    size = calibration.pixel_size_inv_angstrom
    values: dict[str, Any] = {
        "Q_pixel_size": 1.0 if size is None else size * math.sqrt(calibration.ellipse_ratio),
        "Q_pixel_units": "pixels" if size is None else "A^-1",
        "R_pixel_size": calibration.scan_step_nm or 1.0,
        "R_pixel_units": "nm" if calibration.scan_step_nm else "pixels",
    }
    if origin_px is None and calibration.origin_px is not None:
        origin_px = np.broadcast_to(np.asarray(calibration.origin_px), (math.prod(scan_shape), 2))
    if origin_px is not None:
        for axis, name in enumerate(("qx0", "qy0")):
            origin = np.asarray(origin_px, dtype=np.float64)[:, axis].reshape(scan_shape)
            values |= {name: origin, f"{name}_mean": float(origin.mean())}
            values[f"{name}_shift"] = origin - origin.mean()
    if calibration.convergence_angle_mrad is not None:
        values["convergence_semiangle_mrad"] = calibration.convergence_angle_mrad
    if calibration.voltage_kv is not None:
        values["accelerating_voltage_kv"] = calibration.voltage_kv
    if calibration.ellipse_ratio != 1:
        # the major axis lies at ellipse_angle from our x toward our y: from their y toward their x
        theta = math.radians(90 - calibration.ellipse_angle_deg)
        values |= {"a": calibration.ellipse_ratio, "b": 1.0, "theta": theta}
    if calibration.scan_rotation_deg or calibration.flip:
        turn = -calibration.scan_rotation_deg - (90 if calibration.flip else 0)
        values |= {"QR_rotation": math.radians(turn), "QR_rotation_degrees": float(turn)}
        values["QR_flip"] = calibration.flip
    return values


def _rotation(values: dict[str, Any]) -> tuple[float, bool]:
    """scan_rotation_deg in our frame, within ±180, and flip."""
    flip = bool(values.get("QR_flip") or False)
    theta = _number(values, "QR_rotation")
    if theta is None and not flip:
        return 0.0, False
    turn = -math.degrees(theta or 0.0) - (90 if flip else 0)
    return (turn + 180) % 360 - 180, flip


def _ellipse(values: dict[str, Any]) -> tuple[float, float]:
    """Ratio and angle of the major axis in degrees, in our frame."""
    a, b, theta = (_number(values, name) for name in ("a", "b", "theta"))
    if a is None or b is None or theta is None or min(a, b) <= 0 or not 0.5 <= a / b <= 2:
        return 1.0, 0.0
    if b > a:
        a, b, theta = b, a, theta + math.pi / 2
    angle = 90 - math.degrees(theta)
    return a / b, (angle + 90) % 180 - 90


def _origins(values: dict[str, Any]) -> Float64 | None:
    rows, columns = (values.get(name, values.get(f"{name}_mean")) for name in ("qx0", "qy0"))
    if rows is None or columns is None:
        return None
    try:
        origin = np.stack([np.ravel(rows), np.ravel(columns)], axis=1).astype(np.float64)
    except (TypeError, ValueError):
        return None
    return origin if origin.size and np.isfinite(origin).all() else None


def _number(values: dict[str, Any], name: str) -> float | None:
    value = values.get(name)
    if value is None or isinstance(value, str) or np.size(value) != 1:
        return None
    number = float(np.ravel(value)[0])
    return number if math.isfinite(number) else None


def _value(item: Any) -> Any:
    value = item[()]
    return value.decode() if isinstance(value, bytes) else value
