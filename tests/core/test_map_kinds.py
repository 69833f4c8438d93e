"""One table of the kinds of maps: a new entry is in figures, on the command line, in tables and in orix's file."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import orix.io
import pytest

from example_maps import example_map
from napari_stem_orient.cli.export import export_options
from napari_stem_orient.core import map_kinds
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.map_kinds import MAP_KINDS, Legend, MapKind, kinds_of, map_kind
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.io.figures import export_figure, figure_kinds
from napari_stem_orient.io.maps import export_csv, save_orientation_map

UNEXPLAINED = MapKind(
    key="unexplained",
    name="Disks left over",
    title="Disks that nothing explains",
    legend=Legend.COLOUR_BAR,
    values=lambda orientation_map, at: orientation_map.unexplained_disks[at].astype(np.float32),
    limits=(0.0, 10.0),
    smaller_is_better=True,
    open_ended=True,
    column="left_over",
)


@pytest.fixture
def one_more_kind(monkeypatch: pytest.MonkeyPatch) -> OrientationMap:
    monkeypatch.setattr(map_kinds, "MAP_KINDS", (*MAP_KINDS, UNEXPLAINED))
    return example_map((4, 5))


def test_a_new_kind_is_a_figure_on_the_command_line_and_in_the_panel(
    one_more_kind: OrientationMap, tmp_path: Path
) -> None:
    assert figure_kinds()["unexplained"] == "Disks that nothing explains"
    export_figure(one_more_kind, tmp_path / "map.png", kind="unexplained", dpi=30)
    assert (tmp_path / "map.png").stat().st_size > 1000
    parser = argparse.ArgumentParser()
    export_options(parser)
    assert parser.parse_args(["map.h5", "--figure-kind", "unexplained"]).figure_kind == "unexplained"


def test_a_new_kind_is_a_column_of_the_table_and_a_property_in_orix(
    one_more_kind: OrientationMap, tmp_path: Path
) -> None:
    export_csv(one_more_kind, tmp_path / "map.csv")
    with (tmp_path / "map.csv").open(encoding="utf-8", newline="") as file:
        found = [row["left_over"] for row in csv.DictReader(file)]
    assert found[:3] == ["", *(f"{n:.1f}" for n in one_more_kind.unexplained_disks[1:3])]
    save_orientation_map(one_more_kind, tmp_path / "map.h5")
    loaded = orix.io.load(str(tmp_path / "map.h5"))
    np.testing.assert_array_equal(loaded.prop["left_over"], one_more_kind.unexplained_disks)


def test_keys_and_columns_are_told_apart() -> None:
    keys = [kind.key for kind in MAP_KINDS]
    columns = [kind.column for kind in MAP_KINDS if kind.column]
    assert len(set(keys)) == len(keys)
    assert len(set(columns)) == len(columns)


def test_numbers_have_a_colour_bar_and_colour_keys_a_direction() -> None:
    for kind in MAP_KINDS:
        assert (kind.direction is not None) == (kind.legend is Legend.COLOUR_KEY)
        assert bool(kind.column) == (kind.legend is Legend.COLOUR_BAR)


def test_titles_tell_the_unit() -> None:
    assert map_kind("confidence").name_with_unit == "Expected error (°)"
    assert map_kind("score").title_with_unit == "Score"


def test_an_unknown_kind_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UserError, match=r'"colour" is not known: choose one of ipf_z, .*score'):
        map_kind("colour")


def test_the_kinds_of_a_map_come_from_the_topmost_down() -> None:
    keys = [kind.key for kind in kinds_of(example_map())]
    assert keys == ["ipf_z", "ipf_x", "ipf_y", "phase", "score", "confidence", "phase_probability"]
