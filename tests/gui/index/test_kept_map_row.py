"""A map that was not saved is offered again, when its scan or its peaks are open, and comes back as it was."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.gui.index.widget import IndexWidget
from napari_stem_orient.runs.map_journal import begin_map_journal
from napari_stem_orient.session.state import Stage
from napari_stem_orient.simulation.grains import make_polycrystal
from napari_stem_orient.simulation.polycrystal import simulate_bragg_peaks
from patience import Until


@pytest.fixture(scope="module")
def peaks() -> BraggPeaks:
    truth = make_polycrystal(
        [load_crystal("Cu")], scan_shape=(5, 6), detector_shape=(96, 96), n_grains=2, seed=1
    )
    return simulate_bragg_peaks(truth)


def new_panel(qtbot: QtBot, peaks: BraggPeaks, until: Until) -> IndexWidget:
    panel = IndexWidget(ViewerModel())  # type: ignore[arg-type]
    qtbot.addWidget(panel)
    panel.show()
    until(lambda: panel.device_box.count() > 0)
    panel.session.open_peaks(peaks)
    return panel


def index(panel: IndexWidget, until: Until) -> None:
    panel.crystals.add("Cu")
    until(panel.run_button.isEnabled)
    panel.run_button.click()
    until(lambda: panel.session.running_job(Stage.INDEX) is None and panel.session.current_map is not None)


def test_a_map_that_was_not_saved_comes_back_and_its_journal_goes_when_it_is_saved(
    qtbot: QtBot, peaks: BraggPeaks, until: Until, journals: Path
) -> None:
    first = new_panel(qtbot, peaks, until)
    assert not first.kept_row.offers
    index(first, until)
    made = first.session.current_map
    assert made is not None
    later = new_panel(qtbot, peaks, until)
    until(lambda: later.kept_row.offers)
    assert later.kept_row.label.text().startswith("A map of Cu at all 30 positions is kept from ")
    later.kept_row.take_button.click()
    taken = later.session.current_map
    assert taken is not None
    assert np.array_equal(taken.quaternion, made.quaternion)
    assert np.array_equal(taken.confidence_deg, made.confidence_deg, equal_nan=True)
    assert taken.measured == made.measured
    assert taken.model == made.model
    assert [crystal.name for crystal in later.session.crystals] == ["Cu"]
    assert later.session.stale_because(Stage.INDEX) is None
    assert not later.session.saved.has(taken)
    assert len(list(journals.iterdir())) == 1


def _have(found: list[str], count: int) -> bool:
    return len(found) == count


def test_maps_that_were_not_saved_are_offered_one_after_the_other(
    qtbot: QtBot, peaks: BraggPeaks, until: Until, journals: Path
) -> None:
    copper = OrientationMap.empty(peaks, (load_crystal("Cu"),), method="transformer", parameters={})
    made = [copper, replace(copper, method="template"), replace(copper, crystals=(load_crystal("Au"),))]
    for number, each in enumerate(made, start=1):
        each = each.copy()
        each.reason[: 10 - number] = Reason.NO_PHASE_FITS
        begin_map_journal(each).close()
    later = new_panel(qtbot, peaks, until)
    asked: list[str] = []
    later.asks.connect(lambda: asked.append(later.kept_row.label.text()))
    for n_offers in (1, 2, 3):
        until(partial(_have, asked, n_offers))
        assert later.kept_row.offers
        later.kept_row.take_button.click()
    until(lambda: not later.kept_row._looking.busy)
    assert not later.kept_row.offers
    taken = later.session.orientation_maps.values()
    assert [(each.method, each.crystals[0].name) for each in taken] == [
        ("transformer", "Cu"),
        ("template", "Cu"),
        ("transformer", "Au"),
    ]
    assert [words.split(" positions")[0] for words in asked] == [
        "A map of Cu at 9 of 30",
        "A map of Cu at 8 of 30",
        "A map of Au at 7 of 30",
    ]
    assert len(list(journals.iterdir())) == 3


def test_a_map_is_discarded_only_when_the_button_says_so(
    qtbot: QtBot, peaks: BraggPeaks, until: Until, journals: Path
) -> None:
    index(new_panel(qtbot, peaks, until), until)
    later = new_panel(qtbot, peaks, until)
    until(lambda: later.kept_row.offers)
    later.kept_row.discard_button.click()
    until(lambda: not list(journals.iterdir()))
    assert not later.kept_row.offers


def test_indexing_again_begins_anew_and_the_new_map_takes_the_place_of_the_old_one(
    qtbot: QtBot, peaks: BraggPeaks, until: Until, journals: Path
) -> None:
    panel = new_panel(qtbot, peaks, until)
    index(panel, until)
    (before,) = journals.iterdir()
    filled: list[int] = []
    panel.session.map_filled.connect(lambda _, block: filled.extend(block.positions.tolist()))
    panel.run_button.click()
    until(lambda: panel.session.running_job(Stage.INDEX) is None and set(filled) == set(range(30)))
    (after,) = journals.iterdir()
    assert after != before
