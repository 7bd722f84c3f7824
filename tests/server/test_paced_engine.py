# SPDX-License-Identifier: Apache-2.0
"""The paced engine of the benchmarks through a real Triton, and a small run of the benchmark over it. Nothing is timed."""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.paced_engine.build import IDS_A_STAMP, Pace, Stamps, add_model
from benchmarks.streams import infer_request, int32
from budgetforce.launcher.ports import choose_ports
from budgetforce.launcher.triton_server import TritonServer
from budgetforce.text.tokenizer import ChatTokenizer
from server.plain_grpc import admin_headers

NUM_IDS = 12
STOP = 2
FOR_EVER = 2**30
PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def stamps(tokenizer: ChatTokenizer) -> Stamps:
    return Stamps(tokenizer.token_bytes)


@pytest.fixture(scope="module")
def worded(tokenizer: ChatTokenizer) -> Stamps:
    return Stamps(tokenizer.token_bytes, tokenizer.encode("these are the words of a text, and the words come again"))


@pytest.fixture(scope="module")
def server(stamps: Stamps, worded: Stamps, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = tmp_path_factory.mktemp("repository")
    add_model(repository, "fast", Pace(num_ids=NUM_IDS), stamps)
    add_model(repository, "slow", Pace(num_ids=FOR_EVER, delay_us=5000), stamps)
    add_model(repository, "late", Pace(num_ids=NUM_IDS, first_token_ms=100), stamps)
    add_model(repository, "wordy", Pace(num_ids=NUM_IDS), worded)
    add_model(repository, "silent", Pace(num_ids=0), stamps)
    add_model(repository, "lost", Pace(num_ids=NUM_IDS), stamps)
    (repository / "lost" / "ids").unlink()
    ports = choose_ports(http=0, grpc=0, metrics=0)
    log = tmp_path_factory.mktemp("log") / "triton.log"
    with TritonServer(repositories=[repository], models=["fast", "slow", "late", "wordy"], ports=ports, log=log, deadline_s=60) as server:
        yield server


@pytest.fixture(scope="module")
def triton(server: TritonServer) -> Iterator[Any]:
    with grpc.insecure_channel(server.grpc_url) as channel:
        yield Admin(service_pb2_grpc.GRPCInferenceServiceStub(channel), server)


class Admin:
    """A stub that shows the launcher's secret where models are listed, loaded and unloaded."""

    def __init__(self, stub: Any, server: TritonServer) -> None:
        self._stub = stub
        self._headers = admin_headers(server)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._stub, name)
        return functools.partial(method, metadata=self._headers) if name.startswith("Repository") else method


def call(model: str, *, num_ids: int = 1000, stops: tuple[int, ...] = (STOP, 1), request_id: str = "", **others: Any) -> Any:
    """A request; at least one more stop than is used, as from s1."""
    tensors = {"input_ids": int32(*range(70)), "input_lengths": int32(70), "request_output_len": int32(num_ids), **others}
    if stops:
        tensors["stop_words_list"] = np.array([[stops, range(1, len(stops) + 1)]], np.int32)
    request = infer_request(model, tensors, ("output_ids", "sequence_length", "kv_cache_reused_blocks"))
    request.id = request_id
    return request


def read(responses: Any) -> Iterator[dict[str, Any]]:
    """The outputs of each response that has some, and whether it is the last."""
    for message in responses:
        if message.error_message:
            raise ValueError(message.error_message)
        response = message.infer_response
        values = [
            np.frombuffer(raw, np.int32).reshape(out.shape) for out, raw in zip(response.outputs, response.raw_output_contents, strict=True)
        ]
        outputs = dict(zip((out.name for out in response.outputs), values, strict=True))
        yield {**outputs, "final": response.parameters["triton_final_response"].bool_param}


def ids_of(triton: Any, request: Any) -> list[int]:
    return [int(response["output_ids"].item()) for response in read(triton.ModelStreamInfer(iter([request]))) if "output_ids" in response]


class TestIds:
    def test_so_many_ids_and_the_first_stop_word(self, triton: Any, stamps: Stamps) -> None:
        ids = ids_of(triton, call("fast"))
        assert len(ids) == NUM_IDS + 1
        assert ids[-1] == STOP
        assert set(ids[:-1]) <= set(stamps.table.tolist())

    def test_each_comes_alone_with_the_tensors_asked_for_and_the_last_is_final(self, triton: Any) -> None:
        responses = list(read(triton.ModelStreamInfer(iter([call("fast")]))))
        assert [response["final"] for response in responses] == [False] * NUM_IDS + [True]
        assert {response["output_ids"].shape for response in responses} == {(1, 1, 1)}
        assert {response["sequence_length"].item() for response in responses} == {1}
        assert {response["kv_cache_reused_blocks"].item() for response in responses} == {70 // 32}

    @pytest.mark.parametrize("num_ids", [1, 5, NUM_IDS])
    def test_cut_at_its_length_it_says_no_stop_word(self, triton: Any, num_ids: int) -> None:
        ids = ids_of(triton, call("fast", num_ids=num_ids))
        assert len(ids) == num_ids and STOP not in ids

    def test_the_stop_word_may_be_the_last_id_that_the_length_allows(self, triton: Any) -> None:
        assert ids_of(triton, call("fast", num_ids=NUM_IDS + 1))[-1] == STOP

    def test_without_stop_words_there_is_none(self, triton: Any) -> None:
        assert len(ids_of(triton, call("fast", stops=()))) == NUM_IDS

    def test_min_tokens_takes_the_place_of_the_models_number(self, triton: Any) -> None:
        assert len(ids_of(triton, call("fast", min_tokens=int32(30)))) == 31

    def test_many_calls_at_once(self, triton: Any) -> None:
        running = [triton.ModelStreamInfer(iter([call("fast", min_tokens=int32(20 + number))])) for number in range(16)]
        assert [sum(1 for _ in read(responses)) for responses in running] == [21 + number for number in range(16)]

    def test_a_call_that_waits_for_its_first_id(self, triton: Any) -> None:
        assert len(ids_of(triton, call("late"))) == NUM_IDS + 1


class TestStamps:
    def test_the_table_is_plain_text(self, stamps: Stamps, tokenizer: ChatTokenizer) -> None:
        text = tokenizer.decode(stamps.table.tolist())
        assert len(set(stamps.table.tolist())) == len(stamps.table) > 10_000
        assert text.isascii() and text.replace(" ", "").isalpha()

    def test_they_rise(self, triton: Any, stamps: Stamps) -> None:
        ids = np.array(ids_of(triton, call("fast"))[:-1], np.int32)
        gaps = stamps.gap_us(ids[:-1], ids[1:])
        assert gaps.sum() == stamps.gap_us(ids[:1], ids[-1:]).item()  # it took less than a period, and nothing went back

    def test_one_id_a_step(self, triton: Any, stamps: Stamps) -> None:
        ids = np.array(ids_of(triton, call("slow", num_ids=10)), np.int32)
        assert (stamps.gap_us(ids[:-1], ids[1:]) > 0).all()

    def test_an_id_that_is_no_stamp_is_noticed(self, stamps: Stamps) -> None:
        with pytest.raises(ValueError, match="no stamps"):
            stamps.read_us(np.array([STOP], np.int32))


class TestWords:
    def test_they_are_no_moments(self, worded: Stamps) -> None:
        assert not worded.are(worded.words).any() and worded.are(worded.table).all()
        assert len(set(worded.words.tolist())) < len(worded.words)

    def test_a_calls_first_and_last_ids_are_moments_and_some_in_between(self, triton: Any, worded: Stamps) -> None:
        moments = [worded.are(np.array(ids_of(triton, call("wordy"))[:-1], np.int32)) for _ in range(40)]
        assert all(of_call[0] and of_call[-1] for of_call in moments)
        assert 0 < np.mean([of_call[1:-1] for of_call in moments]) < 2 / IDS_A_STAMP

    def test_an_id_that_is_neither_is_noticed(self, worded: Stamps) -> None:
        with pytest.raises(ValueError, match="neither stamps nor words"):
            worded.are(np.array([STOP], np.int32))


class TestEnds:
    def test_a_stop_request_ends_the_calls_of_its_id_alone(self, triton: Any) -> None:
        first, other = (triton.ModelStreamInfer(iter([call("slow", num_ids=FOR_EVER, request_id=name)])) for name in ("one", "two"))
        next(first), next(other)
        stop = call("slow", request_id="one", stop=np.array([[True]]))
        assert ids_of(triton, stop) == []
        assert not any(response["final"] for response in read(first))  # an empty final response is not sent on
        assert [response["output_ids"].size for response in read([next(other)])] == [1]
        other.cancel()

    def test_a_stop_request_for_nothing_that_runs_is_over_at_once(self, triton: Any) -> None:
        assert ids_of(triton, call("fast", request_id="nobody", stop=np.array([[True]]))) == []

    def test_a_cancelled_call_ends(self, triton: Any) -> None:
        """A model is unloaded only when none of its calls runs any more."""
        responses = triton.ModelStreamInfer(iter([call("slow", num_ids=FOR_EVER)]))
        next(responses)
        responses.cancel()
        triton.RepositoryModelUnload(service_pb2.RepositoryModelUnloadRequest(model_name="slow"))
        assert wait_for_state(triton, "slow", "UNAVAILABLE") == "unloaded"
        triton.RepositoryModelLoad(service_pb2.RepositoryModelLoadRequest(model_name="slow"))

    @pytest.mark.parametrize(("change", "message"), [({"num_ids": 0}, "request_output_len"), ({"input_ids": int32()}, "input_ids")])
    def test_a_request_that_makes_no_sense_is_refused(self, triton: Any, change: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            ids_of(triton, call("fast", **change))

    @pytest.mark.parametrize(("model", "message"), [("lost", "ids_file"), ("silent", "num_ids")])
    def test_a_model_that_makes_no_sense_is_not_loaded(self, triton: Any, model: str, message: str) -> None:
        with pytest.raises(grpc.RpcError):
            triton.RepositoryModelLoad(service_pb2.RepositoryModelLoadRequest(model_name=model))
        assert message in wait_for_state(triton, model, "UNAVAILABLE")


def wait_for_state(triton: Any, model: str, state: str) -> str:
    """Why the model is in that state, when it is."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        index = triton.RepositoryIndex(service_pb2.RepositoryIndexRequest())
        with contextlib.suppress(StopIteration):
            return next(one.reason for one in index.models if one.name == model and one.state == state)
        time.sleep(0.05)
    raise TimeoutError(f"{model} did not become {state}")


def test_the_benchmark_counts_right_in_every_pattern(root: Path, tmp_path: Path) -> None:
    """It checks every reply's ids itself; here, that all rows are there."""
    small = ["--seconds-per-cell", "0.5", "--warm-up", "0.5", "--levels", "2", "--delays", "0,2", "--instances", "2", "--repeats", "1"]
    paths = ["--work", tmp_path / "work", "--save", tmp_path / "figures.json"]
    command = [sys.executable, root / "tests" / "benchmarks" / "orchestration.py", *small, *paths]
    run = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    figures = json.loads((tmp_path / "figures.json").read_text())
    rows = [(row["delay_ms"], row["pattern"]) for row in figures["rows"]]
    assert rows == [(delay, name) for delay in (0, 2) for name in ("engine alone", "client loop", "s1, grpc", "s1, bls", "serial BLS")]
    assert all(row["num_replies"] > 0 and row["tokens_per_s"] > 0 for row in figures["rows"])
    assert run.stdout.count("\n| ") == 1 + len(rows)


def test_the_benchmark_of_long_contexts_counts_what_is_sent(root: Path, tmp_path: Path) -> None:
    """Four bytes for each id of the context, and as many more for each row."""
    small = ["--lengths", "100,1100", "--calls", "2", "--work", tmp_path / "work", "--save", tmp_path / "figures.json"]
    command = [sys.executable, root / "tests" / "benchmarks" / "long_contexts.py", *small]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    short, long = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert 4000 <= long["num_bytes"] - short["num_bytes"] <= 4010
    assert run.stdout.count("\n| ") == 3
