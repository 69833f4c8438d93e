"""Disks are as large, as strong and as well placed as they are asked to be."""

from __future__ import annotations

import numpy as np
import pytest

from napari_stem_orient.simulation.disk_images import (
    counted,
    diffuse_background,
    render_disks,
)


def one_disk(x: float, y: float, radius: float = 3.0) -> np.ndarray:
    return render_disks(
        np.array([0]),
        np.array([x]),
        np.array([y]),
        np.array([100.0]),
        n_frames=1,
        detector_shape=(40, 50),
        radius_px=radius,
    )[0]


@pytest.mark.parametrize(("x", "y"), [(20.0, 10.0), (20.37, 10.81), (30.5, 25.5)])
@pytest.mark.parametrize("radius", [0.8, 3.0, 6.3])
def test_a_disk_keeps_its_electrons_and_its_centre(x: float, y: float, radius: float) -> None:
    image = one_disk(x, y, radius)
    assert image.sum() == pytest.approx(100)
    rows, columns = np.indices(image.shape)
    # A pixel's cover is taken from its centre's distance: exact enough, least so for the smallest disks.
    near = 0.1 if radius < 1 else 0.02
    assert (image * columns).sum() / 100 == pytest.approx(x, abs=near)
    assert (image * rows).sum() / 100 == pytest.approx(y, abs=near)


def test_a_disk_is_flat_and_has_its_area() -> None:
    image = one_disk(20.3, 15.2, 6.0)
    assert (image > image.max() / 2).sum() == pytest.approx(np.pi * 36, rel=0.05)
    assert image[15, 20] == pytest.approx(image[17, 23])


def test_what_leaves_the_detector_is_lost() -> None:
    assert 40 < one_disk(0.0, 20.0).sum() < 70
    assert one_disk(-20.0, 20.0).sum() == 0
    assert one_disk(20.0, 400.0).sum() == 0


def test_disks_go_to_their_frames_and_add_up() -> None:
    frames = render_disks(
        np.array([0, 2, 2]),
        np.array([5.0, 9.0, 9.0]),
        np.array([5.0, 9.0, 9.0]),
        np.array([10.0, 20.0, 30.0]),
        n_frames=3,
        detector_shape=(16, 16),
        radius_px=2.0,
    )
    assert frames.sum(axis=(1, 2)) == pytest.approx([10, 0, 50])


def test_the_background_is_centred_and_holds_its_electrons() -> None:
    image = diffuse_background(
        np.array([[10.0, 20.0]]), np.array([1000.0]), detector_shape=(32, 48), width_px=5.0
    )[0]
    assert image.sum() == pytest.approx(1000)
    assert np.unravel_index(image.argmax(), image.shape) == (10, 20)


def test_counts_scatter_as_poisson_says() -> None:
    counts = counted(np.full((200, 200), 7.0), np.random.default_rng(0))
    assert counts.dtype == np.uint16
    assert counts.mean() == pytest.approx(7, rel=0.01)
    assert counts.var() == pytest.approx(7, rel=0.03)
    assert counted(np.array([1e6]), np.random.default_rng(0)).tolist() == [65535]
