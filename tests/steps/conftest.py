"""What the tests of the steps share: a journal folder of their own, and small scans."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_stem_orient.runs import run_journal
from turning_disks import save_scan, save_scan_behind_a_stop


@pytest.fixture(autouse=True)
def journals(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep unsaved results of each test in a folder of its own."""
    folder = tmp_path_factory.mktemp("journals")
    monkeypatch.setattr(run_journal, "journal_folder", lambda _folder=None: folder)
    return folder


@pytest.fixture(scope="session")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 x 10 positions, 48 x 48 px."""
    return save_scan(tmp_path_factory.mktemp("scan"))


@pytest.fixture(scope="session")
def stopped_scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same behind a beam stop of 7 px radius that lets nothing through."""
    return save_scan_behind_a_stop(tmp_path_factory.mktemp("scan"))
