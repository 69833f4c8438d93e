"""Calibrations put together: which values of another one are taken, and what of them then counts as calibrated."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import get_args

from napari_stem_orient.core.calibration import QUANTITY_FIELDS, Calibration, Quantity

QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
FIELDS = frozenset(name for name in Calibration.model_fields if name != "checked")

#: What belongs to a scan and not to its detector: what the scan's own file or the user says of it stays.
OF_SCAN = frozenset(
    {"voltage_kv", "scan_step_nm", "scan_step_y_nm", "convergence_angle_mrad", "precession_angle_deg"}
)


def merged(
    known: Calibration, other: Calibration, *, fields: Collection[str], checks: Sequence[Quantity] = ()
) -> Calibration:
    """A calibration with some values of another one: the one way in which two become one.

    Whether a quantity counts as calibrated comes with its values: where they become others, and for `checks` in any
    case, the other calibration says it.

    Parameters
    ----------
    known
        What all else stays of.
    other
        What is taken from.
    fields
        Names of the values that are taken, such as "origin_px".
    checks
        Quantities that count as calibrated where the other says so, though their values be the same.
    """
    made = known.updated(**{name: getattr(other, name) for name in fields})
    for quantity in QUANTITIES:
        if quantity in checks or made.differs_in(known, quantity):
            made = with_check(made, quantity, checked=quantity in other.checked)
    return made


def with_check(calibration: Calibration, quantity: Quantity, checked: bool) -> Calibration:
    """Copy in which a quantity counts as calibrated, or does not."""
    if checked:
        return calibration.with_checked(quantity)
    return calibration.updated(checked=tuple(q for q in calibration.checked if q != quantity))


# --- which values ---


def fields_of(quantities: Collection[Quantity]) -> frozenset[str]:
    """The values that make up some quantities."""
    return frozenset(name for quantity in quantities for name in QUANTITY_FIELDS[quantity])


def unknown_in(calibration: Calibration) -> frozenset[str]:
    """The values that are as in a calibration that knows nothing, and that nobody has confirmed to be so.

    A pixel that is known in 1/Å needs no angle: it would be another pixel size.
    """
    unknown, sure = Calibration(), fields_of(calibration.checked)
    if calibration.pixel_size_inv_angstrom is not None:
        sure |= {"pixel_angle_mrad"}
    return frozenset(name for name in FIELDS - sure if getattr(calibration, name) == getattr(unknown, name))


def known_quantities(calibration: Calibration) -> tuple[Quantity, ...]:
    """The quantities that a calibration tells: they are calibrated, or not as in one that knows nothing."""
    unknown = Calibration()
    return tuple(q for q in QUANTITIES if q in calibration.checked or calibration.differs_in(unknown, q))


def changed_between(before: Calibration, after: Calibration) -> frozenset[str]:
    """The values that have changed."""
    return frozenset(name for name in FIELDS if getattr(before, name) != getattr(after, name))


# --- the rules ---


def with_measured_origin(calibration: Calibration, of_peaks: Calibration) -> Calibration:
    """A calibration for peaks: they measured the direct beam, which is better than what a file says."""
    if of_peaks.origin_px is None:
        return calibration
    origin: Quantity = "origin"
    return merged(calibration, of_peaks, fields=fields_of([origin]), checks=[origin])


def following_change(of_peaks: Calibration, before: Calibration | None, after: Calibration) -> Calibration:
    """Calibration of peaks after that of their scan has changed.

    Peaks and a scan that were opened apart may be calibrated differently: only what changed, and what the peaks do not
    know, is taken over. The direct beam stays where the peaks have it.
    """
    if before is None or before == of_peaks:
        return with_measured_origin(after, of_peaks)
    checks = [q for q in QUANTITIES if (q in before.checked) != (q in after.checked)]
    fields = changed_between(before, after) | unknown_in(of_peaks)
    return with_measured_origin(merged(of_peaks, after, fields=fields, checks=checks), of_peaks)


def with_gaps_filled(calibration: Calibration, other: Calibration) -> Calibration:
    """Copy in which what is None, for nobody knows it, is as another calibration has it."""
    gaps = {name for name in unknown_in(calibration) if getattr(calibration, name) is None}
    return merged(calibration, other, fields=gaps)


def taken_from(
    known: Calibration, found: Calibration, quantities: Sequence[Quantity], *, of_scan: bool = False
) -> Calibration:
    """A scan's calibration after some quantities of another one, that of a file, were taken.

    What belongs to the scan (voltage, scan step, convergence and precession angle) is taken only with ``of_scan``, and
    only where the scan does not know it: what its own file or the user says stays.
    """
    fields = fields_of(quantities)
    if of_scan:
        fields |= OF_SCAN & unknown_in(known)
    return merged(known, found, fields=fields, checks=quantities)
