# SPDX-License-Identifier: Apache-2.0
"""Runs of ``s1 eval`` and ``s1 sweep`` that are killed, continued or started anew."""

import json
import signal
from collections import Counter

import pytest

from client.cli.running import by_id, call, start, write_lines
from s1_client.testing import FakeServer
from server.waiting import wait_until

NUM_QUESTIONS = 20
NUM_REPLIES = 2 * NUM_QUESTIONS  # at two budgets


@pytest.fixture
def server():
    with FakeServer() as server:
        server.says(thinking=" it is so", answer=" 42", token_delay_s=0.005)
        yield server


@pytest.fixture(params=["eval", "sweep"])
def command(request, server, tmp_path):
    """The command line of a run of 40 requests, with its results in the folder "out"."""
    path = tmp_path / "questions.jsonl"
    write_lines(path, *({"id": str(number), "prompt": f"question {number}.", "expected": 42} for number in range(NUM_QUESTIONS)))
    questions = {"eval": [path], "sweep": ["--file", path]}[request.param]
    limits = ("--max-thinking-tokens", "2,100", "--out", tmp_path / "out", "--url", server.url, "--concurrency", 4)
    return [request.param, *questions, *limits]


def requests_of(server):
    """Return the number of requests of each question at each budget."""
    return Counter((request.prompt, request.options["max_thinking_tokens"]) for request in server.requests)


def test_a_killed_run_is_continued_without_repeating_a_reply(command, server, tmp_path):
    samples = tmp_path / "out/samples.jsonl"
    with start(*command) as process:
        wait_until(lambda: samples.exists() and samples.read_bytes().count(b"\n") >= 8, seconds=60)
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    replied = [json.loads(line)["meta"] for line in samples.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    budgets = {"budget 2": 2, "budget 100": 100}
    call(*command)
    assert len(by_id(samples)) == NUM_REPLIES
    counts = requests_of(server)
    assert {counts[f"question {meta['question']}.", budgets[meta["setting"]]] for meta in replied} == {1}
    rows = json.loads((tmp_path / "out/summary.json").read_text())["rows"]
    assert [(row["num_samples"], row["num_failed"]) for row in rows] == [(NUM_QUESTIONS, 0)] * 2


def test_overwrite_starts_anew(command, server, tmp_path):
    call(*command)
    call(*command, "--overwrite")
    assert set(requests_of(server).values()) == {2}
    assert len(by_id(tmp_path / "out/samples.jsonl")) == NUM_REPLIES
