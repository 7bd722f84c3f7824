# SPDX-License-Identifier: Apache-2.0
"""A correct reply passes all checks, and every kind of fault is found."""

from dataclasses import replace

import pytest

from client.loadtest.scenarios import job
from s1_client import AnswerDelta, Client, Done, RoundEnded, ThinkingDelta
from s1_client.loadtest._reply_checks import violations
from s1_client.testing import FakeServer


@pytest.fixture(scope="module")
def right():
    """Return the events of a reply with a refused end."""
    with FakeServer() as server, Client(server.url) as client:
        server.says(thinking="one two three", answer=" four five")
        with client.stream("Why?", **job().work.options) as stream:
            return list(stream)


def changed(events, **values):
    """Return the events with a changed ledger: fields of Result, Usage and applied parameters by name."""
    result = events[-1].result
    effective = {**result.effective, **{name: values.pop(name) for name in list(values) if name in result.effective}}
    usage = replace(result.usage, **{name: values.pop(name) for name in list(values) if hasattr(result.usage, name)})
    return [*events[:-1], Done(result=replace(result, usage=usage, effective=effective, **values))]


def test_a_correct_reply_has_no_fault(right):
    assert violations(job(), right) == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"thinking_end": "bored"}, "thinking_end: got 'bored', allowed: absent, "),
        ({"answer_end": "missing"}, "answer_end: got 'missing', allowed: deadline, "),
        ({"max_thinking_tokens": 6}, "max_thinking_tokens: the thinking has 7 tokens, allowed: 6"),
        ({"num_grace_tokens": 1}, "grace_tokens: the thinking used 1, allowed: 0"),
        ({"max_tokens": 1}, "max_tokens: the answer has 2 tokens, allowed: 1"),
        ({"num_ignore": 0}, "num_ignore: 1 ends were refused, allowed: 0"),
        ({"num_thinking_injected": 0}, "num_thinking_tokens: the ledger says 7, 6 add up"),
        ({"num_terminators": 0}, "tokens sampled in the rounds: the ledger says 11, 8 add up"),
        ({"num_ignored": 0}, "num_ignored: the ledger says 0, 1 add up"),
        ({"num_output_ids": 3}, "num_output_ids: the ledger says 3, "),
        ({"num_ignore": 2}, "num_ignore: requested 1, applied 2"),
    ],
)
def test_a_wrong_ledger_is_found(right, values, message):
    found = violations(job(), changed(right, **values))
    assert any(message in fault for fault in found), found


@pytest.mark.parametrize(
    ("kind", "name"), [(ThinkingDelta, "num_thinking_sampled"), (AnswerDelta, "num_answer_tokens"), (RoundEnded, "rounds")]
)
def test_a_lost_message_is_found(right, kind, name):
    lost = next(event for event in right if isinstance(event, kind))
    found = violations(job(), [event for event in right if event is not lost])
    assert any(fault.startswith(f"{name}: the ledger says") and fault.endswith("arrived") for fault in found), found


def test_a_reply_has_one_result_and_it_is_the_last(right):
    for wrong in right[:-1], [*right, right[-1]], [right[-1], *right[:-1]]:
        (fault,) = violations(job(), wrong)
        assert "exactly one, in the last message" in fault


def test_a_reply_without_streaming_has_a_single_message(right):
    assert violations(job(stream=False), right[-1:]) == ()
    assert violations(job(stream=False), right) == (f"stream: {len(right)} messages arrived, the request asked for a single one",)


def test_values_are_compared_as_their_tensors_hold_them(right):
    """A single text equals a list of one text, and numbers lose digits in FP32."""
    options = {"ignore_str": "Wait", "temperature": 0.1}
    assert violations(job(options=options), changed(right, temperature=0.10000000149011612)) == ()
