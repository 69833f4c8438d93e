"""A scan in a file, worked on from its mean pattern to two maps and back and forth in its calibration."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inspect_scene import Scene, run_map
from napari_stem_orient.calibration.fit import CalibrationFit
from napari_stem_orient.calibration.measured import Doubt, DoubtKind, Measurand, Measured
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import synthetic_probe
from napari_stem_orient.session.session import Session
from napari_stem_orient.steps.open import OpenChoice, open_scan
from opened_scan import read_scan


def scan_file(scene: Scene, folder: Path) -> Path:
    """Write the patterns of a scene where a microscope would."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "scan_A.npy"
    np.save(path, np.asarray(scene.datacube.data))
    return path


def opened(scene: Scene, path: Path) -> DataCube:
    return open_scan(path, OpenChoice()).with_calibration(scene.datacube.calibration)


def work_on(session: Session, scene: Scene, path: Path) -> None:
    """Do a day's work: every field that a session file keeps has another value than it began with."""
    datacube = opened(scene, path)
    read_scan(session, datacube)
    session.set_position((3, 5))
    session.set_probe(synthetic_probe(3.0, datacube.detector_shape))
    session.set_detection_parameters(DetectionParameters(edge_px=3.0))
    mask = np.zeros(datacube.detector_shape, dtype=bool)
    mask[4:6, 7] = True
    session.set_detector_mask(mask)
    session.set_four_indices(True)
    session.set_crystals((load_crystal("Cu"), load_crystal("Cu2O")))
    session.update(model_folders=(path.parent / "model",))
    peaks = scene.peaks.with_calibration(scene.peaks.calibration)  # as detected: q follows from the pixels
    session.set_peaks(peaks, of_open_scan=True)
    work_on_calibration(session)
    for method in ("template", "transformer"):
        run_map(session, scene, method=method)


def work_on_calibration(session: Session) -> None:
    """A fit, a value by hand, another that is undone."""
    peaks = session.peaks
    assert peaks is not None
    origins = np.tile(np.array([50.25, 44.5], np.float32), (peaks.n_positions, 1))
    fit = CalibrationFit(
        title="Pixel size",
        calibration=peaks.calibration.updated(pixel_size_inv_angstrom=0.0251),
        origin_px=origins,
        measured=(Measured(Measurand.PIXEL_SIZE, 0.0251, 0.0001, "1/Å", before=0.025),),
        doubts=(Doubt(DoubtKind.OTHER_DETECTOR, sizes=((96, 96), (64, 64))),),
    )
    session.apply_calibration(fit)
    for scan_step_nm in (2.6, 2.7):
        calibration = session.calibration
        assert calibration is not None
        session.set_calibration(calibration.updated(scan_step_nm=scan_step_nm))
    session.undo_calibration()
