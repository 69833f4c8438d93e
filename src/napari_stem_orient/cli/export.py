"""The command export: a map in the formats of other tools."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stem_orient.cli.files import UsageError, reads_file, writes_file
from napari_stem_orient.cli.options import existing

if TYPE_CHECKING:
    from napari_stem_orient.steps.export import ExportChoice


def export_options(parser: argparse.ArgumentParser) -> None:
    """Which map, and which files."""
    from napari_stem_orient.io.figures import OVERVIEW, figure_kinds
    from napari_stem_orient.io.own_files import EXPORT, TABLE

    reads_file(parser, "map", type=Path, metavar="MAP.h5", help="an orientation map")
    writes_file(parser, "--ang", replaces=(EXPORT,), metavar="OUT.ang", help="EDAX .ang, for MTEX, OIM, orix")
    writes_file(parser, "--csv", replaces=(TABLE,), metavar="OUT.csv", help="a table, one row a position")
    writes_file(
        parser, "--figure", replaces=(EXPORT,), metavar="OUT.png", help="a picture with scale bar and key"
    )
    parser.add_argument(
        "--four-indices",
        action="store_true",
        help="zone axes of hexagonal and trigonal crystals in the table as [uvtw]",
    )
    parser.add_argument("--figure-kind", choices=figure_kinds(), help=f"what it shows. Default: {OVERVIEW}.")


def run_export(arguments: argparse.Namespace) -> str:
    """Write a map in the formats of other tools."""
    from napari_stem_orient.io.maps import open_orientation_map
    from napari_stem_orient.steps.export import export

    wanted = export_choices(arguments)
    orientation_map = open_orientation_map(existing(arguments.map))
    for choice, path in wanted:
        export(choice, orientation_map, path, overwrite=arguments.overwrite)
    return "\n".join(str(path) for _, path in wanted)


def export_choices(arguments: argparse.Namespace) -> list[tuple[ExportChoice, Path]]:
    """What the options choose, and the file for each."""
    from napari_stem_orient.io.figures import OVERVIEW
    from napari_stem_orient.steps.export import ExportChoice, Exported

    if arguments.four_indices and arguments.csv is None:
        raise UsageError("--four-indices has no effect without --csv: leave it out")
    if arguments.figure_kind is not None and arguments.figure is None:
        raise UsageError("--figure-kind has no effect without --figure: leave it out")
    choices = (
        (ExportChoice(what=Exported.ANG), arguments.ang),
        (ExportChoice(what=Exported.TABLE, four_indices=arguments.four_indices), arguments.csv),
        (ExportChoice(what=Exported.FIGURE, figure=arguments.figure_kind or OVERVIEW), arguments.figure),
    )
    wanted = [(choice.for_name(path), path) for choice, path in choices if path is not None]
    if not wanted:
        raise UsageError("nothing to export: give --ang, --csv or --figure")
    return wanted
