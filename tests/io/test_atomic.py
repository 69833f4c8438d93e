"""A file that is written so is whole or not there, and what was there before stays until then."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_stem_orient.io.atomic import complete_or_absent


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_whole_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("old")
    with complete_or_absent(tmp_path / "data.csv", overwrite=True) as temporary:
        temporary.write_text("new")
        assert (tmp_path / "data.csv").read_text() == "old"
        assert temporary.suffix == ".csv"
    assert (tmp_path / "data.csv").read_text() == "new"
    assert names(tmp_path) == ["data.csv"]


def write_half(path: Path, error: BaseException) -> None:
    with complete_or_absent(path, overwrite=True) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), RuntimeError("odd")])
def test_any_error_leaves_the_old_file_and_is_not_hidden(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "data.csv").write_text("old")
    with pytest.raises(type(error)):
        write_half(tmp_path / "data.csv", error)
    assert (tmp_path / "data.csv").read_text() == "old"
    assert names(tmp_path) == ["data.csv"]


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(IsADirectoryError, match="is a folder; give the name of a file"),
        complete_or_absent(tmp_path),
    ):
        pass


def test_very_long_names_work(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 200 + ".csv")
    with complete_or_absent(path) as temporary:
        temporary.write_text("x")
    assert names(tmp_path) == [path.name]
