"""The info command about models: what they were trained for."""

from __future__ import annotations

import pytest

from napari_stem_orient.cli import main
from napari_stem_orient.network.model_folder import read_card, shipped_models


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
