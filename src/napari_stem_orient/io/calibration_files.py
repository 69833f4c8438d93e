"""Calibrations taken from files of any kind, and saved as a small JSON file of their own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from napari_stem_orient._version import __version__
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.io.atomic import complete_or_absent
from napari_stem_orient.io.own_files import CALIBRATION

#: Ending of files that hold nothing but a calibration.
ENDING = ".json"
FORMAT_VERSION = 1


class UnreadableCalibration(UserError):  # noqa: N818 - it says what is the matter
    """A file that holds no calibration that we can read; the message tells why."""


class _CalibrationFile(BaseModel):
    """What a file holds."""

    model_config = ConfigDict(extra="forbid")

    format_version: int = FORMAT_VERSION
    software_version: str = __version__
    calibration: Calibration


def save_calibration(calibration: Calibration, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a calibration as JSON; it appears under its name only when it is whole. Returns its path.

    With ``overwrite`` it replaces a file that is no calibration of this program, but for one that an open scan is read
    from.
    """
    path = Path(path)
    if path.suffix.lower() != ENDING:
        raise ValueError(f"{path.name} must end in {ENDING}; name it {path.stem}{ENDING}")
    text = _CalibrationFile(calibration=calibration).model_dump_json(indent=2)
    with complete_or_absent(path, replaces=(CALIBRATION,), overwrite=overwrite) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


def read_calibration(path: str | Path) -> tuple[Calibration, NDArray[np.float32] | None]:
    """Calibration of a scan, of Bragg peaks, of an orientation map or of a file of `save_calibration`.

    Rotation and flip come with it: those that a scan of the same microscope was measured to have are true for the next.

    Returns
    -------
    calibration
    origin_px
        (n_positions, 2) float32; row and column of the direct beam at each position of the file's scan, None where it
        has one for all or none.

    Raises
    ------
    ValueError
        Where the file is missing or holds nothing of the kind; the message tells why.
    """
    from napari_stem_orient.io.maps import is_orientation_map_file, open_orientation_map
    from napari_stem_orient.io.peaks import is_peaks_file, open_bragg_peaks
    from napari_stem_orient.io.scan_source import NeedsScanShape
    from napari_stem_orient.io.scans import open_datacube

    path = Path(path)
    if not path.exists():
        raise UnreadableCalibration(f"{path} does not exist: check the name and the folder")
    if path.suffix.lower() == ENDING:
        return _read_own(path), None
    if is_orientation_map_file(path):
        return open_orientation_map(path).calibration, None
    if is_peaks_file(path):
        peaks = open_bragg_peaks(path)
        return peaks.calibration, peaks.origin_px
    try:
        return open_datacube(path, pedestal=0).calibration, None
    except NeedsScanShape as stack:
        return open_datacube(path, scan_shape=(1, stack.n_frames), pedestal=0).calibration, None


def _read_own(path: Path) -> Calibration:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = int(content["format_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableCalibration(f"{path.name} is no calibration that this program has saved") from error
    if version > FORMAT_VERSION:
        raise UnreadableCalibration(
            f"{path.name} has a calibration in format {version}, newer than this version of napari-stem-orient reads "
            f"({FORMAT_VERSION}): update it"
        )
    try:
        return _CalibrationFile.model_validate(content).calibration
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UnreadableCalibration(f"{path.name}: {name} is wrong ({first['msg']})") from error
