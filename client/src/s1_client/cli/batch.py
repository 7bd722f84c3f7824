# SPDX-License-Identifier: Apache-2.0
"""``s1 batch``: send the requests of a file, and write their results into another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from s1_client.cli.options import SectionedCommand, connect, connection_options, given_options, request_options
from s1_client.cli.progress import TerminalProgress
from s1_client.cli.request_file import Requests, open_input
from s1_client.evaluation._questions import check_values
from s1_client.runs import Refused, open_results, run

CONCURRENCY = 64


@click.command(cls=SectionedCommand)
@click.argument("source", metavar="IN.jsonl", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.argument("target", metavar="OUT.jsonl", type=click.Path(path_type=Path))
@click.option("--concurrency", type=click.IntRange(min=1), default=CONCURRENCY, show_default=True, metavar="N", help="requests in flight")
@click.option("--overwrite", is_flag=True, help="start anew: the results in OUT are lost")
@request_options()
@connection_options
@click.pass_context
def batch(context: click.Context, /, source: str, target: Path, concurrency: int, overwrite: bool, **parameters: Any) -> None:
    """Send every question of IN.jsonl (- reads stdin), and write a line of OUT.jsonl for each as it ends.

    IN is JSON Lines or a JSON array. A question is a string, the prompt, or an object with "prompt" (text) or "messages"
    (a chat), and optionally "id", "meta" (any JSON value, copied to the result) and request options by name (max_tokens,
    ...), which take precedence over the command line. "expected" and "grading" are for s1 eval and s1 sweep, which read
    the same files: s1 batch grades nothing.

    A line of OUT has "id", "line", "request" (a hash of prompt, options and model), "meta", and "reply", or "error" and
    "partial". Lines are in the order in which requests ended. A question without an id gets one derived from its text
    and options.

    After a stop or a kill, the same command continues: requests with a reply in OUT are not sent again, requests with an
    error are.

    Exit codes: 0 all have replies, 1 requests failed, 2 lines of IN are bad (the others were sent) or the command was
    refused, 3 or 4 no server or engine for 20 requests in a row, 130 Ctrl-C.
    """
    _check_paths(source, target)
    defaults = given_options(parameters)
    check_values(defaults)
    where = "stdin" if source == "-" else source
    with open_input(source) as file, open_results(target, overwrite=overwrite) as results, connect(parameters) as client:
        requests = Requests(file, defaults=defaults, model=parameters["model"])
        tally = run(client, requests, results, TerminalProgress(), where=where, concurrency=concurrency)
    context.exit(tally.exit_code)


def _check_paths(source: str, target: Path) -> None:
    if str(target) == "-":
        raise Refused("OUT.jsonl: got -, allowed: a file, from which a later run continues")
    if source != "-" and target.exists() and target.samefile(source):
        raise Refused(f"{target}: is both IN.jsonl and OUT.jsonl")
