# SPDX-License-Identifier: Apache-2.0
"""Each request is measured once, when it has ended; the metrics agree with the results that its client gets."""

import time
from collections import Counter

import pytest
from scripted_engine import ScriptedEngine

from budgetforce.errors import Cancelled, EngineFailed
from budgetforce.serving.incoming import IncomingRequest
from budgetforce.serving.measurements import Measurements
from budgetforce.serving.replies.sample_facts import Arrivals
from budgetforce.serving.request_measures import EndedRequest, measure
from budgetforce.serving.runtime import SerialRuntime
from fakes.orchestrators import orchestrator_over
from serving.test_runtime import ResponseWriter

END, EOS = 2, 0


@pytest.fixture
def a(tokenizer):
    return tokenizer.encode("a")[0]


@pytest.fixture
def serve(tokenizer):
    """Serve a request over an engine; the increments by name and label values, the observations by name, and the writer."""

    def make(engine, writer=None, **inputs):
        orchestrator = orchestrator_over(engine, tokenizer)
        serial, writer = SerialRuntime(lambda: orchestrator, lambda _: None), writer or ResponseWriter()
        fields = inputs if {"cancel", "answer_now"} & set(inputs) else {"text_input": [b"hi"], **inputs}
        serial.accept(IncomingRequest(request_id="id", inputs=fields, writer=writer, arrived=time.monotonic()))
        serial.close()
        return (*read(orchestrator.measurements), writer)

    return make


def read(measurements):
    """The counts, but those by tenant; and the observations."""
    batch = measurements.take()
    observations = {}
    for (name, labels), value in batch.observations:
        observations.setdefault((name, *(value for _, value in sorted(labels))), []).append(value)
    increments = {(name, *(value for _, value in sorted(labels))): number for (name, labels), number in batch.increments.items()}
    return Counter({key: number for key, number in increments.items() if not key[0].startswith("s1_tenant_")}), observations


def tokens(counts):
    return {tuple(key[1:]): number for key, number in counts.items() if key[0] == "s1_tokens_total"}


def test_a_complete_reply_is_measured_from_its_ledger(serve, a):
    """A refused end, an accepted one, an answer: three rounds. Labels are in the order of their names: origin, phase."""
    counts, seen, writer = serve(ScriptedEngine([a, a, END], [a, END], [a, EOS], kv_reused_blocks=2), num_ignore=[1], stream=[True])
    usage = writer.results[0]["usage"]
    assert tokens(counts) == {
        ("prompt", "prompt"): usage["num_prompt_tokens"],
        ("sampled", "thinking"): 3,
        ("injected", "thinking"): usage["num_thinking_injected"],
        ("terminator", "thinking"): 2,
        ("sampled", "answer"): 1,
        ("injected", "answer"): usage["num_answer_injected"],
        ("terminator", "answer"): 1,
    }
    assert usage["num_terminators"] == 3
    assert {key[1:]: counts[key] for key in counts if key[0] == "s1_rounds_total"} == {("thinking",): 2, ("answer",): 1}
    expected = {
        ("s1_requests_total", "done"): 1,
        ("s1_thinking_ends_total", "natural"): 1,
        ("s1_answer_ends_total", "stop"): 1,
        ("s1_ends_refused_total", "num_ignore"): 1,
        ("s1_engine_calls_total", "done"): 3,
        ("s1_kv_reused_blocks_total",): 6,
        ("s1_kv_prompt_tokens_total",): sum(one["num_prompt_tokens"] for one in writer.results[0]["rounds"]),
    }
    assert {key: counts[key] for key in expected} == expected
    assert seen["s1_thinking_tokens",] == [usage["num_thinking_tokens"]]
    assert seen["s1_thinking_budget_used_ratio",] == [usage["num_thinking_tokens"] / writer.results[0]["effective"]["max_thinking_tokens"]]
    assert {name: len(values) for (name, *_), values in seen.items() if name in ("s1_engine_seconds", "s1_round_gap_seconds")} == {
        "s1_engine_seconds": 3,
        "s1_round_gap_seconds": 3,
    }
    (first,), (answer,), (whole,) = (
        seen[f"s1_{name}_seconds",] for name in ("time_to_first_token", "time_to_first_answer_token", "request_duration")
    )
    assert 0 < first < answer < whole
    assert 0 <= seen["s1_orchestration_seconds",][0] < whole


def test_samples_are_measured_each_and_the_prompt_once(serve, a):
    counts, seen, _ = serve(ScriptedEngine(*[[a, END], [a, EOS]] * 2), num_samples=[2], temperature=[1.0], num_ignore=[0])
    assert len(seen["s1_thinking_tokens",]) == len(seen["s1_answer_tokens",]) == 2
    assert len(seen["s1_time_to_first_token_seconds",]) == len(seen["s1_prompt_tokens",]) == 1
    assert ("s1_orchestration_seconds",) not in seen
    assert tokens(counts)["prompt", "prompt"] == seen["s1_prompt_tokens",][0]


def test_a_failed_request_counts_its_tokens_and_its_failed_call(serve, a):
    engine = ScriptedEngine([a, a, END], [a])
    engine.fail_with, engine.failing = EngineFailed("out of blocks"), {1}
    counts, seen, _ = serve(engine, num_ignore=[1])
    assert counts["s1_requests_total", "ENGINE_FAILED"] == counts["s1_engine_calls_total", "ENGINE_FAILED"] == 1
    assert (tokens(counts)["sampled", "thinking"], tokens(counts)["terminator", "thinking"]) == (3, 1)
    assert not {("s1_request_duration_seconds",), ("s1_thinking_tokens",), ("s1_answer_tokens",)} & set(seen)
    assert counts["s1_rounds_total", "thinking"] == 1


def test_a_cancelled_request_tells_how_long_its_room_stayed_taken(serve, a):
    engine = ScriptedEngine([a] * 50)
    engine.hanging = {0}
    counts, seen, _ = serve(engine, ResponseWriter(num_checks=0), stream=[True], max_thinking_tokens=[100])
    assert counts["s1_requests_total", "CANCELLED"] == counts["s1_engine_calls_total", "cut"] == 1
    assert counts["s1_thinking_ends_total", "cancelled"] == 1
    assert len(seen["s1_cancel_to_free_seconds",]) == 1


def test_a_refused_request_is_only_counted(serve):
    counts, seen, _ = serve(ScriptedEngine(), num_ignore=[-1])
    assert (counts, seen) == ({("s1_requests_total", "INVALID_ARGUMENT"): 1}, {})


def test_a_command_without_a_target_is_rejected(serve):
    counts, seen, _ = serve(ScriptedEngine(), cancel=[True])
    assert counts == {("s1_requests_total", "INVALID_ARGUMENT"): 1, ("s1_commands_total", "cancel", "rejected"): 1}
    assert not seen


def test_a_request_that_gave_up_in_the_queue_has_no_times():
    measurements = Measurements()
    measure(EndedRequest(error=Cancelled("x"), arrived=1.0, ended=3.0, queued=1.0, cancelled=2.5), measurements)
    assert read(measurements) == ({}, {("s1_cancel_to_free_seconds",): [0.5]})


def test_the_time_per_token_does_not_count_the_first_delta():
    """Its ids came together, so nothing is known about the time between them."""
    arrivals = Arrivals()
    arrivals.note(10.0, 5)
    assert arrivals.s_per_token is None
    arrivals.note(10.5, 2)
    arrivals.note(11.0, 2)
    assert (arrivals.first, arrivals.s_per_token) == (10.0, 0.25)


def test_only_defined_series_can_be_measured():
    measurements = Measurements()
    with pytest.raises(AssertionError, match="phase"):
        measurements.increment("s1_rounds_total")
    with pytest.raises(KeyError):
        measurements.increment("s1_nothing_total")
