"""The command recipe: what was decided to make a result, or what a recipe says, to be read or saved."""

from __future__ import annotations

import argparse
from pathlib import Path

from napari_stem_orient.cli.files import reads_file, writes_file


def recipe_options(parser: argparse.ArgumentParser) -> None:
    """Which file, and where the recipe goes."""
    from napari_stem_orient.io.own_files import RECIPE

    reads_file(
        parser, "file", type=Path, metavar="FILE", help="a map or Bragg peaks (.h5), or a recipe (.yaml)"
    )
    writes_file(
        parser,
        "--output",
        replaces=(RECIPE,),
        endings=(".yaml", ".yml"),
        metavar="RECIPE.yaml",
        help="save it there, with files named from that folder, instead of printing it",
    )


def run_recipe(arguments: argparse.Namespace) -> str:
    """Print the recipe that is in a result, or save it."""
    from napari_stem_orient.steps.recipe_text import open_recipe, recipe_as_text, save_recipe

    recipe = open_recipe(arguments.file)
    if arguments.output is None:
        return recipe_as_text(recipe).rstrip()
    return str(save_recipe(recipe, arguments.output, overwrite=arguments.overwrite))
