"""Pictures: a single image in a file that any program shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PICTURE_ENDINGS = (".tif", ".tiff", ".png")


def open_picture(path: Path) -> NDArray[Any] | None:
    """Read a picture (h, w); one in colours becomes their mean.

    Returns
    -------
    None where the file is none, or holds several.
    """
    if path.suffix.lower() not in PICTURE_ENDINGS:
        return None
    from skimage.io import imread

    image = np.asarray(imread(path))
    if image.ndim == 3 and image.shape[-1] in (3, 4):
        return np.asarray(image[..., :3].mean(axis=-1))
    return image if image.ndim == 2 else None
