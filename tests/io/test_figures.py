"""What a figure of a map shows: the map's own colours, black where not indexed, a round scale bar, keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from example_maps import CALIBRATION, empty_map, example_map
from napari_stem_orient.core.ipf import map_colours
from napari_stem_orient.io.figures import export_figure, figure_kinds, map_figure, scale_bar_length


def texts_of(figure: object) -> set[str]:
    from matplotlib.text import Text

    return {text.get_text() for text in figure.findobj(Text)}  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [*figure_kinds()])
def test_every_kind_of_figure_is_written_as_a_picture(tmp_path: Path, kind: str) -> None:
    export_figure(example_map((6, 8), ("Cu", "LiCoO2")), tmp_path / "map.png", kind=kind, dpi=40)
    picture = imread(tmp_path / "map.png")
    assert picture.ndim == 3
    assert picture[..., :3].std() > 0.05
    assert [file.name for file in tmp_path.iterdir()] == ["map.png"]


def test_the_picture_holds_the_colours_of_the_map(tmp_path: Path) -> None:
    shown = example_map((4, 4))
    export_figure(shown, tmp_path / "map.png", kind="ipf_x", dpi=60)
    pixels = np.round(imread(tmp_path / "map.png")[..., :3] * 255).astype(int).reshape(-1, 3)
    in_picture = {tuple(pixel) for pixel in pixels}
    for colour in map_colours(shown, direction="x"):
        assert tuple(int(value) for value in colour) in in_picture


@pytest.mark.parametrize("scan_shape", [(1, 30), (30, 1), (1, 1), (40, 3)])
def test_narrow_scans_have_figures_too(tmp_path: Path, scan_shape: tuple[int, int]) -> None:
    export_figure(example_map(scan_shape, ("Cu",)), tmp_path / "map.png", dpi=30)
    assert min(imread(tmp_path / "map.png").shape[:2]) > 30


def test_a_map_without_anything_indexed_is_black_and_explains_its_keys(tmp_path: Path) -> None:
    export_figure(empty_map((4, 4)), tmp_path / "map.png", kind="ipf_z", dpi=40)
    picture = imread(tmp_path / "map.png")
    assert (picture[..., :3].sum(axis=-1) == 0).mean() > 0.15
    assert any("Cu2O" in text for text in texts_of(map_figure(empty_map((4, 4)), kind="ipf_z")))


def test_keys_and_legend_name_phases_and_corners() -> None:
    texts = texts_of(map_figure(example_map((6, 8), ("Cu", "LiCoO2"))))
    assert {"Cu (m-3m)", "LiCoO2 (-3m)", "[001]", "[101]", "[111]", "Phase", "Score"} <= texts


def test_the_scale_bar_is_in_nm_or_counts_positions() -> None:
    assert "50 nm" in texts_of(map_figure(example_map((6, 50)), kind="ipf_z"))
    unknown = example_map((6, 50), calibration=CALIBRATION.updated(scan_step_nm=None))
    assert "10 positions" in texts_of(map_figure(unknown, kind="ipf_z"))
    wide = example_map((6, 50), calibration=CALIBRATION.updated(scan_step_nm=100.0))
    assert "1 µm" in texts_of(map_figure(wide, kind="ipf_z"))


@pytest.mark.parametrize(("width", "length"), [(100, 20), (320, 50), (4, 1), (0.9, 0.2), (8000, 2000)])
def test_scale_bars_are_round_and_at_most_a_quarter(width: float, length: float) -> None:
    assert scale_bar_length(width) == pytest.approx(length)


def test_an_unknown_format_or_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"map\.bmp must end in \.png"):
        export_figure(example_map(), tmp_path / "map.bmp")
    with pytest.raises(ValueError, match='"pole" is not known; choose one of overview'):
        map_figure(example_map(), kind="pole")  # type: ignore[arg-type]


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="create it or choose another"):
        export_figure(example_map(), tmp_path / "missing" / "map.png", kind="phase", dpi=30)


def test_words_stay_words_in_a_vector_figure(tmp_path: Path) -> None:
    """Journals ask for TrueType (Type 42) fonts, and an SVG is edited by its words."""
    shown = example_map((6, 8), ("Cu", "LiCoO2"))
    export_figure(shown, tmp_path / "map.pdf")
    pdf = (tmp_path / "map.pdf").read_bytes()
    assert b"/Type3" not in pdf
    assert b"/CIDFontType2" in pdf or b"/TrueType" in pdf
    export_figure(shown, tmp_path / "map.svg")
    svg = (tmp_path / "map.svg").read_text(encoding="utf-8")
    assert ">Phase</text>" in svg
    assert "LiCoO2 (-3m)</text>" in svg
