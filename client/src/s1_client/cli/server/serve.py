# SPDX-License-Identifier: Apache-2.0
"""The command ``s1 serve``: start the launcher of the server package, if it is installed."""

from __future__ import annotations

import importlib.util
import os
import sys

import click

LAUNCHER = "budgetforce.launcher"


class _PassThroughCommand(click.Command):
    """A command that passes on all its arguments, including "--" and "--help"."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave the arguments unparsed, for the launcher."""
        ctx.args = list(args)
        return []


@click.command(cls=_PassThroughCommand, add_help_option=False, options_metavar="[OPTIONS OF THE LAUNCHER]")
@click.pass_context
def serve(ctx: click.Context) -> None:
    """Start a server on this machine; `s1 serve --help` lists the launcher's options."""
    if importlib.util.find_spec(LAUNCHER.partition(".")[0]) is None:
        raise click.ClickException(
            "the server is not installed here; in a clone of the project: python3 build/local.py serve, or docker compose up"
        )
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", LAUNCHER, *ctx.args])  # noqa: S606  # exec: signals go to the launcher directly
