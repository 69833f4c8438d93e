"""Virtual images and virtual diffraction in files: py4DSTEM's HDF5, TIFF, and NumPy's own format."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.core.virtual_diffraction import VirtualDiffraction
from napari_stem_orient.core.virtual_images import VirtualImages
from napari_stem_orient.io.atomic import complete_or_absent
from napari_stem_orient.io.emd_tree import begin_emd_tree, emd_group
from napari_stem_orient.io.file_arrays import import_h5py

IMAGE_ENDINGS = (".h5", ".hdf5", ".emd", ".npy", ".tif", ".tiff")

_Axis = tuple[str, float, str]  # name, step, units


def save_virtual_images(images: VirtualImages, path: str | Path) -> Path:
    """Write virtual images, in a format that the ending of ``path`` names.

    ``.h5``: one RealSlice an image, which py4DSTEM reads, with the detector that made it. ``.tif``: float32, one page
    an image, as ImageJ reads it. ``.npy``: (n_images, scan_y, scan_x) float32, without a word on what made it.
    """
    step = images.calibration.scan_step_nm
    axes = [(name, step or 1.0, "nm" if step else "pixels") for name in ("Ry", "Rx")]
    names = [detector.name for detector in images.detectors]
    made_of = [detector.model_dump(mode="json") for detector in images.detectors]
    made = {
        **_provenance(images),
        "origin_px": images.origin_px,
        "n_masked": images.n_masked,
        "n_invalid": images.n_invalid,
    }
    return _save(path, images.images, names=names, axes=axes, made=made, made_of=made_of, kind="RealSlice")


def save_virtual_diffraction(diffraction: VirtualDiffraction, path: str | Path) -> Path:
    """Write the mean and the maximum pattern of a region, as `save_virtual_images` writes images."""
    size = diffraction.calibration.pixel_size_inv_angstrom
    axes = [(name, size or 1.0, "A^-1" if size else "pixels") for name in ("Qy", "Qx")]
    made = {
        **_provenance(diffraction),
        "n_positions": diffraction.n_positions,
        "origin_px": diffraction.origin_px,
    }
    patterns = np.stack([diffraction.mean, diffraction.maximum])
    return _save(
        path, patterns, names=["mean", "maximum"], axes=axes, made=made, made_of=None, kind="DiffractionSlice"
    )


def _save(
    path: str | Path,
    stack: NDArray[np.float32],
    *,
    names: Sequence[str],
    axes: Sequence[_Axis],
    made: dict[str, Any],
    made_of: Sequence[dict[str, Any]] | None,
    kind: str,
) -> Path:
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in IMAGE_ENDINGS:
        raise ValueError(f"{path.name} must end in {', '.join(IMAGE_ENDINGS)}; name it {path.stem}.h5")
    with complete_or_absent(path) as temporary:
        if ending == ".npy":
            with temporary.open(
                "wb"
            ) as file:  # to a path, numpy adds an ending where it is not in lower case
                np.save(file, stack, allow_pickle=False)
        elif ending in (".tif", ".tiff"):
            _write_tiff(temporary, stack, names, axes, {**made, "detectors": made_of})
        else:
            _write_emd(temporary, stack, names, axes, made, made_of, kind)
    return path


def _write_tiff(
    path: Path,
    stack: NDArray[np.float32],
    names: Sequence[str],
    axes: Sequence[_Axis],
    made: dict[str, Any],
) -> None:
    import tifffile

    _, step, units = axes[0]
    tifffile.imwrite(
        path,
        stack,
        imagej=True,
        resolution=(1 / step, 1 / step),
        metadata={"axes": "CYX", "unit": units, "Labels": list(names), "Info": json.dumps(made)},
    )


def _write_emd(
    path: Path,
    stack: NDArray[np.float32],
    names: Sequence[str],
    axes: Sequence[_Axis],
    made: dict[str, Any],
    made_of: Sequence[dict[str, Any]] | None,
    kind: str,
) -> None:
    """EMD 1.0 tree with one two-dimensional array an image at its root."""
    with import_h5py().File(path, "w") as file:
        root = begin_emd_tree(file, "virtual_root")
        file.attrs["made"] = json.dumps(made)
        for index, name in enumerate(_group_names(names)):
            group = emd_group(root, name, "array", kind)
            if made_of is not None:
                group.attrs["virtual_detector"] = json.dumps(made_of[index])
            group.create_dataset("data", data=stack[index]).attrs["units"] = "intensity"
            for number, (title, step, units) in enumerate(axes):
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
        "name": source.name,
        "source_fingerprint": source.source_fingerprint,
        "software_version": source.software_version,
        "calibration": calibration.model_dump(mode="json"),
    }
