# SPDX-License-Identifier: Apache-2.0
"""Starts Triton with ``s1`` and an engine, and owns the process: for a terminal, a test, a load test or a container.

    python -m budgetforce.launcher                          # serve until Ctrl-C
    python -m budgetforce.launcher -- s1 ask "Why?"         # serve for one command, which finds it in $S1_URL

Whatever ends the launcher ends the server, its stubs and their shared memory.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from budgetforce.building import preflight
from budgetforce.config import TRANSPORTS
from budgetforce.errors import ConfigError
from budgetforce.launcher.ranks import world_size
from budgetforce.launcher.security import add_options as add_security_options
from budgetforce.launcher.security import security_of
from budgetforce.launcher.serving_env import (
    ENGINE_HELP,
    ENGINES,
    LIBRARIES,
    add_admission_options,
    add_library_options,
    add_log_options,
    serving_environment,
)
from budgetforce.launcher.triton_server import DRAIN_S, EXIT_TIMEOUT_S, START_S, Ports, StartFailed, TritonServer, choose_ports
from budgetforce.processes import INTERRUPTS, adopt_orphans, in_child_before_exec, interrupts_held

DEFAULT_URL = "127.0.0.1:8001"  # the client's
CLIENT = "pip install './client[cli]' in a clone of this project (Python 3.11 or later)"
DRAIN_HELP = (
    "seconds that running replies have to finish when the server is to stop; those that take longer end with error STOPPING. "
    "The longest thought takes its tokens divided by the tokens a second: 32,000 at 72 take 445 s. Whoever starts the launcher "
    "must leave it 25 s more before it kills (default: %(default)g)"
)


class _Interrupted(Exception):
    """SIGINT or SIGTERM."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve; the exit code of the command behind ``--``, 0 after an orderly stop, 1 if Triton did not start or a process of it died."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
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
    _let_signals_pass()
    raise _Interrupted


def _let_signals_pass() -> None:
    """Stopping is under way: once is enough."""
    for number in INTERRUPTS:
        signal.signal(number, _let_pass)


def _let_pass(_number: int, _frame: FrameType | None) -> None:
    """Do nothing. Not SIG_IGN, which children would inherit."""


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="s1 serve", usage="%(prog)s [options] [-- command ...]", description="Serve s1 on Triton.")
    parser.add_argument("--engine", choices=ENGINES, default="embedded_llm", help=ENGINE_HELP)
    parser.add_argument("--model", default="smollm2", help="embedded_llm: smollm2, a GGUF file, a Hugging Face folder or a hub id")
    add_library_options(parser)
    parser.add_argument("--library", choices=LIBRARIES, default="auto", help="embedded_llm: what computes (default: %(default)s)")
    parser.add_argument("--engine-dir", type=Path, help="tensorrt_llm: the folder with the engine's config.json")
    parser.add_argument("--tokenizer", type=Path, help="tensorrt_llm: the folder with the model's tokenizer")
    parser.add_argument("--skip-preflight", action="store_true", help="tensorrt_llm: start it whatever the checks before say")
    parser.add_argument("--transport", choices=TRANSPORTS, default="grpc", help="how s1 calls its engine (default: %(default)s)")
    parser.add_argument("--preset", help="budgetforce preset (default: that of the model)")
    parser.add_argument(
        "--model-repository",
        type=Path,
        action="append",
        metavar="DIR",
        help="where s1 and the engine are; may be given again (default: model_repository)",
    )
    parser.add_argument("--cache", type=Path, default=Path(".s1/models"), help="where prepared models are kept")
    parser.add_argument("--log", type=Path, default=Path(".s1/triton.log"), help="Triton's; - = with ours (default: %(default)s)")
    parser.add_argument("--start-s", type=_seconds, default=START_S, help="how long it may take to get ready (default: %(default)g)")
    parser.add_argument("--drain-s", type=_seconds, default=DRAIN_S, help=DRAIN_HELP)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine only)")
    for name, port in (("http", 8000), ("grpc", 8001), ("metrics", 8002)):
        parser.add_argument(f"--{name}-port", type=_port, default=port, help="0 = a free one (default: %(default)s)")
    add_admission_options(parser)
    add_log_options(parser)
    add_security_options(parser)
    parser.add_argument("command", nargs="*", help="run this while the server is up (behind --), then stop")
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"got {text}, allowed: a number from 1 to 65535, or 0 for a free port")
    return int(text)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"got {text}, allowed: a number of seconds >= 0")
    return value


def _serve(options: argparse.Namespace) -> int:
    show = _progress_line if sys.stderr.isatty() else lambda _: None
    repositories = options.model_repository or [Path("model_repository")]
    if not any((repository / options.engine / "config.pbtxt").is_file() for repository in repositories):
        raise ConfigError(f"{repositories[-1]}/{options.engine} has no config.pbtxt: build the engine first, or choose another one")
    security = security_of(options)
    ports = _ports_of(options)
    environment = serving_environment(options, ports.grpc, show)
    if options.engine == "tensorrt_llm" and not options.skip_preflight:
        preflight.require(options.engine_dir, options.tokenizer, ports.listening())
    server = TritonServer(
        repositories=repositories,
        models=["s1", options.engine],
        ports=ports,
        log=None if str(options.log) == "-" else options.log,
        environment=environment,
        security=security,
        transport=options.transport,
        drains=not options.command,  # a command has had its answers
        drain_s=options.drain_s,
        deadline_s=options.start_s,
        num_ranks=world_size(options.engine_dir) if options.engine == "tensorrt_llm" else 1,
        progress=show,
    )
    with server:
        try:
            show("")
            if options.command:
                return _run_command(options.command, security.client_environment(ports.here))
            return _serve_until_it_ends(server)
        finally:
            _let_signals_pass()  # what is left is stopping, and nothing may cut that short


def _ports_of(options: argparse.Namespace) -> Ports:
    numbers = {"http": options.http_port, "grpc": options.grpc_port, "metrics": options.metrics_port}
    http_host = options.http_host or ("127.0.0.1" if options.tls_cert else None)
    return choose_ports(**numbers, host=options.host, http_host=http_host)


def _serve_until_it_ends(server: TritonServer) -> int:
    ports = server.ports
    print(f"ready: gRPC {server.grpc_url}, HTTP {server.http_url}, metrics port {ports.metrics}; Ctrl-C stops", flush=True)
    print(_how_to_ask(server.security.client_environment(ports.here)), flush=True)
    print(server.wait(), file=sys.stderr)
    assert server.process is not None
    return _exit_code(server.process.returncode or 1)


def _how_to_ask(environment: dict[str, str]) -> str:
    """A line for whoever wants to ask the server: where the command ``s1`` comes from, and what it has to know."""
    known = {"S1_URL": DEFAULT_URL}
    shown = {name: value for name, value in environment.items() if known.get(name) != value}
    shown |= {"S1_SECRET": "..."} if "S1_SECRET" in environment else {}  # never the secret itself
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in shown.items())
    here = Path(sys.prefix, "bin")
    get = f". {shlex.quote(str(here / 'activate'))}" if (here / "s1").exists() and (here / "activate").exists() else CLIENT
    return f'ask it: {get}; {variables}{" " if variables else ""}s1 ask "How many r in raspberry"'


def _run_command(command: Sequence[str], environment: dict[str, str]) -> int:
    """Run a command with $S1_URL and the like; its exit code as a shell would give it. Ctrl-C is the command's from here on:
    a terminal sends it there too, and what it means there is not ours to say.
    """
    signal.signal(signal.SIGINT, _let_pass)
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
    """As a shell would give it."""
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
