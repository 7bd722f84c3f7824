# SPDX-License-Identifier: Apache-2.0
"""The command ``s1 chat``: a conversation, one line a turn."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from typing import Any

import click

from s1_client import Client, S1Error
from s1_client._settings import Settings
from s1_client.cli.app import exit_code
from s1_client.cli.options import SectionedCommand, connect, connection_options, given_options, request_options, settings_of
from s1_client.cli.output import echo
from s1_client.cli.reply.display import make_display
from s1_client.cli.reply.interrupt import follow
from s1_client.cli.reply.line_editor import read_lines
from s1_client.cli.reply.session import COMMANDS, EXCLUDED_OPTIONS, ChatEnded, Session, chat_options
from s1_client.cli.server.queries import Server


@click.command(cls=SectionedCommand)
@click.option("--system", metavar="TEXT", help="system message at the start of the chat")
@click.option("--hide-thinking", is_flag=True, help="show only the answers")
@request_options(leave_out=EXCLUDED_OPTIONS)
@connection_options
@click.pass_context
def chat(context: click.Context, /, system: str | None, *, hide_thinking: bool, **parameters: Any) -> None:
    """Chat with the model. Each line is a turn; /help lists the commands.

    Only the answers of earlier turns are sent again, not their thinking. During a reply the first Ctrl-C makes the model
    answer now and the second cancels the turn; at the prompt Ctrl-C clears the line. Ctrl-D ends the chat. When stdin is a
    pipe each line is a turn, and the exit code is that of the last turn or command that failed.
    """
    if system is not None and not system.strip():
        raise click.UsageError("--system: the text is empty")
    session = Session(given_options(parameters), system)
    _greet(settings_of(parameters), session)
    with connect(parameters) as client:
        code = _run_chat(client, session, hide_thinking=hide_thinking)
    context.exit(0 if sys.stdin.isatty() else code)  # at a terminal the user has seen the errors


def _greet(settings: Settings, session: Session) -> None:
    """Print the address, model and preset of the chat. Raises S1Error if the model cannot be reached."""
    with closing(Server(settings)) as server:
        server.require(settings.model)
    preset = f"preset {session.options['preset']}" if "preset" in session.options else "server's preset"
    hints = " · /help · Ctrl-D quits" if sys.stdin.isatty() else ""
    echo(f"connected: {settings.address} · model {settings.model} · {preset}{hints}", err=True, dim=True)


def _run_chat(client: Client, session: Session, *, hide_thinking: bool) -> int:
    """Run all lines and return the exit code of the last one that failed, or 0."""
    code = 0
    for line in read_lines([*COMMANDS, *chat_options()]):
        try:
            _run_line(client, session, line, hide_thinking=hide_thinking)
        except ChatEnded:
            break
        except click.UsageError as error:
            echo(f"s1: {error}", err=True)
            code = error.exit_code
        except (S1Error, KeyboardInterrupt) as error:
            code = exit_code(error)
    return code


def _run_line(client: Client, session: Session, line: str, *, hide_thinking: bool) -> None:
    if line.startswith("/"):
        echo(session.run_command(line), err=True)
    elif line.strip():
        _turn(client, session, line.strip(), hide_thinking=hide_thinking)


def _turn(client: Client, session: Session, question: str, *, hide_thinking: bool) -> None:
    """Ask a question and show its reply. A turn that fails, is cancelled or has no answer is not added to the chat.

    Raises S1Error or KeyboardInterrupt, after it has been shown.
    """
    display = make_display(session.options, time.monotonic(), hide_thinking=hide_thinking)
    try:
        with client.stream(session.messages_with(question), **session.options) as stream:
            follow(stream, display)
            if not session.add_turn(question, stream.reply().answer_text):
                display.show_message("the answer is empty; the turn is not added to the chat")
    except (S1Error, KeyboardInterrupt) as error:
        display.show_message(" ".join(str(error).split()) or "interrupted")
        raise
    finally:
        display.close()
        if sys.stdin.isatty():
            echo(err=True)
