# SPDX-License-Identifier: Apache-2.0
"""Parse the command-line options of the launcher."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from pathlib import Path

from budgetforce.config import TRANSPORTS
from budgetforce.launcher.admission import add_admission_options
from budgetforce.launcher.security import add_security_options
from budgetforce.launcher.serving_env import add_engine_options, add_log_options
from budgetforce.launcher.tracing import add_tracing_options
from budgetforce.launcher.triton_server import DRAIN_S, START_S

LAME_DUCK_S = 5.0  # for two checks of a balancer, and for it to act on them
READY_HELP = (
    "TCP port of an endpoint for load balancers, on the address of HTTP: 200 ready, 404 draining, 503 not ready (default: none; 0 is not "
    "possible, because nobody would know the port)"
)
LAME_DUCK_HELP = (
    "seconds between the announcement that the server stops (404 at --ready-port) and the rejection of new requests, so that a load "
    f"balancer loses none (default: {LAME_DUCK_S:g} with --ready-port, else 0)"
)
DRAIN_HELP = (
    "seconds that running replies have to finish when the server stops; those that take longer end with error STOPPING. "
    "The longest thought takes its tokens divided by the tokens a second: 32,000 at 72 take 445 s. The supervisor that stops "
    "the launcher must wait 25 s longer than this and --lame-duck-s together before it kills (default: %(default)g)"
)


def parse_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the launcher's command line. Exits with code 2 and a message for a value that is not allowed."""
    parser = argparse.ArgumentParser(
        prog="s1 serve", usage="%(prog)s [options] [-- command ...]", description="Start Triton with model s1 and an engine, and serve."
    )
    add_engine_options(parser)
    parser.add_argument("--skip-preflight", action="store_true", help="tensorrt_llm: start the engine even if the checks before it fail")
    parser.add_argument("--transport", choices=TRANSPORTS, default="grpc", help="how s1 calls its engine (default: %(default)s)")
    _add_file_options(parser)
    _add_time_options(parser)
    _add_address_options(parser)
    add_admission_options(parser)
    add_log_options(parser)
    add_tracing_options(parser)
    add_security_options(parser)
    parser.add_argument("command", nargs="*", help="command to run while the server is up (after --); the server stops when it ends")
    options = parser.parse_args(arguments)
    if options.lame_duck_s is None:
        options.lame_duck_s = LAME_DUCK_S if options.ready_port is not None else 0.0
    return options


def _add_file_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model-repository",
        type=Path,
        action="append",
        metavar="DIR",
        help="model repository with s1 or the engine (repeatable; default: model_repository)",
    )
    parser.add_argument("--cache", type=Path, default=Path(".s1/models"), help="folder for prepared models (default: %(default)s)")
    parser.add_argument("--log", type=Path, default=Path(".s1/triton.log"), help="file for Triton's log; - = stdout (default: %(default)s)")


def _add_time_options(parser: argparse.ArgumentParser) -> None:
    start_help = "seconds until the server must be ready, else the start has failed (default: %(default)g)"
    parser.add_argument("--start-s", type=_seconds, default=START_S, help=start_help)
    parser.add_argument("--drain-s", type=_seconds, default=DRAIN_S, help=DRAIN_HELP)
    parser.add_argument("--lame-duck-s", type=_seconds, help=LAME_DUCK_HELP)


def _add_address_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine only)")
    for name, port, title in (("http", 8000, "HTTP"), ("grpc", 8001, "gRPC"), ("metrics", 8002, "metrics")):
        text = f"TCP port for {title}; 0 = any free port (default: %(default)s)"
        parser.add_argument(f"--{name}-port", type=_port, default=port, help=text)
    parser.add_argument("--ready-port", type=_known_port, help=READY_HELP)


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"got {text}, allowed: a number from 1 to 65535, or 0 for a free port")
    return int(text)


def _known_port(text: str) -> int:
    port = _port(text)
    if port == 0:
        raise argparse.ArgumentTypeError("got 0, allowed: a number from 1 to 65535")
    return port


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"got {text}, allowed: a number of seconds >= 0")
    return value
