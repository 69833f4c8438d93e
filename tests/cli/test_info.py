"""The info command: what models were trained for, and what files lack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_stem_orient.cli import info as cli_info
from napari_stem_orient.cli.main import main
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.io.peaks import save_bragg_peaks
from napari_stem_orient.io.scan_source import NeedsScanShape
from napari_stem_orient.transformer.model_folder import read_card, shipped_models


def test_info_without_a_file_lists_every_shipped_model_with_its_range(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    for name, folder in shipped_models().items():
        card = dict(read_card(folder).lines())
        assert f"{name}:" in shown
        assert card["Voltage"] in shown
        assert card["Cell edge a"] in shown
        assert card["Accuracy"] in shown


def test_info_reads_a_model_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(shipped_models()["fcc"])]) == 0
    shown = capsys.readouterr().out
    assert "kind:                 model" in shown
    assert "fcc crystals" in shown


def test_info_tells_of_peaks_that_were_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calibration = Calibration(pixel_size_inv_angstrom=0.02, origin_px=(8, 8))
    for left_out in (0, 7):
        peaks = BraggPeaks.from_lists(
            [np.ones((1, 3))] * 6, (2, 3), calibration, parameters={"left_out_not_finite": left_out}
        )
        assert main(["info", str(save_bragg_peaks(peaks, tmp_path / f"{left_out}.h5"))]) == 0
        assert ("7 peaks that were NaN or infinite" in capsys.readouterr().out) is (left_out > 0)


def test_info_tells_how_many_patterns_a_truncated_scan_should_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def truncated(*_: object) -> None:
        raise NeedsScanShape("scan.npy", 4, n_promised=8)

    np.save(tmp_path / "scan.npy", np.zeros((4, 16, 16), dtype=np.uint8))
    monkeypatch.setattr(cli_info, "open_scan", truncated)
    assert main(["info", str(tmp_path / "scan.npy")]) == 0
    assert "4 patterns (its header tells of 8) without a scan shape" in capsys.readouterr().out
