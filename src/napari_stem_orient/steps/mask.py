"""Which detector pixels are not used: the choice, what a sample of the scan shows, and the mask that follows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_stem_orient.core.errors import UserError
from napari_stem_orient.steps.choice import Choice

if TYPE_CHECKING:
    from napari_stem_orient.detection.bad_pixels import BadPixels, Saturation

Mask = NDArray[np.bool_]
"""(det_y, det_x) bool; True where a pixel is not usable."""


class MaskChoice(Choice):
    """Which detector pixels are left out: all that is named here together."""

    step: ClassVar[str] = "mask"

    found: bool = Field(
        default=True,
        title="Bad pixels",
        description="Leave out the hot and dead pixels that are found in a sample of the scan.",
    )
    beam_stop: bool = Field(
        default=False,
        title="Beam stop",
        description="Leave out the beam stop that is found in a sample of the scan.",
    )
    file: Path | None = Field(
        default=None,
        title="Mask file",
        description="Leave out the pixels of a mask: a .npy or .tif image of the detector, not 0 where a pixel is not "
        "usable.",
    )
    fingerprint: str = Field(
        default="",
        title="Fingerprint",
        description="Digest of the mask in the file, or of one that was painted and is in no file yet.",
    )

    @property
    def kind(self) -> Literal["found", "none", "file", "painted"]:
        """Where the mask comes from, in a word."""
        if self.file is not None:
            return "file"
        if self.fingerprint:
            return "painted"
        return "found" if self.found or self.beam_stop else "none"


NO_MASK = MaskChoice(found=False)


@dataclass(frozen=True, slots=True, eq=False)
class FoundMask:
    """Pixels of a detector that are not usable, as a sample of the scan shows.

    ``bad``: hot and dead pixels; ``beam_stop``: (det_y, det_x) bool; ``saturation``: the limit that the direct beam
    reaches, or None.
    """

    bad: BadPixels
    beam_stop: Mask
    saturation: Saturation | None


def find_mask(frames: NDArray[np.generic]) -> FoundMask:
    """Look for unusable pixels in frames (n, det_y, det_x), a sample of the scan.

    A beam stop that lets nothing through looks like a dead patch, and is none: it is found beside the dead pixels and
    left out only where the user says so, because disks are seen at its half-shadowed rim.
    """
    from napari_stem_orient.detection.bad_pixels import (
        BadPixels,
        find_bad_pixels,
        find_beam_stop,
        find_saturation,
    )
    from napari_stem_orient.detection.detector_mask import fill_masked

    bad = find_bad_pixels(frames)
    saturation = find_saturation(frames, bad.mask)
    mean = np.nan_to_num(frames.mean(axis=0, dtype=np.float64), posinf=0.0, neginf=0.0).astype(np.float32)
    beam_stop = find_beam_stop(fill_masked(mean, bad.hot))
    return FoundMask(BadPixels(bad.hot, bad.dead & ~beam_stop), beam_stop, saturation)


def chosen_mask(
    choice: MaskChoice, found: FoundMask, detector_shape: tuple[int, int], *, painted: Mask | None = None
) -> Mask | None:
    """The mask that follows from a choice; None where all pixels are used.

    Parameters
    ----------
    choice
        What is left out.
    found
        What the sample of this scan shows.
    detector_shape
        (det_y, det_x) of the scan.
    painted
        The mask in no file that the choice names by its fingerprint.

    Raises
    ------
    UserError
        The file is of another detector, or no longer the one that was chosen; or the painted mask is not there.
    """
    mask = np.zeros(detector_shape, dtype=np.bool_)
    if choice.found:
        mask |= found.bad.mask
    if choice.beam_stop:
        mask |= found.beam_stop
    if choice.file is not None:
        mask |= open_mask(choice.file, detector_shape, fingerprint=choice.fingerprint)
    elif choice.fingerprint:
        mask |= _checked(painted, choice.fingerprint, detector_shape)
    return mask if mask.any() else None


def open_mask(path: Path, detector_shape: tuple[int, int] | None = None, *, fingerprint: str = "") -> Mask:
    """Read a mask from a file, and see that it is of this detector and, with a fingerprint, the one that was chosen."""
    from napari_stem_orient.core.usable_pixels import check_mask
    from napari_stem_orient.io.detector_masks import open_detector_mask

    mask = open_detector_mask(path, detector_shape=detector_shape)
    if detector_shape is not None:
        check_mask(mask, detector_shape)
    if fingerprint and mask_fingerprint(mask) != fingerprint:
        raise UserError(
            f"{path.name} has changed since it was chosen as detector mask",
            value=str(path),
            fix="choose it again, or bring the former file back",
            field="mask",
        )
    return mask


def save_mask(mask: Mask, path: Path, *, overwrite: bool = False) -> Path:
    """Write a mask to a file."""
    from napari_stem_orient.io.detector_masks import save_detector_mask

    save_detector_mask(mask, path, overwrite=overwrite)
    return path


def mask_from_file(path: Path, detector_shape: tuple[int, int] | None = None) -> MaskChoice:
    """The choice of a mask in a file, with its fingerprint, and of nothing else; of a detector, where one is known."""
    mask = open_mask(path, detector_shape)
    return MaskChoice(found=False, file=path.absolute(), fingerprint=mask_fingerprint(mask))


def painted_mask(mask: Mask | None) -> MaskChoice:
    """The choice of a mask that is in no file, by its fingerprint; of none where it masks nothing."""
    if mask is None or not mask.any():
        return NO_MASK
    return MaskChoice(found=False, fingerprint=mask_fingerprint(mask))


def mask_fingerprint(mask: Mask) -> str:
    """Digest that tells masks apart; "empty" for one that masks nothing."""
    from napari_stem_orient.detection.detector_mask import describe_mask

    described = describe_mask(mask)
    return "empty" if described is None else str(described["digest"])


def _checked(painted: Mask | None, fingerprint: str, detector_shape: tuple[int, int]) -> Mask:
    if painted is None or mask_fingerprint(painted) != fingerprint:
        raise UserError(
            f"the painted detector mask {fingerprint} is not there",
            value=fingerprint,
            fix="paint it again, or choose a mask from a file",
            field="mask",
        )
    if painted.shape != detector_shape:
        raise UserError(
            f"a mask of {painted.shape[0]} x {painted.shape[1]} px does not fit the detector of "
            f"{detector_shape[0]} x {detector_shape[1]} px",
            value=painted.shape,
            fix="use a mask of this detector",
            field="mask",
        )
    return painted
