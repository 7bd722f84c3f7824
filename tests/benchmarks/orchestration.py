# SPDX-License-Identifier: Apache-2.0
"""What budget forcing costs on a server: ways of doing it over an engine that costs nothing, side by side in one run.

    python3 tests/benchmarks/orchestration.py [--seconds-per-cell 3] [--levels 1,4,16,64,256] [--delays 0,10]

The engine (paced_engine/) says ids and computes nothing. One of eight tells when it was said; the
others are as frequent as in a text, that of the project's pages. With a delay it steps all its calls
together every so many milliseconds, as in-flight batching does; with delay 0 it is as fast as it can
be, and everything over it is overloaded. A reply is three rounds of thinking, two of whose ends are
refused, and an answer: four engine calls.

* *engine alone*: one engine call with as many ids as a reply has; the limit of server and client;
* *client loop*: the four calls, made by the client;
* *s1, grpc*: the model as it is shipped;
* *s1, bls*: the same with the other transport, 16 instances, each of which runs one reply at a time;
* *serial BLS*: our own minimal re-creation of how NVIDIA's stock tensorrt_llm_bls works
  (serial_models/serial_bls), 16 instances; one engine call, its cheapest case: no forcing at all.

One asyncio client, closed loop: so many streams, each asks again when its reply has come. It
shares the machine with the server and limits what can be seen: compare rows of one run.

* *tok/s*: sampled ids that reach the client, consumed terminators left out. A loop's four
  terminators take a step each, so with a delay of 10 ms its most is 200/204 of the engine's;
* *first token*: from sending the request to the first sampled id, median;
* *added*: from when the engine said an id to when the client has it, of the oldest id in each
  message, if that tells when it was said. With delay 0 it is the length of queues and says nothing
  (known only up to 0.65 s);
* *round gap*: from a refused round's last id to the first of the next round, less the two ticks that
  the engine takes for it, the terminator being an id as well. (Figures saved before 2026-11-30 have
  two gaps: then the first id was an engine call of its own.)
* *CPU*: seconds for 1,000 tokens: the server and those stubs that the row needs, and the client;
* *memory*: of the same processes behind the load (proportional set size). The server is one for
  all rows and gives little back;
* *others*: of the machine's CPU, what none of these used. A row with more than a twentieth is marked as
  *busy*: do not believe it, even what it costs a token is higher then.

Figures are medians over the repeats, in which the patterns take turns; of tok/s and of the added
time's median the lowest and the highest are shown, too.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from meters import MAX_OTHERS, ServerMeter, announce, machine_cpu_s, save, spread
from paced_engine.build import IDS_A_STAMP, Pace, Stamps, add_model
from streams import ClientLoop, EngineCall, Markers, Reply, SerialCall, ServedLoop, Wire, num_reply_ids, round_seams

from budgetforce.launcher.options import parse_options
from budgetforce.launcher.ports import choose_ports
from budgetforce.launcher.serving_env import serving_environment
from budgetforce.launcher.triton_server import TritonServer
from budgetforce.text.tokenizer import ChatTokenizer

ROOT = Path(__file__).resolve().parents[2]
SERIAL_MODELS = Path(__file__).resolve().parent / "serial_models"
SERIAL_NAMES = ("serial_bls", "serial_preprocessing", "serial_postprocessing")
NUM_IDS = {0: 100, 10: 50}  # that the engine says a call, by delay in ms
NUM_IDS_ELSE = 50
QUIET_S = 20.0  # what a row left running at the server ends by then


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A way of getting a reply.

    Attributes:
        stream: makes what asks, from the wire, the delay in ms and the ids a call.
        models: the Python models that it needs, ``{}`` standing for the delay.
        has_rounds: whether a reply is several rounds.
        changes: of the config of model ``s1``, if the pattern is a copy of it.
    """

    stream: Callable[[Wire, int, int], Any]
    models: tuple[str, ...] = ()
    has_rounds: bool = True
    changes: tuple[tuple[str, str], ...] | None = None


def patterns(markers: Markers, num_instances: int) -> dict[str, Pattern]:
    """By the name that the table shows. A further copy of ``s1`` is one more entry."""
    return {
        "engine alone": Pattern(stream=lambda wire, delay, n: EngineCall(wire, f"paced_{delay}", n), has_rounds=False),
        "client loop": Pattern(stream=lambda wire, delay, n: ClientLoop(wire, f"paced_{delay}", n, markers)),
        "s1, grpc": Pattern(stream=lambda wire, delay, _: ServedLoop(wire, f"s1_grpc_{delay}"), models=("s1_grpc_{}",), changes=()),
        "s1, bls": Pattern(
            stream=lambda wire, delay, _: ServedLoop(wire, f"s1_bls_{delay}"),
            models=("s1_bls_{}",),
            changes=(("count: 1 ", f"count: {num_instances} "), ('string_value: "grpc"', 'string_value: "bls"')),
        ),
        "serial BLS": Pattern(stream=lambda wire, delay, n: SerialCall(wire, f"paced_{delay}", n), models=SERIAL_NAMES, has_rounds=False),
    }


@dataclass(slots=True, kw_only=True)
class Cell:
    """One row of the table while it is measured; times in nanoseconds of CLOCK_MONOTONIC."""

    pattern: Pattern
    delay_ms: int
    num_ids: int
    replies: list[Reply] = field(default_factory=list)
    is_over: bool = False
    began_ns: int = 0
    ended_ns: int = 0
    cpu_s: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))  # see _cpu_s
    memory_mb: float = 0.0


# --- load ---------------------------------------------------------------------------------


async def keep_asking(cell: Cell, stream: Any, start_s: float) -> None:
    """One stream: the next request when the reply has come, until the cell is over.

    It comes at any moment between two steps of the engine: a reply ends with a step, and whoever
    asked just behind one would wait a whole step more for a delay of any length.
    """
    await asyncio.sleep(start_s)
    while not cell.is_over:
        await asyncio.sleep(random.random() * cell.delay_ms / 1000)
        reply = Reply()
        cell.replies.append(reply)
        await stream.ask(reply)
        reply.is_complete = True


async def load(cell: Cell, stream: Any, num_streams: int, meter: ServerMeter, options: argparse.Namespace) -> None:
    """Measure for some seconds behind a warm-up, then let the replies that have begun come to their end."""
    starts = [options.warm_up * number / num_streams for number in range(num_streams)]
    tasks = [asyncio.create_task(keep_asking(cell, stream, start)) for start in starts]
    await _still_running(tasks, options.warm_up)
    cell.began_ns, before = time.monotonic_ns(), _cpu_s(meter)
    await _still_running(tasks, options.seconds_per_cell)
    cell.ended_ns, cell.cpu_s = time.monotonic_ns(), _cpu_s(meter) - before
    cell.memory_mb = meter.memory_mb()
    await _end(cell, tasks)


def _cpu_s(meter: ServerMeter) -> npt.NDArray[np.float64]:
    """CPU time so far: of the server and its stubs, of this client, of everything on the machine."""
    return np.array([meter.cpu_s(), time.process_time(), machine_cpu_s()])


async def _still_running(tasks: Sequence[asyncio.Task[None]], seconds: float) -> None:
    """Wait. Raises what a task raised."""
    await asyncio.sleep(seconds)
    for task in tasks:
        if task.done():
            task.result()


async def _end(cell: Cell, tasks: Sequence[asyncio.Task[None]]) -> None:
    """Let the replies that have begun come to their end, take back those that have not."""
    cell.is_over = True
    while any(reply.messages for reply in cell.replies if not reply.is_complete):
        await _still_running(tasks, 0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def settle(meter: ServerMeter) -> None:
    """Wait until the server does nothing any more."""
    deadline = time.monotonic() + QUIET_S
    before = -1.0
    while meter.cpu_s() - before > 0.02 and time.monotonic() < deadline:
        before = meter.cpu_s()
        await asyncio.sleep(0.25)


# --- figures ------------------------------------------------------------------------------


def check(cell: Cell, stamps: Stamps) -> None:
    """Raises ValueError for a reply with other ids than it must have: a benchmark that counts wrong is worthless."""
    wanted = num_reply_ids(cell.num_ids)
    complete = [reply for reply in cell.replies if reply.is_complete]
    if not complete:
        raise ValueError("no reply came to its end")
    for reply in complete:
        if len(reply.ids) != wanted:
            raise ValueError(f"a reply has {len(reply.ids)} ids, not {wanted}")
        stamps.are(reply.ids)


def figures(cell: Cell, stamps: Stamps) -> dict[str, Any]:
    """What the table shows of a cell."""
    check(cell, stamps)
    seen = [(ns, ids) for reply in cell.replies for ns, ids in reply.messages if cell.began_ns <= ns < cell.ended_ns]
    num_tokens = sum(len(ids) for _, ids in seen) // 4
    added_ms = _added_ms(cell, stamps)
    seconds, thousands = (cell.ended_ns - cell.began_ns) / 1e9, max(num_tokens, 1) / 1000
    server_s, client_s, machine_s = map(float, cell.cpu_s)
    return {
        "tokens_per_s": num_tokens / seconds,
        "first_token_ms": _median(_first_tokens_ms(cell)),
        "added_p50_ms": _percentile(added_ms, 50),
        "added_p99_ms": _percentile(added_ms, 99),
        **_gaps(cell, stamps),
        "server_cpu_s_per_1k": server_s / thousands,
        "client_cpu_s_per_1k": client_s / thousands,
        "others_cpu_share": max(0.0, machine_s - server_s - client_s) / (seconds * os.cpu_count()),
        "memory_mb": cell.memory_mb,
        "tokens_per_message": num_tokens / max(len(seen), 1),
        "num_replies": sum(reply.is_complete for reply in cell.replies),
    }


def _added_ms(cell: Cell, stamps: Stamps) -> npt.NDArray[np.float64]:
    """Ages of the messages' oldest ids, of one message in ``IDS_A_STAMP``: only so many ids show when they were said.

    A call's first and last id always do; so that they count as often as others, one in ``IDS_A_STAMP`` is taken.
    """
    sampled = []
    for number, reply in enumerate(cell.replies):
        position = 0
        for ns, ids in reply.messages:
            in_call = position % cell.num_ids
            position += len(ids) // 4
            counts = in_call not in (0, cell.num_ids - 1) or number % IDS_A_STAMP == 0
            if counts and cell.began_ns <= ns < cell.ended_ns:
                sampled.append((int.from_bytes(ids[:4], "little"), ns // 1000))
    oldest, came_us = np.array(sampled).T
    stamped = stamps.are(oldest)
    return stamps.age_us(oldest[stamped], came_us[stamped]) / 1e3


def _first_tokens_ms(cell: Cell) -> list[float]:
    firsts = [(reply.sent_ns, reply.messages[0][0]) for reply in cell.replies if reply.messages]
    return [(first - sent) / 1e6 for sent, first in firsts if cell.began_ns <= first < cell.ended_ns]


def _gaps(cell: Cell, stamps: Stamps) -> dict[str, Any]:
    """Medians over the refused ends of all replies."""
    if not cell.pattern.has_rounds:
        return {"gap_first_ms": None}
    complete = [reply.ids for reply in cell.replies if reply.is_complete]
    seams = [(ids[at - 1], ids[at]) for ids in complete for at in round_seams(cell.num_ids)]
    last, first = np.array(seams, np.int32).T
    return {"gap_first_ms": _median(stamps.gap_us(last, first) / 1e3) - 2 * cell.delay_ms}


def _median(values: Any) -> float | None:
    return _percentile(values, 50)


def _percentile(values: Any, percent: float) -> float | None:
    return float(np.percentile(values, percent)) if len(values) else None


SPREAD = ("tokens_per_s", "added_p50_ms")  # of these figures every repeat is kept


def medians(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of every figure, over the repeats that have it."""
    return {name: _median([run[name] for run in runs if run[name] is not None]) for name in runs[0]} | {
        f"all_{name}": [run[name] for run in runs] for name in SPREAD if len(runs) > 1
    }


# --- server -------------------------------------------------------------------------------


def make_repository(folder: Path, options: argparse.Namespace, chosen: dict[str, Pattern], stamps: Stamps) -> None:
    """The engines, a copy of ``s1`` over each for every pattern that is one, and the serial models."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(SERIAL_MODELS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    _change(folder / "serial_bls" / "config.pbtxt", ("count: 16", f"count: {options.instances}"))
    for delay in options.delays:
        add_model(folder, f"paced_{delay}", Pace(num_ids=NUM_IDS.get(delay, NUM_IDS_ELSE), delay_us=delay * 1000), stamps)
        for pattern in chosen.values():
            if pattern.changes is not None:
                copy_s1(folder / pattern.models[0].format(delay), f"paced_{delay}", pattern.changes)


def copy_s1(folder: Path, engine: str, changes: Sequence[tuple[str, str]]) -> None:
    """Make a copy of model ``s1`` over another engine, with further changes of its config: (old, new) texts."""
    shutil.copytree(ROOT / "model_repository" / "s1", folder, ignore=shutil.ignore_patterns("__pycache__"))
    _change(folder / "config.pbtxt", ('name: "s1"', f'name: "{folder.name}"'), ("${S1_ENGINE_MODEL}", engine), *changes)


def _change(config: Path, *changes: tuple[str, str]) -> None:
    """Raises ValueError for what is not there exactly once."""
    text = config.read_text()
    for old, new in changes:
        if text.count(old) != 1:
            raise ValueError(f"{config}: {old} is there {text.count(old)} times")
        text = text.replace(old, new)
    config.write_text(text)


def make_server(work: Path, delays: Sequence[int], chosen: dict[str, Pattern]) -> TritonServer:
    names = {f"paced_{delay}" for delay in delays}
    names |= {name.format(delay) for pattern in chosen.values() for name in pattern.models for delay in delays}
    ports = choose_ports(http=0, grpc=0, metrics=0)
    return TritonServer(
        repositories=[work / "repository"],
        models=sorted(names),
        ports=ports,
        log=work / "triton.log",
        environment=serving_environment(embedded_options(), ports.grpc, lambda _: None),
    )


def embedded_options() -> argparse.Namespace:
    """SmolLM2's tokenizer, limits and preset; the model itself is not loaded."""
    return parse_options([f"--cache={ROOT / '.s1/models'}", "--model=smollm2"])


def read_markers(tokenizer: ChatTokenizer) -> Markers:
    """Those of preset smollm2."""
    (stop,) = tokenizer.encode_marker("<|im_end|>")
    answer = tokenizer.encode_marker("<|im_end|>\n<|im_start|>assistant\nFinal Answer:")
    return Markers(stop=stop, ignored=np.array(tokenizer.encode("Wait"), np.int32).tobytes(), answer=np.array(answer, np.int32).tobytes())


# --- table --------------------------------------------------------------------------------

HEAD = (
    "| delay, ms | streams | pattern | tok/s | of engine | first token, ms | added p50 / p99, ms | round gap, ms "
    "| CPU s / 1k tokens, server + client | memory, MB | tokens a message | others, % |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def shown(value: float | None, num_digits: int) -> str:
    """A figure of the table; a dash where there is none."""
    return "–" if value is None else f"{value:.{num_digits}f}"


def line(row: dict[str, Any], engine: dict[str, Any] | None) -> str:
    """A row of the table, in Markdown; ``engine`` is the row of the engine alone."""
    share = "–" if engine is None else f"{row['tokens_per_s'] / engine['tokens_per_s']:.2f}"
    gap = shown(row["gap_first_ms"], 1) + (f" + {shown(row['gap_second_ms'], 1)}" if row.get("gap_second_ms") is not None else "")
    first = shown(row["first_token_ms"], 1)
    added = f"{_with_spread(row, 'added_p50_ms', 2)} / {shown(row['added_p99_ms'], 1)}"
    cpu = f"{row['server_cpu_s_per_1k']:.3f} + {row['client_cpu_s_per_1k']:.3f}"
    cells = (row["delay_ms"], row["num_streams"], row["pattern"], _with_spread(row, "tokens_per_s", 0), share, first, added, gap, cpu)
    busy = " (busy)" if row["others_cpu_share"] > MAX_OTHERS else ""
    rest = f"{row['memory_mb']:.0f} | {row['tokens_per_message']:.1f} | {row['others_cpu_share'] * 100:.0f}{busy}"
    return f"| {' | '.join(map(str, cells))} | {rest} |"


def _with_spread(row: dict[str, Any], name: str, num_digits: int) -> str:
    every = row.get(f"all_{name}")
    return shown(row[name], num_digits) if every is None else spread(every, num_digits)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """All rows, in Markdown."""
    engines = {(row["delay_ms"], row["num_streams"]): row for row in rows if row["pattern"] == "engine alone"}
    return "\n".join([HEAD, *(line(row, engines.get((row["delay_ms"], row["num_streams"]))) for row in rows)])


class Bench:
    """Measures cells on a running server."""

    def __init__(self, server: TritonServer, stamps: Stamps, options: argparse.Namespace) -> None:
        assert server.process is not None
        self._url = server.grpc_url
        self._pid = server.process.pid
        self._stamps = stamps
        self._options = options

    async def group(self, delay: int, num_streams: int, chosen: dict[str, Pattern]) -> list[dict[str, Any]]:
        """A row for every pattern; within each repeat the patterns take turns, so that all meet the same machine."""
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in chosen}
        for _, (name, pattern) in itertools.product(range(self._options.repeats), chosen.items()):
            runs[name].append(await self._measure(pattern, delay, num_streams))
        return [{"delay_ms": delay, "num_streams": num_streams, "pattern": name, **medians(some)} for name, some in runs.items()]

    async def _measure(self, pattern: Pattern, delay: int, num_streams: int) -> dict[str, Any]:
        wire = Wire(self._url)
        cell = Cell(pattern=pattern, delay_ms=delay, num_ids=NUM_IDS.get(delay, NUM_IDS_ELSE))
        meter = ServerMeter(self._pid, [name.format(delay) for name in pattern.models])
        await load(cell, pattern.stream(wire, delay, cell.num_ids), num_streams, meter, self._options)
        await wire.close()
        await settle(meter)
        return figures(cell, self._stamps)


async def measure(bench: Bench, chosen: dict[str, Pattern], options: argparse.Namespace) -> list[dict[str, Any]]:
    """All rows, printed as they come."""
    rows: list[dict[str, Any]] = []
    print(HEAD)
    for delay, num_streams in itertools.product(options.delays, options.levels):
        group = await bench.group(delay, num_streams, chosen)
        engine = next((row for row in group if row["pattern"] == "engine alone"), None)
        for row in group:
            print(line(row, engine), flush=True)
        rows += group
    return rows


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Ways of budget forcing over an engine that costs nothing.")
    parser.add_argument("--seconds-per-cell", type=float, default=3.0)
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds before it")
    parser.add_argument("--repeats", type=int, default=3, help="of every cell (default: %(default)s)")
    parser.add_argument("--levels", type=numbers, default=[1, 4, 16, 64, 256], help="streams at a time")
    parser.add_argument("--delays", type=numbers, default=[0, 10], help="ms between two ids of a stream; 0 = as fast as it goes")
    parser.add_argument("--instances", type=int, default=16, help="of the models that run one request at a time in each")
    parser.add_argument("--patterns", help="names, with ';' between them (default: all)")
    parser.add_argument("--work", type=Path, default=ROOT / ".s1" / "orchestration", help="for the model repository and the log")
    parser.add_argument("--save", type=Path, help="write the figures here, as JSON")
    return parser.parse_args()


def choose(known: dict[str, Pattern], names: str | None) -> dict[str, Pattern]:
    """The patterns asked for. Raises KeyError for an unknown one."""
    return known if names is None else {name.strip(): known[name.strip()] for name in names.split(";")}


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server is stopped on the way out
    options = parse()
    environment = serving_environment(embedded_options(), 0, lambda _: None)
    tokenizer = ChatTokenizer.load(Path(environment["S1_TOKENIZER_DIR"]))
    text = "".join(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))
    stamps = Stamps(tokenizer.token_bytes, tokenizer.encode(text))
    chosen = choose(patterns(read_markers(tokenizer), options.instances), options.patterns)
    make_repository(options.work / "repository", options, chosen, stamps)
    with make_server(options.work, options.delays, chosen) as server:
        gc.freeze()
        gc.disable()  # a pause of the client would be taken for one of the server
        where = announce(server.grpc_url)
        rows = asyncio.run(measure(Bench(server, stamps, options), chosen, options))
    save(options.save, where, rows=rows)


if __name__ == "__main__":
    main()
