"""The radial profile of a ring pattern taken apart into the rings of a crystal and a background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from napari_stem_orient.calibration.measured import Doubt, DoubtKind
from napari_stem_orient.calibration.measured_quantities import is_far_off
from napari_stem_orient.calibration.rings import Rings, crystal_rings
from napari_stem_orient.core.crystal import Crystal

Float64 = NDArray[np.float64]

#: Width of a bin of the profile in px, and fewest pixels in one.
BIN_PX = 0.5
FEWEST_PIXELS = 8

#: Powers of the radius that make the background of the whole profile, and of a part of it.
BACKGROUND_POWERS = (0, -1, -2, -3, -4, -5)
BACKGROUND_OF_PART = (0, -1, -2, -3)

#: Rings with a gap of so many widths between them are fitted apart, with so many widths around them.
APART = 3.0
MARGIN = 3.5

#: A part of the profile counts where its rings explain this much of it.
CLEAR = 0.8

#: Standard deviations of a ring in px that are tried, and the steps of the pixel size.
WIDTHS_PX = (1.0, 1.5, 2.2, 3.2, 4.5, 6.5)
STEP = 0.004

#: Scattering vectors in Å⁻¹ that the edge of a pattern may have.
LARGEST_Q = 3.0

#: A pixel size within this part of the known one is taken where it leaves no more than so many times the best one.
NEAR = 0.12
ABOUT_AS_WELL = 1.5

#: Pixel sizes nearer to each other than this part are the same answer.
SAME_SCALE = 0.03

#: Rings that are nearer to each other than this part of their width keep their ratio.
ONE_PEAK = 0.7

#: Share of the profile's structure that rings explain at least, if there are any.
LEAST_EXPLAINED = 0.3

#: Sectors that are fitted each for itself, for the uncertainty.
SECTORS = 12
FEWEST_SECTORS = 3


@dataclass(frozen=True, slots=True, eq=False)
class RingProfile:
    """What the profile says.

    Attributes
    ----------
    pixel_size, error : in Å⁻¹, the error from sectors of the pattern
    n_rings : rings of the crystal within the profile
    explained : share of the profile's structure, beyond the background, that the rings explain, 0 to 1
    far_off : whether the pixel size is another one than was known
    doubts : what is not sure about it
    """

    pixel_size: float
    error: float
    n_rings: int
    explained: float
    far_off: bool
    doubts: tuple[Doubt, ...]


class _TooFewPixels(ValueError):  # noqa: N818 - it says what is the matter
    """A pattern, or a part of one, without enough pixels for a profile."""


class _Profile:
    """Mean intensity (n,) at radii (n,) in px, each relative to itself, and what a smooth background leaves of it."""

    def __init__(self, radius: Float64, intensity: Float64, powers_of_radius: tuple[int, ...]) -> None:
        self.radius, self._intensity = radius, intensity
        powers = np.stack([(radius / radius.mean()) ** power for power in powers_of_radius], axis=1)
        self._background, _ = np.linalg.qr(powers / intensity[:, None])
        self._structure = self._beyond_background(np.ones((len(radius), 1)))[:, 0]

    def _beyond_background(self, columns: Float64) -> Float64:
        return np.asarray(columns - self._background @ (self._background.T @ columns))

    def part(self, inner: float, outer: float) -> _Profile:
        """What lies between two radii in px, with a background of its own."""
        inside = (self.radius > inner) & (self.radius < outer)
        return _Profile(self.radius[inside], self._intensity[inside], BACKGROUND_OF_PART)

    def explained(self, columns: Float64) -> float:
        """Share of the structure that rings (n, k) explain, 0 to 1."""
        return 1 - self.left(columns) / max(self.structure, 1e-30)

    @property
    def structure(self) -> float:
        """Sum of squares that the background leaves."""
        return float(self._structure @ self._structure)

    def left(self, columns: Float64) -> float:
        """Sum of squares that background and rings (n, k) leave, none of the rings negative."""
        rings = self._beyond_background(columns / self._intensity[:, None])
        size = np.maximum(np.linalg.norm(rings, axis=0), 1e-30)
        return float(optimize.nnls(rings / size, self._structure)[1] ** 2)


def fit_profile(
    pattern: Float64, radius: Float64, angle: Float64, crystal: Crystal, *, inner: float, known: float | None
) -> RingProfile:
    """Find the pixel size at which a pattern's profile is that of a crystal's rings.

    Parameters
    ----------
    pattern
        (h, w) counts.
    radius, angle
        (h, w), distance in px from the rings' centre, the ellipse taken out, and direction in rad.
    crystal
        What the pattern is of.
    inner
        Radius in px within which all is direct beam.
    known
        Pixel size in Å⁻¹, where something is known of it.

    Raises
    ------
    ValueError
        Where no ring is seen.
    """
    outer = float(np.quantile(radius[pattern > 0], 0.85))
    profile = _profile(pattern, radius, inner, outer)
    rings = crystal_rings(crystal, q_max=1.3 * LARGEST_Q)
    start, width, doubts = _search(profile, rings, outer, known)
    size, width = _refined(profile, rings, start, width)
    explained = profile.explained(_peaks(profile, rings, size, width))
    if explained < LEAST_EXPLAINED:
        raise ValueError(
            f"no rings of {crystal.name} are seen in the pattern: is it the right crystal, and a ring pattern?"
        )
    error = _error_of_sectors(pattern, radius, angle, rings, (inner, outer), (size, width))
    in_sight = (rings.q / size > inner) & (rings.q / size < outer)
    parts = _sizes_of_parts(profile, rings, size, width)
    if len(parts) > 1:
        # each part has a background and a width of its own, which the profile as a whole has not
        size = float(np.median(parts))
        error = float(np.fmax(error, np.std(parts, ddof=1) / np.sqrt(len(parts))))
    return RingProfile(size, error, int(in_sight.sum()), float(explained), is_far_off(start, known), doubts)


def _error_of_sectors(
    pattern: Float64,
    radius: Float64,
    angle: Float64,
    rings: Rings,
    reach: tuple[float, float],
    start: tuple[float, float],
) -> float:
    """Standard error of the pixel size, from sectors of the pattern; NaN where there are fewer than three.

    Sectors behind a beam stop, or beyond the edge of a detector that the beam is not in the middle of, tell nothing.
    """
    number = np.floor((angle / (2 * np.pi) + 0.5) * SECTORS).astype(int) % SECTORS
    sizes = []
    for sector in range(SECTORS):
        try:
            profile = _profile(np.where(number == sector, pattern, 0.0), radius, *reach)
        except _TooFewPixels:
            continue
        sizes.append(_refined(profile, rings, *start)[0])
    return float(np.std(sizes) / np.sqrt(len(sizes))) if len(sizes) >= FEWEST_SECTORS else float("nan")


def _sizes_of_parts(profile: _Profile, rings: Rings, size: float, width: float) -> list[float]:
    """Pixel size in Å⁻¹ from each group of rings that stands apart from the others."""
    place = rings.q / size
    place = place[(place > profile.radius[0] + width) & (place < profile.radius[-1] - width)]
    sizes = []
    for group in np.split(place, np.flatnonzero(np.diff(place) > APART * width) + 1):
        if not len(group):
            continue
        part = profile.part(group[0] - MARGIN * width, group[-1] + MARGIN * width)
        if len(part.radius) < 4 * len(BACKGROUND_OF_PART):
            continue
        found, width_there = _refined(part, rings, size, width)
        if part.explained(_peaks(part, rings, found, width_there)) > CLEAR:
            sizes.append(found)
    return sizes


def _profile(pattern: Float64, radius: Float64, inner: float, outer: float) -> _Profile:
    """Profile between two radii; empty pixels are left out, and bright ones count four times the mean at most."""
    inside = (pattern > 0) & (radius > inner) & (radius < outer)
    bins = np.floor(radius[inside] / BIN_PX).astype(np.int64)
    count = np.bincount(bins)
    enough = count >= FEWEST_PIXELS
    if enough.sum() < 4 * len(BACKGROUND_POWERS):
        raise _TooFewPixels("the pattern has too few pixels beyond its direct beam: is it a ring pattern?")
    mean = np.bincount(bins, weights=pattern[inside]) / np.maximum(count, 1)
    value = np.bincount(bins, weights=np.minimum(pattern[inside], 4 * mean[bins]))[enough] / count[enough]
    middle = np.bincount(bins, weights=radius[inside])[enough] / count[enough]
    return _Profile(middle, value, BACKGROUND_POWERS)


def _search(
    profile: _Profile, rings: Rings, outer: float, known: float | None
) -> tuple[float, float, tuple[Doubt, ...]]:
    """Pixel size, width of the rings in px, and what is doubtful: rings as strong as a powder's, or falling off."""
    sizes = np.exp(np.arange(np.log(1.3 * rings.q[0] / outer), np.log(LARGEST_Q / outer), STEP))
    left = np.array(
        [[profile.left(_powder(profile, rings, size, width)) for size in sizes] for width in WIDTHS_PX]
    )
    width = np.array(WIDTHS_PX)[left.argmin(axis=0)]
    left = left.min(axis=0)
    best = int(left.argmin())
    if known is not None:
        near = np.abs(np.log(sizes / known)) < NEAR
        if near.any() and left[near].min() < ABOUT_AS_WELL * left[best]:
            best = int(np.flatnonzero(near)[left[near].argmin()])
    others = np.where(np.abs(np.log(sizes / sizes[best])) > SAME_SCALE, left, np.inf)
    rival = int(others.argmin())
    doubts = []
    if others[rival] < ABOUT_AS_WELL * left[best]:
        doubts.append(Doubt(DoubtKind.RIVAL_PIXEL_SIZE, float(sizes[rival])))
    if is_far_off(sizes[best], known):
        doubts.append(Doubt(DoubtKind.PIXEL_SIZE_FAR_OFF, known))
    return float(sizes[best]), float(width[best]), tuple(doubts)


def _refined(profile: _Profile, rings: Rings, size: float, width: float) -> tuple[float, float]:
    """Pixel size and width in px, near a start, at which rings of any strength leave least."""

    def left(logarithms: Float64) -> float:
        trial = float(np.exp(logarithms[0])), float(np.exp(np.clip(logarithms[1], -0.5, 2.5)))
        return profile.left(_peaks(profile, rings, *trial))

    start = np.log([size, width])
    simplex = start + np.array([[-0.004, 0.0], [0.004, -0.1], [0.0, 0.15]])
    found = optimize.fmin(left, start, xtol=1e-5, ftol=1e-9, maxfun=120, disp=False, initial_simplex=simplex)
    return float(np.exp(found[0])), float(np.exp(np.clip(found[1], -0.5, 2.5)))


def _bells(profile: _Profile, rings: Rings, size: float, width: float) -> tuple[Float64, Float64]:
    """Gaussians (n, k) at the rings that lie within the profile, and their q (k,)."""
    place = rings.q / size
    seen = (place > profile.radius[0] - width) & (place < profile.radius[-1] + width)
    distance = (profile.radius[:, None] - place[seen]) / width
    return np.exp(-0.5 * distance**2) * rings.intensity[seen], rings.q[seen]


def _powder(profile: _Profile, rings: Rings, size: float, width: float) -> Float64:
    """(n, 2): all rings as strong as kinematic diffraction has them, and the same growing with q²."""
    bells, q = _bells(profile, rings, size, width)
    return np.stack([bells.sum(axis=1), bells @ q**2], axis=1)


def _peaks(profile: _Profile, rings: Rings, size: float, width: float) -> Float64:
    """(n, k): a column for each ring; rings that the width does not separate share one."""
    bells, q = _bells(profile, rings, size, width)
    if not len(q):
        return np.zeros((len(profile.radius), 1))
    number = np.concatenate([[0], np.cumsum(np.diff(q) / size > ONE_PEAK * width)])
    return np.stack([bells[:, number == peak].sum(axis=1) for peak in range(number[-1] + 1)], axis=1)
