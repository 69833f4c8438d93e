"""A model that proposes badly says so, in words and in the error to expect; a good one is believed as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_stem_orient.cli.main import main
from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.crystal import BUILTIN_CRYSTALS, load_crystal
from napari_stem_orient.core.orientation import disorientation_angle_deg, random_quaternions
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.solutions import TYPICAL_GROSS_ERROR_DEG
from napari_stem_orient.gui.jobs.stage_jobs import models_for
from napari_stem_orient.indexing.index import index_bragg_peaks
from napari_stem_orient.indexing.model_trust import caught_part, gross_error_deg, log_odds_of_missing
from napari_stem_orient.indexing.parameters import IndexParameters
from napari_stem_orient.io.peaks import save_bragg_peaks
from napari_stem_orient.simulation.kinematic import simulate_pattern
from napari_stem_orient.transformer import training_run
from napari_stem_orient.transformer.model_card import ModelCard
from napari_stem_orient.transformer.model_folder import ModelError, find_models, read_card
from napari_stem_orient.transformer.network import TransformerConfig
from napari_stem_orient.transformer.training import train_model
from napari_stem_orient.transformer.training_parameters import TrainingParameters

LICOO2 = load_crystal("LiCoO2")
CALIBRATION = Calibration(voltage_kv=300, pixel_size_inv_angstrom=0.02)


@pytest.fixture(scope="module")
def barely_trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has seen a few hundred patterns: its proposals are hardly better than chance."""
    folder = tmp_path_factory.mktemp("models") / "barely"
    parameters = TrainingParameters(
        steps=16,
        batch_size=32,
        learning_rate=3e-3,
        simulation="kinematic",
        q_max_high_inv_angstrom=1.2,
        network=TransformerConfig(width=16, layers=1, heads=2, n_tokens=16, n_candidates=4),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_run, "QUICK_HELD_OUT", 256)
        patch.setattr(training_run, "FULL_HELD_OUT", 512)
        for _ in train_model([LICOO2], parameters=parameters, output=folder, device="cpu"):
            pass
    return folder


def patterns(n: int) -> tuple[np.ndarray, BraggPeaks]:
    """Orientations (n, 4) and their patterns, with disks missing and a little off."""
    rng = np.random.default_rng(3)
    truth = random_quaternions(n, rng)
    lists = []
    for quaternion in truth:
        simulated = simulate_pattern(LICOO2, quaternion, voltage_kv=300, q_max=1.2)
        disks = np.stack([simulated.q_x, simulated.q_y, simulated.intensity], axis=1)
        disks = disks[rng.random(len(disks)) > 0.2]
        disks[:, :2] += rng.normal(0, 0.005, (len(disks), 2))
        lists.append(disks)
    return truth, BraggPeaks.from_lists(lists, (1, n), CALIBRATION)


def card_with(folder: Path, **held_out: float) -> ModelCard:
    return read_card(folder).model_copy(update={"held_out": held_out})


def shipped_cards() -> list[ModelCard]:
    folders = set()
    for name in BUILTIN_CRYSTALS:
        try:
            folders |= set(find_models([load_crystal(name)]).values())
        except ModelError:
            continue  # a crystal that no shipped model serves
    return [read_card(folder) for folder in folders]


def test_shipped_models_are_believed_as_before_and_say_nothing() -> None:
    cards = shipped_cards()
    assert len(cards) >= 5
    for card in cards:
        assert log_odds_of_missing(card) == 0
        assert card.poor_proposals == ""
        assert gross_error_deg(LICOO2, log_odds_of_missing(card)) == TYPICAL_GROSS_ERROR_DEG


def test_a_barely_trained_model_says_that_it_proposes_badly(barely_trained: Path) -> None:
    card = read_card(barely_trained)
    words = card.poor_proposals
    near = 100 * card.held_out["candidate_within_5_deg"]
    assert near < 10
    assert "it proposes badly" in words
    assert f"the best of its 4 proposals is within 5° of the truth for {near:.0f} %" in words


def test_its_expected_error_is_as_large_as_its_error(barely_trained: Path) -> None:
    truth, peaks = patterns(60)
    job = index_bragg_peaks(
        peaks, [LICOO2], models=[barely_trained], device="cpu", parameters=IndexParameters(neighbours=False)
    )
    found: OrientationMap
    while True:
        try:
            next(job)
        except StopIteration as stop:
            found = stop.value
            break
    known = np.isfinite(found.confidence_deg)
    assert known.sum() >= 5
    error = disorientation_angle_deg(found.quaternion, truth, LICOO2.proper_point_group)[known]
    assert error.mean() > 30  # the answers are wrong, and
    assert found.confidence_deg[known].mean() > 0.6 * error.mean()  # are not promised to be right
    # Nothing that is wrong is promised within 10°.
    assert not np.any((error > 15) & (found.confidence_deg[known] < 10))


def test_the_part_that_is_caught_lies_between_what_the_card_says(barely_trained: Path) -> None:
    card = card_with(
        barely_trained,
        candidate_within_2_deg=0.2,
        candidate_within_5_deg=0.4,
        candidate_median_deg=8.0,
        candidate_beyond_34_deg=0.1,
    )
    part = caught_part(card)
    assert part is not None
    # Half are within 8°, 90 % within 34°; a power law between: 0.5 (10 / 8)^x, with x = ln 1.8 / ln 4.25.
    assert part == pytest.approx(0.5 * 1.25 ** (np.log(1.8) / np.log(34 / 8)), rel=1e-6)
    assert 0 < log_odds_of_missing(card) < 2
    assert caught_part(card_with(barely_trained)) is None
    assert log_odds_of_missing(card_with(barely_trained)) == 0


def test_wrong_answers_of_a_bad_model_are_as_wrong_as_chance(barely_trained: Path) -> None:
    # Two random orientations of a cubic crystal are 40.7° apart on average (Mackenzie 1958).
    assert gross_error_deg(load_crystal("Cu"), 20.0) == pytest.approx(40.7, abs=0.5)
    assert gross_error_deg(LICOO2, 20.0) > 55
    assert TYPICAL_GROSS_ERROR_DEG < gross_error_deg(LICOO2, 0.5) < gross_error_deg(LICOO2, 2.0)


def test_index_says_so_on_the_command_line_and_in_the_window(
    barely_trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, peaks = patterns(4)
    save_bragg_peaks(peaks, tmp_path / "peaks.h5")
    options = ["--crystal", "LiCoO2", "--model", str(barely_trained), "--device", "cpu"]
    assert main(["index", str(tmp_path / "peaks.h5"), *options, "--output", str(tmp_path / "map.h5")]) == 0
    told = capsys.readouterr().err
    assert "it proposes badly" in told
    assert "The map may be wrong: compare it with template matching" in told
    offered = models_for([LICOO2], folders=(barely_trained,), peaks=peaks)
    assert "it proposes badly" in offered.models[0].outside[0]
