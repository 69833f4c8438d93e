"""Export: what is written into a file, and of which kind; and the writing of it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from napari_stem_orient.core.bragg_peaks import BraggPeaks
from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.orientation_map import OrientationMap
from napari_stem_orient.io.figures import FIGURE_SUFFIXES, OVERVIEW, figure_kinds
from napari_stem_orient.io.maps import MAP_ENDINGS
from napari_stem_orient.steps.choice import Choice

Result = BraggPeaks | OrientationMap


class Exported(StrEnum):
    """What can be written into a file."""

    MAP = "map"
    PEAKS = "peaks"
    ANG = "ang"
    TABLE = "table"
    FIGURE = "figure"


ENDINGS: dict[Exported, tuple[str, ...]] = {
    Exported.MAP: MAP_ENDINGS,
    Exported.PEAKS: (".h5", ".hdf5", ".emd"),
    Exported.ANG: (".ang",),
    Exported.TABLE: (".csv",),
    Exported.FIGURE: FIGURE_SUFFIXES,
}
"""How the names of files end; the first is the usual one."""


class ExportChoice(Choice):
    """One file that a result is written into."""

    step: ClassVar[str] = "export"

    what: Exported = Field(
        default=Exported.MAP,
        title="What",
        description="map: HDF5 that orix opens, and this program again; peaks: Bragg peaks as py4DSTEM BraggVectors; "
        "ang: for EBSD programs (EDAX / OIM, MTEX); table: CSV, one row for each scan position; figure: a picture with "
        "scale bar and colour key.",
    )
    figure: str = Field(
        default=OVERVIEW,
        title="Figure",
        description="What a figure shows: overview, or one kind of map.",
    )
    four_indices: bool = Field(
        default=False,
        title="Four indices",
        description="Zone axes of hexagonal and trigonal crystals in a table as [uvtw].",
    )
    ending: str = Field(
        default="",
        title="Ending",
        description="How the file's name ends (.png, .pdf); as usual where none is given.",
    )

    @field_validator("figure")
    @classmethod
    def _known(cls, figure: str) -> str:
        if figure not in figure_kinds():
            raise UserError(
                f"there is no figure {figure}",
                value=figure,
                fix=f"choose one of {', '.join(figure_kinds())}",
                field="figure",
            )
        return figure

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.ending and self.ending not in ENDINGS[self.what]:
            raise UserError(
                f"a {self.what} does not end in {self.ending}",
                value=self.ending,
                fix=f"choose one of {', '.join(ENDINGS[self.what])}",
                field="ending",
            )
        if self.four_indices and self.what is not Exported.TABLE:
            raise UserError(
                f"four indices are for a table, not for {self.what}",
                fix="leave them out, or write a table",
                field="four_indices",
            )
        if self.figure != OVERVIEW and self.what is not Exported.FIGURE:
            raise UserError(
                f"figure {self.figure} is not for {self.what}",
                fix="leave it out, or write a figure",
                field="figure",
            )
        return self

    def for_name(self, path: Path) -> Self:
        """The choice for a file that is named already: its ending is noted where it is another one than usual."""
        usual, *others = ENDINGS[self.what]
        suffix = path.suffix.lower()
        return self.changed(ending=suffix if suffix in others and suffix != usual else "")

    @property
    def file_ending(self) -> str:
        """How a file is called that is named after its scan: "_map.h5", "_ipf_z.png"."""
        ending = self.ending or ENDINGS[self.what][0]
        if self.what is Exported.FIGURE:
            return f"_{self.figure}{ending}"
        return ending if self.what in (Exported.ANG, Exported.TABLE) else f"_{self.what}{ending}"


def export(choice: ExportChoice, result: Result, path: Path, *, overwrite: bool = False) -> Path:
    """Write a result into a file, complete or not at all; a map or peaks that are safe leave their journal.

    Parameters
    ----------
    choice
        What is written.
    result
        A map, whole or partly done; peaks, where these are what is written.
    path
        The file, whose name ends as its kind asks.
    overwrite
        Replace a file that this program has not written.

    Raises
    ------
    UserError
        There is nothing of that kind to write.
    ValueError, OSError
        The name ends otherwise, or the file cannot be written.
    """
    from napari_stem_orient.io.figures import export_figure
    from napari_stem_orient.io.maps import export_ang, export_csv

    wants_peaks = choice.what is Exported.PEAKS
    if wants_peaks is not isinstance(result, BraggPeaks):
        there, wanted = ("a map", "peaks") if wants_peaks else ("peaks", "a map")
        raise UserError(
            f"{choice.what} is written of {wanted}, not of {there}", fix=f"choose {wanted}", field="what"
        )
    if choice.what in (Exported.MAP, Exported.PEAKS):
        save_result(result, path, overwrite=overwrite)
        return path
    assert isinstance(result, OrientationMap)
    if choice.what is Exported.ANG:
        export_ang(result, path, overwrite=overwrite)
    elif choice.what is Exported.TABLE:
        export_csv(result, path, four=choice.four_indices, overwrite=overwrite)
    else:
        export_figure(result, path, kind=choice.figure, overwrite=overwrite)
    return path


def save_result(result: Result, path: Path, *, overwrite: bool = False) -> None:
    """Write a result into a file; the journal that has kept it until now goes."""
    from napari_stem_orient.io.maps import save_orientation_map
    from napari_stem_orient.io.peaks import save_bragg_peaks
    from napari_stem_orient.runs.map_journal import remove_saved_maps
    from napari_stem_orient.runs.peaks_journal import remove_saved_peaks

    if isinstance(result, BraggPeaks):
        save_bragg_peaks(result, path, overwrite=overwrite)
        remove_saved_peaks(result)
    else:
        save_orientation_map(result, path, overwrite=overwrite)
        remove_saved_maps(result)
