"""Virtual images and virtual diffraction in files: py4DSTEM's HDF5, TIFF, and NumPy's own format."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.io.atomic import complete_or_absent
from napari_stem_orient.io.emd_tree import begin_emd_tree, emd_group
from napari_stem_orient.io.file_arrays import import_h5py
from napari_stem_orient.io.own_files import EXPORT, IMAGES
from napari_stem_orient.virtual.diffraction import VirtualDiffraction
from napari_stem_orient.virtual.images import VirtualImages

IMAGE_ENDINGS = (".h5", ".hdf5", ".emd", ".npy", ".tif", ".tiff")

_Axis = tuple[str, float, str]  # name, step, units


@dataclass(frozen=True, slots=True, eq=False)
class _Pictures:
    """What goes into one file.

    Attributes
    ----------
    stack : (n, h, w) float32
    names : of each picture
    axes : of rows and of columns
    kind : py4DSTEM's class of such a picture
    made : what made all of them; JSON-able
    detectors : the virtual detector of each, JSON-able; None where there is none
    region : (scan_y, scan_x) bool; the positions that they are of, None where of all
    """

    stack: NDArray[np.float32]
    names: Sequence[str]
    axes: Sequence[_Axis]
    kind: str
    made: dict[str, Any]
    detectors: Sequence[dict[str, Any]] | None = None
    region: NDArray[np.bool_] | None = None


def save_virtual_images(images: VirtualImages, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write virtual images, in a format that the ending of ``path`` names.

    ``.h5``: one RealSlice an image, which py4DSTEM reads, with the detector that made it. ``.tif``: float32, one page
    an image, as ImageJ reads it. ``.npy``: (n_images, scan_y, scan_x) float32, without a word on what made it.
    With ``overwrite`` they replace a file of somebody else, but for one that an open scan is read from.
    """
    steps = images.calibration.scan_steps_nm
    pictures = _Pictures(
        images.images,
        names=[detector.name for detector in images.detectors],
        axes=[
            (name, step, "nm" if steps else "pixels")
            for name, step in zip(("Ry", "Rx"), steps or (1.0, 1.0), strict=True)
        ],
        kind="RealSlice",
        made={
            **_provenance(images),
            "origin_px": images.origin_px,
            "n_masked": images.n_masked,
            "n_invalid": images.n_invalid,
        },
        detectors=[detector.model_dump(mode="json") for detector in images.detectors],
    )
    return _save(pictures, Path(path), overwrite=overwrite)


def save_virtual_diffraction(
    diffraction: VirtualDiffraction, path: str | Path, *, overwrite: bool = False
) -> Path:
    """Write the mean and the maximum pattern of a region, as `save_virtual_images` writes images.

    ``.h5`` holds the region, too, as the dataset "region".
    """
    size = diffraction.calibration.pixel_size_inv_angstrom
    pictures = _Pictures(
        np.stack([diffraction.mean, diffraction.maximum]),
        names=["mean", "maximum"],
        axes=[(name, size or 1.0, "A^-1" if size else "pixels") for name in ("Qy", "Qx")],
        kind="DiffractionSlice",
        made={
            **_provenance(diffraction),
            "n_positions": diffraction.n_positions,
            "origin_px": diffraction.origin_px,
        },
        region=diffraction.region,
    )
    return _save(pictures, Path(path), overwrite=overwrite)


def _save(pictures: _Pictures, path: Path, *, overwrite: bool) -> Path:
    ending = path.suffix.lower()
    if ending not in IMAGE_ENDINGS:
        raise ValueError(f"{path.name} must end in {', '.join(IMAGE_ENDINGS)}; name it {path.stem}.h5")
    with complete_or_absent(path, replaces=(IMAGES, EXPORT), overwrite=overwrite) as temporary:
        if ending == ".npy":
            # to a path, numpy adds an ending where it is not in lower case
            with temporary.open("wb") as file:
                np.save(file, pictures.stack, allow_pickle=False)
        elif ending in (".tif", ".tiff"):
            _write_tiff(temporary, pictures)
        else:
            _write_emd(temporary, pictures)
    return path


def _write_tiff(path: Path, pictures: _Pictures) -> None:
    import tifffile

    (_, down, units), (_, along, _) = pictures.axes
    made = {**pictures.made, "detectors": pictures.detectors}
    tifffile.imwrite(
        path,
        pictures.stack,
        imagej=True,
        resolution=(1 / along, 1 / down),
        metadata={"axes": "CYX", "unit": units, "Labels": list(pictures.names), "Info": json.dumps(made)},
    )


def _write_emd(path: Path, pictures: _Pictures) -> None:
    """EMD 1.0 tree with one two-dimensional array an image at its root."""
    with import_h5py().File(path, "w") as file:
        root = begin_emd_tree(file, "virtual_root")
        file.attrs["made"] = json.dumps(pictures.made)
        if pictures.region is not None:
            file.create_dataset("region", data=pictures.region)
        for index, name in enumerate(_group_names(pictures.names)):
            group = emd_group(root, name, "array", pictures.kind)
            if pictures.detectors is not None:
                group.attrs["virtual_detector"] = json.dumps(pictures.detectors[index])
            group.create_dataset("data", data=pictures.stack[index]).attrs["units"] = "intensity"
            for number, (title, step, units) in enumerate(pictures.axes):
                dimension = group.create_dataset(f"dim{number}", data=np.array([0.0, step]))
                dimension.attrs.update(name=title, units=units)


def _group_names(names: Sequence[str]) -> list[str]:
    """Names that an HDF5 group can have, each once: those that are alike get numbers."""
    plain = [re.sub(r"[/.\x00]+", "_", name).strip() or "image" for name in names]
    taken, found = set(plain), []
    for name in plain:
        numbered = (f"{name} {number}" for number in itertools.count(1))
        found.append(name if plain.count(name) == 1 else next(each for each in numbered if each not in taken))
        taken.add(found[-1])
    return found


def _provenance(source: VirtualImages | VirtualDiffraction) -> dict[str, Any]:
    calibration: Calibration = source.calibration
    return {
        "software": "napari-stem-orient",
        "name": source.name,
        "source_fingerprint": source.source_fingerprint,
        "software_version": source.software_version,
        "calibration": calibration.model_dump(mode="json"),
    }
