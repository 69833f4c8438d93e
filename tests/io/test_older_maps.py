"""Maps of earlier releases, written as these wrote them by plain calls of h5py: they open, and lose nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import orix.io
import pytest

from example_maps import example_block, example_map
from napari_stem_orient.core.chosen import candidates_at, chosen
from napari_stem_orient.core.orientation import misorientation_angle_deg
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.io.maps import UnreadableMap, open_orientation_map, save_orientation_map
from napari_stem_orient.runs.map_journal import find_kept_maps
from napari_stem_orient.runs.run_journal import RunJournal, new_journal_path

HALF_TURN = [0.0, 1.0, 0.0, 0.0]
ABOUT_Z = [np.cos(np.pi / 8), 0.0, 0.0, np.sin(np.pi / 8)]
TILTED = [np.cos(np.pi / 12), np.sin(np.pi / 12), 0.0, 0.0]

# Four positions: an answer with a runner-up of the other phase, one without, two that are as good, and vacuum.
FIRST: dict[str, Any] = {
    "phase_id": np.array([0, 1, -1, -1], dtype=np.int16),
    "quaternion": np.array([ABOUT_Z, TILTED, HALF_TURN, [1, 0, 0, 0]], dtype=np.float32),
    "score": np.array([0.9, 0.75, 0.6, 0.0], dtype=np.float32),
    "confidence_deg": np.array([0.6, 1.5, 41.0, np.nan], dtype=np.float32),
    "reason": np.array(
        [Reason.INDEXED, Reason.INDEXED, Reason.AMBIGUOUS, Reason.TOO_FEW_DISKS], dtype=np.uint8
    ),
    "alternative_phase_id": np.array([1, -1, 0, -1], dtype=np.int16),
    "alternative_quaternion": np.array([HALF_TURN, [np.nan] * 4, TILTED, [np.nan] * 4], dtype=np.float32),
    "alternative_score": np.array([0.5, np.nan, 0.59, np.nan], dtype=np.float32),
}
LATER: dict[str, Any] = {
    "explained_disks": np.array([12, 9, 0, 0], dtype=np.uint16),
    "unexplained_disks": np.array([1, 2, 14, 1], dtype=np.uint16),
    "phase_probability": np.array([0.9, 0.8, np.nan, np.nan], dtype=np.float32),
    "rejected_phase_id": np.array([-1, -1, 1, -1], dtype=np.int16),
}


def header(*, later: bool) -> dict[str, Any]:
    """What made the map, as the releases before wrote it."""
    made = example_map((2, 2))
    texts = {
        "crystals": [crystal.to_dict() for crystal in made.crystals],
        "calibration": made.calibration.model_dump(mode="json"),
        "parameters": {"n_candidates": 8},
        "model": {"Cu": {"name": "fcc"}},
        "method": "transformer",
        "peaks_fingerprint": "abc",
        "peaks_parameters": {"detector": "batched"},
        "software_version": "0.1.0",
    }
    newer = {"measured": {"tolerance": 0.01}, "name": "grain 7", "source_fingerprint": "scan"}
    return {**texts, **newer} if later else texts


def write_as_earlier_releases_did(path: Path, *, later: bool) -> None:
    save_orientation_map(example_map((2, 2)), path)  # for the part that orix reads, which is as it was
    with h5py.File(path, "a") as file:
        del file["napari_stem_orient"]
        group = file.create_group("napari_stem_orient")
        group.attrs["format_version"] = 1
        group.create_dataset("scan_shape", data=np.array([2, 2], dtype=np.int64))
        for name, values in {**FIRST, **(LATER if later else {})}.items():
            group.create_dataset(name, data=values, compression="gzip")
        for name, value in header(later=later).items():
            group.create_dataset(name, data=json.dumps(value))


@pytest.fixture(params=[False, True], ids=["0.1", "0.2"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> OrientationMap:
    write_as_earlier_releases_did(tmp_path / "old.h5", later=request.param)
    return open_orientation_map(tmp_path / "old.h5")


def test_the_answers_of_an_older_map_are_what_they_were(opened: OrientationMap) -> None:
    for name in ("phase_id", "quaternion", "score", "confidence_deg", "reason"):
        np.testing.assert_array_equal(getattr(opened, name), FIRST[name])
    assert opened.software_version == "0.1.0"
    assert opened.crystals == example_map((2, 2)).crystals


def test_the_runner_up_of_an_older_map_is_a_candidate_whose_evidence_is_unknown(
    opened: OrientationMap,
) -> None:
    assert opened.alternative_phase_id[:2].tolist() == [1, -1]
    assert misorientation_angle_deg(opened.alternative_quaternion[0], HALF_TURN) < 0.01
    assert opened.alternative_score[0] == pytest.approx(0.5, abs=5e-4)
    assert opened.solutions.n_candidates == 2
    best, second = candidates_at(opened, 0, 0)
    assert [best.crystal.name, second.crystal.name] == ["Cu", "Cu2O"]
    assert np.isnan([best.evidence, second.evidence, second.confidence_deg]).all()
    assert len(candidates_at(opened, 0, 1)) == 1
    assert candidates_at(opened, 1, 1) == ()


def test_what_the_first_release_did_not_count_is_unknown(tmp_path: Path) -> None:
    write_as_earlier_releases_did(tmp_path / "old.h5", later=False)
    opened = open_orientation_map(tmp_path / "old.h5")
    assert opened.explained_disks.tolist() == opened.unexplained_disks.tolist() == [0] * 4
    assert np.isnan(opened.phase_probability).all()
    assert opened.rejected_phase_id.tolist() == [-1] * 4
    assert (opened.name, opened.source_fingerprint, opened.measured) == ("", None, {})


def test_two_answers_that_were_as_good_are_both_there_to_choose(tmp_path: Path) -> None:
    write_as_earlier_releases_did(tmp_path / "old.h5", later=True)
    opened = open_orientation_map(tmp_path / "old.h5")
    assert opened.rejected_phase_id.tolist() == [-1, -1, 1, -1]
    solution = opened.at(1, 0)
    assert solution.rejected is not None
    assert solution.alternative is not None
    assert solution.rejected.quaternion.tolist() == HALF_TURN
    assert solution.unexplained_disks == 14
    assert (opened.name, opened.measured) == ("grain 7", {"tolerance": 0.01})
    block = chosen(opened, np.array([2]), 1)
    assert int(block.phase_id[0]) == 0


def test_an_older_map_goes_on_to_be_filled_and_is_saved_as_a_new_one(
    opened: OrientationMap, tmp_path: Path
) -> None:
    opened.fill(example_block(4, seed=3))
    save_orientation_map(opened, tmp_path / "new.h5")
    again = open_orientation_map(tmp_path / "new.h5")
    for name, array in opened.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    assert orix.io.load(str(tmp_path / "new.h5")).rotations.size == 4


def test_a_map_of_a_later_release_is_refused_by_its_format(tmp_path: Path) -> None:
    save_orientation_map(example_map(), tmp_path / "map.h5")
    with h5py.File(tmp_path / "map.h5", "a") as file:
        file["napari_stem_orient"].attrs["format_version"] = 3
        del file["napari_stem_orient/choice"]
    with pytest.raises(UnreadableMap, match="format 3, this one knows 2"):
        open_orientation_map(tmp_path / "map.h5")


def test_a_map_that_lacks_one_of_its_arrays_is_no_map(tmp_path: Path) -> None:
    save_orientation_map(example_map(), tmp_path / "map.h5")
    with h5py.File(tmp_path / "map.h5", "a") as file:
        del file["napari_stem_orient/solutions/score"]
    with pytest.raises(UnreadableMap, match="holds no orientation map"):
        open_orientation_map(tmp_path / "map.h5")


def test_candidates_are_saved_in_chunks_of_whole_positions(tmp_path: Path) -> None:
    save_orientation_map(example_map((150, 150)), tmp_path / "map.h5")
    with h5py.File(tmp_path / "map.h5", "r") as file:
        rotation = file["napari_stem_orient/solutions/rotation"]
        assert rotation.dtype == np.int16
        assert rotation.chunks == (16384, 8, 3)
        assert rotation.compression == "gzip"


def test_a_run_that_an_earlier_release_kept_is_found_again(tmp_path: Path) -> None:
    """Journals hold the blocks of a run that nobody saved; those of version 0.2.0 have the arrays as they were then."""
    note = {"scan_shape": [2, 2], "name": "grain 7", "made_by": header(later=True)}
    journal = RunJournal(new_journal_path("indexing", "key", tmp_path), note, {})
    positions = np.array([0, 1, 2, 3], dtype=np.int64)
    journal.append({"done": 4, "total": 4}, {"positions": positions, **FIRST, **LATER})
    journal.append({"finished": True, "measured": {"tolerance": 0.02}}, {})
    journal.close()
    (kept,) = find_kept_maps(scan="scan", peaks=None, folder=tmp_path)
    assert kept.finished
    np.testing.assert_array_equal(kept.orientation_map.quaternion, FIRST["quaternion"])
    assert kept.orientation_map.alternative_phase_id.tolist() == [1, -1, 0, -1]
    assert kept.orientation_map.measured == {"tolerance": 0.02}
