"""HDF5 scans whose patterns lie elsewhere, or nowhere: what is there opens, what is not is named, never read as 0."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from napari_stem_orient.io.scan_kinds import may_be_scan
from napari_stem_orient.io.scan_source import PatternsElsewhere, UnreadableScan
from napari_stem_orient.io.scans import open_datacube
from scan_files import SCAN, STACK


def refused(path: Path) -> str:
    with pytest.raises(UnreadableScan) as error:
        open_datacube(path)
    return str(error.value)


def frames(folder: Path, name: str = "frames.h5", data: np.ndarray = SCAN) -> Path:
    with h5py.File(folder / name, "w") as file:
        file["data/frames"] = data
    return folder / name


def virtual(path: Path, *sources: tuple[str, slice, tuple[int, ...]]) -> Path:
    """A virtual dataset of SCAN's shape whose rows come from ``sources``: file, rows, shape of the source."""
    layout = h5py.VirtualLayout(shape=SCAN.shape, dtype=SCAN.dtype)
    for name, rows, shape in sources:
        layout[rows] = h5py.VirtualSource(name, "data/frames", shape=shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("entry/data/data", layout)
    return path


def test_a_link_that_leads_to_itself_is_told_and_keeps_no_scan_from_opening(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["a/data"] = SCAN
        file["a/loop"] = h5py.SoftLink("/a/loop")
        file["a/there"], file["a/back"] = h5py.SoftLink("/a/back"), h5py.SoftLink("/a/there")
    cube = open_datacube(tmp_path / "scan.h5")
    assert np.array_equal(cube.data.compute(), SCAN)
    assert "link a/loop" in " ".join(cube.notes)


# --- links --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["entry1/merlin/data", "entry/data/data", "a/b/c/d"])
def test_links_to_other_files_are_followed_wherever_they_are(tmp_path: Path, where: str) -> None:
    (tmp_path / "raw").mkdir()
    frames(tmp_path / "raw")
    group, _, name = where.rpartition("/")
    with h5py.File(tmp_path / "master.nxs", "w") as file:
        file.create_group(group)[name] = h5py.ExternalLink("raw/frames.h5", "/data/frames")
    assert np.array_equal(open_datacube(tmp_path / "master.nxs").data.compute(), SCAN)


def test_a_link_to_a_file_that_was_not_copied_names_it(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "master.nxs", "w") as file:
        file.create_group("entry")["data"] = h5py.ExternalLink("not_copied.h5", "/data/frames")
        file["labels"] = np.zeros((3, 3))
    assert "refers to not_copied.h5, which is missing (link entry/data)" in refused(tmp_path / "master.nxs")


def test_a_link_to_another_file_of_that_name_says_what_that_lacks(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        file["other"] = np.zeros(3)
    with h5py.File(tmp_path / "master.nxs", "w") as file:
        file["data"] = h5py.ExternalLink("frames.h5", "/data/frames")
    assert "frames.h5, which has no /data/frames" in refused(tmp_path / "master.nxs")


def test_a_link_inside_the_file_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["entry/data"] = h5py.SoftLink("/gone/data")
    assert "/gone/data, which is not in the file (link entry/data)" in refused(tmp_path / "scan.h5")


def test_a_dead_link_beside_a_scan_is_told(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["scan"] = SCAN
        file["flatfield"] = h5py.ExternalLink("flat.h5", "/flat")
    cube = open_datacube(tmp_path / "scan.h5")
    assert np.array_equal(cube.data.compute(), SCAN)
    assert "flat.h5, which is missing" in cube.notes[0]


def test_groups_that_link_to_themselves_come_to_an_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["entry/scan"] = SCAN
        file["entry/self"] = h5py.SoftLink("/entry")
        file["entry/deep/all"] = h5py.ExternalLink("scan.h5", "/")
    assert np.array_equal(open_datacube(tmp_path / "scan.h5", dataset="entry/scan").data.compute(), SCAN)


# --- virtual datasets ---------------------------------------------------------------------------------------------


def test_virtual_datasets_with_their_sources_open_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parts").mkdir()
    frames(tmp_path / "parts", "first.h5", SCAN[:1])
    frames(tmp_path / "parts", "rest.h5", SCAN[1:])
    path = virtual(
        tmp_path / "scan.h5",
        ("parts/first.h5", slice(0, 1), SCAN[:1].shape),
        ("parts/rest.h5", slice(1, 4), SCAN[1:].shape),
    )
    monkeypatch.chdir(tmp_path.parent)
    cube = open_datacube(path)
    assert np.array_equal(cube.data.compute(), SCAN)
    assert cube.missing is None


def test_a_virtual_dataset_without_its_source_is_no_scan_of_zeros(tmp_path: Path) -> None:
    path = virtual(tmp_path / "scan.h5", ("not_copied.h5", slice(0, 4), SCAN.shape))
    assert "they lie in not_copied.h5, which is missing" in refused(path)


def test_a_virtual_dataset_with_half_its_sources_names_the_other_and_opens_when_it_is_said_to_be_lost(
    tmp_path: Path,
) -> None:
    frames(tmp_path, "part_1.h5", SCAN[:3])
    path = virtual(
        tmp_path / "scan.h5",
        ("part_1.h5", slice(0, 3), SCAN[:3].shape),
        ("part_2.h5", slice(3, 4), SCAN[3:].shape),
    )
    with pytest.raises(PatternsElsewhere, match=r"6 of 24: 6 in part_2\.h5, which is missing") as error:
        open_datacube(path)
    assert error.value.positions == "19-24"
    cube = open_datacube(path, lost=range(18, 24))
    assert np.array_equal(cube.data[:3].compute(), SCAN[:3])
    assert cube.missing is not None
    assert np.array_equal(cube.missing.any(axis=1), [False, False, False, True])


@pytest.mark.parametrize("named", ["raw/frames.h5", "C:\\data\\frames.h5"])
def test_a_source_that_lies_where_hdf5_does_not_look_is_not_read_as_zeros(tmp_path: Path, named: str) -> None:
    frames(tmp_path)
    message = refused(virtual(tmp_path / "scan.h5", (named, slice(0, 4), SCAN.shape)))
    assert f"frames.h5, which lies beside but is looked for as {named}" in message
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["data"] = h5py.ExternalLink(named, "/data/frames")
    assert f"looked for as {named}" in refused(tmp_path / "link.h5")


def test_a_full_path_of_another_computer_is_found_by_its_bare_name(tmp_path: Path) -> None:
    frames(tmp_path)
    path = virtual(tmp_path / "scan.h5", ("/no/such/folder/frames.h5", slice(0, 4), SCAN.shape))
    assert np.array_equal(open_datacube(path).data.compute(), SCAN)


def test_a_source_that_ends_too_early_and_a_source_within_a_source_are_named(tmp_path: Path) -> None:
    frames(tmp_path, "part.h5", SCAN[:2])
    short = virtual(tmp_path / "short.h5", ("part.h5", slice(0, 4), SCAN.shape))
    assert "part.h5, whose data/frames ends before them" in refused(short)
    inner = virtual(tmp_path / "inner.h5", ("gone.h5", slice(0, 4), SCAN.shape))
    with h5py.File(inner, "r+") as file:
        file["data/frames"] = h5py.SoftLink("/entry/data/data")
    outer = virtual(tmp_path / "outer.h5", ("inner.h5", slice(0, 4), SCAN.shape))
    assert "gone.h5, which is missing" in refused(outer)


def test_positions_that_no_source_covers_are_not_taken_for_zeros(tmp_path: Path) -> None:
    frames(tmp_path, "part.h5", SCAN[:2])
    path = virtual(tmp_path / "scan.h5", ("part.h5", slice(0, 2), SCAN[:2].shape))
    assert "12 in no file at all" in refused(path)


def test_modules_of_a_detector_make_one_pattern(tmp_path: Path) -> None:
    frames(tmp_path, "left.h5", SCAN[..., :4])
    layout = h5py.VirtualLayout(shape=SCAN.shape, dtype=SCAN.dtype)
    layout[..., :4] = h5py.VirtualSource("left.h5", "data/frames", shape=SCAN[..., :4].shape)
    layout[..., 4:] = h5py.VirtualSource("right.h5", "data/frames", shape=SCAN[..., 4:].shape)
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    assert "24 of 24: 24 in right.h5, which is missing" in refused(tmp_path / "scan.h5") or (
        "they lie in right.h5, which is missing" in refused(tmp_path / "scan.h5")
    )
    frames(tmp_path, "right.h5", SCAN[..., 4:])
    assert np.array_equal(open_datacube(tmp_path / "scan.h5").data.compute(), SCAN)


# --- raw numbers beside, and what was never written ----------------------------------------------------------------


def test_files_of_raw_numbers_are_found_beside_the_file_and_missed_when_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with h5py.File("scan.h5", "w") as file:
        file.create_dataset("scan", SCAN.shape, SCAN.dtype, external=[("scan.raw", 0, SCAN.nbytes)])[...] = (
            SCAN
        )
    monkeypatch.chdir(tmp_path.parent)
    assert np.array_equal(open_datacube(tmp_path / "scan.h5").data.compute(), SCAN)
    os.truncate(tmp_path / "scan.raw", 100)
    assert "scan.raw, which ends too early: it has 100 of 1,536 bytes" in refused(tmp_path / "scan.h5")
    (tmp_path / "scan.raw").unlink()
    assert "scan.raw, which is missing" in refused(tmp_path / "scan.h5")


def test_chunks_that_an_interrupted_recording_never_wrote_are_told_and_missing(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("scan", SCAN.shape, SCAN.dtype, chunks=(1, 6, 8, 8))[:3] = SCAN[:3]
    cube = open_datacube(tmp_path / "scan.h5")
    assert cube.n_missing == 6
    assert "1 of 4 chunks are not in the file" in cube.notes[0]
    assert "row 3, columns 0 to 5" in cube.notes[0]


def test_a_dataset_that_nothing_was_written_to_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("scan", SCAN.shape, SCAN.dtype)
    assert "none were written to /scan" in refused(tmp_path / "scan.h5")


# --- user blocks, MATLAB ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["scan.h5", "scan.mat"])
@pytest.mark.parametrize("block", [512, 4096])
def test_files_with_a_block_of_text_in_front_open(tmp_path: Path, name: str, block: int) -> None:
    with h5py.File(tmp_path / name, "w", userblock_size=block) as file:
        file["cube"] = SCAN
    with (tmp_path / name).open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(128))
    assert may_be_scan(tmp_path / name)
    assert np.array_equal(open_datacube(tmp_path / name).data.compute(), SCAN)


def test_patterns_of_matlab_stand_upright(tmp_path: Path) -> None:
    # A(ky, kx, y, x) of MATLAB, whose first axis runs fastest, lies in HDF5 as (x, y, kx, ky)
    with h5py.File(tmp_path / "scan.mat", "w", userblock_size=512) as file:
        file["cube"] = SCAN.transpose(1, 0, 3, 2)
        file["cube"].attrs["MATLAB_class"] = np.bytes_("uint8")
        file["stack"] = STACK.transpose(0, 2, 1)
        file["stack"].attrs["MATLAB_class"] = np.bytes_("uint8")
    cube = open_datacube(tmp_path / "scan.mat")
    assert np.array_equal(cube.data.compute(), SCAN)
    assert "written by MATLAB" in cube.notes[0]


def test_an_older_matlab_file_says_how_to_save_it(tmp_path: Path) -> None:
    (tmp_path / "scan.mat").write_bytes(b"MATLAB 5.0 MAT-file, Platform: PCWIN64".ljust(200))
    assert "save it in MATLAB with the option -v7.3" in refused(tmp_path / "scan.mat")


# --- other programs -----------------------------------------------------------------------------------------------

_HOLD = """
import h5py, sys
file = h5py.File(sys.argv[1], sys.argv[2], libver=sys.argv[3])
data = file["scan"]
if sys.argv[4] == "swmr":
    file.swmr_mode = True
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("libver", "how", "words"),
    [("earliest", "plain", "open for writing in another program"), ("latest", "swmr", "still being written")],
)
def test_a_file_that_another_program_writes_is_said_to_be_so(
    tmp_path: Path, libver: str, how: str, words: str
) -> None:
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w", libver=libver) as file:
        file.create_dataset("scan", data=SCAN, chunks=(1, 6, 8, 8))
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path), "r+", libver, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        message = refused(path)
        other.communicate("")
    assert words in message
    assert "damaged" not in message
    assert np.array_equal(open_datacube(path).data.compute(), SCAN)
