"""The command run: a recipe with several scans; one that fails stops no other, and what is done is not done again."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from napari_stem_orient.cli.main import main
from napari_stem_orient.io.peaks import open_bragg_peaks
from napari_stem_orient.runs import run_journal
from napari_stem_orient.steps import replay as replays
from napari_stem_orient.steps.calibrate import CalibrateChoice
from napari_stem_orient.steps.recipe_text import open_recipe

RECIPE = "version: 1\nsteps:\n- step: detect\n  probe: {radius_px: 3}\n  parameters: {edge_px: 2}\n"


@pytest.fixture(autouse=True)
def journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "journals"
    monkeypatch.setattr(run_journal, "journal_folder", lambda _folder=None: folder)
    return folder


@pytest.fixture
def scans(tmp_path: Path) -> list[Path]:
    """Five scans of 3 x 4 positions, two of one name, the third broken; and a recipe beside them."""
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    paths = [tmp_path / name for name in ("a/one.npy", "a/two.npy", "a/three.npy", "b/one.npy", "b/four.npy")]
    rows, columns = np.mgrid[:32, :32]
    for seed, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        image = (
            2.0
            + 300.0 * (np.hypot(rows - 16, columns - 16) < 3)
            + 90.0 * (np.hypot(rows - 16, columns - 26) < 3)
        )
        np.save(path, np.random.default_rng(seed).poisson(image, (3, 4, 32, 32)).astype(np.uint16))
    paths[2].write_bytes(paths[2].read_bytes()[:900])
    return paths


def run(scans: list[Path], *options: str) -> int:
    folder = scans[0].parents[1]
    words = ["run", str(folder / "recipe.yaml"), *map(str, scans), "--output", str(folder / "out"), "--quiet"]
    try:
        return main([*words, *options])
    except SystemExit as end:
        return int(end.code or 0)


def table(scans: list[Path]) -> list[dict[str, str]]:
    with (scans[0].parents[1] / "out" / "summary.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_one_scan_that_fails_stops_no_other_and_the_table_says_what_came_out(
    scans: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scans) == 1
    said = capsys.readouterr()
    rows = table(scans)
    assert [row["scan"] for row in rows] == list(map(str, scans))
    assert [row["state"] for row in rows] == ["done", "done", "failed", "done", "done"]
    assert "truncated" in rows[2]["error"]
    assert not rows[0]["error"]
    assert [row["positions"] for row in rows] == ["12", "12", "", "12", "12"]
    made = {path.name for path in (scans[0].parents[1] / "out").iterdir()}
    assert made == {"summary.csv", *(f"{n}_peaks.h5" for n in ("a_one", "two", "b_one", "four"))}
    assert "1 of 5 scans failed" in said.err
    assert "a_one" in said.out
    mean = float(rows[3]["disks a pattern"])
    peaks = open_bragg_peaks(scans[0].parents[1] / "out" / "b_one_peaks.h5")
    assert mean == pytest.approx(peaks.n_peaks / 12, abs=0.06)


def test_what_is_done_is_not_done_again_and_what_broke_off_is_gone_on_with(
    scans: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    two = scans[:2]
    assert run(two) == 0
    out = two[0].parents[1] / "out"
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.h5")}
    assert run(two) == 1  # neither replaced nor kept without a word
    assert "is there already, and 1 more: --continue keeps" in capsys.readouterr().err
    (out / "two_peaks.h5").unlink()
    opened: list[str] = []
    real = replays.replay
    monkeypatch.setattr(
        "napari_stem_orient.cli.one_scan.replay",
        lambda recipe, scan, *rest, **named: opened.append(scan.name) or real(recipe, scan, *rest, **named),
    )
    assert run(two, "--continue") == 0
    assert opened == ["two.npy"]
    assert [row["state"] for row in table(two)] == ["done before", "done"]
    assert (out / "one_peaks.h5").stat().st_mtime_ns == before["one_peaks.h5"]


def test_results_of_another_recipe_or_scan_are_no_results_of_this_one(
    scans: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scans[:1]) == 0
    assert run(scans[:1], "--continue", "--set", "detect.parameters.edge_px=5") == 1
    assert "another recipe (detect.parameters.edge_px: 2.0 and 5.0)" in capsys.readouterr().err
    assert run([scans[3]], "--continue") == 1  # its results have the same name
    assert "made of another scan" in capsys.readouterr().err
    assert run(scans[:1], "--overwrite", "--set", "detect.parameters.edge_px=5") == 0
    found = open_bragg_peaks(scans[0].parents[1] / "out" / "one_peaks.h5")
    assert found.parameters["detection"]["edge_px"] == 5


def test_several_at_a_time_make_the_same_as_one_after_the_other(scans: list[Path]) -> None:
    assert run(scans[1:4], "--jobs", "2") == 1
    rows, out = table(scans), scans[0].parents[1] / "out"
    assert [row["state"] for row in rows] == ["done", "failed", "done"]
    together = open_bragg_peaks(out / "two_peaks.h5")
    assert run(scans[1:2], "--overwrite") == 0
    alone = open_bragg_peaks(out / "two_peaks.h5")
    assert together.fingerprint == alone.fingerprint
    assert together.recipe == alone.recipe


def test_stopping_keeps_what_is_done(
    scans: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = replays.replay

    def stopped_at_the_second(recipe: object, scan: Path, *rest: object, **named: object) -> object:
        if scan.name == "two.npy":
            raise KeyboardInterrupt
        return real(recipe, scan, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("napari_stem_orient.cli.one_scan.replay", stopped_at_the_second)
    assert run(scans[:2]) == 130
    assert "1 of 2 scans are done; go on with --continue" in capsys.readouterr().err
    assert [row["state"] for row in table(scans)] == ["done"]


def test_nothing_that_is_read_is_written_over(scans: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = scans[0].parents[1]
    (folder / "out").mkdir()
    taken = folder / "out" / "two_peaks.h5"
    scan = np.load(scans[1])
    import h5py

    with h5py.File(taken, "w") as file:
        file["scan"] = scan
    renamed = folder / "out" / "two.npy"
    np.save(renamed, scan)
    assert run([renamed, taken]) == 2  # the results of the one would be the other
    assert "would destroy it" in capsys.readouterr().err
    assert run([renamed]) == 1
    assert "no result of this program" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--jobs", "0"], "--jobs 0: give 1 or more"),
        (["--set", "detect.parameters.edge=1"], "--set detect.parameters.edge is not known"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused_before_anything_is_read(
    scans: list[Path], options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scans[:1], *options) == 2
    assert words in capsys.readouterr().err
    assert not (scans[0].parents[1] / "out").exists()


def test_the_recipe_in_a_result_is_printed_saved_and_repeated(
    scans: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scans[0].parents[1]
    assert run(scans[:1]) == 0
    capsys.readouterr()
    assert main(["recipe", str(folder / "out" / "one_peaks.h5")]) == 0
    assert "edge_px: 2.0" in capsys.readouterr().out
    assert (
        main(["recipe", str(folder / "out" / "one_peaks.h5"), "--output", str(folder / "recipe.yaml")]) == 1
    )
    assert main(["recipe", str(folder / "out" / "one_peaks.h5"), "--output", str(folder / "saved.yaml")]) == 0
    (folder / "saved.yaml").replace(folder / "recipe.yaml")
    assert run(scans[:1], "--continue") == 0
    assert table(scans)[0]["state"] == "done before"


def test_a_recipe_exports_beside_the_map_also_where_the_map_was_made_before(scans: list[Path]) -> None:
    folder = scans[0].parents[1]
    calibrated = RECIPE.replace(
        "steps:\n", "steps:\n- step: open\n  calibration: {voltage_kv: 200, pixel_size_inv_angstrom: 0.05}\n"
    )
    indexed = calibrated + "- step: index\n  crystals: [{source: Cu}]\n"
    (folder / "recipe.yaml").write_text(indexed)
    assert run(scans[:1]) == 0
    made = {path.name: path.stat().st_mtime_ns for path in (folder / "out").glob("*.h5")}
    (folder / "recipe.yaml").write_text(
        f"{indexed}- step: export\n  what: table\n- step: export\n  what: ang\n"
    )
    assert run(scans[:1], "--continue") == 0
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "out").glob("*.h5")} == made
    assert (folder / "out" / "one.csv").read_text().startswith("y,x,")
    assert (folder / "out" / "one.ang").exists()
    (folder / "recipe.yaml").write_text(f"{calibrated}- step: export\n  what: table\n")
    assert run(scans[:1], "--continue") == 1


def test_values_given_for_a_file_of_peaks_are_in_the_recipe_of_its_map(scans: list[Path]) -> None:
    folder = scans[0].parents[1]
    assert run(scans[:1]) == 0
    words = [
        "index",
        str(folder / "out" / "one_peaks.h5"),
        "--crystal",
        "Cu",
        "--output",
        str(folder / "map.h5"),
    ]
    assert main([*words, "--voltage-kv", "200", "--pixel-size-inv-angstrom", "0.05", "--quiet"]) == 0
    steps = open_recipe(folder / "map.h5").steps
    assert [choice.step for choice in steps] == ["open", "detect", "calibrate", "index"]
    assert steps[2] == CalibrateChoice(given={"voltage_kv": 200, "pixel_size_inv_angstrom": 0.05}, fits=())
    (folder / "map.h5").replace(folder / "recipe.yaml")  # a map is a recipe, whatever it is called
    assert run(scans[:1], "--overwrite") == 0
    again = open_bragg_peaks(folder / "out" / "one_peaks.h5")
    assert again.calibration.pixel_size_inv_angstrom == 0.05
