# SPDX-License-Identifier: Apache-2.0
"""Start Triton with ``s1`` and an engine, and stop it again: for a terminal, a test, a load test or a container.

    python -m budgetforce.launcher                          # serve until Ctrl-C
    python -m budgetforce.launcher -- s1 ask "Why?"         # serve while a command runs, which finds the server in $S1_URL

However the launcher ends, the server, its stubs and their shared memory end with it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from budgetforce.building import preflight
from budgetforce.engine.packaged_models import ABOUT_S1_TINY, S1_TINY
from budgetforce.errors import ConfigError
from budgetforce.health import why_not_ready
from budgetforce.launcher.options import parse_options
from budgetforce.launcher.ports import Ports, choose_ports
from budgetforce.launcher.ranks import world_size
from budgetforce.launcher.readiness import readiness_endpoint
from budgetforce.launcher.security import security_of
from budgetforce.launcher.serving_env import serving_environment
from budgetforce.launcher.tracing import tracing_of
from budgetforce.launcher.triton_server import EXIT_TIMEOUT_S, StartFailed, TritonServer
from budgetforce.processes import INTERRUPTS, adopt_orphans, in_child_before_exec, interrupts_held

DEFAULT_URL = "127.0.0.1:8001"  # where the client looks without S1_URL
INSTALL_CLIENT = "pip install './client[cli]' in a clone of this project (Python 3.11 or later)"


class _Interrupted(Exception):
    """Raised by SIGINT and SIGTERM."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped. Return the exit code.

    It is that of the command after ``--``, 0 after an orderly stop, or 1 if Triton did not start or lost a process.
    """
    options = parse_options(sys.argv[1:] if arguments is None else arguments)
    adopt_orphans()
    for number in INTERRUPTS:
        signal.signal(number, _interrupt)
    try:
        return _serve(options)
    except _Interrupted:
        return 130 if options.command else 0
    except (ConfigError, StartFailed) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    _ignore_further_signals()
    raise _Interrupted


def _ignore_further_signals() -> None:
    for number in INTERRUPTS:
        signal.signal(number, _do_nothing)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Handle a signal by ignoring it: SIG_IGN would be inherited by children."""


def _repositories(options: argparse.Namespace) -> list[Path]:
    """Return the model repositories. Raises ConfigError unless one of them holds model ``s1``, and one the engine model."""
    repositories: list[Path] = options.model_repository or [Path("model_repository")]
    for model, cure in (
        ("s1", "run it in the project's folder, or name its model_repository with --model-repository"),
        (options.engine, "build the engine first, or choose another --engine"),
    ):
        if not any((repository / model / "config.pbtxt").is_file() for repository in repositories):
            raise ConfigError(f"{repositories[-1]}/{model} has no config.pbtxt: {cure}")
    return repositories


def _serve(options: argparse.Namespace) -> int:
    show = _progress_line if sys.stderr.isatty() else lambda _: None
    repositories = _repositories(options)
    security, tracing = security_of(options), tracing_of(options)
    ports = _ports_of(options)
    environment = serving_environment(options, ports.grpc, show)
    if options.engine == "tensorrt_llm" and not options.skip_preflight:
        preflight.require(options.engine_dir, options.tokenizer, ports.listening())
    server = TritonServer(
        repositories=repositories,
        models=["s1", options.engine],
        ports=ports,
        log=None if str(options.log) == "-" else options.log,
        environment=environment | tracing.environment(),
        security=security,
        extra_flags=tuple(tracing.flags()),
        traced_headers=tracing.headers,
        transport=options.transport,
        drains=not options.command,  # when a command has ended, all its requests have
        drain_s=options.drain_s,
        lame_duck_s=options.lame_duck_s,
        deadline_s=options.start_s,
        num_ranks=world_size(options.engine_dir) if options.engine == "tensorrt_llm" else 1,
        progress=show,
    )
    http, metrics = (f"{ports.http_host}:{port}" for port in (ports.http, ports.metrics))
    ready = readiness_endpoint(ports.http_host, options.ready_port, lambda: server.is_draining, lambda: why_not_ready(http, metrics))
    with ready, server:  # the endpoint outlives the server: the balancer must see the drain
        try:
            show("")
            if options.command:
                return _run_command(options.command, security.client_environment(ports.here))
            about = ABOUT_S1_TINY if (options.engine, options.model) == ("embedded_llm", S1_TINY) else ""
            return _serve_until_ended(server, about)
        finally:
            _ignore_further_signals()  # only stopping is left, and nothing may cut it short


def _ports_of(options: argparse.Namespace) -> Ports:
    numbers = {"http": options.http_port, "grpc": options.grpc_port, "metrics": options.metrics_port}
    http_host = options.http_host or ("127.0.0.1" if options.tls_cert else None)
    return choose_ports(**numbers, host=options.host, http_host=http_host)


def _serve_until_ended(server: TritonServer, about_model: str = "") -> int:
    ports = server.ports
    print(f"ready: gRPC {server.grpc_url}, HTTP {server.http_url}, metrics port {ports.metrics}; Ctrl-C stops", flush=True)
    print(_client_hint(server.security.client_environment(ports.here)), flush=True)
    if about_model:
        print(about_model, flush=True)
    print(server.wait(), file=sys.stderr)
    assert server.process is not None
    return _exit_code(server.process.returncode or 1)


def _client_hint(environment: dict[str, str]) -> str:
    """Return the line that tells a user how to get the command ``s1`` and how to reach this server with it."""
    defaults = {"S1_URL": DEFAULT_URL}
    shown = {name: value for name, value in environment.items() if defaults.get(name) != value}
    shown |= {"S1_SECRET": "..."} if "S1_SECRET" in environment else {}  # never the secret itself
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in shown.items())
    command, activate = (Path(sys.prefix, "bin", name) for name in ("s1", "activate"))
    is_here = command.exists() and activate.exists()
    get = f". {shlex.quote(str(activate))}" if is_here else INSTALL_CLIENT
    return f'ask it: {get}; {variables}{" " if variables else ""}s1 ask "How many r in raspberry"'


def _run_command(command: Sequence[str], environment: dict[str, str]) -> int:
    """Run a command with $S1_URL and the client's other variables. Return its exit code as a shell would.

    From here on Ctrl-C is the command's to handle: a terminal sends it to the command too.
    """
    signal.signal(signal.SIGINT, _do_nothing)
    process = None
    try:
        with interrupts_held():
            process = subprocess.Popen(command, env={**os.environ, **environment}, preexec_fn=in_child_before_exec)
        return _exit_code(process.wait())
    except _Interrupted:
        if process is not None:
            _end(process)
        raise


def _exit_code(code: int) -> int:
    """Return the exit code that a shell reports for a process."""
    return code if code >= 0 else 128 - code


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(EXIT_TIMEOUT_S)
    process.kill()


def _progress_line(text: str) -> None:
    print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
