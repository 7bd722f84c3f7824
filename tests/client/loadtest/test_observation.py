# SPDX-License-Identifier: Apache-2.0
"""Turning arrival times of messages into a request's record."""

from dataclasses import replace

import pytest

from client.events import RESULT, round_with
from client.loadtest.scenarios import job
from s1_client import AnswerDelta, AnswerOpened, Done, Injected, Overloaded, RoundEnded, ThinkingDelta
from s1_client.loadtest._observation import Observation, request_of


def thought(*ids):
    return ThinkingDelta(text="x", ids=ids)


def put_in(*ids, phase="thinking"):
    return Injected(text="Wait", ids=ids, phase=phase)


def refused():
    return RoundEnded(round=round_with(refused_for="num_ignore"))


def done(**changes):
    rounds = (round_with(), round_with(num_prompt_tokens=70, kv_reused_blocks=2, gap_ms=0.5))
    return Done(result=replace(RESULT, **{"rounds": rounds, **changes}))


def seen(*messages, due_s=10.0, **values):
    observed = Observation(job=job(), due_s=due_s, sent_s=due_s, messages=list(messages), ended_s=messages[-1][0] if messages else due_s)
    for name, value in values.items():
        setattr(observed, name, value)
    return observed


def of(*messages, **values):
    return request_of(seen(*messages, **values), 32)


WHOLE = (
    (10.01, put_in(1, 2)),
    (10.1, thought(3)),
    (10.2, thought(4, 5)),
    (10.21, refused()),
    (10.22, put_in(6)),
    (10.5, thought(7)),
    (10.6, thought(8)),
    (10.61, RoundEnded(round=round_with())),
    (10.62, AnswerOpened(ids=(9, 9))),
    (10.63, put_in(9, phase="answer")),
    (10.9, AnswerDelta(text="a", ids=(10,))),
    (11.0, AnswerDelta(text="b", ids=(11,))),
    (11.01, done()),
)


def test_first_tokens_are_those_that_were_sampled():
    request = of(*WHOLE)
    assert request.time_to_first_token_ms == pytest.approx(100)
    assert request.time_to_first_answer_token_ms == pytest.approx(900)
    assert request.request_latency_ms == pytest.approx(1010)


def test_a_message_of_several_tokens_shares_its_gap_among_them():
    assert of(*WHOLE).inter_token_latencies_ms.thinking == pytest.approx((50, 50, 100))


def test_gaps_at_a_refused_end_and_before_the_answer_are_counted_separately():
    request = of(*WHOLE)
    assert request.ignore_costs_ms == pytest.approx((300,))
    assert request.answer_gap_ms == pytest.approx(300)
    assert request.inter_token_latencies_ms.answer == pytest.approx((100,))


def test_an_end_that_is_refused_without_injected_text_has_a_cost_too():
    request = of((10.1, thought(3)), (10.2, refused()), (10.5, thought(4)), (10.6, done()))
    assert (request.ignore_costs_ms, request.inter_token_latencies_ms.thinking) == (pytest.approx((400,)), ())


def test_latencies_count_from_when_the_request_was_due():
    late = of(*WHOLE, due_s=9.0)
    assert (late.time_to_first_token_ms, late.request_latency_ms) == (pytest.approx(1100), pytest.approx(2010))


def test_recomputed_tokens_are_the_prompt_minus_the_reused_blocks():
    assert of(*WHOLE).num_tokens_recomputed == 70 - 2 * 32
    assert of(*WHOLE).round_gaps_ms == (0.5,)


def test_without_reported_blocks_recomputed_tokens_are_unknown():
    rounds = (round_with(), round_with(kv_reused_blocks=None))
    assert of((10.1, done(rounds=rounds))).num_tokens_recomputed is None


def test_a_failed_request_records_the_tokens_that_arrived():
    request = of(*WHOLE[:6], error=Overloaded("full"))
    assert (request.end, request.message, request.checks) == ("Overloaded", "full", ())
    assert (request.num_thinking_tokens, request.num_injected_tokens, request.num_ignored, request.num_rounds) == (7, 3, 1, 1)
    assert (request.thinking_end, request.max_thinking_tokens) == (None, None)
    assert request.time_to_first_token_ms == pytest.approx(100)


def test_a_request_that_failed_immediately_has_only_an_end_time():
    request = of(error=Overloaded("full"), ended_s=10.25)
    assert (request.time_to_first_token_ms, request.num_messages, request.request_latency_ms) == (None, 0, 250)


@pytest.mark.parametrize(
    ("work", "accepted_s", "fault"),
    [
        ({"answer_now_after_tokens": 1}, 10.5, None),
        ({"answer_now_after_tokens": 1}, 8.5, "answer_now: tokens arrived for 2.1 s after the server accepted the command"),
        ({"cancel_after_tokens": 1}, 8.8, "cancel: tokens arrived for 2.2 s after the server accepted the command"),
        ({"answer_now_after_tokens": 1}, None, None),
    ],
)
def test_a_reply_that_ignores_its_command_is_a_fault(work, accepted_s, fault):
    found = of(*WHOLE, job=job(**work), command_accepted_s=accepted_s).checks
    assert [check for check in found if "tokens arrived" in check] == ([fault] if fault else [])


def test_a_command_that_the_server_refused_is_a_fault():
    found = of(*WHOLE, job=job(answer_now_after_tokens=1), command_error=Overloaded("full")).checks
    assert "answer_now: Overloaded: full" in found
