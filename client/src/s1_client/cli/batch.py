# SPDX-License-Identifier: Apache-2.0
"""``s1 batch``: many requests out of a file, their results into another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from s1_client.cli.options import SectionedCommand, asked, connect, connection_options, request_options
from s1_client.cli.progress import TerminalProgress
from s1_client.cli.request_file import Requests, opened
from s1_client.evaluation._questions import check_values
from s1_client.runs import Refused, open_results, run

CONCURRENCY = 64


@click.command(cls=SectionedCommand)
@click.argument("source", metavar="IN.jsonl", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.argument("target", metavar="OUT.jsonl", type=click.Path(path_type=Path))
@click.option(
    "--concurrency", type=click.IntRange(min=1), default=CONCURRENCY, show_default=True, metavar="N", help="how many requests run at once"
)
@click.option("--overwrite", is_flag=True, help="begin anew: what OUT holds is lost")
@request_options()
@connection_options
@click.pass_context
def batch(context: click.Context, /, source: str, target: Path, concurrency: int, overwrite: bool, **parameters: Any) -> None:
    """Ask every question of IN.jsonl (- for stdin) and write a line of OUT.jsonl for each as it ends.

    IN is JSON Lines or a JSON array. A question is an object with "prompt" (text) or "messages" (a chat), perhaps "id",
    perhaps "meta", which is copied, and perhaps any of the request options below by its name (max_tokens, ...), which then
    counts instead of the one given here; or just a string, the prompt. "expected" and "grading" are for s1 eval and s1
    sweep, which read the same files: nothing is graded here. A line of OUT has "id", "line", "request" (a hash of all that was
    asked), "meta", and "reply", or "error" and "partial", in the order in which they ended. Without an id a
    line gets one by what it asks.

    Stopped or killed, the same command goes on where it stopped: what has a reply in OUT is not asked again, what
    has an error there is.

    Exit codes: 0 all have replies, 1 requests failed, 2 lines of IN are bad (the others were asked) or the command was
    refused, 3 or 4 no server or engine for 20 requests in a row, 130 Ctrl-C.
    """
    _check_paths(source, target)
    defaults = asked(parameters)
    check_values(defaults)
    where = "stdin" if source == "-" else source
    with opened(source) as file, open_results(target, overwrite=overwrite) as results, connect(parameters) as client:
        requests = Requests(file, defaults=defaults, model=parameters["model"])
        tally = run(client, requests, results, TerminalProgress(), where=where, concurrency=concurrency)
    context.exit(tally.exit_code)


def _check_paths(source: str, target: Path) -> None:
    if str(target) == "-":
        raise Refused("OUT.jsonl: got -, allowed: a file; it is read again to go on where a run stopped")
    if source != "-" and target.exists() and target.samefile(source):
        raise Refused(f"{target}: is IN.jsonl and OUT.jsonl")
