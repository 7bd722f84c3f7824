# SPDX-License-Identifier: Apache-2.0
"""The command ``s1 ask``: one question, with its reply streamed to the terminal."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from s1_client import S1Error
from s1_client.cli.options import SectionedCommand, connect, connection_options, given_options, request_options
from s1_client.cli.reply.display import Display, SequentialDisplay, make_display
from s1_client.cli.reply.interrupt import follow
from s1_client.cli.reply.plain import JsonLines
from s1_client.cli.reply.question import read_prompt


@click.command(cls=SectionedCommand)
@click.argument("question", required=False)
@click.option("--file", metavar="FILE", help="file that holds the question; - reads stdin")
@click.option("-m", "--messages", metavar="FILE", help="JSON file with chat messages, to which QUESTION is appended; - reads stdin")
@click.option("--json", "as_json", is_flag=True, help="print every event, and an error, as a line of JSON")
@click.option("--hide-thinking", is_flag=True, help="show only the answer")
@request_options()
@connection_options
def ask(question: str | None, file: str | None, messages: str | None, *, as_json: bool, hide_thinking: bool, **parameters: Any) -> None:
    """Ask a question and watch the model think.

    Thinking is printed to stderr and the answer to stdout. Without QUESTION, or with -, the question is read from stdin.
    The first Ctrl-C makes the model answer now, the second cancels the request.
    """
    prompt, options = read_prompt(question, file, messages), given_options(parameters)
    num_samples = options.get("num_samples", 1)
    with connect(parameters) as client:
        try:
            with client.stream(prompt, **options) as stream:
                display = JsonLines(sys.stdout, sys.stderr, hide_thinking=hide_thinking) if as_json else _display(options, hide_thinking)
                follow(stream, display, num_samples=num_samples)
        except S1Error as error:
            if as_json:
                click.echo(json.dumps({"event": "error", **error.to_dict()}))
            raise


def _display(options: dict[str, Any], hide_thinking: bool) -> Display:
    started, num_samples = time.monotonic(), options.get("num_samples", 1)
    if num_samples < 2:
        return make_display(options, started, hide_thinking=hide_thinking)

    def begin(index: int) -> Display:
        return make_display(options, started, hide_thinking=hide_thinking, header=f"# sample {index + 1} of {num_samples}")

    return SequentialDisplay(begin, num_samples)
