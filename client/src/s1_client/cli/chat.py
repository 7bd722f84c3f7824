# SPDX-License-Identifier: Apache-2.0
"""``s1 chat``."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from s1_client import Client, S1Error
from s1_client.cli._display import make_display
from s1_client.cli._interrupt import follow
from s1_client.cli._lines import read_lines
from s1_client.cli._session import COMMANDS, ONE_REPLY, Left, Session, chat_options
from s1_client.cli.options import SectionedCommand, asked, connect, connection_options, request_options


@click.command(cls=SectionedCommand)
@click.option("--system", metavar="TEXT", help="what the model is told before the chat")
@click.option("--hide-thinking", is_flag=True, help="show the answers only")
@request_options(leave_out=ONE_REPLY)
@connection_options
def chat(system: str | None, *, hide_thinking: bool, **parameters: Any) -> None:
    """Talk with the model, a line a turn; /help tells what else a line can be.

    Earlier thinking is not sent again, only the answers. In a reply Ctrl-C once makes the model answer now, twice
    cancels the turn; at the prompt it clears the line. Ctrl-D leaves. From a pipe each line is a turn.
    """
    session = Session(asked(parameters), system)
    with connect(parameters) as client:
        for line in read_lines([*COMMANDS, *chat_options()]):
            try:
                _take(client, session, line, hide_thinking=hide_thinking)
            except Left:
                return


def _take(client: Client, session: Session, line: str, *, hide_thinking: bool) -> None:
    if line.startswith("/"):
        try:
            click.echo(session.obey(line), err=True)
        except click.UsageError as error:
            click.echo(f"s1: {error}", err=True)
    elif line.strip():
        _turn(client, session, line.strip(), hide_thinking=hide_thinking)


def _turn(client: Client, session: Session, question: str, *, hide_thinking: bool) -> None:
    """One question and its reply; one that fails or is cancelled leaves no trace in the chat."""
    display = make_display(session.options, time.monotonic(), hide_thinking=hide_thinking)
    try:
        with client.stream(session.asking(question), **session.options) as stream:
            follow(stream, display)
            session.answered(question, stream.reply().answer_text)
    except (S1Error, KeyboardInterrupt) as error:
        display.tell(" ".join(str(error).split()) or "interrupted")
    finally:
        display.close()
    if sys.stdin.isatty():
        click.echo(err=True)
