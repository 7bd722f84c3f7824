# SPDX-License-Identifier: Apache-2.0
"""One trace a request, through a real Triton to a real receiver; and requests do not notice a receiver that fails."""

import json
import secrets
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from opentelemetry.sdk.trace import TracerProvider

from budgetforce.launcher.options import parse_options
from budgetforce.launcher.tracing import tracing_of
from client.gateway.calls import CHAT, gateway
from s1_client import Cancelled, Client, InvalidRequest
from server.conftest import scripted_server
from server.test_metrics import page
from server.waiting import wait_until
from serving.receiving import receiver

WAIT_S = 30
MODEL = "s1_scripted"
tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")


@pytest.fixture(scope="module")
def receiving(tmp_path_factory):
    with receiver(tmp_path_factory.mktemp("received") / "spans") as receiving:
        yield receiving


@pytest.fixture(scope="module")
def traced(root, scripts_folder, tmp_path_factory, receiving):
    """A server that traces, as the launcher's option sets it up."""
    tracing = tracing_of(parse_options([f"--trace-url={receiving.url}"]))
    server = scripted_server(root, scripts_folder, tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("log") / "triton.log")
    server.extra_flags = tuple(tracing.flags())
    server.traced_headers = tracing.headers
    server.environment |= tracing.environment()
    with server:
        yield server


@pytest.fixture(scope="module")
def client(traced):
    with Client(traced.grpc_url, model=MODEL, max_retries=0) as client:
        yield client


ENGINE = ["InferRequest", ["scripted_llm", ["compute"]]]
TRITON = ["InferRequest", MODEL, "compute"]
ROUND = ["s1.round", "InferRequest", "scripted_llm", "compute"]
# Triton (24.10 to 26.07) reads on behind the value of a gRPC header, up to a NUL byte: what lies there is chance, and if it is another
# byte, Triton takes the header for malformed and traces nothing of that call. So of several traces one is whole.
NUM_TRIES = 8


@dataclass(frozen=True)
class Caller:
    """A span of a caller, as the receiver will show its ids."""

    trace_id: str = field(default_factory=lambda: secrets.token_hex(16))
    span_id: str = field(default_factory=lambda: secrets.token_hex(8))

    @classmethod
    def of(cls, span):
        context = span.get_span_context()
        return cls(f"{context.trace_id:032x}", f"{context.span_id:016x}")

    @property
    def header(self):
        return f"00-{self.trace_id}-{self.span_id}-01"


def names_of(num_rounds):
    return sorted([*TRITON, "s1.request", "s1.queue", *ROUND * num_rounds])


def whole_tree(receiving, callers, num_rounds):
    """Wait for a trace with all its spans; its tree below the caller's span."""
    names = names_of(num_rounds)

    def whole():
        return [caller for caller in callers if sorted(span["name"] for span in receiving.trace(caller.trace_id)) == names]

    wait_until(whole, seconds=WAIT_S)
    caller = whole()[0]
    (tree,) = below(receiving.trace(caller.trace_id), caller.span_id)
    return tree


def below(spans, parent):
    """Nested lists of names, children in the order of their starts."""
    children = sorted((span for span in spans if span["parentSpanId"] == parent), key=lambda span: span["start"])
    return [[span["name"], *below(spans, span["spanId"])] for span in children]


def tree_of(num_rounds):
    rounds = [["s1.round", ENGINE]] * num_rounds
    return ["InferRequest", [MODEL, ["compute"], ["s1.request", ["s1.queue"], *rounds]]]


def test_the_spans_of_a_request_form_one_tree_with_the_engines_under_the_callers_span(receiving, client, scripts, a):
    callers = {}
    for _ in range(NUM_TRIES):
        with tracer.start_as_current_span("mine") as span:
            callers[Caller.of(span)] = client.think(scripts.write([a, a, 2], [a, 2], [a, 0]).question, num_ignore=1)
    assert whole_tree(receiving, callers, 3) == tree_of(3)
    for caller, reply in callers.items():  # those of s1 come always
        wait_until(lambda caller=caller: named(receiving, caller, "s1.request"), seconds=WAIT_S)
        (request,), rounds = named(receiving, caller, "s1.request"), named(receiving, caller, "s1.round")
        assert request["attributes"]["gen_ai.usage.output_tokens"] == reply.usage.num_output_ids
        assert request["attributes"]["gen_ai.request.model"] == MODEL
        assert [span["attributes"].get("s1.refused_for") for span in rounds] == ["num_ignore", None, None]
        assert {span["parentSpanId"] for span in rounds} == {request["spanId"]}


def named(receiving, caller, name):
    return sorted((span for span in receiving.trace(caller.trace_id) if span["name"] == name), key=lambda span: span["start"])


def test_a_callers_trace_is_continued_over_http(receiving, traced, scripts, a):
    callers = [Caller() for _ in range(NUM_TRIES)]
    for caller in callers:
        body = json.dumps({"text_input": scripts.write([a, 2], [a, 0]).question, "num_ignore": 0}).encode()
        headers = {"Content-Type": "application/json", "traceparent": caller.header}
        request = urllib.request.Request(f"{traced.http_url}/v2/models/{MODEL}/generate", body, headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            assert response.status == 200
    assert whole_tree(receiving, callers, 2) == tree_of(2)


def test_and_through_the_gateway(receiving, traced, scripts, a):
    callers = [Caller() for _ in range(NUM_TRIES)]
    with gateway(traced.grpc_url, model=MODEL) as calls:
        for caller in callers:
            body = calls.chat_body(scripts.write([a, 2], [a, 0]).question, num_ignore=0)
            headers = {"Content-Type": "application/json", "traceparent": caller.header}
            assert calls.call("POST", CHAT, json.dumps(body).encode(), headers).status == 200
    assert whole_tree(receiving, callers, 2) == tree_of(2)


def test_a_request_without_a_trace_begins_one(receiving, client, scripts, a):
    client.think(scripts.write([a, 2], [a, 0]).question, num_ignore=0, request_id="a trace of its own")

    def own():
        return [span for span in receiving.spans() if span["attributes"].get("gen_ai.response.id") == "a trace of its own"]

    wait_until(own, seconds=WAIT_S)
    (request,) = own()
    assert (request["name"], request["parentSpanId"]) == ("s1.request", "")
    (tree,) = below([span for span in receiving.trace(request["traceId"]) if span["name"].startswith("s1.")], "")
    assert tree == ["s1.request", ["s1.queue"], ["s1.round"], ["s1.round"]]


def test_of_a_trace_that_its_caller_does_not_record_only_triton_records_spans(receiving, traced, scripts, a):
    """Triton 24.10 to 26.07 ignores the flag."""
    unsampled, later = Caller(), Caller()
    for header in (unsampled.header[:-2] + "00", later.header):
        with Client(traced.grpc_url, model=MODEL, metadata={"traceparent": header}) as own:
            own.think(scripts.write([a, 2], [a, 0]).question, num_ignore=0)
    wait_until(lambda: named(receiving, later, "s1.request"), seconds=WAIT_S)
    assert {span["name"] for span in receiving.trace(unsampled.trace_id)} <= set(TRITON)


def test_a_refused_and_a_cancelled_request_are_marked(receiving, client, scripts, a):
    with tracer.start_as_current_span("mine") as span:
        with pytest.raises(InvalidRequest):
            client.think("hi", preset="nonsense")
        script = scripts.write([a] * 200, delay_ms=50)
        with client.stream(script.question, max_thinking_tokens=150) as stream:
            next(stream)
            stream.cancel()
            with pytest.raises(Cancelled):
                list(stream)
    trace = f"{span.get_span_context().trace_id:032x}"

    def ends():
        return {span["attributes"].get("error.type") for span in receiving.trace(trace) if span["name"] == "s1.request"}

    wait_until(lambda: {"INVALID_ARGUMENT", "CANCELLED"} <= ends(), seconds=WAIT_S)


def num_lost(server):
    lines = [line for line in page(server).splitlines() if line.startswith("s1_spans_total{") and 'result="lost"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_a_receiver_that_hangs_and_then_is_gone_harms_no_request(receiving, traced, client, scripts, a):
    """The last test of this file: the receiver does not come back."""

    def ask_many():
        questions = [scripts.write([a, 2], [a, 0]).question for _ in range(16)]
        with ThreadPoolExecutor(8) as pool:
            return [reply.usage.num_answer_tokens for reply in pool.map(lambda question: client.think(question, num_ignore=0), questions)]

    receiving.fall_silent()
    assert ask_many() == [1] * 16
    wait_until(receiving.holds_a_message, seconds=WAIT_S)
    assert ask_many() == [1] * 16
    receiving.process.kill()
    assert ask_many() == [1] * 16
    wait_until(lambda: num_lost(traced) > 0, seconds=WAIT_S)
    assert ask_many() == [1] * 16
    assert traced.log.read_text().count("are lost") == 1
