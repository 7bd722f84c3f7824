# SPDX-License-Identifier: Apache-2.0
"""Which replica took each request: two servers, or a balancer that names the replica in a header of the response."""

import dataclasses

import grpc
import pytest

from client.cli.running import call
from client.loadtest.records import level, request, run
from client.loadtest.samples import random_level
from client.loadtest.scenarios import scenario
from s1_client import EngineFailed, Overloaded
from s1_client._settings import Settings
from s1_client.cli.load.page import render
from s1_client.cli.load.progress import level_line
from s1_client.cli.load.views import View
from s1_client.loadtest._client_driver import run_stage
from s1_client.loadtest._observation import request_of
from s1_client.loadtest._record import read
from s1_client.loadtest._replicas import UNKNOWN, balance, replica_names, summarise_replicas
from s1_client.loadtest._summary import Slo, summarise
from s1_client.testing import FakeServer


class Balancer(grpc.ServerInterceptor):
    """Names the replicas in turn, as a balancer in front of them would."""

    def __init__(self, *names):
        self.names, self.num_calls = names, 0

    def intercept_service(self, continuation, details):
        handler = continuation(details)
        if not details.method.endswith("ModelStreamInfer"):
            return handler
        name = self.names[self.num_calls % len(self.names)]
        self.num_calls += 1

        def named(requests, context):
            context.send_initial_metadata((("x-replica", name),))
            yield from handler.stream_stream(requests, context)

        return grpc.stream_stream_rpc_method_handler(named, handler.request_deserializer, handler.response_serializer)


@pytest.fixture(scope="module")
def balanced():
    with FakeServer(interceptors=[Balancer("r1", "r2")]) as server:
        yield server


@pytest.fixture(scope="module")
def two():
    with FakeServer() as first, FakeServer() as second:
        yield first, second


def drive(*urls, **load):
    driven = scenario(load={"num_requests": 6, "concurrency": [1], **load})
    return [request_of(one, 32) for one in run_stage([Settings(address=url) for url in urls], driven, driven.stages[0], lambda _: None)]


def test_a_balancer_names_the_replica_in_a_header(balanced):
    assert [one.replica for one in drive(balanced.url)] == ["r1", "r2"] * 3


def test_a_request_that_fails_has_its_replica_and_says_whether_it_may_be_retried(balanced):
    balanced.will_say(error=Overloaded("full"))
    balanced.will_say(error=EngineFailed("broke"), error_after=3)
    first, second, third, *_ = drive(balanced.url)
    assert (first.end, first.replica, first.is_retryable) == ("Overloaded", "r1", True)
    assert (second.end, second.replica, second.is_retryable) == ("EngineFailed", "r2", False)
    assert (third.end, third.is_retryable) == ("done", None)


def test_several_servers_get_the_requests_in_turn(two):
    urls = [server.url for server in two]
    assert [one.replica for one in drive(*urls)] == urls * 3
    assert [len(server.requests) for server in two] == [3, 3]


def test_a_server_that_is_gone_loses_its_share_and_others_go_on(two):
    with FakeServer() as gone:
        pass
    found = drive(two[0].url, gone.url)
    assert [(one.replica, one.end, one.is_retryable) for one in found[:2]] == [
        (two[0].url, "done", None),
        (gone.url, "ConnectionFailed", True),
    ]


def test_a_single_server_without_a_header_is_no_replica(two):
    assert {one.replica for one in drive(two[0].url, num_requests=1)} == {None}


def served(name, num, **changes):
    return [request(replica=name, **changes)] * num


LOST = level(
    *served("r1", 3),
    *served("r2", 1),
    *served("r2", 2, end="ConnectionFailed", is_retryable=True),
    *served("r2", 1, end="ServerFailed", is_retryable=False),
    *served(None, 1, end="ConnectionFailed", is_retryable=True),
)


def test_the_figures_of_each_replica_add_up():
    r1, r2, r3, unknown = summarise_replicas(LOST.requests, ["r1", "r2", "r3"])
    assert (r1.num_requests, r1.num_done, r1.num_lost_retryable, r1.num_lost) == (3, 3, 0, 0)
    assert (r2.num_requests, r2.num_done, r2.num_lost_retryable, r2.num_lost) == (4, 1, 2, 1)
    assert (r3.num_requests, unknown.replica, unknown.num_lost_retryable) == (0, UNKNOWN, 1)
    assert (r1.time_to_first_token_ms.num_values, r2.time_to_first_token_ms.num_values) == (3, 1)


@pytest.mark.parametrize(
    ("counts", "ratio"), [({"r1": 5, "r2": 5}, 1.0), ({"r1": 6, "r2": 3, "r3": 3}, 1.5), ({"r1": 4, "r2": 0}, 2.0), ({"r1": 0}, None)]
)
def test_balance_is_the_busiest_replica_by_the_mean(counts, ratio):
    """A replica that got nothing counts."""
    requests = [one for name, num in counts.items() for one in served(name, num)]
    assert balance(requests, list(counts)) == ratio


def test_a_run_knows_the_replicas_of_all_its_levels():
    record = run(LOST, level(*served("r9", 1)), replica_urls=("r1", "r4"))
    assert replica_names(record) == ["r1", "r2", "r4", "r9"]
    assert [one.replica for one in summarise(record, Slo()).levels[1].replicas] == ["r1", "r2", "r4", "r9"]
    assert summarise(run(level(request())), Slo()).levels[0].replicas == ()


def test_the_line_of_a_level_tells_of_its_replicas():
    assert level_line(LOST).endswith(
        "r1 took 3, r2 took 4 (3 lost, 2 may be retried), unknown took 1 (1 lost, 1 may be retried), max/mean 1.14"
    )


def test_the_command_takes_several_servers(two, tmp_path):
    work = '[[work]]\nname = "w"\nprompts = "short"\noptions = {}\n'
    load = "[[load]]\nconcurrency = [2]\nnum_requests = 4\nmax_seconds = 9\n"
    (tmp_path / "s.toml").write_text(f'about = "x"\n{work}{load}')
    urls = [server.url for server in two]
    arguments = ("loadtest", tmp_path / "s.toml", "--url", urls[0], "--replica", urls[1], "--out", tmp_path / "out")
    result = call(*arguments)
    assert ", ".join(f"{url} took 2" for url in sorted(urls)) + ", max/mean 1.00" in result.stdout
    record = read(tmp_path / "out/run.json")
    assert record.replica_urls == tuple(urls) and sorted(one.replica for one in record.levels[0].requests) == sorted(urls * 2)


def test_the_report_has_a_table_of_the_replicas():
    served = random_level(1, 40)
    named = [dataclasses.replace(one, replica=("r1", "r1", "r2")[number % 3]) for number, one in enumerate(served.requests)]
    record = run(dataclasses.replace(served, requests=tuple(named)))
    summary = summarise(record, Slo())
    (found,) = summary.levels
    assert [(one.replica, one.num_requests) for one in found.replicas] == [("r1", 27), ("r2", 13)]
    page = render("a title", [View("a run", record, summary, [])], [], Slo())
    assert "By replica; the busiest has 1.35 times the mean" in page and '<th scope="row" class="name">r2</th><td>13</td>' in page


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--replica", "nowhere"), 2, "--replica: "),
        (("--replica", "{url}"), 2, "twice, or as --url; allowed: different servers"),
        (("--replica", "grpcs://127.0.0.1:9"), 2, "got 'grpcs://127.0.0.1:9', allowed: without TLS, as --url"),
        (("--replica", "127.0.0.1:1"), 3, "127.0.0.1:1"),
        (("--replica", "127.0.0.1:1", "--driver", "perf_analyzer"), 2, "--replica requires --driver client"),
    ],
)
def test_a_replica_that_cannot_be_used_is_refused(two, tmp_path, arguments, code, message):
    given = [one.format(url=two[0].url) for one in arguments]
    result = call("loadtest", "smoke", "--url", two[0].url, "--out", tmp_path / "out", *given, code=code)
    assert message in result.stderr and not (tmp_path / "out/run.json").exists()
