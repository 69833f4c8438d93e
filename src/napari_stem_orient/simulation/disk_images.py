"""Diffraction patterns as images: disks with anti-aliased edges, a diffuse background and counting noise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def render_disks(
    frame: NDArray[np.int64],
    x_px: FloatArray,
    y_px: FloatArray,
    electrons: FloatArray,
    *,
    n_frames: int,
    detector_shape: tuple[int, int],
    radius_px: float,
) -> FloatArray:
    """Draw disks into frames; what falls off the detector is lost.

    Parameters
    ----------
    frame : (k,) number of the frame that each disk belongs to
    x_px, y_px : (k,) column and row of its centre
    electrons : (k,) expected electrons in the whole disk
    n_frames, detector_shape : shape of the result
    radius_px : of all disks; the edge falls over one px

    Returns
    -------
    expected : (n_frames, det_y, det_x) expected electrons; about 12 k (2 radius_px + 4)² bytes on the way
    """
    rows, columns = detector_shape
    reach = math.ceil(radius_px + 0.5)
    step = np.arange(-reach, reach + 1)
    y = np.rint(y_px).astype(np.int64)[:, None] + step
    x = np.rint(x_px).astype(np.int64)[:, None] + step
    distance = np.hypot((y - y_px[:, None])[:, :, None], (x - x_px[:, None])[:, None, :])
    covered = np.clip(radius_px + 0.5 - distance, 0.0, 1.0)
    covered *= (electrons / covered.sum(axis=(1, 2)))[:, None, None]
    inside = ((y >= 0) & (y < rows))[:, :, None] & ((x >= 0) & (x < columns))[:, None, :]
    pixel = (frame[:, None] * rows + y)[:, :, None] * columns + x[:, None, :]
    size = n_frames * rows * columns
    drawn = np.bincount(pixel[inside], weights=covered[inside], minlength=size)
    return np.asarray(drawn, dtype=np.float64).reshape(n_frames, rows, columns)


def diffuse_background(
    origin_px: FloatArray, electrons: FloatArray, *, detector_shape: tuple[int, int], width_px: float
) -> FloatArray:
    """Return a smooth background that falls off around the direct beam as (1 + r²/w²)^(-3/2).

    Parameters
    ----------
    origin_px : (m, 2) row and column of the direct beam of each frame
    electrons : (m,) expected electrons on the whole detector
    detector_shape, width_px : the shape of a frame and w

    Returns
    -------
    expected : (m, det_y, det_x) expected electrons
    """
    y = np.arange(detector_shape[0]) - origin_px[:, :1]
    x = np.arange(detector_shape[1]) - origin_px[:, 1:]
    falloff = 1.0 + (y[:, :, None] ** 2 + x[:, None, :] ** 2) / width_px**2
    falloff = 1.0 / (falloff * np.sqrt(falloff))
    falloff *= (electrons / falloff.sum(axis=(1, 2)))[:, None, None]
    return np.asarray(falloff)


def counted(expected: FloatArray, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Draw the electrons that a counting detector sees, as uint16."""
    counts = rng.poisson(expected)
    return np.minimum(counts, np.iinfo(np.uint16).max).astype(np.uint16)
