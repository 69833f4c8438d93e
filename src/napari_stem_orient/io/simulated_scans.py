"""Simulated scans in files: HyperSpy's format with the truth beside it, and the sample scan of the menu."""

from __future__ import annotations

import json
import math
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_stem_orient._version import __version__
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import Crystal, load_crystal
from napari_stem_orient.core.scan_reading import computed
from napari_stem_orient.io.atomic import complete_or_absent, refuse_place
from napari_stem_orient.io.scan_metadata import OWN_ITEM, OWN_NODE, geometry_note
from napari_stem_orient.io.zspy_files import write_zspy
from napari_stem_orient.simulation.grains import Polycrystal

if TYPE_CHECKING:
    from napari_stem_orient.simulation.polycrystal import SimulatedBlock, SimulatedScan

SAMPLE_NAME = "Simulated Cu polycrystal"
SAMPLE_SCAN_SHAPE = (64, 64)
SAMPLE_CALIBRATION = Calibration(
    voltage_kv=300.0, pixel_size_inv_angstrom=0.025, scan_step_nm=5.0, convergence_angle_mrad=1.5
)

# A number that changes with the numbers below: another sample is another file.
_SAMPLE_VERSION = 1
_TRUTH_ARRAYS = ("grain", "phase_id", "quaternion", "thickness_nm", "origin_px")


def save_simulated_scan(scan: SimulatedScan, path: str | Path, *, overwrite: bool = False) -> None:
    """Save a simulated scan as HyperSpy .hspy or .zspy, which `open_datacube` reads back, and its truth beside it.

    The file holds all of the calibration but the mean origin and what of it counts as calibrated: other programs see
    voltage, convergence and precession angle, pixel size and scan step, not ellipse, rotation and flip.

    Parameters
    ----------
    scan : frames and truth
    path : ends in .hspy, or in .zspy for a new folder; the truth goes to the same name with _truth.npz
    overwrite : replace a .hspy file that is there, and a truth
    """
    from rsciio.hspy import file_writer

    path = Path(path)
    if path.suffix.lower() not in (".hspy", ".zspy"):
        raise ValueError(f"{path.name} must end in .hspy or .zspy; rename it to {path.stem}.hspy")
    for each in (path, truth_path(path)):
        refuse_place(each, overwrite=overwrite)
    with complete_or_absent(truth_path(path), overwrite=True) as temporary:
        _write_truth(scan.truth, temporary)
    if path.suffix.lower() == ".zspy":
        write_zspy(path, _as_signal(scan), chunks=_chunks(scan))
        return
    with complete_or_absent(path, overwrite=True) as temporary:
        file_writer(
            temporary,
            _as_signal(scan),
            chunks=_chunks(scan),
            compression="gzip",
            compression_opts=1,
            show_progressbar=False,
        )


def _chunks(scan: SimulatedScan) -> tuple[int, ...]:
    return (1, min(16, scan.truth.scan_shape[1]), *scan.truth.detector_shape)


def truth_path(path: str | Path) -> Path:
    """Return where the truth of a simulated scan lies: "scan.hspy" has "scan_truth.npz"."""
    path = Path(path)
    return path.with_name(f"{path.stem}_truth.npz")


def open_truth(path: str | Path) -> Polycrystal:
    """Open the truth of a simulated scan, given the path of the scan."""
    with np.load(truth_path(path), allow_pickle=False) as file:
        texts = {name: json.loads(str(file[name])) for name in ("crystals", "calibration", "shapes", "twins")}
        arrays = {name: file[name] for name in _TRUTH_ARRAYS}
    scan_y, scan_x, det_y, det_x = texts["shapes"]
    return Polycrystal(
        scan_shape=(scan_y, scan_x),
        detector_shape=(det_y, det_x),
        crystals=tuple(Crystal.from_dict(crystal) for crystal in texts["crystals"]),
        calibration=Calibration(**texts["calibration"]),
        twins=tuple((int(first), int(second)) for first, second in texts["twins"]),
        **arrays,
    )


def sample_path(folder: str | Path | None = None) -> Path:
    """Return where the sample scan is, or will be, kept: in the user's cache where no folder is given."""
    from platformdirs import user_cache_path

    if folder is None:
        folder = user_cache_path("napari-stem-orient", appauthor=False) / f"sample-{_SAMPLE_VERSION}"
    return Path(folder) / f"{SAMPLE_NAME}.hspy"


def sample_is_there(path: Path) -> bool:
    """Whether the sample scan can be opened from its file; a damaged one counts as absent."""
    from napari_stem_orient.io.scan_source import UnreadableScan
    from napari_stem_orient.io.scans import open_datacube

    if not (path.is_file() and truth_path(path).is_file()):
        return False
    try:
        return open_datacube(path).scan_shape == SAMPLE_SCAN_SHAPE
    except UnreadableScan:
        return False


def make_sample(folder: str | Path | None = None) -> Generator[SimulatedBlock, None, Path]:
    """Make the sample scan and keep it, or take the one that is kept; returns its path.

    64 x 64 positions of twelve Cu grains, 5 nm apart, on 128 x 128 px: 300 kV, 1.5 mrad, 5e4 electrons a
    pattern, slightly bent lattices, a Σ3 twin, a wedge, a hole and a beam that wanders by 2 px. About 5 s,
    150 MB of memory and 16 MB in the cache.
    """
    # Brings torch with it: imported in the worker that runs this, not with the window.
    from napari_stem_orient.simulation.polycrystal import simulate_polycrystal

    path = sample_path(folder)
    if sample_is_there(path):
        return path
    scan = yield from simulate_polycrystal(
        [load_crystal("Cu")],
        scan_shape=SAMPLE_SCAN_SHAPE,
        n_grains=12,
        calibration=SAMPLE_CALIBRATION,
        electrons_per_pattern=5e4,
        bend_deg=1.0,
        drift_px=2.0,
        seed=3,
        name=SAMPLE_NAME,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_simulated_scan(scan, path, overwrite=True)
    return path


def _write_truth(truth: Polycrystal, path: Path) -> None:
    texts = {
        "crystals": [crystal.to_dict() for crystal in truth.crystals],
        "calibration": truth.calibration.model_dump(mode="json"),
        "shapes": [*truth.scan_shape, *truth.detector_shape],
        "twins": truth.twins,
    }
    arrays: dict[str, Any] = {name: getattr(truth, name) for name in _TRUTH_ARRAYS}
    arrays.update({name: np.array(json.dumps(text)) for name, text in texts.items()})
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _as_signal(scan: SimulatedScan) -> dict[str, Any]:
    """Return the dictionary that rosettasciio's writers take."""
    calibration, data = scan.datacube.calibration, scan.datacube.data
    steps, pixel_size = calibration.scan_steps_nm or (None, None), calibration.pixel_size_inv_angstrom
    origin_y, origin_x = calibration.origin_px or (0.0, 0.0)
    axes = [
        _axis(0, "y", "nm", steps[0], 0.0, data.shape[0]),
        _axis(1, "x", "nm", steps[1], 0.0, data.shape[1]),
        _axis(2, "ky", "1/Å", pixel_size, -origin_y, data.shape[2]),
        _axis(3, "kx", "1/Å", pixel_size, -origin_x, data.shape[3]),
    ]
    microscope = {
        "beam_energy": calibration.voltage_kv,
        "convergence_angle": calibration.convergence_angle_mrad,
        "rocking_angle": 1e3 * math.radians(calibration.precession_angle_deg) or None,
    }
    return {
        "data": computed(data),
        "axes": axes,
        "metadata": {
            "General": {"title": scan.datacube.name},
            "Signal": {"signal_type": "electron_diffraction"},
            "Acquisition_instrument": {
                "TEM": {key: value for key, value in microscope.items() if value is not None}
            },
            OWN_NODE: {OWN_ITEM: geometry_note(calibration, scan.datacube.detector_shape)},
        },
        "original_metadata": {},
        "package_info": {"package": "napari-stem-orient", "package_version": __version__},
        "attributes": {"_lazy": False, "ragged": False},
        "learning_results": {},
        "tmp_parameters": {},
        "models": {},
    }


def _axis(
    index: int, name: str, unit: str, scale: float | None, offset_px: float, size: int
) -> dict[str, Any]:
    known = scale is not None
    return {
        "_type": "UniformDataAxis",
        "name": name,
        "units": unit if known else "px",
        "scale": float(scale or 1.0),
        "offset": offset_px * float(scale or 1.0),
        "size": int(size),
        "navigate": index < 2,
        "index_in_array": index,
        "is_binned": False,
    }
