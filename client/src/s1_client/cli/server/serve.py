# SPDX-License-Identifier: Apache-2.0
"""``s1 serve``: the server package's launcher, if that is installed."""

from __future__ import annotations

import importlib.util
import os
import sys

import click

LAUNCHER = "budgetforce.launcher"


class _Untouched(click.Command):
    """A command that gets its arguments as they are, "--" and "--help" included."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep them."""
        ctx.args = list(args)
        return []


@click.command(cls=_Untouched, add_help_option=False, options_metavar="[OPTIONS OF THE LAUNCHER]")
@click.pass_context
def serve(ctx: click.Context) -> None:
    """Serve s1 on this machine; `s1 serve --help` has the launcher's options."""
    if importlib.util.find_spec(LAUNCHER.partition(".")[0]) is None:
        raise click.ClickException(
            "the server is not installed here; in a clone of the project: python3 build/local.py serve, or docker compose up"
        )
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", LAUNCHER, *ctx.args])  # noqa: S606  # every signal is the launcher's
