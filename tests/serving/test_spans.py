# SPDX-License-Identifier: Apache-2.0
"""The spans of a request agree with its result, hang together, and hold no text of it."""

import json
import time
from types import SimpleNamespace

import pytest
from scripted_engine import ScriptedEngine

from budgetforce.errors import EngineFailed
from budgetforce.serving.incoming import IncomingRequest
from budgetforce.serving.replies.span_context import SpanContext, parse_traceparent
from budgetforce.serving.runtime import SerialRuntime
from budgetforce.serving.spans import Kind, spans_of
from fakes.orchestrators import orchestrator_over
from serving.test_runtime import ResponseWriter

END, EOS = 2, 0
CALLER = SpanContext(trace_id="c" * 32, span_id="d" * 16)


@pytest.fixture
def a(tokenizer):
    return tokenizer.encode("a")[0]


@pytest.fixture
def serve(tokenizer):
    """Serve a request; its spans by name and the writer."""

    def make(engine, writer=None, span=CALLER, **inputs):
        traced, writer = [], writer or ResponseWriter()
        orchestrator = orchestrator_over(engine, tokenizer, trace=traced.append)
        serial = SerialRuntime(lambda: orchestrator, lambda _: None)
        fields = inputs if {"cancel", "answer_now"} & set(inputs) else {"text_input": [b"my secret question"], **inputs}
        place = None if span is None else span.child()
        serial.accept(IncomingRequest(request_id="mine", inputs=fields, writer=writer, arrived=time.monotonic(), span=place))
        serial.close()
        spans = [span for ended in traced for span in spans_of(ended, model="s1", engine_model="scripted")]
        return SimpleNamespace(
            all=spans,
            request=next((span for span in spans if span.name == "s1.request"), None),
            queue=[span for span in spans if span.name == "s1.queue"],
            rounds=[span for span in spans if span.name == "s1.round"],
            results=writer.results,
        )

    return make


def test_the_spans_form_one_tree_under_the_callers_span(serve, a):
    spans = serve(ScriptedEngine([a, a, END], [a, END], [a, EOS]), num_ignore=[1])
    assert [span.name for span in spans.all] == ["s1.request", "s1.queue", *["s1.round"] * 3]
    assert {span.context.trace_id for span in spans.all} == {CALLER.trace_id}
    assert spans.request.context.parent_id == CALLER.span_id
    assert {span.context.parent_id for span in spans.all[1:]} == {spans.request.context.span_id}
    assert len({span.context.span_id for span in spans.all}) == 5
    assert [span.kind for span in (spans.request, *spans.queue, *spans.rounds)] == [Kind.SERVER, Kind.INTERNAL, *[Kind.CLIENT] * 3]


def test_the_times_lie_within_each_other(serve, a):
    spans = serve(ScriptedEngine([a, END], [a, EOS]), num_ignore=[0])
    (queue,), (first, second) = spans.queue, spans.rounds
    times = [spans.request.started, queue.started, queue.ended, first.started, first.ended, second.started]
    assert times == sorted(times)
    assert second.ended <= spans.request.ended + 1e-3  # a round's length is rounded to microseconds


def test_the_attributes_are_those_of_the_result(serve, a):
    spans = serve(ScriptedEngine([a, a, END], [a, END], [a, EOS], kv_reused_blocks=2), num_ignore=[1], stream=[True])
    (result,), usage = spans.results, spans.results[0]["usage"]
    assert spans.request.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "s1",
        "gen_ai.request.model": "s1",
        "gen_ai.response.id": "mine",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": usage["num_prompt_tokens"],
        "gen_ai.usage.output_tokens": usage["num_output_ids"],
        "gen_ai.usage.reasoning.output_tokens": usage["num_thinking_tokens"],
        "s1.engine_model": "scripted",
        "s1.thinking_ends": ["natural"],
        "s1.num_ignored": 1,
        "s1.num_rounds": 3,
    }
    for number, (span, report) in enumerate(zip(spans.rounds, result["rounds"], strict=True)):
        expected = {f"s1.{name}": value for name, value in report.items() if value is not None}
        num_injected = len(expected.pop("s1.injected_ids"))
        assert expected.pop("s1.engine_ms") == pytest.approx((span.ended - span.started) * 1e3)
        assert span.attributes == {**expected, "s1.sample": 0, "s1.round": number, "s1.num_injected_tokens": num_injected}
    assert [span.attributes["s1.kv_reused_blocks"] for span in spans.rounds] == [2, 2, 2]
    assert [span.attributes.get("s1.refused_for") for span in spans.rounds] == ["num_ignore", None, None]
    assert [span.attributes["s1.phase"] for span in spans.rounds] == ["thinking", "thinking", "answer"]


def test_an_attribute_has_a_type_that_opentelemetry_takes(serve, a):
    spans = serve(ScriptedEngine([a, a, END], [a, END], [a, EOS]), num_ignore=[1])
    for span in spans.all:
        assert json.loads(json.dumps(span.attributes)) == span.attributes
        assert {type(value) for value in span.attributes.values()} <= {str, int, float, list}


def test_no_text_of_the_request_or_the_reply_is_in_a_span(serve, a, tokenizer):
    texts = {"ignore_str": [b"hush hush"], "answer_prefix": [b"my prefix"], "answer_prefix_policy": [b"always"]}
    spans = serve(ScriptedEngine([a, END], [a, END], [a, EOS]), num_ignore=[1], **texts)
    assert [span.attributes["s1.num_injected_tokens"] > 0 for span in spans.rounds] == [True, True, False]
    text = repr(spans.all)
    assert not [word for word in ("secret", "hush", "prefix", str(tokenizer.encode("hush hush"))) if word in text]


def test_each_engine_call_carries_the_span_of_its_round(serve, a):
    engine = ScriptedEngine([a, END], [a, a], [EOS])
    spans = serve(engine, num_ignore=[1])
    carried = [parse_traceparent(call.traceparent) for call in engine.calls]
    assert {context.trace_id for context in carried} == {CALLER.trace_id}
    of_rounds = [span.context.span_id for span in spans.rounds for _ in range(span.attributes["s1.num_engine_calls"])]
    assert [context.span_id for context in carried] == of_rounds


def test_a_request_that_is_not_traced_has_no_spans_and_its_calls_no_header(serve, a):
    engine = ScriptedEngine([a, END], [a, EOS])
    assert serve(engine, span=None, num_ignore=[0]).all == []
    assert [call.traceparent for call in engine.calls] == ["", ""]


def test_each_sample_has_its_rounds(serve, a):
    spans = serve(ScriptedEngine(*[[a, END], [a, EOS]] * 2), num_samples=[2], temperature=[1.0], num_ignore=[0])
    places = sorted((span.attributes["s1.sample"], span.attributes["s1.round"]) for span in spans.rounds)
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert spans.request.attributes["gen_ai.request.choice.count"] == 2
    assert spans.request.attributes["gen_ai.response.finish_reasons"] == ["stop", "stop"]


def test_a_failure_marks_the_request_and_the_round_that_it_ended(serve, a):
    engine = ScriptedEngine([a, a, END], [a])
    engine.fail_with, engine.failing = EngineFailed("out of blocks"), {1}
    spans = serve(engine, num_ignore=[1])
    assert (spans.request.error, [span.error for span in spans.rounds]) == ("ENGINE_FAILED", ["", "ENGINE_FAILED"])


def test_a_cancelled_request_is_marked(serve, a):
    engine = ScriptedEngine([a] * 50)
    engine.hanging = {0}
    spans = serve(engine, ResponseWriter(num_checks=0), stream=[True], max_thinking_tokens=[100])
    assert spans.request.error == "CANCELLED"


def test_a_refused_request_is_a_single_span(serve):
    spans = serve(ScriptedEngine(), num_ignore=[-1])
    assert [(span.name, span.error) for span in spans.all] == [("s1.request", "INVALID_ARGUMENT")]


def test_a_command_names_itself(serve):
    spans = serve(ScriptedEngine(), cancel=[True])
    assert spans.request.attributes["s1.command"] == "cancel"
    assert "gen_ai.operation.name" not in spans.request.attributes
