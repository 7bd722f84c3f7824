# SPDX-License-Identifier: Apache-2.0
"""The client's own driver against the fake server. (Against Triton: tests/server/test_loadtest.py.)"""

from collections import Counter

import pytest

from client.loadtest.scenarios import THOUGHT, at_rate, data, scenario
from s1_client import Cancelled, ConnectionFailed, Done, EngineFailed, Overloaded
from s1_client._settings import Settings
from s1_client.loadtest._client_driver import run_stage
from s1_client.loadtest._observation import request_of
from s1_client.loadtest._scenario import Scenario
from s1_client.loadtest._typed import decode
from s1_client.testing import FakeServer


@pytest.fixture(scope="module")
def fake():
    with FakeServer() as server:
        yield server


@pytest.fixture
def server(fake):
    fake.requests.clear()
    fake.says(thinking="one two three", answer=" four", token_delay_s=0.005)
    return fake


def drive(server, ended=lambda _: None, **values):
    driven = scenario(**values)
    return run_stage([Settings(address=server.url)], driven, driven.stages[0], ended)


def test_a_closed_loop_sends_all_requests_with_its_number_of_clients(server):
    told = []
    seen = drive(server, told.append, load={"num_requests": 6, "concurrency": [2]})
    assert [one.job.number for one in seen] == list(range(6)) and len(told) == 6
    assert all(request_of(one, 32).checks == () and request_of(one, 32).is_done for one in seen)
    assert all(later.sent_s >= min(seen[0].ended_s, seen[1].ended_s) for later in seen[2:])
    assert seen[1].sent_s < seen[0].ended_s


def test_an_open_loop_does_not_wait_and_counts_from_the_schedule(server):
    server.will_say(start_delay_s=2.0)  # whichever request the server reads first
    seen = drive(server, load=at_rate(100, num_requests=5))
    assert [round(one.due_s, 9) for one in seen] == [0, 0.01, 0.02, 0.03, 0.04]
    slowest = max(seen, key=lambda one: one.ended_s)
    assert all(one.sent_s < slowest.ended_s for one in seen)
    for one in seen:
        assert request_of(one, 32).request_latency_ms == pytest.approx((one.ended_s - one.due_s) * 1e3)


def test_an_error_is_an_observation_and_nothing_is_retried(server):
    server.will_say(error=Overloaded("full", retry_after_s=0.01))
    server.will_say(error=EngineFailed("broke"), error_after=3)
    first, second, *others = drive(server, load={"concurrency": [1]})
    assert isinstance(first.error, Overloaded) and isinstance(second.error, EngineFailed)
    assert len(second.messages) == 3
    assert [one.error for one in others] == [None, None] and len(server.requests) == 4


def test_no_request_starts_when_the_time_is_over(server):
    server.says(start_delay_s=0.6)
    assert len(drive(server, load={"concurrency": [1], "max_seconds": 0.5})) == 1


def test_a_request_has_the_scenarios_deadline(server):
    server.says(start_delay_s=1)
    (one,) = drive(server, load={"concurrency": [1], "num_requests": 1}, deadline_s=0.2)
    assert type(one.error).__name__ == "DeadlineExceeded"


def test_requests_are_cancelled_or_hurried_after_the_given_tokens(server):
    server.says(thinking="one two three " * 50, token_delay_s=0.005)
    options = {"max_thinking_tokens": 200, "num_ignore": 0, "max_tokens": 4}
    left = drive(server, work={"cancel_after_tokens": 3, "options": options})
    assert {type(one.error) for one in left} == {Cancelled} and all(one.command_accepted_s for one in left)
    hurried = drive(server, work={"answer_now_after_tokens": 3, "options": options})
    assert {one.result.thinking_end for one in hurried} == {"answer_now"}
    assert all(request_of(one, 32).checks == () for one in hurried)


def test_warm_up_is_not_measured_and_has_other_prompts(server):
    seen = drive(server, load={"num_warmup": 3})
    assert len(seen) == 4 and len(server.requests) == 7
    assert len({asked.prompt for asked in server.requests}) == 7


def test_a_warm_up_that_fails_leaves_nothing_to_measure(server):
    server.will_say(error=EngineFailed("broke"))
    with pytest.raises(EngineFailed, match="broke"):
        drive(server, load={"num_warmup": 1})
    assert len(server.requests) == 1


def test_a_server_that_goes_away_fails_each_request():
    with FakeServer() as gone:
        pass
    seen = drive(gone)
    assert {type(one.error) for one in seen} == {ConnectionFailed} and len(seen) == 4


def test_a_request_without_streaming(server):
    """One message for each reply."""
    seen = drive(server, work={"stream": False})
    assert all(isinstance(one.messages[-1][1], Done) for one in seen)
    assert {request_of(one, 32).checks for one in seen} == {()}


def test_requests_are_the_tenants(server):
    driven = scenario()
    run_stage([Settings(address=server.url, tenant="ann")], driven, driven.stages[0], lambda _: None)
    assert {received.headers["s1-tenant"] for received in server.requests} == {"ann"}


def test_each_replica_gets_as_many_of_each_kind_of_work(server):
    """Two kinds come in turn, as two replicas do."""
    kinds = [{**THOUGHT, "name": name} for name in ("long", "short")]
    driven = decode(Scenario, {**data(load={"num_requests": 8}), "work": kinds})
    with FakeServer() as other:
        seen = run_stage([Settings(address=url) for url in (server.url, other.url)], driven, driven.stages[0], lambda _: None)
        assert Counter((one.job.work.name, one.replica) for one in seen) == {
            (name, url): 2 for name in ("long", "short") for url in (server.url, other.url)
        }
        assert len(server.requests) == len(other.requests) == 4
