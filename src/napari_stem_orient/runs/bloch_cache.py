"""Libraries of dynamical patterns kept in the user's cache: one that was simulated before is read, not made again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.progress import Progress
from napari_stem_orient.io.atomic import complete_or_absent
from napari_stem_orient.simulation.bloch_library import (
    SIMULATION_VERSION,
    BlochLibrary,
    BlochParameters,
    LibraryProgress,
    build_bloch_library,
)

#: All libraries together take no more than this; the one that was not used for the longest time goes first.
LARGEST_CACHE_BYTES = 2 * 10**9

_LOGGER = logging.getLogger(__name__)

# A number that changes with the content of the files.
_FORMAT_VERSION = 1
_ARRAYS = ("rotation", "member", "wavelength", "q", "intensity", "thickness_angstrom")


def cached_bloch_library(
    crystals: Sequence[Crystal],
    *,
    parameters: BlochParameters,
    seed: int = 0,
    device: torch.device | str = "cpu",
    folder: str | Path | None = None,
) -> Generator[LibraryProgress, None, BlochLibrary]:
    """Read a library from the cache, or simulate it as `build_bloch_library` does and keep it there.

    A file is read when it was made of the same crystals with the same parameters and seed, on the same kind of device
    and by the same version of the simulation; a damaged one is made anew. Where none can be written (the disk is full,
    the folder read-only), the library is used all the same, and the log tells why it was not kept. A file takes 60 MB
    for 24,000 zone axes, and all together take at most 2 GB; any of them may be deleted. Peak memory: twice the
    library's while it is read or written.

    Parameters
    ----------
    crystals, parameters, seed, device
        See `build_bloch_library`.
    folder
        Where the files are; in the user's cache where none is given.

    Yields
    ------
    LibraryProgress
        One when the library was read; else see `build_bloch_library`.

    Returns
    -------
    The library.
    """
    crystals = tuple(crystals)
    made_with = _made_with(crystals, parameters, seed, device)
    path = cached_library_path(folder) / f"{_key(made_with)}.npz"
    kept = _read(path, made_with, crystals, parameters)
    if kept is not None:
        yield LibraryProgress(Progress(len(kept), len(kept), "zone axes"))
        return kept
    library = yield from build_bloch_library(crystals, parameters=parameters, seed=seed, device=device)
    try:
        _keep(library, path, made_with)
    except OSError as error:
        _LOGGER.warning("the library of dynamical patterns is not kept for the next time: %s", error)
    return library


def cached_library_path(folder: str | Path | None = None) -> Path:
    """Return the folder of the libraries: in the user's cache where none is given."""
    from platformdirs import user_cache_path

    if folder is None:
        folder = user_cache_path("napari-stem-orient", appauthor=False) / "dynamical-patterns"
    return Path(folder)


def _made_with(
    crystals: tuple[Crystal, ...], parameters: BlochParameters, seed: int, device: torch.device | str
) -> str:
    """Everything that a library follows from, as JSON."""
    made_with = {
        "format": _FORMAT_VERSION,
        "simulation": SIMULATION_VERSION,
        "crystals": [crystal.fingerprint for crystal in crystals],
        "parameters": parameters.model_dump(mode="json"),
        "seed": seed,
        # Other devices round otherwise, and the same seed is to give the same model.
        "device": torch.device(device).type,
    }
    return json.dumps(made_with, sort_keys=True)


def _key(made_with: str) -> str:
    return hashlib.sha256(made_with.encode()).hexdigest()[:32]


def _read(
    path: Path, made_with: str, crystals: tuple[Crystal, ...], parameters: BlochParameters
) -> BlochLibrary | None:
    """The library in a file; None where there is none made with this, or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["recipe"]) != made_with:
                return None
            tensors: dict[str, Any] = {name: torch.from_numpy(file[name]) for name in _ARRAYS}
            mirrored = bool(file["mirrored"])
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    with suppress(OSError):  # a cache that cannot be written to is a cache all the same
        os.utime(path)
    return BlochLibrary(crystals=crystals, parameters=parameters, mirrored=mirrored, **tensors)


def _keep(library: BlochLibrary, path: Path, made_with: str) -> None:
    arrays = {name: getattr(library, name).numpy() for name in _ARRAYS}
    size = sum(array.nbytes for array in arrays.values())
    if size > LARGEST_CACHE_BYTES:
        _LOGGER.info("a library of %.1f GB is too large for the cache", size / 1e9)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    _make_room(path.parent, size)
    with complete_or_absent(path, overwrite=True) as temporary, temporary.open("wb") as file:
        np.savez(file, recipe=np.array(made_with), mirrored=np.array(library.mirrored), **arrays)


def _make_room(folder: Path, size: int) -> None:
    """Remove the files that were not used for the longest time until ``size`` more bytes fit."""
    files = [(file, file.stat()) for file in folder.glob("*.npz")]
    total = size + sum(status.st_size for _, status in files)
    for file, status in sorted(files, key=lambda entry: entry[1].st_mtime):
        if total <= LARGEST_CACHE_BYTES:
            return
        file.unlink(missing_ok=True)
        total -= status.st_size
