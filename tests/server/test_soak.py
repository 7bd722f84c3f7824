# SPDX-License-Identifier: Apache-2.0
"""Many clients at once for a while, of which many go away: nothing is lost, doubled, left running or piled up.

S1_SOAK_SECONDS sets how long. What is sent is drawn from a seed; how much of it depends on the machine.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from budgetforce.launcher.triton_server import TritonServer
from server.conftest import Scripts
from server.fuzzing import add
from server.soaking import (
    MAX_REPLIES,
    MODEL,
    Holdings,
    Notes,
    Outcome,
    processes_of,
    scripted_server,
    shared_regions,
    survives_leaving,
    tensors_of,
)
from server.waiting import gauge, wait_until

SECONDS = float(os.environ.get("S1_SOAK_SECONDS", "60"))
WARM_UP = 0.25  # of the time: what is taken then is kept
SEED = 20261123
NUM_WORKERS = 24
A_FEW = 4
PATIENCE_S = 120  # no reply takes so long: one that does hangs
END, EOS = 2, 0
FIELDS = {
    "text_input": "BYTES",
    "preset": "BYTES",
    "stop_words": "BYTES",
    "ignore_str": "BYTES",
    "thinking": "BYTES",
    "on_timeout": "BYTES",
}
FIELDS |= {"stream": "BOOL", "answer_now": "BOOL", "cancel": "BOOL", "temperature": "FP32", "top_p": "FP32", "seed": "UINT64"}
PLAIN: dict[str, Any] = {"stream": True, "preset": "s1", "max_thinking_tokens": 600}  # puts in nothing before the model's words
NUM_PONDERED = 4  # ids before a pondering engine falls silent
GONE = "gone"  # the client went: whatever came until then is right


def ask_for(request_id: str = "", **fields: Any) -> Any:
    request = service_pb2.ModelInferRequest(model_name=MODEL, id=request_id)
    for name, value in fields.items():
        add(request, name, FIELDS.get(name, "INT32"), value if isinstance(value, list) else [value])
    return request


@dataclass
class Call:
    """One request and what has come for it."""

    responses: Any
    came: list[Any] = field(default_factory=list)

    def read(self, num_responses: int = 1 << 30) -> None:
        """Read so many more, or to the end."""
        for response in itertools.islice(self.responses, num_responses):
            self.came.append(response.error_message or tensors_of(response.infer_response))

    def read_ids(self, num_ids: int) -> None:
        """Read until there are so many ids."""
        while sum(len(answer["output_ids"]) for answer in self.came if isinstance(answer, dict)) < num_ids:
            self.read(1)

    def outcome(self) -> Outcome:
        """Read to the end: how it ended."""
        try:
            self.read()
        except grpc.RpcError as error:
            kind = error.code().name
            return Outcome(GONE if kind == "CANCELLED" else kind, error.details() or "")
        return Outcome.of(self.came)

    def go(self, pause_s: float) -> Outcome:
        """Cancel it after a while."""
        time.sleep(pause_s)
        self.responses.cancel()
        return self.outcome()

    @property
    def num_done(self) -> int:
        return sum(answer["event"].count("done") for answer in self.came if isinstance(answer, dict))


@dataclass
class Worker:
    """One client after the other, on a channel of its own.

    Attributes:
        at_any_moment: whether replies may be left at any moment, or only while they are silent (see ``survives_leaving``).
    """

    address: str
    questions: dict[str, str]
    draw: random.Random
    at_any_moment: bool
    channel: grpc.Channel = field(init=False)

    def __enter__(self) -> Worker:
        self.channel = grpc.insecure_channel(self.address)
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def ask(self, script: str, *, deadline_s: float = PATIENCE_S, request_id: str = "", **fields: Any) -> Call:
        fields = {"stream": self.draw.random() < 0.7, "max_tokens": self.draw.randrange(1, 6), **fields}
        return self.send(ask_for(request_id, text_input=self.questions[script], **fields), deadline_s)

    def send(self, request: Any, deadline_s: float = PATIENCE_S) -> Call:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)
        return Call(stub.ModelStreamInfer(iter([request]), timeout=deadline_s))


# --- what the clients do: each tells how that ended, and how it may end -----------------------------

Doing = Callable[[Worker], tuple[Outcome, set[str]]]


def reply(worker: Worker) -> tuple[Outcome, set[str]]:
    """A whole reply, with whatever budgets; to words that no other script has."""
    draw, script = worker.draw, worker.draw.choice(("one", "two", "bursts", "late"))
    budget = {"max_thinking_tokens": draw.choice((-1, 0, 1, 5, 30, 200)), "num_ignore": draw.randrange(4)}
    more = draw.choice(({}, {"stop_words": ["three", "zzz"]}, {"ignore_str": ["Hmm", ""]}, {"temperature": 0.7, "top_p": 0.9, "seed": 7}))
    call = worker.ask(script, **budget, **more)
    return checked(call, 1), {"result"}


def samples(worker: Worker) -> tuple[Outcome, set[str]]:
    num_samples = worker.draw.choice((2, 3, 5, 16))
    call = worker.ask("one", num_samples=num_samples, temperature=1.0, max_thinking_tokens=20)
    return checked(call, num_samples), {"result"}


def checked(call: Call, num_samples: int) -> Outcome:
    outcome = call.outcome()
    if outcome.kind == "result" and call.num_done != num_samples:
        return Outcome("lost samples", f"{call.num_done} of {num_samples}")
    return outcome


def answered_now(worker: Worker) -> tuple[Outcome, set[str]]:
    """A running reply that is told to answer; the telling may come too late, but both have an end."""
    request_id = f"{worker.draw.getrandbits(64):x}"
    call = worker.ask("slow", request_id=request_id, **PLAIN)
    call.read_ids(worker.draw.randrange(1, 40))
    told = worker.send(ask_for(request_id, answer_now=True)).outcome()
    outcome = checked(call, 1)
    return (outcome, {"result"}) if told.kind in ("result", "INVALID_ARGUMENT") else (told, {"result"})


def cancelled(worker: Worker) -> tuple[Outcome, set[str]]:
    """A reply that is told to end, at any moment, and read to its end."""
    request_id = f"{worker.draw.getrandbits(64):x}"
    call = worker.ask(worker.draw.choice(("slow", "one", "late", "silent")), request_id=request_id, **PLAIN)
    time.sleep(worker.draw.choice((0.0, 0.01, 0.1)))
    told = worker.send(ask_for(request_id, cancel=True)).outcome()
    if told.kind == "INVALID_ARGUMENT":  # it came before the request did, or behind its end
        call.responses.cancel()
    outcome = call.outcome()
    return (outcome, {"CANCELLED", "result", GONE}) if told.kind in ("result", "INVALID_ARGUMENT") else (told, {"result"})


def short_of_time(worker: Worker) -> tuple[Outcome, set[str]]:
    """The server's deadline."""
    on_timeout = worker.draw.choice(("answer", "cancel"))
    call = worker.ask("slow", timeout_ms=worker.draw.choice((1, 20, 200, 500)), on_timeout=on_timeout, **PLAIN)
    return call.outcome(), {"DEADLINE", "result"}


def going(worker: Worker) -> tuple[Outcome, set[str]]:
    """A client that cancels, before the first event or later."""
    return begin_to_leave(worker).go(worker.draw.choice((0.0, 0.01, 0.1, 0.3))), {GONE, "result"}


def begin_to_leave(worker: Worker) -> Call:
    """A reply, as far as its client wants to wait for it."""
    draw = worker.draw
    if draw.random() < 0.5:
        return worker.ask("silent", **PLAIN)
    if worker.at_any_moment:
        call = worker.ask(draw.choice(("slow", "one", "late")), **PLAIN)
        call.read(draw.randrange(3))
        return call
    num_samples = draw.choice((1, 1, 4))
    call = worker.ask("pondering", num_samples=num_samples, temperature=1.0, **PLAIN)
    call.read_ids(num_samples * NUM_PONDERED)
    time.sleep(0.05)  # until the last of it has left the server
    return call


def hanging_up(worker: Worker) -> tuple[Outcome, set[str]]:
    """The whole connection ends, with several replies on it."""
    with Worker(worker.address, worker.questions, worker.draw, worker.at_any_moment) as hasty:
        begun = [begin_to_leave(hasty) for _ in range(worker.draw.randrange(1, 4))]
    outcomes = [call.outcome() for call in begun]
    wrong = [outcome for outcome in outcomes if outcome.kind not in (GONE, "result")]
    return (wrong or outcomes)[0], {GONE, "result"}


def out_of_time(worker: Worker) -> tuple[Outcome, set[str]]:
    """The client's own deadline."""
    script = worker.draw.choice(("slow", "late", "one", "silent") if worker.at_any_moment else ("silent",))
    call = worker.ask(script, deadline_s=worker.draw.choice((0.001, 0.05, 0.2, 0.5)), **PLAIN)
    return call.outcome(), {"DEADLINE_EXCEEDED", "result"}


def failing(worker: Worker) -> tuple[Outcome, set[str]]:
    script = worker.draw.choice(("failing", "failing later", "empty"))
    return worker.ask(script, num_ignore=0, max_thinking_tokens=50).outcome(), {"ENGINE_FAILED"}


def bad(worker: Worker) -> tuple[Outcome, set[str]]:
    fields = worker.draw.choice(
        ({"max_thinking_tokens": -2}, {"num_samples": 0}, {"thinking": "hard"}, {"top_p": 7.0}, {"text_input": " "})
    )
    return worker.send(ask_for(**{"text_input": "hello", **fields})).outcome(), {"INVALID_ARGUMENT"}


DOINGS: dict[Doing, int] = {
    reply: 30,
    samples: 5,
    answered_now: 8,
    cancelled: 15,
    short_of_time: 10,
    going: 20,
    hanging_up: 6,
    out_of_time: 12,
    failing: 10,
    bad: 6,
}


@dataclass
class Tally:
    """How often what was done, and how that ended."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, name: str, outcome: Outcome, may_be: set[str]) -> None:
        self.counts[name, outcome.kind] += 1
        if outcome.kind not in may_be:
            self.failures.append(f"{name}: {outcome.kind}: {outcome.words}")

    def __str__(self) -> str:
        return "\n".join(f"{count:8} {name:14} {kind}" for (name, kind), count in sorted(self.counts.items()))


def work(worker: Worker, until: float, tally: Tally) -> None:
    with worker:
        while time.monotonic() < until:
            (doing,) = worker.draw.choices(list(DOINGS), DOINGS.values())
            tally.add(doing.__name__, *doing(worker))


# --- the soak ---------------------------------------------------------------------------------------


@dataclass
class Soak:
    """What was seen."""

    tally: Tally
    early: dict[int, Holdings]
    late: dict[int, Holdings]
    early_regions: dict[str, int]
    late_regions: dict[str, int]
    resident: dict[int, list[tuple[float, float]]]
    notes: Notes

    def __str__(self) -> str:
        rows = [f"{'':14} threads   descriptors   resident MiB   MiB/min under load"]
        for pid, late in self.late.items():
            early = self.early[pid]
            rows.append(
                f"{late.name:14} {early.num_threads:3} → {late.num_threads:3} {early.num_descriptors:5} → {late.num_descriptors:3}"
                f" {early.resident_mib:8.1f} → {late.resident_mib:5.1f} {self.slope(pid):12.2f}"
            )
        rows.append(f"shared memory  {sum(self.early_regions.values()) >> 10} → {sum(self.late_regions.values()) >> 10} KiB")
        ends = {kind: len(self.notes.calls(kind)) for kind in ("begun", "ended", "failed", "stopped", "cancelled")}
        return "\n".join([str(self.tally), f"engine calls   {ends}", *rows])

    def slope(self, pid: int) -> float:
        """MiB a minute, a straight line through all that was seen under load."""
        seconds, sizes = np.array(self.resident[pid]).T
        return float(np.polyfit(seconds, sizes, 1)[0] * 60) if len(sizes) > 1 else 0.0


def write_scripts(scripts: Scripts) -> dict[str, str]:
    """The engine's behaviours; the question that leads to each."""
    one, two, hello = (list(scripts.tokenizer.encode(text)) for text in (" one", " two", " hello there three"))
    ordinary = {"one": (one, {}), "two": (two, {"delay_ms": 1}), "bursts": (hello, {"burst": 16}), "late": (hello, LATE)}
    written = {name: scripts.write([*words * 9, END, EOS], [*words * 30, END, EOS], **more) for name, (words, more) in ordinary.items()}
    written["slow"] = scripts.write([*hello * 200, END, EOS], delay_ms=4)
    written["pondering"] = scripts.write([*hello * 9, END, EOS], [*one, EOS], stall_after=NUM_PONDERED)
    for name, fault in FAULTS.items():
        written[name] = scripts.write([*hello * 5, END, EOS], **fault)
    return {name: script.question for name, script in written.items()}


LATE = {"first_delay_ms": 100, "late_final_ms": 50}
FAULTS: dict[str, dict[str, Any]] = {
    "silent": {"first_delay_ms": 10_000},
    "failing": {"error_after": 5},
    "failing later": {"fail_calls": {"1": "no more"}},
    "empty": {"empty": True},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("soak")


@pytest.fixture(scope="module")
def server(root: Path, folder: Path) -> Iterator[TritonServer]:
    with scripted_server(root, folder) as server:
        yield server


@pytest.fixture(scope="module")
def questions(server: TritonServer, folder: Path, tokenizer: Any) -> dict[str, str]:
    return write_scripts(Scripts(folder / "scripts", tokenizer, itertools.count()))


@pytest.fixture(scope="module")
def soak(server: TritonServer, folder: Path, questions: dict[str, str]) -> Soak:
    """Warm up, look what is held, go on, look again."""
    tally, resident = Tally(), {pid: [] for pid in processes_of(server)}
    load(server, questions, "warm-up", SECONDS * WARM_UP, tally, {})
    wait_until_idle(folder)
    early, early_regions = processes_of(server), shared_regions(server)
    load(server, questions, "soak", SECONDS * (1 - WARM_UP), tally, resident)
    wait_until_idle(folder)
    with suppress(AssertionError):  # what is still held then is for the tests to tell
        wait_until(lambda: not more_than(early, processes_of(server)), seconds=30)
    return Soak(tally, early, processes_of(server), early_regions, shared_regions(server), resident, Notes.read(folder / "scripts"))


def load(server: TritonServer, questions: dict[str, str], phase: str, seconds: float, tally: Tally, resident: dict[int, Any]) -> None:
    until, over = time.monotonic() + seconds, threading.Event()
    watcher = threading.Thread(target=watch, args=(server, over, resident))
    watcher.start()
    with ThreadPoolExecutor(NUM_WORKERS) as pool:
        draws = [random.Random(f"{SEED}/{phase}/{number}") for number in range(NUM_WORKERS)]
        clients = [Worker(server.grpc_url, questions, draw, survives_leaving(server)) for draw in draws]
        workers = [pool.submit(work, client, until, tally) for client in clients]
    over.set()
    watcher.join()
    for worker in workers:
        worker.result()


def watch(server: TritonServer, over: threading.Event, resident: dict[int, list[tuple[float, float]]]) -> None:
    """Note how much memory is resident, while the load runs."""
    while resident and not over.wait(2):
        for pid, holdings in processes_of(server).items():
            resident[pid].append((time.monotonic(), holdings.resident_mib))


def wait_until_idle(folder: Path) -> None:
    wait_until(lambda: not Notes.read(folder / "scripts").open_calls(), seconds=60)


def more_than(early: dict[int, Holdings], late: dict[int, Holdings]) -> list[str]:
    """What has become more, by more than a few: gRPC makes and drops threads as it needs them."""
    return [
        f"{kind} of {early[pid].name}: {getattr(early[pid], kind)}, then {getattr(late[pid], kind)}"
        for pid in early
        for kind in ("num_threads", "num_descriptors")
        if getattr(late[pid], kind) > getattr(early[pid], kind) + A_FEW
    ]


# --- the tests --------------------------------------------------------------------------------------


def test_every_request_ends_once_and_as_it_should(soak: Soak, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{soak}")
    assert not soak.tally.failures, f"{len(soak.tally.failures)} failures, the first:\n" + "\n".join(soak.tally.failures[:10])
    assert {name for name, _ in soak.tally.counts} == {doing.__name__ for doing in DOINGS}


def test_every_engine_call_comes_to_an_end(soak: Soak) -> None:
    assert soak.notes.calls("begun")
    assert not soak.notes.open_calls()


def test_threads_descriptors_and_shared_memory_do_not_become_more(soak: Soak) -> None:
    assert set(soak.late) == set(soak.early)
    assert not more_than(soak.early, soak.late)
    assert len(soak.late_regions) == len(soak.early_regions)
    assert sum(soak.late_regions.values()) <= sum(soak.early_regions.values())


def test_memory_does_not_run_away(soak: Soak) -> None:
    """How much there is and how fast it grows is printed; this is far beyond that."""
    for pid, early in soak.early.items():
        assert soak.late[pid].resident_mib < 2 * early.resident_mib + 200


def test_there_is_room_for_as_many_replies_as_ever(server: TritonServer, questions: dict[str, str], soak: Soak) -> None:
    with Worker(server.grpc_url, questions, random.Random(SEED), at_any_moment=False) as worker:
        call = worker.ask("one", num_samples=MAX_REPLIES, temperature=1.0, max_thinking_tokens=20)
        assert (call.outcome().kind, call.num_done) == ("result", MAX_REPLIES)


@pytest.mark.parametrize("name", ["s1_requests_open", "s1_requests_waiting", "s1_replies_running", "s1_kv_tokens_reserved"])
def test_the_metrics_count_nothing_that_is_over(server: TritonServer, soak: Soak, name: str) -> None:
    wait_until(lambda: gauge(server, name + "{") == 0, seconds=10)


def test_the_log_has_no_traceback(server: TritonServer, soak: Soak) -> None:
    assert "Traceback" not in server.log.read_text(errors="replace")
