"""What the tests of the steps share: a journal folder of their own, and small scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_stem_orient.runs import run_journal


@pytest.fixture(autouse=True)
def journals(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep unsaved results of each test in a folder of its own."""
    folder = tmp_path_factory.mktemp("journals")
    monkeypatch.setattr(run_journal, "journal_folder", lambda _folder=None: folder)
    return folder


def turning_disks(*, radius_px: float = 3.0, positions: int = 80) -> NDArray[np.uint16]:
    """(positions, 48, 48); a direct beam in the middle and four disks that turn from position to position."""
    rows, columns = np.mgrid[:48, :48]
    angle = np.linspace(0, 1.5, positions)
    image = np.full((positions, 48, 48), 2.0)
    image += 300.0 * (np.hypot(rows - 24, columns - 24) < radius_px)
    for quarter in range(4):
        y, x = (24 + 14 * turn(angle + quarter * np.pi / 2) for turn in (np.sin, np.cos))
        image += 60.0 * (np.hypot(rows - y[:, None, None], columns - x[:, None, None]) < radius_px)
    return np.random.default_rng(1).poisson(image).astype(np.uint16)


@pytest.fixture(scope="session")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 x 10 positions, 48 x 48 px."""
    path = tmp_path_factory.mktemp("scan") / "scan.npy"
    np.save(path, turning_disks().reshape(8, 10, 48, 48))
    return path


@pytest.fixture(scope="session")
def stopped_scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same behind a beam stop of 7 px radius that lets nothing through."""
    rows, columns = np.ogrid[:48, :48]
    frames = np.where(np.hypot(rows - 24, columns - 24) < 7, 0, _scattering())
    path = tmp_path_factory.mktemp("scan") / "stopped.npy"
    np.save(path, frames.reshape(8, 10, 48, 48).astype(np.uint16))
    return path


def _scattering() -> NDArray[np.uint16]:
    """Disks on diffuse scattering that is bright around the direct beam, as it is around a stop."""
    rows, columns = np.mgrid[:48, :48]
    diffuse = 400 * np.exp(-np.hypot(rows - 24, columns - 24) / 8)
    return turning_disks() + np.random.default_rng(2).poisson(diffuse, (80, 48, 48)).astype(np.uint16)
