# SPDX-License-Identifier: Apache-2.0
"""Engines that go away in the middle, and come back or do not: in this server, and in another one that is killed."""

import contextlib
import itertools
import json
import os
import re
import signal
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from budgetforce import health as health_check
from budgetforce.health import why_not_ready
from budgetforce.launcher.ports import choose_ports
from budgetforce.launcher.triton_server import TritonServer
from budgetforce.processes import arguments, members
from s1_client import Client, DeadlineExceeded, ServerNotReady, ThinkingDelta
from server import waiting
from server.conftest import Scripts, copy_of_s1, environment_of, make_scripted_llm

wait_until = partial(waiting.wait_until, seconds=30)

END, EOS = 2, 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scripts; one for the canary among them."""
    folder = tmp_path_factory.mktemp("outages")
    (folder / "default.json").write_text(json.dumps({"calls": [[81]]}))
    return folder


@pytest.fixture(scope="module")
def scripts(folder, tokenizer):
    return Scripts(folder, tokenizer, itertools.count())


@pytest.fixture(scope="module")
def server_of(root, tmp_path_factory):
    """A server for a repository."""

    def make(repository, models, ports):
        return TritonServer(
            repositories=[repository],
            models=models,
            ports=ports,
            log=tmp_path_factory.mktemp("log") / "triton.log",
            environment=environment_of(root, ports.grpc),
            deadline_s=120,
        )

    return make


@pytest.fixture(scope="module")
def far(root, folder, server_of, tmp_path_factory):
    """Another server that has the engine; not started."""
    repository = tmp_path_factory.mktemp("far")
    make_scripted_llm(root, repository, folder)
    return server_of(repository, ["scripted_llm"], choose_ports(http=0, grpc=0, metrics=0))


@pytest.fixture(scope="module")
def near(root, folder, far, server_of, tmp_path_factory):
    """``s1`` over an engine of its own server, and over that of the other."""
    repository = tmp_path_factory.mktemp("near")
    make_scripted_llm(root, repository, folder)
    patience = {"canary_period_s": "1", "max_outage_s": "20"}
    copy_of_s1(root, repository, "s1_near", "scripted_llm", **patience)
    copy_of_s1(root, repository, "s1_hasty", "scripted_llm", canary_period_s="1", max_outage_s="0")
    copy_of_s1(root, repository, "s1_far", "scripted_llm", engine_url=far.grpc_url, **patience)
    with server_of(repository, ["scripted_llm", "s1_near", "s1_hasty", "s1_far"], choose_ports(http=0, grpc=0, metrics=0)) as server:
        yield server


def control(server, action):
    request = urllib.request.Request(
        f"{server.http_url}/v2/repository/models/scripted_llm/{action}", data=b"{}", method="POST", headers=server.security.admin_headers()
    )
    urllib.request.urlopen(request, timeout=30).read()


def load_again(server):
    """To load a model that is loaded is to do nothing."""
    control(server, "unload")
    control(server, "load")


def engine_ready(server, model):
    """The gauge; None as long as there is none."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.ports.metrics}/metrics", timeout=5) as response:
        found = re.search(rf'^s1_engine_ready{{model_instance="{model}_0_0"}} (\d)', response.read().decode(), re.M)
    return None if found is None else int(found.group(1))


@pytest.fixture
def words(tokenizer):
    return list(tokenizer.encode(" one two three four five six"))


def health(server):
    """What a container's health check says."""
    return why_not_ready(f"127.0.0.1:{server.ports.http}", f"127.0.0.1:{server.ports.metrics}")


def check_that_nothing_is_lost(reply):
    """Neither an id nor a call more than it takes."""
    assert (reply.thinking, reply.answer) == ("I need to figure out one two three four five six", "Final Answer: four five six")
    assert reply.result.rounds[0].num_outages >= 1
    assert reply.result.rounds[0].num_sampled_tokens == 7


def test_an_engine_whose_process_dies_and_is_loaded_again(near, scripts, words):
    """The canary finds it dead, which Triton 24.10 does not tell the running call."""
    script = scripts.write([*words, END], [*words[3:], END], die_after=3, only_once=True)
    with Client(near.grpc_url, model="s1_near", deadline_s=60, max_retries=0) as client, ThreadPoolExecutor(1) as pool:
        wait_until(lambda: engine_ready(near, "s1_near") == 1)
        asked = pool.submit(client.think, script.question, num_ignore=0)
        wait_until(lambda: script.notes("died"))
        wait_until(lambda: engine_ready(near, "s1_near") == 0)
        assert "the engine does not answer" in health(near)
        load_again(near)
        check_that_nothing_is_lost(asked.result())
    wait_until(lambda: engine_ready(near, "s1_near") == 1)


def test_an_engine_that_is_unloaded_between_rounds_and_loaded_again(near, scripts, words):
    script = scripts.write([*words[:3], END], [*words[3:], END], delay_ms=30)
    wait_until(lambda: engine_ready(near, "s1_near") == 1)
    with Client(near.grpc_url, model="s1_near", deadline_s=60, max_retries=0) as client:
        events = client.stream(script.question, num_ignore=1)
        while not isinstance(next(events), ThinkingDelta):
            pass
        control(near, "unload")  # lets the running call end
        wait_until(lambda: script.notes("ended"))
        control(near, "load")
        *_, done = events
    assert (done.result.thinking_end, done.result.usage.num_ignored) == ("natural", 1)
    assert sum(r.num_outages for r in done.result.rounds) >= 1


def test_an_engine_that_stays_away_is_a_retryable_end(near, scripts, words):
    script = scripts.write([*words, END], die_after=3, only_once=True)
    wait_until(lambda: engine_ready(near, "s1_hasty") == 1)
    with Client(near.grpc_url, model="s1_hasty", deadline_s=60, max_retries=0) as client:
        with pytest.raises(ServerNotReady, match="answers no other call") as failed:
            client.think(script.question, num_ignore=0)
        assert (failed.value.retryable, failed.value.so_far[0]["usage"]["num_thinking_sampled"]) == (True, 3)
        with pytest.raises(ServerNotReady, match="not healthy|went silent"):  # nothing begun, nothing to wait for
            client.think(script.question, num_ignore=0)
        load_again(near)
        wait_until(lambda: engine_ready(near, "s1_hasty") == 1)
        assert client.think(script.question, num_ignore=0).answer


@contextlib.contextmanager
def traffic(server, model, question):
    """Ask again and again; the errors: ends that may be tried again, and of what was running when a process died perhaps a deadline."""
    errors, is_over = [], threading.Event()

    def ask():
        with Client(server.grpc_url, model=model, deadline_s=3, max_retries=0) as client:
            while not is_over.wait(0.05):
                try:
                    client.think(question, num_ignore=0, max_tokens=3)
                except (ServerNotReady, DeadlineExceeded) as error:
                    errors.append(error)

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield errors
        finally:
            is_over.set()
        asking.result()


def kill_process_of(server, model):
    """SIGKILL to the process in which Triton runs a model."""
    (pid,) = [pid for pid in members(server.process.pid) if f"{model}_0_0" in arguments(pid)]
    os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def told_to_its_owner(server, model):
    """Whoever waits for the end of the server is told that the model's process has died."""
    server._remember_stubs()  # it may have been loaded again a moment ago
    told = []
    waiting = threading.Thread(target=lambda: told.append(server.wait()), daemon=True)
    waiting.start()
    yield
    waiting.join(30)
    assert f"the process of model '{model}' (instance {model}_0_0" in told[0]


@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "under traffic"])
def test_an_engine_whose_process_is_killed_is_not_ready_and_its_server_is_to_end(near, scripts, words, is_busy):
    """The errors that Triton answers in its place are no sign of life."""
    question = scripts.write([*words, END], [81, EOS]).question
    wait_until(lambda: engine_ready(near, "s1_hasty") == 1)
    with traffic(near, "s1_hasty", question) if is_busy else contextlib.nullcontext([]) as errors:
        with told_to_its_owner(near, "scripted_llm"):
            kill_process_of(near, "scripted_llm")
            wait_until(lambda: engine_ready(near, "s1_hasty") == 0)
        wait_until(lambda: len(errors) > 3 or not is_busy)
        assert engine_ready(near, "s1_hasty") == 0
    load_again(near)
    wait_until(lambda: engine_ready(near, "s1_hasty") == 1)


def ask_over_http(server, question):
    body = json.dumps({"text_input": question, "num_ignore": 0}).encode()
    with urllib.request.urlopen(f"{server.http_url}/v2/models/s1_far/generate", data=body, timeout=60) as response:
        return json.load(response)


def test_another_server_that_is_killed_and_started_again(near, far, scripts, words):
    """SIGKILL in mid-stream; the connection breaks, the reply waits, goes on and is whole.

    Asked over HTTP: to start a server forks this process, which gRPC does not bear while it waits in another thread.
    """
    script = scripts.write([*words, END], [*words[3:], END], stall_after=3, only_once=True)
    with far, ThreadPoolExecutor(1) as pool:
        wait_until(lambda: engine_ready(near, "s1_far") == 1)
        asked = pool.submit(ask_over_http, near, script.question)
        wait_until(lambda: script.notes("stalled"))
        far.process.kill()
        far.process.wait()
        far.stop()
        far.__enter__()
        reply = asked.result()
    assert reply["thinking_output"] == "I need to figure out one two three four five six"
    (first, *_) = json.loads(reply["result"])["rounds"]
    assert (first["num_outages"] >= 1, first["num_sampled_tokens"]) == (True, 7)


def test_a_request_to_a_server_that_is_not_there_is_told_at_once(near, far, scripts, words):
    with Client(near.grpc_url, model="s1_far", max_retries=0) as client, pytest.raises(ServerNotReady, match=far.grpc_url) as failed:
        client.think(scripts.write([END]).question)
    assert failed.value.retryable


@pytest.mark.parametrize(("model", "is_busy"), [("s1_hasty", False), ("s1_near", True)], ids=["idle", "under traffic"])
def test_s1_whose_own_process_is_killed_is_not_ready_and_its_server_is_to_end(near, scripts, words, monkeypatch, model, is_busy):
    """Triton 24.10 starts no other, and shows its last gauges for ever. Last in this file: it is gone for good."""
    monkeypatch.setattr(health_check, "MAX_SILENCE_S", 5)
    question = scripts.write([*words, END], [81, EOS]).question
    with traffic(near, model, question) if is_busy else contextlib.nullcontext([]) as errors, told_to_its_owner(near, model):
        kill_process_of(near, model)
        wait_until(lambda: "is dead or hangs" in (health(near) or "") and f"{model}_0_0" in health(near))
        wait_until(lambda: len(errors) > 3 or not is_busy)
