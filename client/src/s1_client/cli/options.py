# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share: the connection, and every request field.

The request options are built from the table of request fields, so that none is forgotten. Shared options are
``SectionedOption``s: their ``section`` is the heading of the help under which they stand.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

import click

from s1_client import TLS, AsyncClient, Client
from s1_client._fields import FIELDS
from s1_client._settings import DEADLINE_S, MAX_RETRIES, Settings, make_settings
from s1_client._wire import MODEL
from s1_client.cli.port import advice

Function = TypeVar("Function", bound=Callable[..., Any])
Made = TypeVar("Made")

_TYPES: dict[str, tuple[Any, str]] = {"INT32": (int, "N"), "UINT64": (int, "N"), "FP32": (float, "X"), "BYTES": (str, "TEXT")}

_PARAMETERS = "s1_client.connection"  # key of click's meta under which the parameters of the connection are kept
PRESET_TEMPERATURES = {"qwen3": 0.6, "s1": 0.0, "s1-eval": 0.0, "s1-readme": 0.0, "smollm2": 0.0}
_DECIDE_EQUALITY = {"preset", "temperature", "thinking_temperature"}
# Values for shell completion only: the server checks values itself. tests/contract/test_completion.py compares the two.
VALUES = {**{name: row.values for name, row in FIELDS.items() if row.values}, "preset": tuple(PRESET_TEMPERATURES)}

_KINDS = {int: "an integer", float: "a number", str: "a text, in quotes that are closed"}
_NAMES_COLUMNS, _NARROW, _NARROW_NAMES_COLUMNS = 30, 60, 6  # below 60 columns, helps stand on lines of their own


class SectionedOption(click.Option):
    """An option that the help lists under the heading ``section``."""

    def __init__(self, *names: str, section: str = "Options", **rest: Any) -> None:
        super().__init__(list(names), **rest)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose help lists its options in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by section, those without a section first."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):  # the docstring describes arguments
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        for section in sorted(sections, key=lambda name: name != "Options"):
            with formatter.section(section):
                formatter.write_dl(sections[section], col_max=_NAMES_COLUMNS if formatter.width >= _NARROW else _NARROW_NAMES_COLUMNS)


def complete_from(values: Iterable[str]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return a parameter's ``shell_complete``, which offers the values that begin with the typed text."""
    return lambda _context, _parameter, text: [value for value in values if value.startswith(text)]


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
            raise click.BadParameter(f"got {value!r}, allowed: different integers >= {least}, separated by commas", context, parameter)
        return numbers

    return read


def _add(function: Function, option: click.Option) -> None:
    """Add an option as click's decorators do: the option added first comes last in the help."""
    vars(function).setdefault("__click_params__", []).append(option)


def request_options(*, leave_out: tuple[str, ...] = ()) -> Callable[[Function], Function]:
    """Return a decorator that adds an option for each request field; ``given_options`` reads them."""

    def add(function: Function) -> Function:
        for name, row in reversed(FIELDS.items()):
            if name not in leave_out:
                kind, metavar = _TYPES[row.datatype]
                flag = f"--{name.replace('_', '-')}"
                texts: dict[str, Any] = {"section": row.section, "metavar": metavar, "help": row.help}
                complete = complete_from(VALUES.get(name, ()))
                _add(function, SectionedOption(flag, name, type=kind, multiple=row.is_list, shell_complete=complete, **texts))
        return function

    return add


def option_names() -> list[str]:
    """Return the names of all request options, in the order of the help."""
    return list(FIELDS)


def option_value(name: str, text: str) -> Any:
    """Parse the value of a request option from a line of text; a repeatable option takes several words.

    Raises click.UsageError for an invalid value.
    """
    kind, _ = _TYPES[FIELDS[name].datatype]
    try:
        first, *more = words = shlex.split(text)
        if FIELDS[name].is_list:
            return words
        return kind(text if more else first)
    except ValueError:
        raise click.UsageError(f"{name}: got '{text}', allowed: {_KINDS[kind]}") from None


def given_options(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request options that were given among a command's parameters."""
    given = {name: value for name, value in parameters.items() if name in FIELDS and value not in (None, ())}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}


def refuse_greedy(flag: str, options: Mapping[str, Any], questions: Mapping[str | int, Mapping[str, Any]]) -> None:
    """Raise UsageError for repeats that would get equal replies, as the server refuses equal samples of one request.

    Each question needs a temperature above 0, given or of a named preset; the server's default preset is unknown here.
    ``options`` apply to all questions; ``questions`` maps an id to the question's own options.
    """
    for key, own in questions.items():
        whose = f"question {key}: " if own.keys() & _DECIDE_EQUALITY else ""
        if problem := _greedy({**options, **own}):
            raise click.UsageError(f"{flag}: {whose}{problem}")


def _greedy(options: Mapping[str, Any]) -> str:
    """Return why replies with these options are or may be equal; "" if they differ."""
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


def _connection_option(*names: str, **rest: Any) -> SectionedOption:
    return SectionedOption(*names, section="Connection", **rest)


def _file_option(name: str, help_text: str) -> SectionedOption:
    """Return ``--NAME FILE``, which may also be given as $S1_NAME_FILE."""
    return _connection_option(
        f"--{name}", f"{name}_file", metavar="FILE", envvar=f"S1_{name.upper()}_FILE", show_envvar=True, help=help_text
    )


def connection_options(function: Function) -> Function:
    """Add the options of ``connect``: address, certificates, retries and deadline."""
    retries = "retries of a request that was rejected or never arrived"
    _add(function, _connection_option("--max-retries", type=int, default=MAX_RETRIES, show_default=True, help=retries))
    return deadline_options(function)


def deadline_options(function: Function) -> Function:
    """Add the options of ``connect_async``: address, certificates and deadline."""
    deadline = "seconds for a whole request, with its retries"
    _add(
        function,
        _connection_option("--deadline", "deadline_s", type=float, metavar="S", default=DEADLINE_S, show_default=True, help=deadline),
    )
    return server_options(function)


def server_options(function: Function) -> Function:
    """Add the options of ``settings_of``: the server's address, the model and certificates."""
    model = _connection_option("--model", default=MODEL, show_default=True, help="name of the model on the server")
    return _add_address(function, model)


def address_options(function: Function) -> Function:
    """Add the options of ``settings_of`` for a command about the whole server: its address and certificates."""
    return _add_address(function)


def _add_address(function: Function, *others: SectionedOption) -> Function:
    address = "host:port of Triton's gRPC endpoint, grpcs://host:port for TLS  [default: 127.0.0.1:8001]"
    for option in (
        _file_option("key", "private key of --cert (PEM)"),
        _file_option("cert", "client certificate (PEM), for mutual TLS"),
        _file_option("ca", "certificates of the authorities to trust (PEM)"),
        *others,
        _connection_option("--url", envvar="S1_URL", show_envvar=True, help=address),
    ):
        _add(function, option)
    return function


def connect(parameters: Mapping[str, Any]) -> Client:
    """Return a client for a command's parameters.

    Secrets come from the environment ($S1_TOKEN, $S1_SECRET), because other users can read the command line.
    """
    return _checked(Client, parameters)


def connect_async(parameters: Mapping[str, Any], secret: str | None = None, metadata: Mapping[str, str] | None = None) -> AsyncClient:
    """Return a client for asyncio for a command's parameters, which makes no retries. Secrets as for ``connect``, or ``secret``."""
    return _checked(partial(AsyncClient, secret=secret, metadata=metadata), {**parameters, "max_retries": 0})


def settings_of(parameters: Mapping[str, Any]) -> Settings:
    """Return the settings of a connection for a command's parameters, for queries about the server itself."""
    return _checked(_make_settings, parameters)


def _make_settings(url: str, **rest: Any) -> Settings:
    """Return settings whose certificates can be read. Raises ValueError and OSError, as a client with these arguments does."""
    arguments: dict[str, Any] = {"token": None, "secret": None, "metadata": {}, "trust_env": True}
    settings = make_settings(url, **arguments, **{"model": MODEL, **rest})
    if settings.tls is not None:
        settings.tls.read()
    return settings


def connection_advice(ctx: click.Context) -> str:
    """Return advice on the connection that a command failed to make; "" if there is none."""
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
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror}") from error
