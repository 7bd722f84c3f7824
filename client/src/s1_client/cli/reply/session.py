# SPDX-License-Identifier: Apache-2.0
"""The state of a chat and the commands that change it. No network, no drawing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from s1_client._suggest import suggestion
from s1_client.cli.options import option_names, option_value
from s1_client.cli.reply.question import Messages

EXCLUDED_OPTIONS = ("num_samples",)  # a turn of a chat has a single reply


class ChatEnded(Exception):
    """Raised by the command that ends the chat."""


class Session:
    """A chat without its thinking: the model sees only the answers of earlier turns.

    Attributes:
        options: request options of the next turn.
    """

    def __init__(self, options: Mapping[str, Any], system: str | None) -> None:
        self.options = dict(options)
        self._system = [] if system is None else [{"role": "system", "content": system}]
        self._turns: Messages = []

    def messages_with(self, question: str) -> Messages:
        """Return the messages of the chat so far, followed by the question."""
        return [*self._system, *self._turns, {"role": "user", "content": question}]

    def add_turn(self, question: str, answer: str) -> bool:
        """Add a complete turn, unless its answer is empty, and return whether it was added.

        Servers refuse messages without text: an empty answer would make every later turn fail.
        """
        if answer.strip():
            self._turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return bool(answer.strip())

    def run_command(self, line: str) -> str:
        """Run a line "/name rest" and return its message. Raises ChatEnded, and click.UsageError for an invalid command."""
        name, *more = line.split(maxsplit=1)
        if name not in COMMANDS:
            raise click.UsageError(f"no command {name}; /help lists the commands. Put a space before the / to send the line as a question")
        _, _, command = COMMANDS[name]
        return command(self, "".join(more).strip())

    def set(self, rest: str) -> str:
        """Set an option for the next turns; ``rest`` is its name and value."""
        name, _, value = rest.partition(" ")
        self.options[_name(name)] = option_value(_name(name), value.strip())
        return self._setting(_name(name))

    def unset(self, rest: str) -> str:
        """Remove an option, so that the server's default applies."""
        self.options.pop(_name(rest), None)
        return f"{_name(rest)} is unset: the server's default applies"

    def show(self, _: str) -> str:
        """Return all options that are set, a line each."""
        return "\n".join(map(self._setting, self.options)) or "no option is set: the server's defaults apply"

    def clear(self, _: str) -> str:
        """Forget all turns; the system message and the options stay."""
        self._turns.clear()
        return "all turns are forgotten"

    def save(self, rest: str) -> str:
        """Write the messages to a file as JSON."""
        if not rest:
            raise click.UsageError("/save FILE")
        messages = [*self._system, *self._turns]
        try:
            Path(rest).expanduser().write_text(json.dumps(messages, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise click.UsageError(f"{rest}: {error.strerror}") from None
        return f"{len(messages)} messages saved"

    def help(self, _: str) -> str:
        """Return the list of commands, a line each."""
        width = max(len(f"{name} {usage}") for name, (usage, _, _) in COMMANDS.items())
        return "\n".join(f"{f'{name} {usage}':<{width}}  {text}" for name, (usage, text, _) in COMMANDS.items())

    def quit(self, _: str) -> str:
        """End the chat by raising ChatEnded."""
        raise ChatEnded

    def _setting(self, name: str) -> str:
        return f"{name} = {json.dumps(self.options[name], ensure_ascii=False)}"


def _name(text: str) -> str:
    """Return an option's name, given with _ or -. Raises click.UsageError for an unknown option."""
    name = text.removeprefix("--").replace("-", "_")
    if name not in chat_options():
        raise click.UsageError(f"no option '{text}'; {suggestion(name, chat_options()) or '`s1 chat --help` lists them'}")
    return name


def chat_options() -> list[str]:
    """Return the names of the options that a turn can have."""
    return [name for name in option_names() if name not in EXCLUDED_OPTIONS]


COMMANDS: dict[str, tuple[str, str, Callable[[Session, str], str]]] = {
    "/set": ("NAME VALUE", "set an option of `s1 ask` for the next turns, as in /set num_ignore 2", Session.set),
    "/unset": ("NAME", "remove an option: the server's default applies", Session.unset),
    "/options": ("", "list the options that are set", Session.show),
    "/clear": ("", "forget all turns", Session.clear),
    "/save": ("FILE", "write the messages as JSON, for `s1 ask -m FILE`", Session.save),
    "/help": ("", "list the commands", Session.help),
    "/quit": ("", "end the chat, as Ctrl-D does", Session.quit),
}
