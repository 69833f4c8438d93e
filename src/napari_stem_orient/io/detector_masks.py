"""Detector masks in files: .npy and .tif, as other programs write them too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.errors import UserError
from napari_stem_orient.io.atomic import complete_or_absent

MASK_ENDINGS = (".npy", ".tif", ".tiff")


def open_detector_mask(
    path: str | Path, *, detector_shape: tuple[int, int] | None = None
) -> NDArray[np.bool_]:
    """Read a mask; every value but 0 marks a pixel that is not usable.

    Parameters
    ----------
    path
        A .npy, .tif or .tiff file with one image.
    detector_shape
        (det_y, det_x) of the detector that it is for, where that is known.

    Returns
    -------
    (det_y, det_x) bool

    Raises
    ------
    UserError
        When the file holds no single image, or one of another shape.
    """
    path = Path(path)
    values = np.squeeze(_read(path))
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise UserError(
            f"{path.name} holds {values.dtype} of shape {values.shape}",
            value=values.shape,
            fix="a detector mask is one image of numbers",
            field="mask",
        )
    if detector_shape is not None and values.shape != detector_shape:
        raise UserError(
            f"{path.name} is {values.shape[0]} x {values.shape[1]} px but the detector {detector_shape[0]} x "
            f"{detector_shape[1]}",
            value=values.shape,
            fix="use a mask of this detector",
            field="mask",
        )
    return np.asarray(values != 0, dtype=np.bool_)


def save_detector_mask(mask: NDArray[np.bool_], path: str | Path, *, overwrite: bool = False) -> None:
    """Write a mask (det_y, det_x) bool: .npy as bool, .tif as 8-bit image with 255 where a pixel is not usable.

    A file that is there is replaced with ``overwrite`` alone, for it does not tell what it is.
    """
    path = Path(path)
    _check_ending(path)
    with complete_or_absent(path, overwrite=overwrite) as temporary:
        if path.suffix.lower() == ".npy":
            with temporary.open(
                "wb"
            ) as file:  # to a path, numpy adds an ending where it is not in lower case
                np.save(file, mask, allow_pickle=False)
        else:
            import tifffile

            tifffile.imwrite(temporary, np.where(mask, 255, 0).astype(np.uint8))


def _read(path: Path) -> NDArray[np.generic]:
    _check_ending(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    try:
        if path.suffix.lower() == ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        import tifffile

        return np.asarray(tifffile.imread(path))
    except Exception as error:  # readers of damaged files raise anything
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{path.name} cannot be read as an image ({text})",
            fix="it is damaged or of another format; save it again",
            field="mask",
        ) from error


def _check_ending(path: Path) -> None:
    if path.suffix.lower() not in MASK_ENDINGS:
        raise UserError(
            f"{path.name} must end in .npy or .tif to be a detector mask; name it {path.stem}.npy",
            value=path.name,
            field="mask",
        )
