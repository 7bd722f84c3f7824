# SPDX-License-Identifier: Apache-2.0
"""The values of each metric for a request."""

import pytest

from client.loadtest.samples import failed, request
from s1_client.loadtest._metric_definitions import METRICS, TERMS, num_sampled_tokens, time_per_output_token_ms, values_of
from s1_client.loadtest._summary import LevelSummary


def test_time_per_output_token_excludes_the_first_token():
    assert time_per_output_token_ms(request()) == pytest.approx((1290 - 100) / 119)


@pytest.mark.parametrize("changes", [{"time_to_first_token_ms": None}, {"num_thinking_tokens": 1, "num_answer_tokens": 0}])
def test_a_reply_without_a_second_message_has_no_time_per_output_token(changes):
    assert values_of([request(**changes)], METRICS["time_per_output_token_ms"]) == []


def test_injected_tokens_are_not_sampled():
    assert num_sampled_tokens(request()) == 115


def test_failed_requests_have_no_latencies_and_the_others_keep_their_order():
    requests = [request(request_latency_ms=3.0), failed(), request(request_latency_ms=1.0)]
    assert values_of(requests, METRICS["request_latency_ms"]) == [3.0, 1.0]


def test_a_request_counts_with_each_refused_end_and_each_round():
    assert values_of([request(ignore_costs_ms=(7.0, 8.0)), request()], METRICS["ignore_cost_ms"]) == [7.0, 8.0, 20.0]
    assert values_of([request()], METRICS["round_gap_ms"]) == [1.0, 2.0]


def test_every_term_is_in_the_summary_and_is_defined():
    fields = set(LevelSummary.__dataclass_fields__)
    assert set(TERMS) - set(METRICS) <= fields
    assert all(len(term.definition) > 20 and term.title for term in TERMS.values())
