# SPDX-License-Identifier: Apache-2.0
"""Comparing two runs: a planted difference is found, and no difference where there is none."""

from dataclasses import replace
from itertools import groupby

import pytest

from client.loadtest.samples import failed, level, random_level, request, run
from s1_client.loadtest._compare import MIN_REQUESTS, compare
from s1_client.loadtest._objective import Objective
from s1_client.loadtest._search import CapacitySearch
from s1_client.loadtest._summary import Slo, summarise_level

SLO = Slo(time_to_first_token_ms=2000.0, time_per_output_token_ms=200.0)


def ratios(before, after, slo=SLO, **rest):
    """Return the ratios of two levels by name and statistic."""
    return {(one.name, one.statistic): one for one in compare(run(before), run(after), slo, **rest)}


def test_a_planted_ratio_is_found():
    found = ratios(random_level(1), random_level(2, slower=1.5))
    for key in [("request_latency_ms", "p50"), ("request_latency_ms", "p95"), ("inter_token_latency_thinking_ms", "p50")]:
        assert 1.35 < found[key].low < found[key].ratio < found[key].high < 1.65
        assert found[key].verdict == "higher"
    flow = found["tokens_per_s", "mean"]
    assert 1 / 1.6 < flow.low < flow.high < 1 / 1.4 and flow.verdict == "lower"


def test_a_run_is_indistinguishable_from_itself_and_so_are_its_halves():
    whole = random_level(3, 400)
    first, second = replace(whole, requests=whole.requests[:200]), replace(whole, requests=whole.requests[200:])
    first, second = (replace(half, duration_s=half_s(half)) for half in (first, second))
    assert {one.verdict for one in ratios(whole, whole).values()} == {"indistinguishable"}
    assert {one.verdict for one in ratios(first, second).values()} == {"indistinguishable"}


def half_s(one):
    return sum(request.request_latency_ms for request in one.requests) / 1e3 / one.value


def test_an_interval_misses_the_true_ratio_about_as_often_as_it_claims():
    """80 pairs of equal servers with correlated neighbours: 5% would be 4."""
    pairs = ((random_level(seed, 60), random_level(1000 + seed, 60)) for seed in range(80))
    found = [ratios(*pair)["request_latency_ms", "p50"].verdict for pair in pairs]
    assert 80 - found.count("indistinguishable") <= 10


def test_equal_seeds_give_equal_intervals():
    pair = random_level(1), random_level(2)
    assert ratios(*pair) == ratios(*pair, seed=0) != ratios(*pair, seed=1)


def test_ratios_are_those_of_the_shown_figures():
    few = MIN_REQUESTS
    found = ratios(level(*[request()] * few), level(*[request(request_latency_ms=2580.0)] * few))["request_latency_ms", "p50"]
    assert (found.before, found.after, found.ratio, found.num_before) == (1290.0, 2580.0, 2.0, few)


def test_percentiles_equal_those_of_the_summary():
    before = random_level(1, 150)
    found, spread = ratios(before, before), summarise_level(before, SLO).metrics["request_latency_ms"]
    assert found["request_latency_ms", "p50"].before == pytest.approx(spread.p50)
    assert found["request_latency_ms", "p95"].before == pytest.approx(spread.p95)


def test_requests_that_fail_late_lower_the_throughput():
    """A third of the requests hangs until its deadline: a throughput of the complete replies alone would not have changed."""
    good = random_level(1, 60)
    hung = level(*good.requests, *[failed(60 + number, end="DeadlineExceeded", request_latency_ms=30_000.0) for number in range(30)])
    hung = replace(hung, duration_s=half_s(hung))
    found = ratios(good, hung)["tokens_per_s", "mean"]
    assert found.verdict == "lower" and found.ratio < 0.2
    for side, one in ((found.before, good), (found.after, hung)):
        assert side == pytest.approx(summarise_level(one, SLO).tokens_per_s)


def test_with_few_requests_there_is_a_ratio_and_no_interval():
    found = ratios(random_level(1, 19), random_level(2, 100, slower=9.0))["request_latency_ms", "p50"]
    assert found.ratio > 8 and found.low is None and found.verdict == "too few"


def test_levels_and_figures_of_a_single_run_are_left_out():
    assert ratios(random_level(1), random_level(1, value=8.0)) == {}
    unary = level(*[request(time_to_first_token_ms=None)] * 30)
    assert ("time_to_first_token_ms", "p50") not in ratios(random_level(1), unary)
    assert ratios(level(failed()), random_level(1)).keys() == {("share_good", "mean"), ("tokens_per_s", "mean")}


def test_even_and_random_gaps_are_loads_of_their_own():
    """Scenario "rate" runs each rate with both."""
    even, poisson = (random_level(seed, 40, mode="request_rate", distribution=name) for seed, name in ((1, "constant"), (2, "poisson")))
    found = compare(run(even, poisson), run(poisson, even), SLO)
    assert [key for key, _ in groupby(found, key=lambda one: one.distribution)] == ["constant", "poisson"]
    assert {one.verdict for one in found if one.ratio} == {"indistinguishable"}


def test_a_load_of_a_capacity_search_is_compared_once_with_all_its_levels():
    search = CapacitySearch(mode="concurrency", least=1, most=8, objective=Objective(request_latency_ms=9000.0))
    trials = run(random_level(1, 30), random_level(2, 60), search=search)
    found = {(one.name, one.statistic): one for one in compare(trials, trials, SLO)}
    assert len(found) == len(compare(trials, trials, SLO))
    assert found["request_latency_ms", "p50"].num_before == 90


def test_at_a_rate_throughput_is_not_compared():
    pair = (random_level(seed, mode="request_rate", distribution="poisson") for seed in (1, 2))
    assert ("tokens_per_s", "mean") not in ratios(*pair)


def test_a_share_of_nothing_has_no_ratio():
    found = ratios(level(*[failed()] * 30), random_level(1))["share_good", "mean"]
    assert (found.before, found.after, found.ratio, found.verdict) == (0.0, 1.0, None, "too few")
