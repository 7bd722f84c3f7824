# SPDX-License-Identifier: Apache-2.0
"""The command ``s1``: its subcommands, and the exit code of each error.

A subcommand's module is imported when the subcommand is called, so that ``s1 ask`` does not wait for matplotlib.
"""

from __future__ import annotations

import errno
import importlib
import logging
import sys
from typing import Any

import click

from s1_client import ConnectionFailed, S1Error
from s1_client._errors import ERROR_KINDS
from s1_client.cli.options import connection_advice
from s1_client.cli.output import clean, discard_stdout, echo, echo_above_live, fitted, let_streams_take_any_text, open_missing_streams
from s1_client.runs import Refused, RunError

COMMANDS = {
    "ask": "ask one question and watch the model think",
    "chat": "talk with the model, one line per turn",
    "batch": "send every question of a file; continues a run that was stopped",
    "sweep": "ask at a grid of budgets, and plot accuracy against thinking",
    "loadtest": "put a server under load, and record latencies and throughput",
    "report": "draw the records of load tests, one or two side by side",
    "eval": "evaluate a model by a protocol of budgets, with the s1 paper's metrics",
    "lm-eval": "run lm-evaluation-harness on a served model with a thinking budget",
    "stats": "print token statistics of sample files",
    "serve": "serve s1 on this machine, without a container",
    "gateway": "serve OpenAI's API and a web page in front of a server",
    "haproxy": "print a HAProxy configuration for several servers",
    "doctor": "check everything between here and the engine",
    "models": "list the server's models",
}
_MODULES = {
    "ask": "reply.ask",
    "chat": "reply.chat",
    "batch": "batch",
    "sweep": "evaluate.sweep",
    "loadtest": "load.loadtest",
    "report": "load.report",
    "eval": "evaluate.eval",
    "lm-eval": "evaluate.lm_eval",
    "stats": "evaluate.stats",
    "serve": "server.serve",
    "gateway": "server.gateway",
    "haproxy": "server.haproxy",
    "doctor": "server.doctor",
    "models": "server.models",
}
EXIT_CODES: dict[type[BaseException], int] = {  # a refused value has 2, click's own for a wrong command line
    **{kind.error: kind.exit_code for kind in ERROR_KINDS},
    S1Error: 1,
    KeyboardInterrupt: 130,  # a shell's own for Ctrl-C
}
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def exit_code(error: BaseException) -> int:
    """Return the exit code of an error, by its class or the nearest base class that has one."""
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)


class _Refusal(click.ClickException):
    exit_code = 2


class _Commands(click.Group):
    """Imports the module of a command when it is called; turns errors into a message and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"s1_client.cli.{_MODULES[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        command.short_help = COMMANDS[cmd_name]
        return command

    def main(self, *arguments: Any, **settings: Any) -> Any:
        """Run the command; characters outside the encoding of stdout are escaped."""
        open_missing_streams()
        let_streams_take_any_text()
        try:
            return super().main(*arguments, **settings)
        except OSError as error:
            if error.errno not in _DISK_ERRORS:
                raise
            discard_stdout()
            echo(f"s1: cannot write: {error.strerror}", err=True)
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (S1Error, KeyboardInterrupt) as error:
            echo(f"s1: {str(error) or 'interrupted'}", err=True)
            if isinstance(error, ConnectionFailed) and (advice := connection_advice(ctx)):
                echo(f"    -> {advice}", err=True)
            ctx.exit(exit_code(error))
        except RunError as error:
            kind = _Refusal if isinstance(error, Refused) else click.ClickException
            raise kind(_fit(str(error))) from error
        except click.ClickException as error:
            misplaced = isinstance(error, click.NoSuchOption) and error.option_name in ("-v", "--verbose")
            hint = " It is an option of s1 itself and stands before the command, as in: s1 -v ask" if misplaced else ""
            vars(error)["message"] = _fit(error.message + hint)
            raise


def _fit(message: str) -> str:
    """Clean and wrap the message of an error, which may quote a file."""
    return fitted(clean(message), sys.stderr, "Error: ")


class _ToStderr(logging.Handler):
    """Writes log lines to stderr, above the rows that are redrawn there; results go to stdout."""

    def emit(self, record: logging.LogRecord) -> None:
        echo_above_live(f"s1: {self.format(record)}")


def _show_log(ctx: click.Context, name: str, level: int) -> None:
    """Write the log of the logger ``name`` from this level on to stderr, until the command ends."""
    logger, handler = logging.getLogger(name), _ToStderr()
    logger.addHandler(handler)
    logger.setLevel(level)
    ctx.call_on_close(lambda: logger.removeHandler(handler))
    ctx.call_on_close(lambda: logger.setLevel(logging.NOTSET))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="s1-client")
@click.option("-v", "--verbose", count=True, help="log retries, connections and cancels to stderr; -vv: every attempt")
@click.pass_context
def s1(ctx: click.Context, verbose: int) -> None:
    """Ask a reasoning model on Triton, with a thinking budget.

    Exit codes: 0 done, 1 the server failed, 2 a value was refused, 3 no connection, 4 the server or its
    engine is not ready, 5 overloaded, 6 the deadline has passed, 7 the engine failed, 130 Ctrl-C.
    """
    if verbose:
        _show_log(ctx, "s1_client", logging.INFO if verbose == 1 else logging.DEBUG)
    else:
        _show_log(ctx, "s1_client.evaluation", logging.WARNING)  # answers that could not be graded
        if ctx.invoked_subcommand == "gateway":
            _show_log(ctx, "s1_client.gateway", logging.INFO)  # a service: each request that fails leaves a line
