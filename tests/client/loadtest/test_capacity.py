# SPDX-License-Identifier: Apache-2.0
"""Capacity searches in a simulated server with a known capacity: so many places, and a fixed time for each reply."""

import heapq
from types import SimpleNamespace

import pytest

from client.loadtest import records
from client.loadtest.scenarios import at_rate, scenario
from s1_client.loadtest._capacity import find_capacity, num_needed, prepared
from s1_client.loadtest._capacity_summary import one_level_per_load, summarise_capacity
from s1_client.loadtest._jobs import due_times
from s1_client.loadtest._judgement import Unjudgeable
from s1_client.loadtest._objective import Objective
from s1_client.loadtest._scenario import Scenario
from s1_client.loadtest._search import CapacitySearch
from s1_client.loadtest._typed import Malformed, decode

PLACES, SERVICE_S = 4, 0.5  # 8 replies per second
PLANNED = scenario(load={"max_seconds": 600})


class SimulatedRun:
    """A run against a server of ``PLACES`` places and an endless queue; in simulated time."""

    def __init__(self, planned, max_waiting=10**9):
        self.levels = []
        self.scenario, self.max_waiting = planned, max_waiting

    def run_level(self, stage, _listener):
        num = stage.load.num_requests
        requests = list(self.open_loop(stage) if stage.mode == "request_rate" else self.closed_loop(int(stage.value), num))
        level = records.level(*requests, mode=stage.mode, value=stage.value, duration_s=max(one.start_s for one in requests) + SERVICE_S)
        self.levels.append(level)
        return level

    def open_loop(self, stage):
        free = [0.0] * PLACES
        for due_s in due_times(self.scenario, stage):
            began_s = max(due_s, heapq.heappop(free))
            heapq.heappush(free, began_s + SERVICE_S)
            yield self.request(due_s, began_s)

    def closed_loop(self, num_clients, num_requests):
        """All clients alternate: the queue of each reply is that of those before it."""
        free, clients = [0.0] * PLACES, [0.0] * num_clients
        for _ in range(num_requests):
            sent_s = heapq.heappop(clients)
            if num_clients > PLACES + self.max_waiting:
                heapq.heappush(clients, sent_s + 0.01)
                yield records.request(start_s=sent_s, end="Overloaded", request_latency_ms=10.0)
                continue
            began_s = max(sent_s, heapq.heappop(free))
            heapq.heappush(free, began_s + SERVICE_S)
            heapq.heappush(clients, began_s + SERVICE_S)
            yield self.request(sent_s, began_s)

    @staticmethod
    def request(due_s, began_s):
        first_ms = (began_s - due_s) * 1e3 + 20.0
        return records.request(start_s=due_s, time_to_first_token_ms=first_ms, request_latency_ms=first_ms - 20 + SERVICE_S * 1e3)

    def record(self):
        return records.run(*self.levels, search=self.search)


def found(mode, least, most, objective, *, planned=PLANNED, precision=10.0, **server):
    """Run the search; its summary and its run."""
    search = CapacitySearch(mode=mode, least=least, most=most, objective=objective, precision_percent=precision)
    first = prepared(planned, search)
    running = SimulatedRun(first, **server)
    running.search = search
    kept = []
    run = find_capacity(SimpleNamespace(scenario=first, search=search), running, None, lambda *_: None, kept.append)
    assert [len(one.levels) for one in kept] == list(range(1, len(run.levels) + 1))
    return summarise_capacity(run), run


def test_the_concurrency_at_which_requests_begin_to_wait_is_found():
    """With as many clients as places nobody waits; with one more, each waits for a place."""
    capacity, run = found("concurrency", 1.0, 64.0, Objective(time_to_first_token_ms=25.0))
    assert (capacity.capacity, capacity.failed_at, capacity.is_finished, capacity.num_confirmations) == (PLACES, PLACES + 1, True, 2)
    assert capacity.conclusion == "Capacity: concurrency 4 (2 levels held); it fails at concurrency 5."
    assert capacity.trials[-1].percentiles_ms == {"time_to_first_token_ms": 20.0}
    assert all(len(level.requests) >= max(59, 3 * level.value) for level in run.levels)


def test_the_concurrency_at_which_requests_are_rejected_is_found():
    capacity, _ = found("concurrency", 1.0, 64.0, Objective(), max_waiting=3)
    assert (capacity.capacity, capacity.failed_at) == (PLACES + 3, PLACES + 4)
    assert capacity.limits[0].kind == "queue" and capacity.limits[-1].kind == "unknown"


@pytest.mark.parametrize("precision", [2.0, 10.0])
def test_the_rate_at_which_a_backlog_grows_is_found(precision):
    """Latencies need not exceed a limit: that they still grow is enough."""
    capacity, run = found("request_rate", 1.0, 100.0, Objective(), precision=precision)
    assert capacity.capacity <= PLACES / SERVICE_S < capacity.failed_at <= capacity.capacity * (1 + precision / 100)
    assert any("still grows" in reason for trial in capacity.trials for reason in trial.reasons)
    assert all(len(level.requests) >= 10 * level.value * SERVICE_S for level in run.levels[1:])


def test_no_load_and_every_load_are_told():
    nothing, _ = found("concurrency", 8.0, 16.0, Objective(time_to_first_token_ms=25.0))
    assert (nothing.capacity, nothing.failed_at, len(nothing.trials)) == (None, 8.0, 1)
    assert nothing.conclusion == "The objective does not hold at the least load of the search, concurrency 8."
    everything, _ = found("concurrency", 1.0, 3.0, Objective(time_to_first_token_ms=25.0))
    assert (everything.capacity, everything.failed_at, everything.limits) == (3.0, None, ())
    assert everything.conclusion.startswith("The objective holds at the largest load of the search, concurrency 3;")


def test_an_unfinished_search_says_how_far_it_is():
    _, run = found("concurrency", 1.0, 64.0, Objective(time_to_first_token_ms=25.0))
    partial = summarise_capacity(records.run(*run.levels[:2], search=run.search))
    assert not partial.is_finished
    assert partial.conclusion == "The search has not ended. So far the objective holds at concurrency 2."


def test_the_levels_of_a_load_are_joined_for_figures():
    _, run = found("concurrency", 1.0, 64.0, Objective(time_to_first_token_ms=25.0))
    joined = one_level_per_load(run)
    assert [level.value for level in joined.levels] == sorted({level.value for level in run.levels})
    assert sum(len(level.requests) for level in joined.levels) == sum(len(level.requests) for level in run.levels)


def test_a_level_that_is_cut_short_cannot_be_judged():
    """59 requests at 1/s fit into 60 s; those of another level must fit as well."""
    with pytest.raises(Malformed, match=r"max_seconds: got 58, allowed: at least 59 for 59 requests at 1/s"):
        found("request_rate", 1.0, 8.0, Objective(request_latency_ms=9e3), planned=scenario(load={"max_seconds": 58}))
    with pytest.raises(Unjudgeable, match="request rate 1: 30 requests have a request latency, p95 needs 59"):
        SimulatedCut.search()


class SimulatedCut(SimulatedRun):
    """A run of which each level ends after half of its requests."""

    @classmethod
    def search(cls):
        search = CapacitySearch(mode="request_rate", least=1.0, most=8.0, objective=Objective(request_latency_ms=9e3))
        first = prepared(scenario(load={"max_seconds": 60}), search)
        return find_capacity(SimpleNamespace(scenario=first, search=search), cls(first), None, lambda *_: None, lambda _: None)

    def open_loop(self, stage):
        return list(super().open_loop(stage))[: -(-stage.load.num_requests // 2)]


def with_works(*streams):
    """A scenario with a kind of work for each: streamed or not, shares 1, 2, 3, …"""
    first = scenario().to_dict()
    works = [{**first["work"][0], "name": str(number), "stream": stream, "share": number} for number, stream in enumerate(streams, 1)]
    return decode(Scenario, {**first, "work": works})


def test_only_streamed_requests_count_for_a_first_token():
    """A third of them: three times as many requests."""
    mixed = with_works(True, False)
    assert num_needed(mixed, Objective(time_to_first_token_ms=9.0)) in range(3 * 58, 3 * 59 + 1)
    assert num_needed(mixed, Objective(request_latency_ms=9.0)) == 59


@pytest.mark.parametrize(
    ("values", "objective", "message"),
    [
        ({"allowed_errors": ["Overloaded"]}, {}, "allowed_errors: got Overloaded, allowed in a capacity search: none"),
        ({"work": {"cancel_after_tokens": 4}}, {}, "work 'thought': cancel_after_tokens: not allowed in a capacity search"),
        (
            {"work": {"stream": False}},
            {"time_to_first_answer_token_ms": 9.0},
            "time_to_first_answer_token_ms: no request of the scenario is streamed, so none has a time to first answer token",
        ),
    ],
)
def test_a_scenario_that_cannot_be_judged_is_refused(values, objective, message):
    search = CapacitySearch(mode="concurrency", least=1.0, most=8.0, objective=Objective(**objective))
    with pytest.raises(Malformed, match=message):
        prepared(scenario(**values), search)


def test_a_level_may_have_more_requests_than_needed_and_not_fewer():
    search = CapacitySearch(mode="concurrency", least=2.0, most=8.0, objective=Objective())
    assert prepared(PLANNED, search, num_requests=80).load[0].num_requests == 80
    with pytest.raises(Malformed, match="num_requests: got 58, allowed: at least 59, to judge p95"):
        prepared(PLANNED, search, num_requests=58)
    assert prepared(PLANNED, CapacitySearch(mode="concurrency", least=40.0, most=80.0, objective=Objective())).load[0].num_requests == 120


def test_only_the_first_load_of_a_scenario_is_replaced_and_keeps_its_distribution():
    rates = scenario(load=at_rate(1.0, 2.0, distribution="poisson", num_warmup=3, max_seconds=600))
    search = CapacitySearch(mode="request_rate", least=2.0, most=8.0, objective=Objective())
    (load,) = prepared(rates, search, max_seconds=120.0).load
    assert (load.request_rate, load.distribution, load.num_warmup, load.max_seconds) == ((2.0,), "poisson", 3, 120.0)
