"""The command export: a map in the formats of other tools."""

from __future__ import annotations

import argparse
from pathlib import Path

from napari_stem_orient.cli.files import UsageError, reads_file, writes_file
from napari_stem_orient.cli.options import existing


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
    parser.add_argument(
        "--figure-kind",
        choices=figure_kinds(),
        default=OVERVIEW,
        help="what it shows. Default: overview.",
    )


def run_export(arguments: argparse.Namespace) -> str:
    """Write a map in the formats of other tools."""
    from napari_stem_orient.io.figures import export_figure
    from napari_stem_orient.io.maps import export_ang, export_csv, open_orientation_map

    wanted = [path for path in (arguments.ang, arguments.csv, arguments.figure) if path is not None]
    if not wanted:
        raise UsageError("nothing to export: give --ang, --csv or --figure")
    orientation_map = open_orientation_map(existing(arguments.map))
    if arguments.ang is not None:
        export_ang(orientation_map, arguments.ang, overwrite=arguments.overwrite)
    if arguments.csv is not None:
        export_csv(orientation_map, arguments.csv, four=arguments.four_indices, overwrite=arguments.overwrite)
    if arguments.figure is not None:
        export_figure(
            orientation_map, arguments.figure, kind=arguments.figure_kind, overwrite=arguments.overwrite
        )
    return "\n".join(str(path) for path in wanted)
