# SPDX-License-Identifier: Apache-2.0
"""Thousands of random and mutated requests: each gets one result or one clean error, and the server goes on.

S1_FUZZ_REQUESTS sets how many there are. A failure names the request: ``Fuzzer.grpc_request`` or
``http_request`` makes it again from its number.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

from budgetforce.launcher.triton_server import TritonServer
from s1_client import Client
from server.fuzzing import Body, Fuzzer, read_fields
from server.soaking import MAX_REPLIES, MODEL, Notes, Outcome, processes_of, scripted_server, tensors_of
from server.waiting import wait_until

NUM_REQUESTS = int(os.environ.get("S1_FUZZ_REQUESTS", "10000"))
NUM_HTTP = NUM_REQUESTS * 3 // 20
SEED = 20261123
NUM_STREAMS, NUM_CONNECTIONS = 16, 4
PATIENCE_S = 120  # none takes more than seconds: one that takes so long hangs
END, EOS = 2, 0
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


@dataclass
class Tally:
    """The outcomes of all requests."""

    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, way: str, number: int, outcome: Outcome) -> None:
        self.kinds[outcome.kind] += 1
        if not outcome.is_clean:
            self.failures.append(f"{way} request {number}: {outcome.kind}: {outcome.words}")

    def share(self, kind: str) -> float:
        return self.kinds[kind] / self.kinds.total()

    def __str__(self) -> str:
        return "\n".join(f"{count:8} {kind}" for kind, count in self.kinds.most_common())


# --- gRPC -----------------------------------------------------------------------------------------


async def send_all(address: str, fuzzer: Fuzzer, numbers: Iterator[int], tally: Tally) -> None:
    async with grpc.aio.insecure_channel(address, options=UNLIMITED) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        async def send_some() -> None:
            for number in numbers:
                tally.add("grpc", number, await stream(stub, fuzzer.grpc_request(number)))

        await asyncio.gather(*(send_some() for _ in range(NUM_STREAMS)))


async def stream(stub: Any, request: Any) -> Outcome:
    try:
        responses = [response async for response in stub.ModelStreamInfer(once(request), timeout=PATIENCE_S)]
    except grpc.aio.AioRpcError as error:
        return Outcome(f"status {error.code().name}", error.details() or "")
    return Outcome.of([response.error_message or tensors_of(response.infer_response) for response in responses])


async def once(request: Any) -> AsyncIterator[Any]:
    yield request


# --- HTTP -----------------------------------------------------------------------------------------


def post_all(host: str, port: int, fuzzer: Fuzzer, numbers: Iterable[int]) -> list[tuple[int, Outcome]]:
    with closing(http.client.HTTPConnection(host, port, timeout=PATIENCE_S)) as connection:
        return [(number, post(connection, fuzzer.http_request(number))) for number in numbers]


def post(connection: http.client.HTTPConnection, body: Body) -> Outcome:
    try:
        connection.request("POST", body.path, body.content, {"Content-Type": "application/json"})
        text = connection.getresponse().read().decode(errors="replace")  # Triton repeats names that are no UTF-8
        objects = [json.loads(part.removeprefix("data: ")) for part in text.split("\n\n") if part]
    except (OSError, http.client.HTTPException, ValueError) as error:
        connection.close()  # it opens again by itself
        return Outcome("broken", repr(error))
    return Outcome.of([each["error"] if "error" in each else in_lists(each) for each in objects])


def in_lists(answer: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: value if isinstance(value, list) else [value] for name, value in answer.items()}


# --- the tests --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def server(root: Path, folder: Path, tokenizer: Any) -> Iterator[TritonServer]:
    words = list(tokenizer.encode("onetwothree"))  # without what is a stop word now and then
    script = {"calls": [words + [END, EOS] + words * 400]}
    with scripted_server(root, folder) as server:
        (folder / "scripts" / "default.json").write_text(json.dumps(script))
        yield server


@pytest.fixture(scope="module")
def processes_before(server: TritonServer) -> set[int]:
    return set(processes_of(server))


@pytest.fixture(scope="module")
def tally(root: Path, server: TritonServer, processes_before: set[int]) -> Tally:
    """All requests sent, over both ways at once, and their outcomes."""
    fields, tally = read_fields(root / "model_repository" / "s1" / "config.pbtxt"), Tally()
    fuzzer = Fuzzer(MODEL, fields, SEED)
    with ThreadPoolExecutor(NUM_CONNECTIONS) as pool:
        shares = [range(first, NUM_HTTP, NUM_CONNECTIONS) for first in range(NUM_CONNECTIONS)]
        posted = [pool.submit(post_all, server.ports.host, server.ports.http, fuzzer, share) for share in shares]
        asyncio.run(send_all(server.grpc_url, fuzzer, iter(range(NUM_REQUESTS - NUM_HTTP)), tally))
        for number, outcome in (each for share in posted for each in share.result()):
            tally.add("http", number, outcome)
    return tally


def test_every_request_is_answered_once_with_a_result_or_a_clean_error(tally: Tally, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{tally}")
    assert tally.kinds.total() == NUM_REQUESTS
    assert not tally.failures, f"{len(tally.failures)} failures, the first:\n" + "\n".join(tally.failures[:10])


@pytest.mark.parametrize(("kind", "share"), [("result", 0.2), ("INVALID_ARGUMENT", 0.15), ("malformed", 0.2)])
def test_no_kind_of_outcome_crowds_out_the_others(tally: Tally, kind: str, share: float) -> None:
    assert share < tally.share(kind) < 0.65


def test_no_process_died(server: TritonServer, processes_before: set[int], tally: Tally) -> None:
    assert set(processes_of(server)) == processes_before


def test_the_log_has_no_traceback(server: TritonServer, tally: Tally) -> None:
    assert "Traceback" not in server.log.read_text(errors="replace")


def test_no_engine_call_is_left_and_there_is_room_for_as_many_replies_as_ever(server: TritonServer, folder: Path, tally: Tally) -> None:
    wait_until(lambda: not Notes.read(folder / "scripts").open_calls(), seconds=60)
    with Client(server.grpc_url, model=MODEL, deadline_s=PATIENCE_S) as client:
        replies = client.samples("hello", num_samples=MAX_REPLIES, temperature=1.0, max_thinking_tokens=20, max_tokens=3)
    assert len(replies) == MAX_REPLIES
