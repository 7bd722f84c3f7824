# SPDX-License-Identifier: Apache-2.0
"""Triton's log has one line for each request that ends with an error, found by the request's id. (All codes: tests/serving.)"""

import json
import re
import uuid

import pytest

from s1_client import Client, DeadlineExceeded, EngineFailed, InvalidRequest, S1Error, ServerFailed
from server.waiting import wait_until

PROMPT = " My secret plan"


def lines_with(server, request_id):
    """The lines of the log with this id."""
    return [line for line in server.log.read_text(errors="replace").splitlines() if request_id in line]


def all_lines_with(server, client, request_id):
    """The lines of the log with this id, when a later request to the same model has left its own."""
    later = f"later-{uuid.uuid4().hex}"
    with pytest.raises(InvalidRequest):
        client.think("hi", request_id=later, answer_prefix="x", answer_prefix_policy="never")
    wait_until(lambda: lines_with(server, later), seconds=10)
    return lines_with(server, request_id)


def message_of(line):
    """The message of a line: Triton writes it behind its own fields, as a JSON string."""
    return json.loads(line.partition("] ")[2])


CASES = [
    ("INVALID_ARGUMENT", InvalidRequest, {"answer_prefix": PROMPT, "answer_prefix_policy": "never"}, {}),
    ("ENGINE_FAILED", EngineFailed, {}, {"fail_calls": {"0": "out of blocks"}}),
    ("DEADLINE", DeadlineExceeded, {"timeout_ms": 300}, {"stall_after": 1}),
]


@pytest.mark.parametrize("model", ["s1_scripted", "s1_small"])  # the first logs text, the second JSON
@pytest.mark.parametrize(("code", "error", "options", "settings"), CASES, ids=[case[0] for case in CASES])
def test_a_failed_requests_line_is_found_by_its_id(triton, scripts, a, model, code, error, options, settings):
    script, request_id = scripts.write([a], **settings), f"log-{model}-{code.lower()}"
    with Client(triton.grpc_url, model=model, max_retries=0) as client:
        with pytest.raises(error):
            client.think(script.question + PROMPT, request_id=request_id, **options)
        (line,) = all_lines_with(triton, client, request_id)
    message = message_of(line)
    if model == "s1_small":
        entry = json.loads(message)
        assert (entry["request_id"], entry["code"], entry["engine"]) == (request_id, code, "scripted_llm")
    else:
        assert message.startswith(f's1: request "{request_id}" on scripted_llm after ')
        assert f" s: {code}: " in message
    assert PROMPT.strip() not in message


def test_an_engine_that_is_not_loaded_is_named(triton):
    with Client(triton.grpc_url, model="s1_lost", max_retries=0) as client:
        with pytest.raises(S1Error) as lost:
            client.think(PROMPT, request_id="log-lost")
        assert not isinstance(lost.value, ServerFailed)
        (line,) = all_lines_with(triton, client, "log-lost")
    assert re.search(r" on tensorrt_llm after 1 rounds and . tokens in [0-9.]+ s: ENGINE_UNAVAILABLE: ", message_of(line))
