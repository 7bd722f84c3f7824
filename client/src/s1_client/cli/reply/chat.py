# SPDX-License-Identifier: Apache-2.0
"""``s1 chat``."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from typing import Any

import click

from s1_client import Client, S1Error
from s1_client._settings import Settings
from s1_client.cli.app import exit_code
from s1_client.cli.options import SectionedCommand, asked, connect, connection_options, request_options, settings_of
from s1_client.cli.output import echo
from s1_client.cli.reply.display import make_display
from s1_client.cli.reply.interrupt import follow
from s1_client.cli.reply.line_editor import read_lines
from s1_client.cli.reply.session import COMMANDS, ONE_REPLY, Left, Session, chat_options
from s1_client.cli.server.queries import Server


@click.command(cls=SectionedCommand)
@click.option("--system", metavar="TEXT", help="what the model is told before the chat")
@click.option("--hide-thinking", is_flag=True, help="show the answers only")
@request_options(leave_out=ONE_REPLY)
@connection_options
@click.pass_context
def chat(context: click.Context, /, system: str | None, *, hide_thinking: bool, **parameters: Any) -> None:
    """Talk with the model, a line a turn; /help tells what else a line can be.

    Earlier thinking is not sent again, only the answers. In a reply Ctrl-C once makes the model answer now, twice
    cancels the turn; at the prompt it clears the line. Ctrl-D leaves. From a pipe each line is a turn, and the exit
    code is that of the last turn or command that failed.
    """
    if system is not None and not system.strip():
        raise click.UsageError("--system: the text is empty")
    session = Session(asked(parameters), system)
    _greet(settings_of(parameters), session)
    with connect(parameters) as client:
        code = _talk(client, session, hide_thinking=hide_thinking)
    context.exit(0 if sys.stdin.isatty() else code)  # at a terminal a person has seen what failed


def _greet(settings: Settings, session: Session) -> None:
    """Say where the chat leads. Raises S1Error if it leads nowhere."""
    with closing(Server(settings)) as server:
        server.require(settings.model)
    preset = f"preset {session.options['preset']}" if "preset" in session.options else "server's preset"
    hints = " · /help · Ctrl-D leaves" if sys.stdin.isatty() else ""
    echo(f"connected: {settings.address} · model {settings.model} · {preset}{hints}", err=True, dim=True)


def _talk(client: Client, session: Session, *, hide_thinking: bool) -> int:
    """Take every line; the exit code of the last one that failed, or 0."""
    code = 0
    for line in read_lines([*COMMANDS, *chat_options()]):
        try:
            _take(client, session, line, hide_thinking=hide_thinking)
        except Left:
            break
        except click.UsageError as error:
            echo(f"s1: {error}", err=True)
            code = error.exit_code
        except (S1Error, KeyboardInterrupt) as error:
            code = exit_code(error)
    return code


def _take(client: Client, session: Session, line: str, *, hide_thinking: bool) -> None:
    if line.startswith("/"):
        echo(session.obey(line), err=True)
    elif line.strip():
        _turn(client, session, line.strip(), hide_thinking=hide_thinking)


def _turn(client: Client, session: Session, question: str, *, hide_thinking: bool) -> None:
    """One question and its reply; one that fails, is cancelled or has no answer leaves no trace in the chat.

    Raises S1Error or KeyboardInterrupt behind what is told of it.
    """
    display = make_display(session.options, time.monotonic(), hide_thinking=hide_thinking)
    try:
        with client.stream(session.asking(question), **session.options) as stream:
            follow(stream, display)
            if not session.answered(question, stream.reply().answer_text):
                display.tell("the answer is empty: the chat goes on without this turn")
    except (S1Error, KeyboardInterrupt) as error:
        display.tell(" ".join(str(error).split()) or "interrupted")
        raise
    finally:
        display.close()
        if sys.stdin.isatty():
            echo(err=True)
