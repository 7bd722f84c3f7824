# SPDX-License-Identifier: Apache-2.0
"""Tracing of model ``s1``: whose trace a request continues, and settings with which the model does not load."""

import json

import numpy as np
import pytest
import triton_python_backend_utils as pb_utils

from budgetforce.config import LOG_LEVELS, OrchestratorConfig
from budgetforce.errors import ConfigError
from budgetforce.serving import tracing
from budgetforce.serving.logs import ServerLog
from budgetforce.serving.replies.span_context import SpanContext
from budgetforce.serving.request_reader import RequestReader
from budgetforce.serving.tracing import Tracing

URL = "http://127.0.0.1:4318/v1/traces"
LOG = ServerLog(dict.fromkeys(LOG_LEVELS, print))
TRITONS = SpanContext(trace_id="a" * 32, span_id="1" * 16)
CALLERS = SpanContext(trace_id="b" * 32, span_id="2" * 16)


def config(**changes):
    known = {"engine_model": "x", "engine_url": "x", "tokenizer_dir": "x", "preset": "smollm2", "max_context_tokens": 1, "vocab_rows": 1}
    return OrchestratorConfig(**{**known, "trace_url": URL, "trace_rate": 0.0, "forwarded_headers": "^traceparent$", **changes})


def json_of(context):
    return json.dumps({"traceparent": context.traceparent})


def read(beside, **changes):
    reader = RequestReader(config(**changes), ["text_input"], LOG)
    return reader.read(pb_utils.InferenceRequest({"text_input": np.array([[b"hi"]], np.object_)}, **beside))


def parent_of(incoming):
    return None if incoming.span is None else (incoming.span.trace_id, incoming.span.parent_id)


def test_a_request_continues_at_tritons_own_span():
    assert parent_of(read({"context": json_of(TRITONS), "parameters": json_of(CALLERS)})) == (TRITONS.trace_id, TRITONS.span_id)


@pytest.mark.parametrize("beside", [{}, {"context": None}], ids=["a Triton that does not tell", "an untraced request"])
def test_without_that_it_continues_at_the_callers_span(beside):
    incoming = read({"parameters": json_of(CALLERS), **beside})
    assert parent_of(incoming) == (CALLERS.trace_id, CALLERS.span_id)
    assert incoming.refusal is None


def test_without_either_the_rate_decides():
    assert parent_of(read({"context": None})) is None
    assert read({}, trace_rate=1.0).span.parent_id == ""


def test_a_refused_request_is_traced_too():
    incoming = read({"context": json_of(TRITONS), "parameters": '{"temprature": 1}'})
    assert incoming.refusal is not None
    assert parent_of(incoming) == (TRITONS.trace_id, TRITONS.span_id)


def test_nothing_is_read_or_traced_where_tracing_is_off():
    incoming = read({"context": json_of(TRITONS)}, trace_url="", forwarded_headers="", trace_rate=1.0)
    assert incoming.span is None
    refused = read({"parameters": json_of(CALLERS)}, trace_url="", forwarded_headers="")
    assert refused.refusal.field == "traceparent"  # as any parameter that nobody forwards


def test_a_url_that_is_none_keeps_the_model_from_loading():
    with pytest.raises(ConfigError, match="parameter 'trace_url': got 'localhost:4318', allowed: the URL of an OTLP/HTTP receiver"):
        Tracing(config(trace_url="localhost:4318"), "s1", "s1_0_0", LOG)


def test_a_bug_in_a_span_ends_no_request(monkeypatch):
    lines = []
    on = Tracing(config(), "s1", "s1_0_0", ServerLog(dict.fromkeys(LOG_LEVELS, lines.append)))
    on.take(None)  # no request: its span cannot be read
    on.close()
    assert len(lines) == 1
    assert "the spans of a request could not be made" in lines[0]


def test_a_missing_package_keeps_the_model_from_loading(monkeypatch):
    def missing(name):
        raise ConfigError(f"{name} needs it")

    monkeypatch.setattr(tracing, "require_opentelemetry", missing)
    with pytest.raises(ConfigError, match="parameter 'trace_url' needs it"):
        Tracing(config(), "s1", "s1_0_0", LOG)
    Tracing(config(trace_url=""), "s1", "s1_0_0", LOG).close()
