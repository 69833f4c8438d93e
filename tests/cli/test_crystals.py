"""Crystals on the command line: built in, from a CIF, from one structure of several; what was decided is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from cif_texts import cubic, text_of
from napari_stem_orient.cli.main import main
from napari_stem_orient.cli.options import load_crystals


@pytest.fixture
def two_structures(tmp_path: Path) -> Path:
    path = tmp_path / "two.cif"
    copper = text_of(cubic(3.615), [("Cu1", "Cu", 0, 0, 0)], name="F m -3 m", block="copper")
    silicon = text_of(cubic(5.431), [("Si1", "Si", 0.125, 0.125, 0.125)], name="F d -3 m", block="silicon")
    path.write_text(copper + silicon)
    return path


def test_a_structure_of_several_is_named_after_the_file(
    two_structures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crystals = load_crystals(["Al", f"{two_structures}#silicon"])
    assert [crystal.formula for crystal in crystals] == ["Al4", "Si8"]
    output = capsys.readouterr()
    assert output.err == "two silicon: F d -3 m was read as F d -3 m:2\n"
    assert output.out == ""


def test_a_file_of_several_structures_alone_is_refused_with_their_names(
    two_structures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--crystal", str(two_structures), "--output", str(tmp_path / "model")]) == 1
    assert "two.cif#copper, two.cif#silicon" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
