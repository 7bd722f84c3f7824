# SPDX-License-Identifier: Apache-2.0
"""Options that several commands have: where the server is, and everything a request can say.

Those of a request are made from the table of request fields, so that none is forgotten.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import click

from s1_client import TLS, Client
from s1_client._fields import FIELDS
from s1_client._settings import DEADLINE_S, MAX_RETRIES, Settings, make_settings
from s1_client.cli.port import advice

Function = TypeVar("Function", bound=Callable[..., Any])
Made = TypeVar("Made")

_TYPES: dict[str, tuple[Any, str]] = {"INT32": (int, "N"), "UINT64": (int, "N"), "FP32": (float, "X"), "BYTES": (str, "TEXT")}

_PARAMETERS = "s1_client.connection"  # where click keeps those of the connection that a command makes
PRESET_TEMPERATURES = {"qwen3": 0.6, "s1": 0.0, "s1-eval": 0.0, "s1-readme": 0.0, "smollm2": 0.0}
_DECIDE_EQUALITY = {"preset", "temperature", "thinking_temperature"}
# What Tab completes. What else is allowed is the server's to say; tests/contract/test_completion.py holds these to it.
VALUES = {**{name: row.values for name, row in FIELDS.items() if row.values}, "preset": tuple(PRESET_TEMPERATURES)}

_KINDS = {int: "an integer", float: "a number", str: "a text, in quotes that are closed"}


_NAMES_COLUMNS, _NARROW, _NARROW_NAMES_COLUMNS = 30, 60, 6  # in a narrow terminal texts stand below the options' names


class SectionedOption(click.Option):
    """An option that stands in a section of its own in the help."""

    def __init__(self, *names: str, section: str = "Options", **rest: Any) -> None:
        super().__init__(list(names), **rest)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose help has its options in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write them; those without a section first."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):  # arguments are told of in the text
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        for section in sorted(sections, key=lambda name: name != "Options"):
            with formatter.section(section):
                formatter.write_dl(sections[section], col_max=_NAMES_COLUMNS if formatter.width >= _NARROW else _NARROW_NAMES_COLUMNS)


def completed(values: Iterable[str]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """A parameter's ``shell_complete``: those of the values that begin with what is typed."""
    return lambda _context, _parameter, typed: [value for value in values if value.startswith(typed)]


def integer_list(least: int) -> Callable[[click.Context, click.Parameter, str | None], tuple[int, ...] | None]:
    """Return an option's callback that parses different integers >= ``least``, separated by commas."""

    def read(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
        if value is None:
            return None
        try:
            numbers = tuple(int(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        if not numbers or min(numbers) < least or max(numbers) >= 2**31 or len(set(numbers)) < len(numbers):
            raise click.BadParameter(f"got {value!r}, allowed: different integers >= {least}, with commas between them", context, parameter)
        return numbers

    return read


def _add(function: Function, option: click.Option) -> None:
    """As click's own decorators do it; the one that is nearest to the function comes last in the help."""
    vars(function).setdefault("__click_params__", []).append(option)


def request_options(*, leave_out: tuple[str, ...] = ()) -> Callable[[Function], Function]:
    """Every option of a request; see ``asked``."""

    def add(function: Function) -> Function:
        for name, row in reversed(FIELDS.items()):
            if name not in leave_out:
                kind, metavar = _TYPES[row.datatype]
                flag = f"--{name.replace('_', '-')}"
                texts: dict[str, Any] = {"section": row.section, "metavar": metavar, "help": row.help}
                complete = completed(VALUES.get(name, ()))
                _add(function, SectionedOption(flag, name, type=kind, multiple=row.is_list, shell_complete=complete, **texts))
        return function

    return add


def option_names() -> list[str]:
    """All options of a request, in the order of the help."""
    return list(FIELDS)


def option_value(name: str, text: str) -> Any:
    """The value of a request's option, as a line of text has it: several words for one that may be given again.

    Raises click.UsageError if it is none.
    """
    kind, _ = _TYPES[FIELDS[name].datatype]
    try:
        first, *more = words = shlex.split(text)
        if FIELDS[name].is_list:
            return words
        return kind(text if more else first)
    except ValueError:
        raise click.UsageError(f"{name}: got '{text}', allowed: {_KINDS[kind]}") from None


def asked(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The request's options among a command's parameters; those that were not given are left out."""
    given = {name: value for name, value in parameters.items() if name in FIELDS and value not in (None, ())}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}


def refuse_greedy(flag: str, options: Mapping[str, Any], questions: Mapping[str | int, Mapping[str, Any]]) -> None:
    """Refuse to ask for several replies that would be equal, as the server refuses several equal samples of one request.

    ``options`` are those of all questions, ``questions`` the own options of each by its id. Raises UsageError unless each has
    a temperature above 0, given or of a preset that is named: which preset is the server's default is not known here.
    """
    for key, own in questions.items():
        whose = f"question {key}: " if own.keys() & _DECIDE_EQUALITY else ""
        if problem := _greedy({**options, **own}):
            raise click.UsageError(f"{flag}: {whose}{problem}")


def _greedy(options: Mapping[str, Any]) -> str:
    """Why replies with these options are equal, or may be; "" if they differ."""
    preset, answer, thinking = (options.get(name) for name in ("preset", "temperature", "thinking_temperature"))
    is_of_preset = answer is None
    answer = PRESET_TEMPERATURES.get(preset or "") if answer is None else answer
    thinking = answer if thinking is None else thinking
    if answer or thinking:
        return ""
    equal = "all replies to a question are the same; add --temperature X, allowed: X > 0"
    if answer is not None:
        return f"at temperature 0{f', that of preset {preset},' if is_of_preset else ''} {equal}"
    whose = f"preset {preset}" if preset else "the server's default preset"
    samples = " or ".join(f"--preset {name}" for name, temperature in PRESET_TEMPERATURES.items() if temperature)
    return f"the temperature of {whose} is not known here, and at 0 {equal}, or {samples}"


def connection_options(function: Function) -> Function:
    """Where the server is, how to reach it and how long to try; see ``connect``."""
    section = "Connection"
    for option in (
        SectionedOption("--max-retries", section=section, type=int, default=MAX_RETRIES, show_default=True, help="if nothing has come yet"),
        SectionedOption(
            "--deadline",
            "deadline_s",
            section=section,
            type=float,
            metavar="S",
            default=DEADLINE_S,
            show_default=True,
            help="seconds for a request in all",
        ),
    ):
        _add(function, option)
    return server_options(function)


def server_options(function: Function) -> Function:
    """Where the server is and how to reach it; see ``settings_of``."""
    section = "Connection"
    for option in (
        SectionedOption(
            "--key", "key_file", section=section, metavar="FILE", envvar="S1_KEY_FILE", show_envvar=True, help="its private key"
        ),
        SectionedOption(
            "--cert", "cert_file", section=section, metavar="FILE", envvar="S1_CERT_FILE", show_envvar=True, help="our certificate"
        ),
        SectionedOption(
            "--ca", "ca_file", section=section, metavar="FILE", envvar="S1_CA_FILE", show_envvar=True, help="certificates to trust"
        ),
        SectionedOption("--model", section=section, default="s1", show_default=True, help="the model's name on the server"),
        SectionedOption(
            "--url",
            section=section,
            envvar="S1_URL",
            show_envvar=True,
            help="host:port of Triton's gRPC; grpcs://host:port for TLS  [default: 127.0.0.1:8001]",
        ),
    ):
        _add(function, option)
    return function


def connect(parameters: Mapping[str, Any]) -> Client:
    """A client by a command's parameters; secrets come from the environment ($S1_TOKEN, $S1_SECRET), not from the
    command line, which others can read.
    """
    return _checked(Client, parameters)


def settings_of(parameters: Mapping[str, Any]) -> Settings:
    """The same as settings, for what asks a server about itself."""
    return _checked(lambda url, **rest: make_settings(url, token=None, secret=None, metadata={}, trust_env=True, **rest), parameters)


def connection_advice(ctx: click.Context) -> str:
    """What to do about the connection that a command has tried to make; "" if it tried none, or nothing is known."""
    parameters = ctx.find_root().meta.get(_PARAMETERS)
    return advice(settings_of(parameters)) if parameters else ""


def _checked(make: Callable[..., Made], parameters: Mapping[str, Any]) -> Made:
    files = {name: parameters[name] for name in ("ca_file", "cert_file", "key_file")}
    click.get_current_context().meta[_PARAMETERS] = parameters
    try:
        tls = TLS(**files) if any(files.values()) else None
        return make(
            parameters["url"], tls=tls, **{name: parameters[name] for name in ("model", "deadline_s", "max_retries") if name in parameters}
        )
    except (ValueError, OSError) as error:
        raise click.UsageError(str(error)) from error
