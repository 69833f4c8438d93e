"""Open 4D-STEM scans of any format as lazy datacubes, or say why a file is none."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np

from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.frames import FrameChoice
from napari_stem_orient.core.pedestal import above_pedestal, measure_pedestal, pedestal_notes
from napari_stem_orient.core.scan_reading import computed
from napari_stem_orient.io.array_scans import read_npy
from napari_stem_orient.io.empad_raw import read_empad_raw
from napari_stem_orient.io.hdf5_links import hdf5_trouble
from napari_stem_orient.io.hdf5_scans import read_hdf5
from napari_stem_orient.io.missing_chunks import blanked
from napari_stem_orient.io.rosettasciio_scans import empad_xml, read_with_rosettasciio
from napari_stem_orient.io.scan_kinds import (
    FORMATS,
    HDF5_EXTENSIONS,
    SUPPORTED_EXTENSIONS,
    ZARR_EXTENSIONS,
    is_hdf5,
)
from napari_stem_orient.io.scan_layout import lay_out
from napari_stem_orient.io.scan_source import (
    DatasetInfo,
    MissingData,
    NeedsScanShape,
    ScanSource,
    UnreadableScan,
)
from napari_stem_orient.io.tiff_scans import TIFF_EXTENSIONS, read_tiff
from napari_stem_orient.io.zarr_scans import read_zarr


def open_datacube(
    path: str | Path,
    *,
    scan_shape: tuple[int, int] | None = None,
    dataset: str | None = None,
    first_frame: int | None = None,
    last_frame: int | None = None,
    lost: Sequence[int] = (),
    pedestal: float | None = None,
) -> DataCube:
    """Open a scan lazily: nothing but some patterns at its beginning, middle and end are read.

    Parameters
    ----------
    path
        File, or folder for .zarr and .zspy.
    scan_shape
        Rows and columns of the scan where the file holds a stack of patterns, or to override what it tells.
    dataset
        Name of the set of patterns where the file holds several, see `list_datasets`; the first where None.
    first_frame
        Index, from 0, of the pattern of a stack at which the scan begins. Patterns after its end are left out as
        well; without it, scan_shape must account for every pattern up to ``last_frame``.
    last_frame
        Index, from 0, of the last pattern of the scan in the stack.
    lost
        Flat, row-major positions of the scan, from 0, of which the file has no pattern: they count as missing, and
        the patterns that there are fill the others in their order.
    pedestal
        What a pixel reads that no electron has hit: it is taken from every value. Measured in the empty parts of the
        patterns where None (`measure_pedestal`); 0 for the values as they are in the file.

    Raises
    ------
    NeedsScanShape
        The file holds a stack and scan_shape is not given.
    UnreadableScan
        The file is missing, damaged, of another kind, or holds no scan; the message tells which.
    """
    path = _existing(path)
    sources = _sources(path, scan_shape=scan_shape)
    source = _chosen(sources, dataset, path)
    _refuse_other_kinds(source, path)
    with _reading(path):
        absent = None if source.find_missing is None else source.find_missing()
        for end in () if absent is not None and absent.refusal else (0, -1):
            # a truncated file shows now, and not in the middle of a long job
            computed(source.data[(end,) * (source.data.ndim - 2)])
    choice = FrameChoice(first_frame, last_frame, tuple(sorted(set(lost))))
    with _reading(path):
        scan = lay_out(source, path, scan_shape, choice, absent)
        if pedestal is None:
            known = _known_values(source, absent)
            pedestal = measure_pedestal(lay_out(known, path, scan_shape, choice, absent).data, scan.missing)
        source = replace(source, data=_counted(source.data, pedestal, absent))
        scan = lay_out(source, path, scan_shape, choice, absent)
    chosen = (source.dataset if len(sources) > 1 else "", choice.first, choice.last, choice.lost)
    return DataCube(
        data=scan.data,
        calibration=source.calibration,
        name=_name(path, source, sources),
        path=path,
        part=repr(chosen) if chosen[0] or not choice.is_whole else "",
        in_file=scan.in_file,
        missing=scan.missing,
        notes=(*source.notes, *scan.notes, *pedestal_notes(pedestal)),
        pedestal=pedestal,
    )


def _known_values(source: ScanSource, absent: MissingData | None) -> ScanSource:
    """The source with no numbers where something only stands in for data that are not there."""
    if absent is None or absent.chunks is None or source.data.dtype.kind not in "iuf":
        return source
    small = source.data.dtype.itemsize <= 2 or source.data.dtype == np.float32
    exact = source.data.astype(np.float32 if small else np.float64)
    return replace(source, data=blanked(exact, absent, np.nan))


def _counted(data: da.Array, pedestal: float, absent: MissingData | None) -> da.Array:
    """What was counted: values above the pedestal, and 0 where the file has none."""
    counted = above_pedestal(data, pedestal) if pedestal else data
    return counted if absent is None else blanked(counted, absent)


def list_datasets(path: str | Path) -> list[DatasetInfo]:
    """All sets of patterns in a file, to choose one from where there are several."""
    return [source.info for source in _sources(_existing(path)) if source.data.ndim >= 3]


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.exists():
        raise UnreadableScan(f"{path} does not exist: check the name and the folder")
    if path.is_file() and path.stat().st_size == 0:
        raise UnreadableScan(f"{path.name} is empty (0 bytes): the copy or the acquisition failed")
    if path.suffix.lower() == ".hdr" and path.with_suffix(".mib").exists():
        return path.with_suffix(".mib")
    if path.suffix.lower() == ".raw":
        with contextlib.suppress(UnreadableScan):  # known by its size then
            return empad_xml(path)
    return path


def _sources(path: Path, *, scan_shape: tuple[int, int] | None = None) -> list[ScanSource]:
    """Everything that the reader for the file's ending, or for its content, finds in it."""
    ending = path.suffix.lower()
    with _reading(path):
        if ending in ZARR_EXTENSIONS:
            return read_zarr(path)
        if ending == ".npy":
            return read_npy(path)
        if ending == ".raw":
            return read_empad_raw(path)
        if ending in TIFF_EXTENSIONS:
            return read_tiff(path)
        if ending in FORMATS and ending != ".app5":
            return read_with_rosettasciio(path, scan_shape=scan_shape)
        if is_hdf5(path):
            return _read_any_hdf5(path)
        if ending in HDF5_EXTENSIONS:
            raise UnreadableScan(_no_hdf5(path))
    known = ", ".join(sorted({*SUPPORTED_EXTENSIONS, *TIFF_EXTENSIONS}))
    raise UnreadableScan(f"{path.name}: unknown format. Scans are read from {known}")


def _no_hdf5(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(10)
    if start == b"MATLAB 5.0":
        return f"{path.name} is a MATLAB file of an older format: save it in MATLAB with the option -v7.3"
    return f"{path.name} is no HDF5 file, though its name says so"


def _read_any_hdf5(path: Path) -> list[ScanSource]:
    from napari_stem_orient.io.maps import is_orientation_map_file
    from napari_stem_orient.io.peaks import is_peaks_file

    if path.suffix.lower() == ".app5":
        return read_with_rosettasciio(path)
    sources = read_hdf5(path)
    if not sources and is_peaks_file(path):
        raise UnreadableScan(f"{path.name} holds Bragg peaks and no patterns: open it as peaks")
    if not sources and is_orientation_map_file(path):
        raise UnreadableScan(f"{path.name} holds an orientation map and no patterns: open it as a map")
    return sources


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever a reader raises into words for a microscopist; readers' warnings are not shown."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # what rosettasciio would read on from a file of another kind has any size
            warnings.filterwarnings("error", message="Blockfile has unrecognized header")
            yield
    except (UnreadableScan, NeedsScanShape):
        raise
    except ModuleNotFoundError as error:
        raise UnreadableScan(
            f"{path.name} needs the package {error.name}: pip install {error.name}"
        ) from error
    except Exception as error:  # readers of foreign files raise anything
        if isinstance(error, OSError) and str(error).startswith(path.name):
            raise UnreadableScan(str(error)) from error  # in words already
        raise UnreadableScan(_explanation(path, error)) from error


def _explanation(path: Path, error: Exception) -> str:
    text = " ".join(str(error).split())
    lowered = text.lower()
    if trouble := hdf5_trouble(error):
        return f"{path.name} cannot be read: it is a file {trouble}"
    if isinstance(error, PermissionError):
        return f"{path.name} may not be read: check the permissions of the file"
    if isinstance(error, FileNotFoundError):
        missing = Path(str(error.filename)).name if error.filename else text
        return f"{path.name} refers to {missing}, which is missing: keep all files of a scan in one folder"
    if "part 000" in lowered:
        first = f"{path.stem[:-3]}000{path.suffix}"
        return f"{path.name} is a later part of a TVIPS recording: open its first part, {first}"
    if "imagecodecs" in lowered:
        return (
            f"{path.name} is compressed in a way that needs the package imagecodecs: pip install imagecodecs"
        )
    if isinstance(error, MemoryError):
        return f"{path.name} asks for more memory than there is: it is damaged or of another format"
    truncated = (
        "truncated",
        "mmap length",
        "buffer is smaller",
        "beyond end",
        "end of file",
        "eof",
        "addr overflow",
    )
    if any(word in lowered for word in truncated):
        return f"{path.name} ends before its last pattern: it is truncated, or still being copied"
    return (
        f"{path.name} cannot be read as {path.suffix or 'a scan'}: it is damaged, incomplete or of another "
        f"format ({type(error).__name__}: {text[:200]})"
    )


def _chosen(sources: list[ScanSource], dataset: str | None, path: Path) -> ScanSource:
    """The source asked for, or else the first that looks most like a scan."""
    if not sources:
        raise UnreadableScan(f"{path.name} holds no stack of patterns: no array in it has three or four axes")
    if dataset is None:
        return max(sources, key=lambda source: (source.kind == "patterns", min(source.data.ndim, 4)))
    for source in sources:
        if source.dataset == dataset:
            return source
    known = ", ".join(repr(source.dataset) for source in sources)
    raise UnreadableScan(f"{path.name} has no dataset {dataset!r}; it has {known}")


def _refuse_other_kinds(source: ScanSource, path: Path) -> None:
    shape = " x ".join(str(int(size)) for size in source.data.shape)
    kind = source.data.dtype.kind
    if source.kind != "patterns":
        raise UnreadableScan(
            f"{path.name} holds {source.kind} (EELS or EDX, {shape}) and no diffraction patterns"
        )
    if kind == "O":
        raise UnreadableScan(
            f"{path.name} holds lists of varying length ({shape}) and no diffraction patterns"
        )
    if kind == "b":
        raise UnreadableScan(f"{path.name} holds masks (true or false, {shape}) and no diffraction patterns")
    if kind not in "iuf":
        raise UnreadableScan(
            f"{path.name} holds {source.data.dtype} values ({shape}); patterns must be real numbers"
        )
    if source.data.ndim < 2:
        raise UnreadableScan(f"{path.name} holds a single row of {shape} values and no diffraction patterns")


def _name(path: Path, source: ScanSource, sources: list[ScanSource]) -> str:
    """The file's name, with the dataset's where there are several."""
    if len(sources) == 1:
        return path.stem
    parts = [part for part in source.dataset.split("/") if part not in ("", "data", "datacube")]
    return f"{path.stem} {parts[-1] if parts else source.dataset}"
