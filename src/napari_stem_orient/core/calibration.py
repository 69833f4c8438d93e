"""Calibration: what turns detector pixels into reciprocal space of the sample."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import constants

FloatArray = NDArray[np.float64]
Quantity = Literal["origin", "ellipse", "pixel size", "rotation"]
"""What of a scan has to be calibrated before its orientations can be trusted."""
QUANTITY_FIELDS: dict[Quantity, tuple[str, ...]] = {
    "origin": ("origin_px",),
    "ellipse": ("ellipse_ratio", "ellipse_angle_deg"),
    "pixel size": ("pixel_size_inv_angstrom",),
    "rotation": ("scan_rotation_deg", "flip"),
}
"""The fields of a Calibration that make up each quantity."""
Pixel = Annotated[float, Field(allow_inf_nan=False)]


def pixel_size_of_angle(angle_mrad: float, voltage_kv: float) -> float:
    """Width in Å⁻¹ of a detector pixel that is ``angle_mrad`` wide: 2 sin(θ/2)/λ."""
    return 2 * math.sin(angle_mrad * 1e-3 / 2) / electron_wavelength_angstrom(voltage_kv)


def electron_wavelength_angstrom(voltage_kv: float) -> float:
    """Relativistic de Broglie wavelength in Å of electrons accelerated by ``voltage_kv`` kilovolts.

    lambda = h / sqrt(2 m e U (1 + e U / 2 m c^2)); 0.019687 Å at 300 kV.
    """
    if not voltage_kv > 0:
        raise ValueError(f"accelerating voltage {voltage_kv} kV is not positive; give it in kV, such as 200")
    energy = constants.e * voltage_kv * 1e3
    momentum_squared = 2 * constants.m_e * energy * (1 + energy / (2 * constants.m_e * constants.c**2))
    return float(constants.h / math.sqrt(momentum_squared) * 1e10)


class Calibration(BaseModel):
    """Calibration of a scan; every value that nobody knows yet is None.

    Detector x is the column index and y the row index, both in px. A pixel offset from the direct beam
    becomes a scattering vector by, in this order, ellipse, pixel size, flip, rotation. The sample frame
    has x along scan columns, y along scan rows and z along the direction in which the electrons travel.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    voltage_kv: float | None = Field(
        default=None,
        gt=0,
        le=5000,
        allow_inf_nan=False,
        title="Accelerating voltage",
        description="Accelerating voltage of the microscope in kV.",
        json_schema_extra={"unit": "kV"},
    )
    pixel_size_inv_angstrom: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        title="Pixel size",
        description="Width of a detector pixel in reciprocal space in 1/Å (not 2π/d).",
        json_schema_extra={"unit": "1/Å"},
    )
    pixel_angle_mrad: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        title="Pixel angle",
        description="Width of a detector pixel as a scattering angle in mrad, where it is known as an angle: the pixel "
        "size follows from it and the voltage, until another pixel size is given.",
        json_schema_extra={"unit": "mrad"},
    )
    origin_px: tuple[Pixel, Pixel] | None = Field(
        default=None,
        title="Direct beam",
        description="Mean position (row, column) of the direct beam on the detector in px.",
        json_schema_extra={"unit": "px"},
    )
    ellipse_ratio: float = Field(
        default=1.0,
        ge=1,
        le=2,
        title="Ellipse ratio",
        description="Major over minor axis of a diffraction ring that should be a circle.",
    )
    ellipse_angle_deg: float = Field(
        default=0.0,
        ge=-180,
        le=180,
        title="Ellipse angle",
        description="Direction of the ring's major axis in degrees, from detector x (right) toward y (down).",
        json_schema_extra={"unit": "°"},
    )
    scan_step_nm: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        title="Scan step",
        description="Distance between neighbouring probe positions in nm.",
        json_schema_extra={"unit": "nm"},
    )
    scan_step_y_nm: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        title="Scan step down",
        description="Distance between neighbouring rows of the scan in nm, where it is not that along a row.",
        json_schema_extra={"unit": "nm"},
    )
    convergence_angle_mrad: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        title="Convergence angle",
        description="Convergence semi-angle of the probe in mrad: it sets the radius of the disks.",
        json_schema_extra={"unit": "mrad"},
    )
    scan_rotation_deg: float = Field(
        default=0.0,
        ge=-360,
        le=360,
        title="Rotation",
        description="Angle in degrees by which the detector's axes are turned, from x toward y, to become "
        "those of the scan.",
        json_schema_extra={"unit": "°"},
    )
    flip: bool = Field(
        default=False,
        title="Mirrored",
        description="The detector is read mirrored: x changes its sign before the rotation.",
    )
    precession_angle_deg: float = Field(
        default=0.0,
        ge=0,
        le=10,
        title="Precession angle",
        description="Precession (cone semi-) angle of the beam in degrees; 0 without precession.",
        json_schema_extra={"unit": "°"},
    )
    checked: tuple[Quantity, ...] = Field(
        default=(),
        title="Calibrated",
        description="Which of origin, ellipse, pixel size and rotation were measured on this scan, or confirmed "
        "by the user; results made without are exploratory.",
    )

    @property
    def wavelength_angstrom(self) -> float:
        """Electron wavelength in Å; ValueError where the voltage is not known."""
        if self.voltage_kv is None:
            raise ValueError(
                "the accelerating voltage is not known: set voltage_kv, in kV, in the calibration"
            )
        return electron_wavelength_angstrom(self.voltage_kv)

    @property
    def scan_steps_nm(self) -> tuple[float, float] | None:
        """Distances in nm between neighbouring rows and between neighbouring columns (y, x); None if not known."""
        along, down = self.scan_step_nm or self.scan_step_y_nm, self.scan_step_y_nm or self.scan_step_nm
        return None if along is None or down is None else (down, along)

    def missing_for_indexing(self) -> tuple[str, ...]:
        """Names, for the user, of what must be known before a pattern can be indexed and is not."""
        needed = {
            # an angle becomes a pixel size as soon as the voltage is there
            "pixel size (1/Å)": self.pixel_size_inv_angstrom or self.pixel_angle_mrad,
            "accelerating voltage (kV)": self.voltage_kv,
        }
        return tuple(name for name, value in needed.items() if value is None)

    def disk_radius_px(self) -> float:
        """Radius of the disks in px: convergence angle over wavelength and pixel size.

        Raises
        ------
        ValueError
            Where one of the three is not known; the message names it.
        """
        if not self.convergence_angle_mrad:
            raise ValueError(
                "the convergence angle is not known: set convergence_angle_mrad, or measure the direct beam"
            )
        if self.pixel_size_inv_angstrom is None:
            raise ValueError(
                "the pixel size is not known: set pixel_size_inv_angstrom, or measure the direct beam"
            )
        return self.convergence_angle_mrad * 1e-3 / self.wavelength_angstrom / self.pixel_size_inv_angstrom

    def unchecked(self) -> tuple[Quantity, ...]:
        """What has been neither measured nor confirmed, in the order in which it is calibrated."""
        return tuple(quantity for quantity in get_args(Quantity) if quantity not in self.checked)

    def exploratory(self) -> str:
        """One line that says what is not calibrated, "Exploratory: ellipse is not calibrated"; empty where all is."""
        names = self.unchecked()
        if not names:
            return ""
        listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        return f"Exploratory: {listed} {'is' if len(names) == 1 else 'are'} not calibrated"

    def with_checked(self, *quantities: Quantity) -> Calibration:
        """Copy in which these quantities count as calibrated, too."""
        known = tuple(q for q in get_args(Quantity) if q in (*self.checked, *quantities))
        return self.updated(checked=known)

    def differs_in(self, other: Calibration, quantity: Quantity) -> bool:
        """Whether a quantity has another value than in another calibration."""
        return any(getattr(self, name) != getattr(other, name) for name in QUANTITY_FIELDS[quantity])

    def unchecked_where_changed(self, since: Calibration) -> Calibration:
        """Copy in which what differs from an earlier one does not count as calibrated because the earlier one did."""
        gone = [quantity for quantity in since.checked if self.differs_in(since, quantity)]
        return self.updated(checked=tuple(quantity for quantity in self.checked if quantity not in gone))

    def updated(self, **changes: Any) -> Calibration:
        """Copy with some values changed, validated like a new one; see `following` for the pixel size."""
        return Calibration(**{**self.model_dump(), **changes}).following(self)

    def following(self, before: Calibration) -> Calibration:
        """What a calibration is after a change: the pixel size follows angle and voltage until another one is given.

        Parameters
        ----------
        before
            The calibration before the change.
        """
        angle, voltage = self.pixel_angle_mrad, self.voltage_kv
        if angle is None:
            return self
        changed = {name for name in type(self).model_fields if getattr(self, name) != getattr(before, name)}
        if "pixel_angle_mrad" not in changed and "pixel_size_inv_angstrom" in changed:
            return self.model_copy(update={"pixel_angle_mrad": None})
        if not changed & {"pixel_angle_mrad", "voltage_kv"}:
            return self
        size = None if voltage is None else pixel_size_of_angle(angle, voltage)
        return self.model_copy(update={"pixel_size_inv_angstrom": size})

    def detector_to_sample(self) -> FloatArray:
        """Matrix that maps a pixel offset from the direct beam to a scattering vector.

        Returns
        -------
        (2, 2) float64; maps (dx, dy) in px to (q_x, q_y) in Å⁻¹, or in px where the pixel size is not
        known. The ellipse is made a circle of the same area.
        """
        stretch = math.sqrt(self.ellipse_ratio)
        turn = _rotation(self.ellipse_angle_deg)
        circle = turn @ np.diag([1 / stretch, stretch]) @ turn.T
        mirror = np.diag([-1.0 if self.flip else 1.0, 1.0])
        pixel_size = 1.0 if self.pixel_size_inv_angstrom is None else self.pixel_size_inv_angstrom
        matrix: FloatArray = pixel_size * (_rotation(self.scan_rotation_deg) @ mirror @ circle)
        return matrix

    def pixels_to_q(
        self, x_px: ArrayLike, y_px: ArrayLike, *, origin_px: ArrayLike | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Scattering vectors of detector positions.

        Parameters
        ----------
        x_px, y_px
            Column and row on the detector in px, any shape.
        origin_px
            (..., 2), row and column of the direct beam in px, that broadcasts against x_px; the
            calibration's own where None.

        Returns
        -------
        q_x, q_y in Å⁻¹ (px where the pixel size is not known), float64, shaped like x_px.
        """
        origin = self._origin(origin_px)
        matrix = self.detector_to_sample()
        dx = np.asarray(x_px, dtype=np.float64) - origin[..., 1]
        dy = np.asarray(y_px, dtype=np.float64) - origin[..., 0]
        return matrix[0, 0] * dx + matrix[0, 1] * dy, matrix[1, 0] * dx + matrix[1, 1] * dy

    def q_to_pixels(
        self, q_x: ArrayLike, q_y: ArrayLike, *, origin_px: ArrayLike | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Detector positions (x_px, y_px) of scattering vectors: the inverse of `pixels_to_q`."""
        origin = self._origin(origin_px)
        matrix = np.linalg.inv(self.detector_to_sample())
        q_x, q_y = np.asarray(q_x, dtype=np.float64), np.asarray(q_y, dtype=np.float64)
        dx = matrix[0, 0] * q_x + matrix[0, 1] * q_y
        dy = matrix[1, 0] * q_x + matrix[1, 1] * q_y
        return dx + origin[..., 1], dy + origin[..., 0]

    def _origin(self, origin_px: ArrayLike | None) -> FloatArray:
        if origin_px is None:
            origin_px = self.origin_px
        if origin_px is None:
            raise ValueError("the direct beam's position is not known: give origin_px as (row, column) in px")
        return np.asarray(origin_px, dtype=np.float64)


def _rotation(angle_deg: float) -> FloatArray:
    """(2, 2) rotation from x toward y."""
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return np.array([[cosine, -sine], [sine, cosine]])
