"""No command writes over what it reads, over its own output, or over a file that somebody else has made."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from cli.test_main import frames_of_copper
from example_maps import example_map
from napari_stem_orient.cli.main import COMMANDS, build_parser, main
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.io.calibration_files import save_calibration
from napari_stem_orient.io.maps import save_orientation_map
from napari_stem_orient.io.own_files import CALIBRATION, EXPORT, MAP, MODEL, PEAKS, TABLE, kind_of_own_file
from napari_stem_orient.transformer.model_folder import shipped_models

CONTENT = "the work of a day"


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "raw.h5"
    with h5py.File(path, "w") as file:
        file["scan/data"] = frames_of_copper()
    return path


@pytest.fixture
def a_map(tmp_path: Path) -> Path:
    path = tmp_path / "map.h5"
    save_orientation_map(example_map(), path)
    return path


def named_in_every_way(path: Path) -> list[Path]:
    """The same file by its name, a relative path, a detour, a symbolic and a hard link."""
    links = path.with_name("symbolic.h5"), path.with_name("hard.h5")
    links[0].symlink_to(path)
    links[1].hardlink_to(path)
    return [path, path.parent / "." / path.name, path.parent.parent / path.parent.name / path.name, *links]


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command line is refused as one that makes no sense."""
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_a_scan_is_never_replaced_by_its_own_peaks(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = scan.read_bytes()
    for output in named_in_every_way(scan):
        for overwrite in ([], ["--overwrite"]):
            message = refused(["detect", str(scan), "--output", str(output), *overwrite], capsys)
            assert str(output) in message
            assert "is the file that is read" in message
    assert scan.read_bytes() == before


def test_a_relative_path_is_the_same_file(
    scan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(scan.parent)
    assert "is the file that is read" in refused(["detect", str(scan), "--output", scan.name], capsys)


@pytest.mark.parametrize(
    "words",
    [
        "index {scan} --crystal Cu --output {scan}",
        "index {scan} --crystal Cu --output out.h5 --save-peaks {scan}",
        "index {scan} --crystal {cif} --output {cif}",
        "index {scan} --crystal Cu --mask {mask} --output out.h5 --save-peaks {mask}",
        "index {scan} --crystal Cu --model {model} --output {model}/config.json",
        "virtual {scan} --bright-field 3 --output {scan}",
        "virtual {scan} --bright-field 3 --mask {mask} --output {mask}",
        "virtual {scan} --bright-field 3 --peaks {peaks} --output {peaks}",
        "calibrate {peaks} --output {peaks}",
        "calibrate {peaks} --map {map} --output {map}",
        "calibrate {peaks} --from {json} --output {json}",
        "calibrate {scan} --rings --crystal {cif} --output {cif}",
        "export {map} --csv {map}",
        "export {map} --figure {map}",
        "train --crystal Cu --start-from {model} --output {model}",
        "train --crystal Cu --start-from {model} --output {model}/inside",
    ],
)
def test_every_command_keeps_every_file_that_it_reads(
    words: str, tmp_path: Path, a_map: Path, scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"scan": scan, "map": a_map}
    for name, ending in (("cif", "cif"), ("mask", "npy"), ("peaks", "h5"), ("json", "json")):
        files[name] = tmp_path / f"{name}.{ending}"
        files[name].write_text(CONTENT)
    files["model"] = tmp_path / "model"
    files["model"].mkdir()
    (files["model"] / "config.json").write_text(CONTENT)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    message = refused([word.format(**files) for word in words.split()] + ["--overwrite"], capsys)
    assert "would destroy it" in message
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_other_files_of_a_scan_are_kept_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file["frames"] = np.zeros((2, 2, 8, 8), dtype=np.uint16)
    layout = h5py.VirtualLayout(shape=(2, 2, 8, 8), dtype=np.uint16)
    layout[:] = h5py.VirtualSource(tmp_path / "part.h5", "frames", shape=(2, 2, 8, 8))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("scan", layout)
        file["loop"] = file["/"]
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file["scan"] = h5py.ExternalLink("part.h5", "frames")
    for name in ("scan.mib", "scan.hdr", "scan.raw"):
        (tmp_path / name).write_text(CONTENT)
    (tmp_path / "acquisition.xml").write_text('<root><raw_file filename="scan.raw"/></root>')
    (tmp_path / "scan.zarr").mkdir()
    (tmp_path / "scan.zarr" / "zarr.json").write_text("{}")
    for source, output in (
        ("virtual.h5", "part.h5"),
        ("master.h5", "part.h5"),
        ("scan.mib", "scan.hdr"),
        ("scan.hdr", "scan.mib"),
        ("acquisition.xml", "scan.raw"),
        ("scan.raw", "acquisition.xml"),
        ("scan.zarr", "scan.zarr"),
        ("scan.zarr", "scan.zarr/peaks.h5"),
        ("scan.zarr/zarr.json", "scan.zarr/peaks.h5"),
    ):
        words = ["detect", str(tmp_path / source), "--output", str(tmp_path / output), "--overwrite"]
        assert "would destroy it" in refused(words, capsys), (source, output)


def test_two_outputs_are_never_one_file(a_map: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_map.parent
    for other in ("out.csv", "./out.csv", "OUT.csv"):
        words = ["export", str(a_map), "--csv", str(folder / "out.csv"), "--figure", str(folder / other)]
        assert "--csv and --figure are the same file" in refused(words, capsys)
    assert [path.name for path in folder.iterdir()] == [a_map.name]


def test_a_file_of_somebody_else_is_replaced_only_where_the_user_says_so(
    a_map: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = a_map.with_name("measured.csv")
    table.write_text(CONTENT)
    assert main(["export", str(a_map), "--csv", str(table)]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "is there already" in message
    assert "--overwrite" in message
    assert table.read_text() == CONTENT
    assert main(["export", str(a_map), "--csv", str(table), "--overwrite"]) == 0
    assert table.read_text().startswith("y,x,")
    assert main(["export", str(a_map), "--csv", str(table)]) == 0  # ours by now


def test_results_of_this_program_are_known_by_their_content(a_map: Path) -> None:
    folder = a_map.parent
    words = ["export", str(a_map), "--ang", str(folder / "m.ang"), "--csv", str(folder / "m.csv"), "--figure"]
    pictures = [folder / f"m.{ending}" for ending in ("png", "tif", "pdf", "svg")]
    for picture in pictures:
        assert main([*words, str(picture)]) == 0  # the tables of the round before are replaced
    save_calibration(Calibration(voltage_kv=200), folder / "m.json")
    assert kind_of_own_file(a_map) == MAP
    assert kind_of_own_file(folder / "m.csv") == TABLE
    assert kind_of_own_file(folder / "m.json") == CALIBRATION
    assert [kind_of_own_file(path) for path in (folder / "m.ang", *pictures)] == [EXPORT] * 5
    model = next(iter(shipped_models().values()))
    assert [kind_of_own_file(model / name) for name in ("config.json", "report.md")] == [MODEL] * 2


def test_a_file_with_something_of_the_user_beside_our_result_is_not_ours(
    a_map: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File(a_map, "a") as file:
        file["notes"] = CONTENT
    assert kind_of_own_file(a_map) == ""
    (a_map.parent / "config.json").write_text("{}")
    (a_map.parent / "report.md").write_text(CONTENT)
    assert kind_of_own_file(a_map.parent / "config.json") == ""
    words = ["train", "--crystal", "Cu", "--output", str(a_map.parent), "--start-over"]
    assert main(words) == 1
    assert "config.json is there already" in capsys.readouterr().err


def test_hours_of_one_kind_of_work_are_not_replaced_by_another(
    scan: Path, a_map: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = a_map.read_bytes()
    assert main(["detect", str(scan), "--output", str(a_map), "--quiet"]) == 1
    assert "holds an orientation map" in capsys.readouterr().err
    assert a_map.read_bytes() == before


def test_peaks_are_replaced_by_newer_peaks(scan: Path) -> None:
    words = ["detect", str(scan), "--output", str(scan.with_name("peaks.h5")), "--quiet"]
    assert main(words) == 0
    assert kind_of_own_file(scan.with_name("peaks.h5")) == PEAKS
    assert main(words) == 0


def test_every_path_among_the_options_is_declared_as_read_or_written() -> None:
    """An option that is added without saying what it does with its file would escape the check."""
    for command in COMMANDS:
        parser = build_parser(command)
        (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        options = commands.choices[command]
        declared = {*(options.get_default("reads") or {}), *(options.get_default("writes") or {})}
        if command != "info" and command != "sensitivity":  # these write nothing
            for action in options._actions:
                names_a_file = action.type is Path or str(action.metavar) in ("FILE", "FOLDER", "NAME_OR_CIF")
                assert not names_a_file or action.dest in declared, (command, action.dest)


def test_nothing_is_said_when_the_reader_of_the_output_has_enough(a_map: Path) -> None:
    """As in "info map.h5 | head -1"; the pipe is closed here before a word is written."""
    script = (
        "import sys; from napari_stem_orient.cli.main import main; "
        "sys.stdin.readline(); sys.exit(main(sys.argv[1:]))"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", script, "info", str(a_map)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert running.stdout is not None
    running.stdout.close()
    running.stdout = None
    _, errors = running.communicate(b"\n", timeout=110)
    assert errors == b""
    assert running.returncode == 0
