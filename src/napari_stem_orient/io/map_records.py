"""Orientation maps as what files and journals hold: named arrays, and a JSON-able header of all the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.answers import Answers
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.solutions import NO_CANDIDATE, Solutions

Arrays = Mapping[str, NDArray[Any]]

FIRST_HEADER = (
    "crystals",
    "calibration",
    "parameters",
    "model",
    "method",
    "peaks_fingerprint",
    "peaks_parameters",
    "software_version",
)
"""What the header of the first releases had; what came later may be missing."""

FIRST_ARRAYS = (
    "phase_id",
    "quaternion",
    "score",
    "confidence_deg",
    "reason",
    "alternative_phase_id",
    "alternative_quaternion",
    "alternative_score",
)
"""The arrays of the first releases: the answer, and its runner-up, which is one of the candidates now."""


def header_of(orientation_map: OrientationMap) -> dict[str, Any]:
    """Return all of a map but its arrays and its scan shape, JSON-able."""
    names = {item.name for item in fields(orientation_map)} - {"scan_shape", "result_name", *_array_fields()}
    header = {name: getattr(orientation_map, name) for name in sorted(names)}
    header["crystals"] = [crystal.to_dict() for crystal in orientation_map.crystals]
    header["calibration"] = orientation_map.calibration.model_dump(mode="json")
    header["recipe"] = dict(orientation_map.recipe)
    header["gross_error_deg"] = list(orientation_map.gross_error_deg)
    return header


def map_of(
    header: Mapping[str, Any], scan_shape: tuple[int, int], arrays: Arrays | None = None
) -> OrientationMap:
    """Return the map of a header and its arrays; without arrays, one in which nothing is done.

    What a header of an earlier release lacks is unknown, and of what one of a later release has too much nothing is
    known here. KeyError or ValueError (of pydantic) where it is damaged.
    """
    known = {item.name for item in fields(OrientationMap)} - {"scan_shape", "result_name", *_array_fields()}
    values: dict[str, Any] = {name: value for name, value in header.items() if name in known}
    values["crystals"] = tuple(Crystal.from_dict(crystal) for crystal in values["crystals"])
    values["calibration"] = Calibration.model_validate(values["calibration"])
    values["gross_error_deg"] = tuple(values.get("gross_error_deg", ()))
    if arrays is None:
        made = OrientationMap.blank_fields(scan_shape[0] * scan_shape[1], 0)
    else:
        made = OrientationMap.fields_from(upgraded(arrays))
    return OrientationMap(scan_shape=scan_shape, **values, **made)


def upgraded(arrays: Arrays) -> Arrays:
    """Return arrays as this release has them: those of earlier ones knew the answer and its runner-up only.

    The two become candidates whose evidence is unknown. Disks and probabilities that were not counted are unknown.
    """
    if "choice" in arrays:
        return arrays
    n_positions = len(arrays["phase_id"])
    blank = Answers.blank_fields(n_positions, 0)
    found: dict[str, NDArray[Any]] = {
        name: np.asarray(arrays.get(name, blank[name])) for name in Answers.columns()
    }
    rejected = arrays.get("rejected_phase_id", np.full(n_positions, NO_CANDIDATE))
    phase = np.where(found["phase_id"] >= 0, found["phase_id"], rejected)
    other = arrays["alternative_phase_id"]
    has_choice, has_other = phase >= 0, other >= 0
    solutions = Solutions.of(
        np.stack([found["quaternion"], arrays["alternative_quaternion"]], axis=1),
        np.stack([phase, np.where(has_choice, other, NO_CANDIDATE)], axis=1),
        np.stack([found["score"], arrays["alternative_score"]], axis=1),
        explained_disks=np.stack([found["explained_disks"], np.zeros(n_positions)], axis=1),
    )
    found["choice"] = np.where(has_choice, 0, NO_CANDIDATE).astype(np.int8)
    found["runner_up"] = np.where(has_choice & has_other, 1, NO_CANDIDATE).astype(np.int8)
    found.update({f"solutions.{name}": array for name, array in solutions.arrays().items()})
    if "positions" in arrays:
        found["positions"] = arrays["positions"]
    return found


def _array_fields() -> set[str]:
    return {*Answers.columns(), *Answers.within()}
