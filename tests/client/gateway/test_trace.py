# SPDX-License-Identifier: Apache-2.0
"""The server continues the trace of the gateway's caller."""

import json

import pytest

from client.gateway.calls import CHAT, COMPLETIONS, MESSAGES, RESPONSES
from client.gateway.test_relay import body_of

PARENT = f"00-{'c' * 32}-{'d' * 16}-01"


def ask(gateway, path, traceparent, **fields):
    headers = {"Content-Type": "application/json", "traceparent": traceparent}
    answer = gateway.call("POST", path, gateway_body(path, **fields), headers)
    assert answer.status == 200, answer.text


def gateway_body(path, **fields):
    return json.dumps(body_of(path, "hi", **fields)).encode()


@pytest.mark.parametrize("path", [CHAT, RESPONSES, COMPLETIONS, MESSAGES])
@pytest.mark.parametrize("stream", [True, False])
def test_the_callers_trace_goes_on_to_the_server(gateway, traces, path, stream):
    traces.seen.clear()
    ask(gateway, path, PARENT, stream=stream)
    assert traces.seen == [PARENT]


@pytest.mark.parametrize("header", ["", "00-nonsense", PARENT + "!!", PARENT.upper()])
def test_a_malformed_header_is_ignored(gateway, traces, header):
    traces.seen.clear()
    ask(gateway, CHAT, header)
    assert traces.seen == [None]


def test_the_next_request_on_a_connection_has_no_trace_of_the_last(gateway, traces):
    ask(gateway, CHAT, PARENT)
    traces.seen.clear()
    gateway.chat()
    assert traces.seen == [None]
