"""Scans that others measured or simulated and whose orientations are known, with the peaks that we detect in them.

The data are not part of the project: a folder holds ag_sped, multislice_cu_cu2o and bent_ni_scan. Bragg disks are
detected with the parameters that the package suggests.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report import finish

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.orientation import (
    from_euler_bunge_deg,
    matrix_to_quaternion,
    quaternion_to_matrix,
)
from napari_stem_orient.detection.correlation import detect_bragg_peaks
from napari_stem_orient.detection.suggestion import suggest_detection
from napari_stem_orient.io.scans import open_datacube

#: From our sample frame (x right, y down, z away from the viewer) to pyxem's of ag_sped (x right, y up).
PYXEM_TO_SAMPLE = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True, slots=True)
class KnownScan:
    """Peaks of a scan, and the truth at its n positions.

    crystals that it holds; quaternion (n, 4) sample to crystal; phase (n,) index into the crystals, -1 in vacuum;
    boundary (n,) True where two grains overlap.
    """

    peaks: BraggPeaks
    crystals: tuple[Crystal, ...]
    quaternion: NDArray[np.float64]
    phase: NDArray[np.int64]
    boundary: NDArray[np.bool_]


def detected_peaks(
    path: Path, *, scan_shape: tuple[int, int] | None = None, **calibration: float
) -> BraggPeaks:
    """Bragg peaks of a scan with suggested parameters; ``calibration`` holds what the file does not say."""
    datacube = open_datacube(path, scan_shape=scan_shape)
    datacube = datacube.with_calibration(datacube.calibration.updated(**calibration))
    suggestion = suggest_detection(datacube)
    job = detect_bragg_peaks(datacube, probe=suggestion.probe, parameters=suggestion.parameters)
    found: BraggPeaks = finish(job).result
    return found


def silver_reference(folder: Path) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """The five published orientations (5, 4), and the calibration of the patterns."""
    reference: dict[str, Any] = json.loads((folder / "reference_orientations.json").read_text())
    published = quaternion_to_matrix(from_euler_bunge_deg(np.array(reference["euler_bunge_deg_orix"])))
    calibration = {
        "voltage_kv": 200.0,
        "pixel_size_inv_angstrom": reference["scale_invA_per_px"],
        "precession_angle_deg": reference["precession_deg"],
    }
    return matrix_to_quaternion(published @ PYXEM_TO_SAMPLE), calibration


def silver_scan(folder: Path) -> KnownScan:
    """The five patterns of ag_sped with counting noise, over the label map of their grains."""
    import h5py

    path = folder / "semi_real_scan.h5"
    with h5py.File(path, "r") as file:
        label = file["labels"][...].ravel().astype(np.int64)
    published, calibration = silver_reference(folder)
    known = (label >= 0) & (label < len(published))
    return KnownScan(
        detected_peaks(path, **calibration),
        (load_crystal("Ag"),),
        published[np.where(known, label, 0)],
        np.where(known, 0, -1),
        np.zeros(label.size, dtype=bool),
    )


def multislice_scan(folder: Path) -> KnownScan:
    """Cu and Cu2O grains from raw multislice frames."""
    truth = np.load(folder / "truth.npz")
    grain = truth["grain"].ravel()
    return KnownScan(
        detected_peaks(folder / "scan.hspy", voltage_kv=300.0),
        tuple(load_crystal(str(name)) for name in truth["phase_names"]),
        matrix_to_quaternion(truth["sample_axes_in_crystal"])[np.maximum(grain, 0)],
        np.where(grain >= 0, truth["phase"].ravel(), -1),
        np.zeros(grain.size, dtype=bool),
    )


def bent_nickel_scan(folder: Path) -> KnownScan:
    """Bent Ni grains at low dose, with twins, overlap at the boundaries and a hole."""
    truth = np.load(folder / "truth.npz")
    axes = truth["sample_axes_in_crystal"].reshape(-1, 3, 3).astype(np.float64)
    return KnownScan(
        detected_peaks(folder / "scan.hspy", voltage_kv=300.0),
        (load_crystal("Ni"),),
        matrix_to_quaternion(axes),
        np.where(truth["grain"].ravel() >= 0, 0, -1),
        truth["boundary"].ravel().astype(bool),
    )


#: Name of each scan, which is that of its folder -> what reads it.
KNOWN_SCANS = {
    "ag_sped": silver_scan,
    "multislice_cu_cu2o": multislice_scan,
    "bent_ni_scan": bent_nickel_scan,
}
