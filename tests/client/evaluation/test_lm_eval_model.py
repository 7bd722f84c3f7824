# SPDX-License-Identifier: Apache-2.0
"""lm-evaluation-harness runs its tasks through the client library."""

import json
import subprocess
import sys
from functools import cache
from importlib import resources
from importlib.metadata import entry_points

import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.model import CachingLM
from lm_eval.tasks._index import TaskIndex

from client.cli.running import call
from s1_client import EngineFailed
from s1_client.evaluation import load_task
from s1_client.evaluation._lm_eval_options import BadArgument
from s1_client.evaluation.lm_eval_model import S1Triton
from s1_client.testing import FakeServer

RECIPES = resources.files("s1_client.evaluation").joinpath("recipes")
read_tasks = TaskIndex.build
read_tasks_once = cache(lambda folder: read_tasks([folder]))


@pytest.fixture(autouse=True)
def the_harness_reads_its_own_tasks_once(monkeypatch):
    """It parses 14,000 files, for six seconds, whenever its command runs. Our tasks are read each time."""

    def read(paths):
        harness, *ours = paths
        return {**read_tasks_once(harness), **read_tasks(ours)}

    monkeypatch.setattr(TaskIndex, "build", staticmethod(read))


@pytest.fixture
def server():
    with FakeServer() as server:
        server.says(thinking=" one two three four five six", answer=" 42")
        yield server


def instance(text="6 times 7?", **gen_kwargs):
    return Instance("generate_until", {}, (text, {"until": [], **gen_kwargs}), 0, ("a task", 0, 1))


def samples(folder):
    [path] = folder.rglob("samples_*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_bundled_task_runs_as_a_command(server, tmp_path):
    """Upstream's command line, results and sample log work; `s1 stats` counts the log exactly."""
    right = next(question for question in load_task("arithmetic").questions)
    server.says(to=right.prompt, thinking=" a thought of five words", answer=f" {right.expected}")
    model_args = f"url={server.url},max_thinking_tokens=4,num_ignore=2,results={tmp_path / 'new' / 'kept.jsonl'}"
    command = ("lm-eval", "--model", "s1-triton", "--model_args", model_args, "--tasks", "s1_arithmetic", "--log_samples")
    result = call(*command, "--output_path", tmp_path / "out", "--limit", 5)
    assert "exact_match" in result.stdout and "num_thinking_tokens" in result.stdout
    assert {
        (request.options["max_thinking_tokens"], request.options["num_ignore"], request.options["temperature"])
        for request in server.requests
    } == {(4, 2, 0)}
    log = sorted(samples(tmp_path / "out"), key=lambda line: line["doc_id"])
    assert [line["exact_match"] for line in log] == [1, 0, 0, 0, 0]
    assert "answer_cut" in result.stdout and {line["answer_cut"] for line in log} == {0}
    [reply] = log[0]["arguments"]["gen_args_0"]["arg_2"]["replies"]
    assert reply["thinking"] and reply["result"]["usage"]["num_thinking_tokens"] == 4 == log[0]["num_thinking_tokens"]
    assert reply["result"]["thinking_end"] == "budget" and reply["result"]["rounds"] and reply["result"]["effective"]
    [path] = (tmp_path / "out").rglob("samples_*.jsonl")
    counted = json.loads(call("stats", "--json", path).stdout)[str(path)]
    assert (counted["num_samples"], counted["mean_thinking_tokens"], counted["accuracy"]) == (5, 4, 0.2)
    server.requests.clear()
    assert "5 skipped" in call(*command, "--output_path", tmp_path / "again", "--limit", 5).stderr
    assert server.requests == []


def test_answers_that_were_cut_are_a_metric(server, tmp_path):
    server.says(thinking=" so", answer=" an answer of five words")
    model_args = f"url={server.url},max_tokens=2"
    command = ("lm-eval", "--model", "s1-triton", "--model_args", model_args, "--tasks", "s1_arithmetic", "--log_samples", "--limit", 1)
    call(*command, "--output_path", tmp_path)
    assert [line["answer_cut"] for line in samples(tmp_path)] == [1]


def test_the_plain_command_knows_the_model_by_a_task_file_of_ours(server):
    model_args = f"url={server.url},max_thinking_tokens=4"
    arguments = ("--model", "s1-triton", "--model_args", model_args, "--tasks", RECIPES / "s1_arithmetic.yaml", "--limit", 2)
    done = subprocess.run([sys.executable, "-m", "lm_eval", *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(server.requests) == 2


def test_the_model_is_declared_as_a_plug_in():
    """Later releases of the harness find the model by this group, name and class."""
    (declared,) = entry_points(group="lm_eval.models", name="s1-triton")
    assert declared.load() is S1Triton


def test_a_wrong_argument_is_a_sentence(server):
    command = ("lm-eval", "--model", "s1-triton", "--tasks", "s1_arithmetic", "--limit", 1, "--model_args")
    assert "unknown name 'budget'; known: url" in call(*command, f"url={server.url},budget=3", code=2).stderr
    assert "max_thinking_tokens" in call(*command, f"url={server.url},max_thinking_tokens=many", code=2).stderr
    assert server.requests == []


def test_a_chat_goes_as_messages(server):
    model = S1Triton(url=server.url)
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "6 times 7?"}]
    assert model.generate_until([instance(model.apply_chat_template(chat))]) == [" 42"]
    assert server.requests[0].prompt == chat
    assert model.chat_template(True) and model.tokenizer_name
    with pytest.raises(BadArgument, match="the server's preset has the template"):
        model.chat_template("default")
    with pytest.raises(BadArgument, match="answer_prefix"):
        model.apply_chat_template(chat, add_generation_prompt=False)


def test_repeats_have_seeds_and_traces_of_their_own(server):
    repeated = instance(do_sample=True, temperature=1.0)
    assert S1Triton(url=server.url, seed=5).generate_until([repeated] * 3) == [" 42"] * 3
    assert sorted(request.options["seed"] for request in server.requests) == [5, 6, 7]
    assert len(repeated.args[2]["replies"]) == 3


def test_failed_requests_end_the_run_and_are_sent_again(server, tmp_path):
    model = S1Triton(url=server.url, max_retries=0, results=str(tmp_path / "kept.jsonl"))
    server.will_say(error=EngineFailed("gone"))
    requests = [instance("a"), instance("b")]
    with pytest.raises(BadArgument, match="1 of 2 requests failed, the first with: gone; the same command sends only these again"):
        model.generate_until(requests)
    server.requests.clear()
    assert model.generate_until(requests) == [" 42"] * 2
    assert len(server.requests) == 1


def test_another_budget_is_another_request(server, tmp_path):
    """The harness's own cache ignores budgets, so it is refused."""
    for budget in (2, 3, 2):
        S1Triton(url=server.url, max_thinking_tokens=budget, results=str(tmp_path / "kept.jsonl")).generate_until([instance()])
    assert len(server.requests) == 2
    with pytest.raises(BadArgument, match="use_cache: not supported, it does not distinguish budgets"):
        CachingLM(S1Triton(url=server.url), str(tmp_path / "cache.db"))


@pytest.mark.parametrize("kind", ["loglikelihood", "loglikelihood_rolling"])
def test_likelihoods_are_refused(kind):
    with pytest.raises(BadArgument, match=f"task a task: {kind} is not supported, .*; allowed: tasks that generate their answer"):
        getattr(S1Triton(), kind)([instance()])


def test_a_client_that_cannot_be_is_a_sentence():
    with pytest.raises(BadArgument, match="allowed: host:port"):
        S1Triton(url="http://x/y").generate_until([instance()])
