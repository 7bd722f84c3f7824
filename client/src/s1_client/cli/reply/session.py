# SPDX-License-Identifier: Apache-2.0
"""What a chat knows, and the commands that change it. Asks nothing, draws nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from s1_client._suggest import suggestion
from s1_client.cli.options import option_names, option_value
from s1_client.cli.reply.question import Messages

ONE_REPLY = ("num_samples",)  # options that a chat does not have


class Left(Exception):
    """The chat is over."""


class Session:
    """A chat without its thinking: the model sees the answers of earlier turns alone.

    Attributes:
        options: of the next request.
    """

    def __init__(self, options: Mapping[str, Any], system: str | None) -> None:
        self.options = dict(options)
        self._system = [] if system is None else [{"role": "system", "content": system}]
        self._turns: Messages = []

    def asking(self, question: str) -> Messages:
        """What to send to ask this."""
        return [*self._system, *self._turns, {"role": "user", "content": question}]

    def answered(self, question: str, answer: str) -> bool:
        """Keep a turn that came to its end, and say whether it was kept: a server takes no message without text, so that
        an empty answer would make every later turn fail.
        """
        if answer.strip():
            self._turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return bool(answer.strip())

    def obey(self, line: str) -> str:
        """Do what a line "/name rest" says; what to tell of it. Raises Left, and click.UsageError if it cannot be done."""
        name, *more = line.split(maxsplit=1)
        if name not in COMMANDS:
            raise click.UsageError(f"no command {name}; /help lists them, and a space before a / makes it a question")
        _, _, command = COMMANDS[name]
        return command(self, "".join(more).strip())

    def set(self, rest: str) -> str:
        """Option and value."""
        name, _, value = rest.partition(" ")
        self.options[_name(name)] = option_value(_name(name), value.strip())
        return self._told(_name(name))

    def unset(self, rest: str) -> str:
        """Option."""
        self.options.pop(_name(rest), None)
        return f"{_name(rest)} is left to the server"

    def show(self, _: str) -> str:
        """All options that are set."""
        return "\n".join(map(self._told, self.options)) or "no option is set: all are left to the server"

    def clear(self, _: str) -> str:
        """Forget the turns."""
        self._turns.clear()
        return "the chat is empty"

    def save(self, rest: str) -> str:
        """Write the messages as JSON."""
        if not rest:
            raise click.UsageError("/save FILE")
        messages = [*self._system, *self._turns]
        try:
            Path(rest).expanduser().write_text(json.dumps(messages, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise click.UsageError(f"{rest}: {error.strerror}") from None
        return f"{len(messages)} messages saved"

    def help(self, _: str) -> str:
        """The commands."""
        width = max(len(f"{name} {usage}") for name, (usage, _, _) in COMMANDS.items())
        return "\n".join(f"{f'{name} {usage}':<{width}}  {text}" for name, (usage, text, _) in COMMANDS.items())

    def quit(self, _: str) -> str:
        """Leave."""
        raise Left

    def _told(self, name: str) -> str:
        return f"{name} = {json.dumps(self.options[name], ensure_ascii=False)}"


def _name(told: str) -> str:
    """An option's name, with _ or -. Raises click.UsageError if there is none of that name."""
    name = told.removeprefix("--").replace("-", "_")
    if name not in chat_options():
        raise click.UsageError(f"no option '{told}'; {suggestion(name, chat_options()) or '`s1 chat --help` lists them'}")
    return name


def chat_options() -> list[str]:
    """The options that a turn can have."""
    return [name for name in option_names() if name not in ONE_REPLY]


COMMANDS: dict[str, tuple[str, str, Callable[[Session, str], str]]] = {
    "/set": ("NAME VALUE", "an option of `s1 ask` for the next turns: /set num_ignore 2", Session.set),
    "/unset": ("NAME", "leave it to the server", Session.unset),
    "/options": ("", "what is set", Session.show),
    "/clear": ("", "forget the turns", Session.clear),
    "/save": ("FILE", "the messages as JSON, for `s1 ask -m FILE`", Session.save),
    "/help": ("", "this", Session.help),
    "/quit": ("", "leave, as Ctrl-D does", Session.quit),
}
