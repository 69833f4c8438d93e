"""The command demo: the simulated scan in a window; the one command that opens one."""

from __future__ import annotations

import argparse
import os
import sys

from napari_stem_orient.cli.files import writes_file
from napari_stem_orient.cli.options import PROGRAM

DEMO_FILES = ("demo-dark.png", "demo-light.png", "demo-map.h5")


def demo_options(parser: argparse.ArgumentParser) -> None:
    """Where the pictures go, and whether the window closes by itself."""
    from napari_stem_orient.io.own_files import EXPORT, MAP

    writes_file(
        parser,
        "--output",
        replaces=(EXPORT, MAP),
        folder_of=DEMO_FILES,
        metavar="FOLDER",
        help="folder to write pictures (dark and light) and the map to",
    )
    parser.add_argument("--close", action="store_true", help="close the window when the maps are finished")


def run_demo(arguments: argparse.Namespace) -> str:
    """Open napari with the simulated scan and run the main job to finished maps."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        raise RuntimeError(
            f"no display: run 'xvfb-run -a {PROGRAM} demo --output demo-output --close', as 'make demo' "
            "does, or use a desktop"
        )
    from napari_stem_orient.gui.demo import run_demo as run_in_window

    return run_in_window(output=arguments.output, close=arguments.close)
