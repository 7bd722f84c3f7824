# SPDX-License-Identifier: Apache-2.0
"""The summary of a run, against figures computed by hand."""

import json
from dataclasses import asdict

import pytest

from client.loadtest.samples import failed, level, request, run
from s1_client.loadtest._roofline import Roofline
from s1_client.loadtest._summary import Slo, Spread, summarise, summarise_level

SLO = Slo(time_to_first_token_ms=150.0, time_per_output_token_ms=11.0)


def test_percentiles_lie_between_the_two_nearest_values():
    found = Spread.of([10.0, 20.0, 30.0, 40.0, 50.0])
    assert (found.p50, found.p90, found.p95, found.p99) == (30.0, 46.0, 48.0, 49.6)  # index p * (n - 1)


def test_a_percentile_of_nothing_is_none():
    assert asdict(Spread.of([])) == {"num_values": 0, "p50": None, "p90": None, "p95": None, "p99": None}


def test_a_level_is_counted():
    found = summarise_level(level(request(0), request(1, checks=("budget",)), failed(2), failed(3), failed(4, "Cancelled")), SLO)
    assert (found.num_requests, found.num_done, found.num_wrong, found.num_failed) == (5, 2, 1, 3)
    assert found.errors == {"Overloaded": 2, "Cancelled": 1}
    assert found.checks == {"budget": 1}


def test_rates_divide_complete_replies_by_the_levels_duration():
    found = summarise_level(level(request(), request(), failed(), duration_s=4.0), SLO)
    assert (found.requests_per_s, found.tokens_per_s) == (0.5, 2 * 115 / 4)
    assert found.mean_concurrency == pytest.approx((1.29 * 2 + 0.005) / 4)


LATE = {"time_to_first_token_ms": 150.1}
SLOW = {"request_latency_ms": 100 + 11 * 119 + 0.1}
JUST_GOOD = {"time_to_first_token_ms": 150.0, "request_latency_ms": 150 + 11.0 * 119}
WHOLE = {"time_to_first_token_ms": None, "num_thinking_tokens": 10, "num_answer_tokens": 5}
GOODS = [
    (request(), True),
    (request(**JUST_GOOD), True),
    (request(**LATE), False),
    (request(**SLOW), False),
    (request(checks=("budget",)), False),
    (failed(), False),
    (request(**WHOLE, request_latency_ms=150.0), True),
    (request(**WHOLE, request_latency_ms=151.0), False),
]


@pytest.mark.parametrize(("one", "is_good"), GOODS)
def test_a_good_request_passes_its_checks_and_keeps_both_limits(one, is_good):
    assert SLO.is_good(one) is is_good


def test_goodput_counts_good_requests():
    found = summarise_level(level(*(one for one, _ in GOODS), duration_s=2.0), SLO)
    assert (found.goodput_requests_per_s, found.share_good) == (1.5, 3 / 8)


def test_tokens_are_means_of_replies():
    found = summarise_level(level(request(), request(num_thinking_tokens=300, num_tokens_recomputed=None), failed()), SLO).tokens
    assert (found.prompt, found.thinking, found.answer, found.injected) == (50, 200, 20, 5)
    assert (found.recomputed, found.refused_ends) == (12, 1)  # of the replies where the engine reported it


def test_several_kinds_of_work_are_summarised_separately():
    assert summarise_level(level(request()), SLO).works == ()
    usual, other = summarise_level(level(request(), request(work="another", request_latency_ms=9.0), failed()), SLO).works[::-1]
    assert (usual.work, usual.num_requests, usual.num_done) == ("thought", 2, 1)
    assert (other.work, other.request_latency_ms.p50) == ("another", 9.0)


@pytest.mark.parametrize("requests", [(), (failed(), failed())])
def test_a_level_without_replies_has_a_summary(requests):
    found = summarise_level(level(*requests), SLO, LIMIT)
    assert (found.num_done, found.tokens_per_s, found.roofline_tokens_per_s) == (0, 0.0, None)
    assert found.metrics["request_latency_ms"].num_values == 0
    assert found.share_good == (0.0 if requests else None)


def test_a_level_of_no_duration_has_no_rates():
    assert summarise_level(level(duration_s=0.0), SLO).requests_per_s == 0.0


@pytest.mark.parametrize(
    ("levels", "allowed", "is_good"),
    [
        ([level(request())], [], True),
        ([], [], False),
        ([level(request(), problems=("late",))], [], False),
        ([level(request(checks=("a budget was not kept",)))], [], False),
        ([level(request(), failed())], [], False),
        ([level(request(), failed())], ["Overloaded"], True),
    ],
)
def test_a_run_passes_if_nothing_failed_but_allowed_errors(levels, allowed, is_good):
    assert (summarise(run(*levels, scenario={"allowed_errors": allowed}), SLO).faults == ()) is is_good


LIMIT = Roofline(name="a GPU", weights_ms=10.0, context_token_ns=100.0, max_batch_size=4, kv_tokens=1000)


def test_the_roofline_is_taken_at_the_levels_own_load():
    busy = level(*[request(request_latency_ms=1000.0)] * 2, duration_s=1.0)
    context = 50 + 120 / 2
    assert summarise_level(busy, SLO, LIMIT).roofline_tokens_per_s == pytest.approx(2 / (0.010 + 2 * context * 100e-9))


def test_the_summary_is_json():
    assert json.loads(json.dumps(asdict(summarise(run(level(request(), failed())), SLO))))["levels"][0]["num_failed"] == 1
