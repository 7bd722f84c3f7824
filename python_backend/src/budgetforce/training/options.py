# SPDX-License-Identifier: Apache-2.0
"""The options that several sub-commands share."""

from __future__ import annotations

import argparse

from budgetforce.training.recipe import recipe_names


def add_recipe_option(parser: argparse.ArgumentParser) -> None:
    """Add option ``--recipe`` to a parser."""
    names = ", ".join(recipe_names())
    parser.add_argument("--recipe", required=True, metavar="RECIPE", help=f"bundled recipe ({names}), or the path of a TOML file")
