# SPDX-License-Identifier: Apache-2.0
import heapq
import random

import pytest

from client.loadtest.records import level, request
from s1_client.loadtest._judgement import Unjudgeable, is_growing, judge, percentile
from s1_client.loadtest._objective import Objective

LATENCY = Objective(request_latency_ms=100.0)


def requests(num_good, num_slow=0, **ends):
    """Requests of 50 and of 200 ms, and so many that ended with each error."""
    good, slow = request(request_latency_ms=50.0), request(request_latency_ms=200.0)
    return (
        [good] * num_good + [slow] * num_slow + [request(end=end, request_latency_ms=1.0) for end, num in ends.items() for _ in range(num)]
    )


def judged(*found, objective=LATENCY, **rest):
    return judge(level(*found, **rest), objective)


@pytest.mark.parametrize(("num_slow", "holds"), [(0, True), (5, True), (6, False)])
def test_a_limit_holds_if_its_percent_of_the_requests_keep_it(num_slow, holds):
    """Of 100 requests five may be slower than the p95 limit."""
    found = judged(*requests(100 - num_slow, num_slow))
    assert found.holds is holds and found.percentiles_ms == {"request_latency_ms": 50.0 if holds else 200.0}
    assert found.reasons == (() if holds else ("p95 request latency: 200 ms, allowed: 100 ms",))


def test_a_rejection_and_an_error_break_an_objective_without_them():
    found = judged(*requests(98, Overloaded=1, EngineFailed=1))
    assert (found.num_rejected, found.num_failed) == (1, 1)
    assert found.reasons == ("1 of 100 requests rejected, allowed: none", "1 of 100 requests failed, allowed: none")
    allowed = Objective(request_latency_ms=100.0, max_rejected_percent=1.0, max_failed_percent=1.0)
    assert judged(*requests(98, Overloaded=1, EngineFailed=1), objective=allowed).holds


def test_an_incorrect_reply_has_failed():
    assert judged(*requests(99), request(request_latency_ms=50.0, checks=("max_tokens: too many",))).num_failed == 1


def test_a_request_without_a_reply_is_slower_than_every_limit():
    """Of 100 requests 4 are rejected and 3 fail, which is allowed: the p94 of all is no number, although the replies were quick."""
    allowed = Objective(percentile=94.0, request_latency_ms=100.0, max_rejected_percent=4.0, max_failed_percent=4.0)
    assert judged(*requests(94, Overloaded=3, EngineFailed=3), objective=allowed).holds
    found = judged(*requests(93, Overloaded=4, EngineFailed=3), objective=allowed)
    assert found.percentiles_ms == {"request_latency_ms": None}
    assert found.reasons == ("p94 request latency: without a reply, allowed: 100 ms",)
    too_many = judged(*requests(92, Overloaded=8), objective=allowed)
    assert too_many.reasons == ("8 of 100 requests rejected, allowed: at most 4%",)


def test_too_few_requests_cannot_show_that_it_holds_but_that_it_fails():
    with pytest.raises(Unjudgeable, match="concurrency 2: 58 requests have a request latency, p95 needs 59; raise --max-seconds"):
        judged(*requests(58))
    assert judged(*requests(59)).holds and not judged(*requests(3, 2)).holds
    with pytest.raises(Unjudgeable, match="3 requests have a reply"):
        judged(*requests(3), objective=Objective())


def test_replies_that_are_not_streamed_have_no_first_token():
    first = Objective(time_to_first_token_ms=30.0)
    joined = [request(time_to_first_token_ms=None)] * 41
    assert judged(*joined, *[request()] * 59, objective=first).percentiles_ms == {"time_to_first_token_ms": 20.0}
    with pytest.raises(Unjudgeable, match="58 requests have a time to first token"):
        judged(*joined, *[request()] * 58, objective=first)


@pytest.mark.parametrize(("percent", "place"), [(50, 9), (95, 18), (96, 19), (99.9, 19)])
def test_a_percentile_is_one_of_the_values(percent, place):
    """The least that so many percent of the values do not exceed: of 20 values 95% are 19."""
    assert percentile([float(value) for value in range(20)], percent) == place


def ramp(number, step, noise, seed=1):
    chance = random.Random(seed)
    return [100.0 + step * index + chance.uniform(0, noise) for index in range(number)]


def test_latencies_that_grow_to_the_end_condemn_a_rate_and_not_a_concurrency():
    found = [request(request_latency_ms=value / 10) for value in ramp(60, 2.0, 5.0)]
    assert not judged(*found, mode="request_rate", value=3.0).holds
    assert "still grows at the end" in judged(*found, mode="request_rate", value=3.0).reasons[0]
    assert judged(*found).holds


def test_noise_and_the_filling_of_an_idle_server_are_no_growth():
    steady = [is_growing(ramp(60, 0.0, 50.0, seed)) for seed in range(300)]
    assert sum(steady) <= 3
    assert not is_growing([10.0 * min(index, 20) for index in range(60)])
    assert is_growing(ramp(60, 2.0, 5.0)) and not is_growing(ramp(5, 100.0, 1.0))


def latencies(utilisation, seed, *, gap, number=80, places=8):
    """Latencies in a simulated queue with so many places, replies of about 1 s, and a share of its capacity as the load."""
    chance, free, due, found = random.Random(seed), [0.0] * places, 0.0, []
    for _ in range(number):
        ended = max(due, heapq.heappop(free)) + max(0.1, chance.gauss(1.0, 0.3))
        heapq.heappush(free, ended)
        found.append(ended - due)
        due += gap(chance) / (utilisation * places)
    return found


@pytest.mark.parametrize(("utilisation", "least", "most"), [(0.8, 0, 3), (1.2, 170, 200)])
def test_queues_below_and_above_their_capacity_are_told_apart_with_even_gaps(utilisation, least, most):
    """As docs/load-testing.md says: latencies in a busy server are not independent, and still few steady levels seem to grow."""
    grown = [is_growing(latencies(utilisation, seed, gap=lambda _: 1.0)) for seed in range(200)]
    assert least <= sum(grown) <= most


def test_random_gaps_make_a_steady_queue_seem_to_grow_more_often():
    """The limit of the test that docs/load-testing.md names."""
    grown = [is_growing(latencies(0.9, seed, gap=lambda chance: chance.expovariate(1.0))) for seed in range(200)]
    assert 10 <= sum(grown) <= 80
