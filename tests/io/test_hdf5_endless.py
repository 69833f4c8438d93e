"""Virtual datasets without an end, one numbered file after the other or sources that grow: what is missing is named."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from h5py import h5d, h5p, h5s, h5t

from napari_stem_orient.io.scan_members import is_written_over, scan_members
from napari_stem_orient.io.scan_source import PatternsElsewhere, UnreadableScan
from napari_stem_orient.io.scans import open_datacube

N = 16
PER_FILE = 6


def mapped(path: Path, *maps: tuple[str, str, tuple[int, int, int], bool]) -> Path:
    """A virtual dataset along frames; each map: file, dataset, (start, stride, block) of frames, whether it grows."""
    create = h5p.create(h5p.DATASET_CREATE)
    for file_name, name, (start, stride, block), grows in maps:
        where = h5s.create_simple((PER_FILE, N, N), (h5s.UNLIMITED, N, N))
        where.select_hyperslab(
            (start, 0, 0), (h5s.UNLIMITED, 1, 1), stride=(stride, 1, 1), block=(block, N, N)
        )
        source = h5s.create_simple((PER_FILE, N, N), (h5s.UNLIMITED if grows else PER_FILE, N, N))
        if grows:
            source.select_hyperslab((0, 0, 0), (h5s.UNLIMITED, 1, 1), stride=(1, 1, 1), block=(1, N, N))
        create.set_virtual(where, file_name.encode(), name.encode(), source)
    with h5py.File(path, "w") as file:
        space = h5s.create_simple((PER_FILE, N, N), (h5s.UNLIMITED, N, N))
        h5d.create(file.id, b"frames", h5t.NATIVE_UINT16, space, create)
    return path


def frames(value: int, number: int = PER_FILE) -> np.ndarray:
    return np.full((number, N, N), value, np.uint16) + np.eye(N, dtype=np.uint16)


def series(folder: Path, *numbers: int, name: str = "part_%b.h5", dataset: str = "data") -> Path:
    for number in numbers:
        with h5py.File(folder / f"part_{number}.h5", "w") as file:
            file["data"] = frames(number + 1)
    return mapped(folder / "scan.h5", (name, dataset, (0, PER_FILE, PER_FILE), False))


def firsts(path: Path, **options: object) -> list[int]:
    return open_datacube(path, pedestal=0, **options).data[:, :, 0, 1].compute().ravel().tolist()  # type: ignore[arg-type]


def test_numbered_files_that_are_all_there_make_one_scan(tmp_path: Path) -> None:
    path = series(tmp_path, 0, 1, 2, 3)
    assert firsts(path, scan_shape=(4, 6)) == [1] * 6 + [2] * 6 + [3] * 6 + [4] * 6


@pytest.mark.parametrize(("gone", "positions"), [(2, "13-18"), (0, "1-6")])
def test_a_numbered_file_that_is_missing_is_named_and_does_not_end_the_scan(
    tmp_path: Path, gone: int, positions: str
) -> None:
    path = series(tmp_path, *({0, 1, 2, 3} - {gone}))
    with pytest.raises(PatternsElsewhere, match=rf"6 of 24: 6 in part_{gone}.h5, which is missing") as error:
        open_datacube(path, scan_shape=(4, 6))
    assert error.value.positions == positions
    lost = range(6 * gone, 6 * gone + 6)
    cube = open_datacube(path, scan_shape=(4, 6), lost=lost, pedestal=0)
    assert cube.missing is not None
    assert np.flatnonzero(cube.missing).tolist() == list(lost)
    assert cube.data[3, 0, 0, 1].compute() == 4


def test_numbered_files_of_which_none_is_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableScan, match=r"refers to part_0.h5, which is missing \(link frames\)"):
        open_datacube(series(tmp_path))


def test_numbered_datasets_within_one_file_are_missed_too(tmp_path: Path) -> None:
    path = mapped(tmp_path / "scan.h5", (".", "part%b", (0, PER_FILE, PER_FILE), False))
    with h5py.File(path, "a") as file:
        for number in (0, 1, 3):
            file[f"part{number}"] = frames(number + 1)
    with pytest.raises(PatternsElsewhere, match=r"6 in scan.h5, which has no part2"):
        open_datacube(path, dataset="frames", scan_shape=(4, 6))


def growing(folder: Path, **lengths: int) -> Path:
    """Two sources that take turns frame by frame."""
    for name, number in lengths.items():
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file.create_dataset("data", data=frames(5, number), maxshape=(None, N, N))
    return mapped(
        folder / "scan.h5", *((f"{name}.h5", "data", (at, 2, 1), True) for at, name in enumerate("ab"))
    )


def test_a_growing_source_that_is_missing_is_named_with_its_positions(tmp_path: Path) -> None:
    path = growing(tmp_path, a=4, b=3)
    assert firsts(path, scan_shape=(1, 7)) == [5] * 7
    (tmp_path / "b.h5").unlink()
    with pytest.raises(PatternsElsewhere, match=r"3 of 7: 3 in b.h5, which is missing") as error:
        open_datacube(path, scan_shape=(1, 7))
    assert error.value.positions == "2, 4, 6"


def test_a_growing_source_that_lags_behind_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        PatternsElsewhere, match=r"2 in b.h5, whose data ends before them \(1 x 16 x 16\)"
    ) as error:
        open_datacube(growing(tmp_path, a=4, b=1), scan_shape=(1, 7))
    assert error.value.positions == "4, 6"


def test_no_file_of_a_series_is_written_over_nor_its_place_taken(tmp_path: Path) -> None:
    members = scan_members(series(tmp_path, 0, 1, 3))
    for number in range(4):
        assert is_written_over(tmp_path / f"part_{number}.h5", members) is not None
    assert is_written_over(tmp_path / "peaks.h5", members) is None
