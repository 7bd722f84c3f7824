# SPDX-License-Identifier: Apache-2.0
"""What s1 adds to the time to the first token on a server that is not busy, and to a whole reply of several engine calls.

    python3 build/local.py bench first [--requests 200] [--pause-ms 20] [--turns 3] [--save figures.json]

One stream over an engine that computes nothing (paced_engine/, in C; it says all ids of a call at once). Three ways take turns, with a
pause of once to twice ``--pause-ms`` before each request, since an idle machine is slower than a warm one:

* *engine alone*: one engine call with as many ids as a reply has;
* *client loop*: the four calls of a reply, made by the client;
* *s1, grpc*: the model as it is shipped; every request asks something else.

*First token* is the time from sending the request to the first sampled id, *reply* to the last id. Both are medians over the
requests of a turn, and of these the median with the lowest and the highest.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import shutil
import signal
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meters import OthersMeter, announce, busy_mark, save, spread
from orchestration import copy_s1, embedded_options, read_markers
from paced_engine.build import Pace, Stamps, add_model
from streams import ClientLoop, EngineCall, Markers, Reply, ServedLoop, Wire

from budgetforce.launcher.ports import choose_ports
from budgetforce.launcher.serving_env import serving_environment
from budgetforce.launcher.triton_server import TritonServer
from budgetforce.text.tokenizer import ChatTokenizer

ROOT = Path(__file__).resolve().parents[2]
ENGINE, SERVED, NUM_IDS = "paced_first", "s1_first", 8
HEAD = "| | first token, ms | reply, ms |\n|---|---|---|"


@dataclass(slots=True)
class Turn:
    """Milliseconds of the requests of one turn."""

    first: list[float] = field(default_factory=list)
    reply: list[float] = field(default_factory=list)

    def note(self, reply: Reply) -> None:
        """Add a reply that has come."""
        first, last = (reply.messages[at][0] - reply.sent_ns for at in (0, -1))
        self.first.append(first / 1e6)
        self.reply.append(last / 1e6)

    def medians(self) -> dict[str, float]:
        """Of both figures."""
        return {"first_ms": statistics.median(self.first), "reply_ms": statistics.median(self.reply)}


def ways(wire: Wire, markers: Markers, number: int) -> dict[str, Any]:
    """What asks, by the name that the table shows, for the request with this number."""
    return {
        "engine alone": EngineCall(wire, ENGINE, NUM_IDS),
        "client loop": ClientLoop(wire, ENGINE, NUM_IDS, markers),
        "s1, grpc": ServedLoop(wire, SERVED, f"How fast is question {number} answered? What is said to it is of no importance."),
    }


async def turn(url: str, markers: Markers, options: argparse.Namespace, base: int) -> dict[str, Turn]:
    """Ask every way so many times; they alternate."""
    wire = Wire(url)
    figures = {name: Turn() for name in ways(wire, markers, 0)}
    for number in range(options.requests):
        for name, stream in ways(wire, markers, base + number).items():
            await asyncio.sleep(options.pause_ms / 1e3 * (1 + random.random()))
            reply = Reply()
            await stream.ask(reply)
            if number:  # the first call has more to do
                figures[name].note(reply)
    await wire.close()
    return figures


def table(turns: list[dict[str, Turn]]) -> str:
    """All rows, in Markdown."""
    rows = [HEAD]
    for name in turns[0]:
        first, reply = (spread([one[name].medians()[figure] for one in turns], 1) for figure in ("first_ms", "reply_ms"))
        rows.append(f"| {name} | {first} | {reply} |")
    return "\n".join(rows)


def make_server(work: Path) -> tuple[TritonServer, Markers]:
    """A server with the engine and a copy of ``s1`` over it, and the markers of its model."""
    ports, repository = choose_ports(http=0, grpc=0, metrics=0), work / "repository"
    environment = serving_environment(embedded_options(), ports.grpc, lambda _: None)
    tokenizer = ChatTokenizer.load(Path(environment["S1_TOKENIZER_DIR"]))
    shutil.rmtree(repository, ignore_errors=True)
    add_model(repository, ENGINE, Pace(num_ids=NUM_IDS), Stamps(tokenizer.token_bytes))
    copy_s1(repository / SERVED, ENGINE, ())
    names, log = [ENGINE, SERVED], work / "triton.log"
    server = TritonServer(repositories=[repository], models=names, ports=ports, log=log, environment=environment)
    return server, read_markers(tokenizer)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What s1 adds to the time to the first token on a server that is not busy.")
    parser.add_argument("--requests", type=int, default=200, help="of each way in a turn (default: %(default)s)")
    parser.add_argument("--pause-ms", type=float, default=20.0, help="before each request, once to twice as long (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--work", type=Path, default=ROOT / ".s1/first", help="for the model repository and the log")
    parser.add_argument("--save", type=Path, help="for the figures, as JSON")
    return parser.parse_args()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server is stopped on the way out
    options = parse()
    server, markers = make_server(options.work)
    with server:
        gc.freeze()
        gc.disable()  # a pause of the client would be taken for one of the server
        where = announce(server.grpc_url)
        others = OthersMeter()
        turns = [asyncio.run(turn(server.grpc_url, markers, options, number * options.requests)) for number in range(options.turns)]
        print(f"{table(turns)}{busy_mark(others.share())}")
    save(options.save, where, turns=[{name: one.medians() for name, one in of.items()} for of in turns])


if __name__ == "__main__":
    main()
