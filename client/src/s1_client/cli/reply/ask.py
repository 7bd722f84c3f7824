# SPDX-License-Identifier: Apache-2.0
"""``s1 ask``."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from s1_client import S1Error
from s1_client.cli.options import SectionedCommand, asked, connect, connection_options, request_options
from s1_client.cli.reply.display import Display, InTurn, make_display
from s1_client.cli.reply.interrupt import follow
from s1_client.cli.reply.plain import JsonLines
from s1_client.cli.reply.question import read_prompt


@click.command(cls=SectionedCommand)
@click.argument("question", required=False)
@click.option("--file", metavar="FILE", help="read the question from a file; - = stdin")
@click.option("-m", "--messages", metavar="FILE", help="a chat, as JSON; - = stdin. A question is added to it")
@click.option("--json", "as_json", is_flag=True, help="events as they come, a line of JSON each, errors too")
@click.option("--hide-thinking", is_flag=True, help="show the answer only")
@request_options()
@connection_options
def ask(question: str | None, file: str | None, messages: str | None, *, as_json: bool, hide_thinking: bool, **parameters: Any) -> None:
    """Ask one question and watch the model think.

    Thinking goes to stderr and the answer to stdout. Without QUESTION (or with -) it is read from stdin.
    Ctrl-C once makes the model answer now, twice cancels.
    """
    prompt, options = read_prompt(question, file, messages), asked(parameters)
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

    return InTurn(begin, num_samples)
