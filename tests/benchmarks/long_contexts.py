# SPDX-License-Identifier: Apache-2.0
"""What a round costs besides the engine's computing, by the length of the context: every round sends all ids.

    python3 build/local.py bench contexts [--lengths 1000,8000,30000] [--calls 100] [--save figures.json]

Behind a refused end s1 makes one engine call with the whole context. Over an engine that computes
nothing (paced_engine/, in C) each call asks for one id:

* *bytes*: of the request, as gRPC carries it;
* *s1*: CPU time of the core's next round, the call's tensors and its message;
* *call*: CPU time of s1's process for all of the call, what *s1* names included;
* *Triton*: CPU time of the server for the call, in steps of 10 ms over all calls;
* *first id*: from the call to its id, median; other work on the machine shows here first;
* *Python engine*: CPU time that a Python engine model needs besides to read and check the tensors
  (embedded_llm, vllm_llm, llmapi_llm), before its library gets the ids. TensorRT-LLM's backend does not.

CPU times are per call; *s1* and *Python engine* are the least of all calls. A row is marked as *busy* if others
used more than a twentieth of the machine's CPU meanwhile: do not believe its *first id*.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meters import OthersMeter, ServerMeter, announce, busy_mark, save
from orchestration import embedded_options
from paced_engine.build import Pace, Stamps, add_model

from budgetforce.core import BudgetForcer, ForcingPlan, Generate, RoundEnded, Started, TokensSampled
from budgetforce.engine.base import EngineCall, EngineDelta, Sampling
from budgetforce.engine.endpoint import Endpoint
from budgetforce.engine.tensors import call_tensors
from budgetforce.engine.token_engine import ModelLimits, validate
from budgetforce.engine.triton_grpc import GrpcEngine
from budgetforce.launcher.ports import choose_ports
from budgetforce.launcher.serving_env import serving_environment
from budgetforce.launcher.triton_server import TritonServer
from budgetforce.serving.engine_inputs import read_engine_request
from budgetforce.text.tokenizer import ChatTokenizer

ROOT = Path(__file__).resolve().parents[2]
ENGINE, NUM_IDS, STOP, WAIT = "paced_once", 1000, 2, 7
VOCAB_SIZE = 152064
HEAD = "| ids a call | bytes | s1, ms | call, ms | Triton, ms | first id, ms | Python engine, ms |\n|---|---|---|---|---|---|---|"


class Waits:
    """The core of a reply whose every end is refused, at a context of ``length`` ids; and its engine calls."""

    def __init__(self, length: int) -> None:
        draw = random.Random(length)  # the same ids each time
        plan = ForcingPlan(
            prompt_ids=tuple(draw.randrange(300, VOCAB_SIZE) for _ in range(length)),
            thinking_terminators=frozenset({STOP}),
            answer_terminators=frozenset({STOP}),
            max_thinking_tokens=4 * NUM_IDS,
            num_ignore=NUM_IDS,
            ignore_ids=((WAIT,),),
            max_answer_tokens=1,
            max_context_tokens=1 << 20,
        )
        self._forcer, self._number = BudgetForcer(plan), 0
        self._forcer.receive(Started())

    def next_call(self) -> EngineCall:
        """Refuse an end and return the call that follows."""
        self._forcer.receive(TokensSampled((STOP,) if not self._number else (WAIT, STOP)))
        generate = self._forcer.receive(RoundEnded())[-1]
        assert isinstance(generate, Generate)
        self._number += 1
        return EngineCall(
            request_id=f"waits-{self._number}",
            input_ids=self._forcer.context_ids,
            max_new_tokens=1,
            stop_ids=generate.stop_ids,
            sampling=Sampling(temperature=0.0),
        )


@dataclass(slots=True, kw_only=True)
class Bench:
    """Measures on a running server, ``num_calls`` for each figure."""

    engine: GrpcEngine
    meter: ServerMeter
    num_calls: int

    async def row(self, length: int) -> dict[str, float]:
        """The figures of contexts of ``length`` ids and a few more."""
        waits = Waits(length)
        tensors = call_tensors(waits.next_call())
        await self._first_id_s(waits)  # the first call has more to do
        others, call_s, server_s = OthersMeter(), time.process_time(), self.meter.cpu_s()
        firsts = [await self._first_id_s(waits) for _ in range(self.num_calls)]
        call_s, server_s = time.process_time() - call_s, self.meter.cpu_s() - server_s
        return {
            "others_cpu_share": others.share(),
            "num_ids": length,
            "num_bytes": len(self._message(tensors)),
            "s1_ms": self._least_ms(lambda: self._message(call_tensors(waits.next_call()))),
            "call_ms": call_s / self.num_calls * 1e3,
            "server_ms": server_s / self.num_calls * 1e3,
            "first_id_ms": statistics.median(firsts) * 1e3,
            "python_engine_ms": self._least_ms(lambda: read_and_check(tensors)),
        }

    def _message(self, tensors: dict[str, Any]) -> bytes:
        return self.engine._stream_request("waits", tensors)

    async def _first_id_s(self, waits: Waits) -> float:
        came: list[float] = []

        def take(_: EngineDelta) -> bool:
            came.append(time.perf_counter())
            return True  # to its end: an abandoned call costs more

        call, began = waits.next_call(), time.perf_counter()
        await self.engine.run(call, take)
        return came[0] - began

    def _least_ms(self, do: Callable[[], object]) -> float:
        return min(_cpu_ms(do) for _ in range(self.num_calls))


def read_and_check(tensors: dict[str, Any]) -> None:
    """What a Python engine model does before its library gets the ids."""
    parsed = read_engine_request("waits", tensors)
    validate(parsed.call, ModelLimits(vocab_size=VOCAB_SIZE, max_seq_len=1 << 20))


def _cpu_ms(do: Callable[[], object]) -> float:
    began = time.process_time()
    do()
    return (time.process_time() - began) * 1e3


def line(row: dict[str, float]) -> str:
    """A row of the table, in Markdown."""
    times = (row[name] for name in ("s1_ms", "call_ms", "server_ms", "first_id_ms", "python_engine_ms"))
    context = f"{row['num_ids']:.0f}{busy_mark(row['others_cpu_share'])}"
    return f"| {context} | {row['num_bytes']} | {' | '.join(f'{value:.2f}' for value in times)} |"


async def measure(server: TritonServer, options: argparse.Namespace) -> list[dict[str, float]]:
    """All rows, printed as they come."""
    assert server.process is not None
    engine = GrpcEngine(Endpoint(address=server.grpc_url), ENGINE, 60.0)
    bench = Bench(engine=engine, meter=ServerMeter(server.process.pid), num_calls=options.calls)
    rows = []
    print(HEAD)
    for length in options.lengths:
        rows.append(await bench.row(length))
        print(line(rows[-1]), flush=True)
    await engine.close()
    return rows


def make_server(work: Path) -> TritonServer:
    """A server with the engine alone."""
    ports = choose_ports(http=0, grpc=0, metrics=0)
    environment = serving_environment(embedded_options(), ports.grpc, lambda _: None)
    shutil.rmtree(work, ignore_errors=True)
    stamps = Stamps(ChatTokenizer.load(Path(environment["S1_TOKENIZER_DIR"])).token_bytes)
    add_model(work / "repository", ENGINE, Pace(num_ids=NUM_IDS), stamps)
    return TritonServer(repositories=[work / "repository"], models=[ENGINE], ports=ports, log=work / "triton.log", environment=environment)


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a round costs besides the engine's computing, by the length of the context.")
    parser.add_argument("--lengths", type=numbers, default=[1000, 8000, 30000], help="ids of the context (default: 1000,8000,30000)")
    parser.add_argument("--calls", type=int, default=100, help="engine calls for each figure (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=ROOT / ".s1/contexts", help="for the model repository and the log")
    parser.add_argument("--save", type=Path, help="for the figures, as JSON")
    return parser.parse_args()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server is stopped on the way out
    options = parse()
    with make_server(options.work) as server:
        where = announce(server.grpc_url)
        rows = asyncio.run(measure(server, options))
    save(options.save, where, rows=rows)


if __name__ == "__main__":
    main()
