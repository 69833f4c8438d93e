"""Scans are read in threads where nobody has chosen a scheduler of dask, and nothing is imported to find that out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dask
import dask.array as da
import numpy as np

from napari_stem_orient.core.scan_reading import chosen_scheduler, computed

READ_AND_LOOK = """
import sys
from napari_stem_orient.core.scan_summary import summarise
from napari_stem_orient.io.scans import open_datacube

for _ in summarise(open_datacube(sys.argv[1])):
    pass
sys.exit("distributed was imported" if "distributed" in sys.modules else 0)
"""


def test_the_first_picture_does_not_wait_for_a_cluster_that_nobody_has(tmp_path: Path) -> None:
    path = tmp_path / "scan.npy"
    np.save(path, np.ones((4, 5, 32, 32), dtype=np.uint16))
    done = subprocess.run(
        [sys.executable, "-c", READ_AND_LOOK, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_what_the_user_has_set_is_used() -> None:
    asked: list[object] = []

    def scheduler(graph: object, keys: object, **kwargs: object) -> object:
        asked.append(keys)
        return dask.get(graph, keys, **kwargs)

    array = da.ones((4, 4), chunks=2) + 1
    with dask.config.set(scheduler=scheduler):
        assert chosen_scheduler() is scheduler
        np.testing.assert_array_equal(computed(array), np.full((4, 4), 2.0))
    assert len(asked) == 1
    np.testing.assert_array_equal(computed(array), np.full((4, 4), 2.0))
    assert len(asked) == 1
