"""Orientation maps in files: HDF5 that orix opens as a CrystalMap and we open whole, .ang and CSV.

The sample frame of every file is that of the package: x along scan columns, y along scan rows, z the
direction in which the electrons travel. Coordinates and Euler angles share it, so a program that imports
.ang must turn neither.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.crystal_setting import CrystalSetting, orix_setting
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.map_kinds import numbers_of
from napari_stem_orient.core.one_variant import one_variant_per_grain
from napari_stem_orient.core.orientation import euler_bunge_deg
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.core.reason import Reason
from napari_stem_orient.core.zone_axes import four_indices, has_four_indices, zone_axis_off_deg, zone_axis_uvw
from napari_stem_orient.io.ang import write_ang
from napari_stem_orient.io.atomic import complete_or_absent
from napari_stem_orient.io.map_records import FIRST_ARRAYS, FIRST_HEADER, header_of, map_of
from napari_stem_orient.io.own_files import EXPORT, MAP, TABLE

if TYPE_CHECKING:
    from orix.crystal_map import CrystalMap, Phase, PhaseList

MAP_ENDINGS = (".h5", ".hdf5")
"""What the name of a saved map ends in, so that orix knows its format."""

_GROUP = "napari_stem_orient"
_FORMAT_VERSION = 2
"""2 since the candidates of every position are kept; files of format 1 open with the answer and its runner-up."""

_CHUNK_POSITIONS = 16_384

_ORIX_COLOURS = ("tab:orange", "tab:blue", "tab:green", "tab:purple", "tab:olive", "tab:red", "tab:brown")


class UnreadableMap(UserError):  # noqa: N818 - the name says what is wrong
    """A file that is no orientation map of ours; the message names the file and the fix."""


def save_orientation_map(
    orientation_map: OrientationMap, path: str | Path, *, overwrite: bool = False
) -> None:
    """Save a map with everything that made it as HDF5, complete or not at all.

    ``orix.io.load`` opens the file as a CrystalMap: rotations sample to crystal, phase_id -1 where not
    indexed, x and y in nm row by row (in positions where the scan step is not known), properties score,
    confidence_deg, phase_probability, reason, explained_disks, unexplained_disks, and other numbers of `map_kinds`.
    `open_orientation_map` restores the map with crystals, calibration, parameters, model and all candidates.

    Parameters
    ----------
    orientation_map : whole or partly done; one row will do (orix itself cannot load a single position)
    path : ends in .h5 or .hdf5
    overwrite : replace a file that holds no map of this program, but for one that an open scan is read from
    """
    import h5py
    from orix.io import save

    path = Path(path)
    if path.suffix.lower() not in MAP_ENDINGS:
        raise ValueError(
            f"{path.name} must end in .h5 or .hdf5, so that orix knows it; rename it to {path.stem}.h5"
        )
    with complete_or_absent(path, replaces=(MAP,), overwrite=overwrite) as temporary:
        save(str(temporary), crystal_map(orientation_map), overwrite=True)
        with h5py.File(temporary, "a") as file:
            write_map_group(file.create_group(_GROUP), orientation_map)


def open_orientation_map(path: str | Path) -> OrientationMap:
    """Open a map saved by `save_orientation_map`, equal in all arrays and in what made it.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    UnreadableMap
        (a ValueError) When the file is truncated, is no HDF5 or holds no map of ours.
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path of the orientation map")
    try:
        with h5py.File(path, "r") as file:
            group = file.get(_GROUP)
            if group is None or not _holds_a_map(group):
                raise UnreadableMap(
                    f"{path.name} holds no orientation map of this program; "
                    "open a map that this program has saved"
                )
            return read_map_group(group)
    except (UnreadableMap, PermissionError):
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UnreadableMap(
            f"{path.name} cannot be read as an orientation map: it is truncated, damaged or no HDF5 file; "
            "save the map again or fetch a whole copy"
        ) from error


def is_orientation_map_file(path: str | Path) -> bool:
    """Whether a file is HDF5 that holds an orientation map of ours."""
    import h5py

    path = Path(path)
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    try:
        with h5py.File(path, "r") as file:
            return _GROUP in file and "quaternion" in file[_GROUP]
    except OSError:
        return False


def crystal_map(
    orientation_map: OrientationMap, *, step: tuple[float, float] | None = None, unit: str = "nm"
) -> CrystalMap:
    """Return a map as an orix CrystalMap, row by row.

    Parameters
    ----------
    orientation_map : the map
    step : distances of neighbouring rows and of neighbouring columns in `unit`; the calibration's in nm where None
    unit : of the coordinates; "px" is written where the scan step is not known
    """
    from orix.crystal_map import CrystalMap
    from orix.quaternion import Rotation

    if step is None:
        step = orientation_map.calibration.scan_steps_nm
    if step is None:
        step, unit = (1.0, 1.0), "px"
    row, column = np.indices(orientation_map.scan_shape).reshape(2, -1)
    settings = [orix_setting(crystal) for crystal in orientation_map.crystals]
    quaternion = one_variant_per_grain(orientation_map)
    for phase, setting in enumerate(settings):
        here = orientation_map.phase_id == phase
        quaternion[here] = setting.orientations(quaternion[here])
    made = CrystalMap(
        rotations=Rotation(quaternion),
        phase_id=orientation_map.phase_id.astype(np.int64),
        x=column * step[1],
        y=row * step[0],
        phase_list=_phase_list(orientation_map, settings),
        prop={
            **{name: values.astype(np.float64) for name, values in numbers_of(orientation_map).items()},
            "reason": orientation_map.reason.astype(np.int64),
            "explained_disks": orientation_map.explained_disks.astype(np.int64),
            "unexplained_disks": orientation_map.unexplained_disks.astype(np.int64),
        },
        scan_unit=unit,
    )
    # orix drops the phases that no position has; the numbers of the others keep their meaning with all of
    # them.
    made.phases = _phase_list(orientation_map, settings)
    return made


def _phase_list(orientation_map: OrientationMap, settings: list[CrystalSetting]) -> PhaseList:
    """Return all crystals of a map as phases, and orix's "not_indexed" where there is a use for it."""
    from orix.crystal_map import PhaseList

    crystals = orientation_map.crystals
    phases = PhaseList(
        {index: _phase(crystal, settings[index], index) for index, crystal in enumerate(crystals)}
    )
    if not orientation_map.indexed.all():
        phases.add_not_indexed()
    return phases


def _phase(crystal: Crystal, setting: CrystalSetting, index: int) -> Phase:
    """Return a crystal as a phase whose symmetry is that of the Laue class, with which the map was made.

    A space group would bring orix's point group of that number, which may be another (a subgroup of the Laue
    class) or have its axes elsewhere: it is given only where it says the same.
    """
    from orix.crystal_map import Phase
    from orix.quaternion.symmetry import get_point_group

    says_the_same = setting.is_own and get_point_group(crystal.space_group).name == setting.symmetry.name
    return Phase(
        name=crystal.name,
        space_group=crystal.space_group if says_the_same else None,
        point_group=setting.symmetry,
        structure=setting.structure(crystal),
        color=_ORIX_COLOURS[index % len(_ORIX_COLOURS)],
    )


def export_ang(orientation_map: OrientationMap, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a map as EDAX .ang, which MTEX, OIM and orix read.

    Coordinates are in µm, as all readers of .ang take them (1 per position where the scan step is not
    known; five decimals, 0.01 nm). Euler angles are Bunge's in radians, the same of the symmetric
    equivalents throughout a grain. Phases count from 1 in the order of the map's crystals; their symmetry
    is EDAX's code of the Laue class, in a cell with the axes that the code has. Image quality and confidence
    index hold the score, fit the expected error in degrees (180 where unknown). Where not indexed: phase 0,
    angles 4 pi, confidence index -1, fit 180. With ``overwrite`` it replaces a file that this program has not written.
    """
    path = _with_suffix(path, ".ang")
    if not orientation_map.crystals:
        raise ValueError("the map has no crystals, which .ang cannot hold; index the scan first")
    with (
        complete_or_absent(path, replaces=(EXPORT,), overwrite=overwrite) as temporary,
        temporary.open("w", encoding="ascii") as file,
    ):
        write_ang(orientation_map, file)


def export_csv(
    orientation_map: OrientationMap, path: str | Path, *, four: bool = False, overwrite: bool = False
) -> None:
    """Write a map as a table, one row a scan position, UTF-8, with a header.

    Columns: y, x (scan position), y_nm, x_nm, phase (crystal's name), q_w to q_z (sample to crystal, the same
    of the symmetric equivalents throughout a grain), phi1_deg, Phi_deg, phi2_deg (Bunge), u, v, w (zone axis
    toward the gun), zone_axis_off_deg (its angle to the exact direction), score, confidence_deg,
    phase_probability, explained_disks, unexplained_disks (empty where neither was counted), reason. Cells that
    are not known, or where nothing is indexed, are empty.

    Parameters
    ----------
    orientation_map : the map
    path : ends in .csv
    four : zone axes with four indices u, v, t, w; t is empty for crystals that have three
    overwrite : replace a file that is no table of this program, but for one that an open scan is read from
    """
    import csv

    columns = _table(orientation_map, four=four)
    with (
        complete_or_absent(_with_suffix(path, ".csv"), replaces=(TABLE,), overwrite=overwrite) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _table(orientation_map: OrientationMap, *, four: bool) -> dict[str, list[Any]]:
    """Return the columns of the CSV file, each of length n."""
    steps_nm = orientation_map.calibration.scan_steps_nm
    indexed = orientation_map.indexed
    row, column = np.indices(orientation_map.scan_shape).reshape(2, -1)
    nothing = [""] * orientation_map.n_positions
    names = np.array([*(crystal.name for crystal in orientation_map.crystals), ""], dtype=object)
    columns: dict[str, list[Any]] = {
        "y": row.tolist(),
        "x": column.tolist(),
        "y_nm": nothing if steps_nm is None else _cells(row * steps_nm[0]),
        "x_nm": nothing if steps_nm is None else _cells(column * steps_nm[1]),
        "phase": names[orientation_map.phase_id].tolist(),
    }
    quaternion = one_variant_per_grain(orientation_map)
    for name, values in zip(("q_w", "q_x", "q_y", "q_z"), quaternion.T, strict=True):
        columns[name] = _cells(values, where=indexed)
    euler = euler_bunge_deg(quaternion)
    for name, values in zip(("phi1_deg", "Phi_deg", "phi2_deg"), euler.T, strict=True):
        columns[name] = _cells(values, where=indexed, decimals=4)
    columns.update(_zone_axis_columns(orientation_map, quaternion, four=four))
    for name, values in numbers_of(orientation_map).items():
        columns[name] = _cells(values, where=indexed)
    counted = orientation_map.explained_disks.astype(int) + orientation_map.unexplained_disks > 0
    for name in ("explained_disks", "unexplained_disks"):
        values = getattr(orientation_map, name).astype(object)
        values[~counted] = ""
        columns[name] = values.tolist()
    sentences = np.array([reason.sentence for reason in Reason], dtype=object)
    columns["reason"] = sentences[orientation_map.reason].tolist()
    return columns


def _zone_axis_columns(
    orientation_map: OrientationMap, quaternion: NDArray[np.float64], *, four: bool
) -> dict[str, list[Any]]:
    """Return the indices of the zone axes of orientations (n, 4), and how far off they are."""
    indices = np.full((orientation_map.n_positions, 4), "", dtype=object)
    off = np.full(orientation_map.n_positions, np.nan)
    for phase, crystal in enumerate(orientation_map.crystals):
        here = np.flatnonzero(orientation_map.phase_id == phase)
        uvw = zone_axis_uvw(quaternion[here], crystal)
        off[here] = zone_axis_off_deg(quaternion[here], crystal, uvw)
        has_four = four and has_four_indices(crystal)
        columns = (0, 1, 2, 3) if has_four else (0, 1, 3)
        indices[here[:, None], columns] = four_indices(uvw) if has_four else uvw
    named = dict(zip("uvtw", (values.tolist() for values in indices.T), strict=True))
    if not four:
        del named["t"]
    return {**named, "zone_axis_off_deg": list(_cells(off, decimals=2))}


def _cells(
    values: NDArray[Any], *, where: NDArray[np.bool_] | None = None, decimals: int = 6
) -> list[float | str]:
    """Return numbers (n,) rounded for a table, and empty text where they are not finite or not wanted."""
    wanted = np.isfinite(values) if where is None else np.isfinite(values) & where
    cells = np.full(len(values), "", dtype=object)
    cells[wanted] = np.round(values[wanted].astype(np.float64), decimals)
    return list(cells)


def _with_suffix(path: str | Path, suffix: str) -> Path:
    """Return the path, refused where it does not end as its format asks."""
    path = Path(path)
    if path.suffix.lower() != suffix:
        raise ValueError(f"{path.name} must end in {suffix}; rename it to {path.stem}{suffix}")
    return path


def _holds_a_map(group: Any) -> bool:
    """Whether a group has what every map has had: of files of a later format, that is not asked."""
    if _format_of(group) > _FORMAT_VERSION:
        return True
    arrays = FIRST_ARRAYS if _format_of(group) < 2 else OrientationMap.array_names()
    return all(_place(name) in group for name in (*arrays, *FIRST_HEADER, "scan_shape"))


def _format_of(group: Any) -> int:
    return int(group.attrs.get("format_version", 0))


def _place(name: str) -> str:
    """Where an array lies in the group: "solutions.score" at solutions/score."""
    return name.replace(".", "/")


def write_map_group(group: Any, orientation_map: OrientationMap) -> None:
    """Write a map, and what made it, into an HDF5 group, from which `read_map_group` reads it."""
    group.attrs["format_version"] = _FORMAT_VERSION
    group.create_dataset("scan_shape", data=np.array(orientation_map.scan_shape, dtype=np.int64))
    for name, values in orientation_map.arrays().items():
        group.create_dataset(_place(name), data=values, **_packing(values))
    for name, value in header_of(orientation_map).items():
        group.create_dataset(name, data=json.dumps(value, default=str))


def _packing(values: NDArray[Any]) -> dict[str, Any]:
    """How an array is laid down: in chunks of whole positions, so that a part can be read by itself; compressed."""
    if values.size < 2:
        return {}
    chunks = (min(len(values), _CHUNK_POSITIONS), *values.shape[1:])
    return {"chunks": chunks, "compression": "gzip", "compression_opts": 1, "shuffle": True}


def read_map_group(group: Any) -> OrientationMap:
    """Read the map of an HDF5 group; UnreadableMap where it is of a later version of this program."""
    version = _format_of(group)
    if version > _FORMAT_VERSION:
        raise UnreadableMap(
            f"{Path(group.file.filename).name} was saved by a newer version of this program "
            f"(format {version}, this one knows {_FORMAT_VERSION}); update napari-stem-orient"
        )
    found = {
        place.replace("/", "."): dataset[()] for place, dataset in _datasets(group) if place != "scan_shape"
    }
    header = {name: json.loads(value) for name, value in found.items() if isinstance(value, bytes)}
    arrays = {name: np.asarray(value) for name, value in found.items() if name not in header}
    scan_y, scan_x = (int(value) for value in group["scan_shape"][()])
    return map_of(header, (scan_y, scan_x), arrays)


def _datasets(group: Any) -> list[tuple[str, Any]]:
    """All datasets below a group by their places in it."""
    found: list[tuple[str, Any]] = []
    group.visititems(lambda place, item: found.append((place, item)) if hasattr(item, "dtype") else None)
    return found
