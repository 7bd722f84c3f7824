# SPDX-License-Identifier: Apache-2.0
"""``s1 eval`` with a reward model: tree searches, and the best of repeats."""

import json

import pytest

from client.cli.running import call, write_lines
from s1_client import EngineFailed, S1Error, ServerFailed
from s1_client.cli.app import EXIT_CODES
from s1_client.testing import FakeServer

SEARCH = ("--rebase", "2", "--rebase-tokens", 40, "--rebase-step-tokens", 8)


class Reward:
    """In place of a served model: likes answers that are long. Tells what it was asked for."""

    asked = ()
    error = None

    def __init__(self, address, model, *, tls, headers):
        self.asked.append((address, model))
        type(self).headers = headers

    def check(self):
        assert self.asked

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __call__(self, question, answers):
        if self.error:
            raise self.error
        self.asked.append((question, len(answers)))
        return [float(sum(map(len, steps))) for steps in answers]


@pytest.fixture
def server():
    with FakeServer() as server:
        server.says(thinking=" one two", answer=" six and one is 7")
        yield server


@pytest.fixture
def reward(monkeypatch):
    monkeypatch.setattr(Reward, "asked", [])
    monkeypatch.setattr("s1_client.cli.evaluate.searches.ServedScorer", Reward)
    return Reward


@pytest.fixture
def evaluate(server, reward, tmp_path, monkeypatch):
    """Run it without drawing; what it told, and the summary's rows."""
    monkeypatch.setattr("s1_client.cli.evaluate.figures.FIGURES", {})
    task, folder = tmp_path / "task.jsonl", tmp_path / "out"
    write_lines(task, {"id": "easy", "prompt": "easy", "expected": 7}, {"id": "hard", "prompt": "hard", "expected": 9})

    def run(*arguments, **rest):
        told = call("eval", task, "--reward-model", "prm", *arguments, "--out", folder, "--url", server.url, "--max-retries", 0, **rest)
        return told, {row["setting"]: row for row in json.loads((folder / "summary.json").read_text())["rows"]}

    run.folder, run.task = folder, task
    return run


def test_a_search_is_a_setting_and_its_answer_is_graded(evaluate, server, reward):
    told, rows = evaluate("--max-thinking-tokens", 8, *SEARCH, "--temperature", 0.5, "--max-tokens", 99)
    row = rows["rebase 2"]
    assert (row["num_samples"], row["accuracy"]["value"], row["mean_thinking_tokens"]) == (2, 0.5, 0)
    assert 0 < row["mean_answer_tokens"] <= row["mean_spent_tokens"] <= 40
    assert reward.asked[0] == (server.url, "prm")
    of_trees = [one.options for one in server.requests if one.options.get("thinking") == "off"]
    assert {options["temperature"] for options in of_trees} == {0.5} and max(options["max_tokens"] for options in of_trees) == 8
    assert "Scaling a doubling leaves out" not in told.stdout


def test_trees_are_kept_and_more_can_be_added(evaluate, server):
    evaluate(*SEARCH, "--seed", 5)
    server.requests.clear()
    _, rows = evaluate(*SEARCH, "--seed", 5)
    assert server.requests == []
    _, rows = evaluate(*SEARCH, "--seed", 5, "--repeat", 2)
    assert rows["rebase 2"]["num_samples"] == 4
    assert min(one.options["seed"] for one in server.requests) > 100_000  # a repeat has seeds of its own


def test_a_search_that_fails_is_counted_and_made_again(evaluate, server):
    server.will_say(error=EngineFailed("gone"))
    _, rows = evaluate(*SEARCH, code=1)
    assert (rows["rebase 2"]["num_samples"], rows["rebase 2"]["num_failed"]) == (1, 1)
    _, rows = evaluate(*SEARCH)
    assert (rows["rebase 2"]["num_samples"], rows["rebase 2"]["num_failed"]) == (2, 0)


def test_the_best_of_repeats_is_that_with_the_highest_score(evaluate, server, reward):
    """The longer answer to one question is right; it is not the first, and votes are one to one. Asked for once."""
    for answer in (" 8", " it is 7", " 8", " it is 7"):
        server.will_say(thinking=" one", answer=answer)
    arguments = ("--max-thinking-tokens", 8, "--repeat", 2, "--temperature", 1, "--seed", 1, "--concurrency", 1)
    told, rows = evaluate(*arguments)
    chosen = {name: rows["budget 8"][name]["2"]["value"] for name in ("majority", "best_of")}
    assert chosen == {"majority": 0, "best_of": 0.5} and "4 answers scored by prm" in told.stderr and "best" in told.stdout
    reward.asked.clear()
    told, again = evaluate(*arguments)
    assert again == rows and [one for one in reward.asked if one[0] in ("easy", "hard")] == []
    shown = call("eval", "--show", evaluate.folder)
    assert "best" in shown.stdout


def test_a_reward_model_that_tells_nothing_apart_is_told(evaluate, monkeypatch):
    told, _ = evaluate("--max-thinking-tokens", 8, "--repeat", 2, "--temperature", 1)
    assert "budget 8: the reward model gave all answers to a question the same score; best-of picks the first" in told.stdout


def test_a_reward_model_that_fails_does_not_lose_the_samples(evaluate, reward, monkeypatch):
    monkeypatch.setattr(reward, "error", ServerFailed("reward model prm: no reward today"))
    sampled = ("--max-thinking-tokens", 8, "--repeat", 2, "--temperature", 1)
    with pytest.raises(FileNotFoundError):  # there is no summary yet
        evaluate(*sampled, code=EXIT_CODES[S1Error])
    assert len((evaluate.folder / "samples.jsonl").read_text().splitlines()) == 4


def test_a_folder_of_trees_alone_is_one_of_its_task(evaluate, tmp_path):
    evaluate(*SEARCH)
    write_lines(tmp_path / "task.jsonl", {"prompt": "another", "expected": 1})
    with pytest.raises(AssertionError, match="holds another evaluation"):
        evaluate(*SEARCH)


def test_another_reward_model_does_not_inherit_trees(evaluate, server):
    evaluate(*SEARCH)
    server.requests.clear()
    with pytest.raises(AssertionError, match="with the reply to another request"):
        evaluate(*SEARCH, "--reward-model", "another")
    assert server.requests == []


def test_a_reward_model_that_is_not_there_is_told_before_anything_is_asked(server, tmp_path):
    said = call("eval", "arithmetic", *SEARCH, "--reward-model", "prm", "--out", tmp_path / "out", "--url", server.url, code=1)
    assert f"reward model prm at {server.url}: " in said.stderr
    assert server.requests == [] and not (tmp_path / "out").exists()


def test_it_is_asked_with_the_secrets_and_at_the_address_that_are_given(evaluate, reward, monkeypatch):
    monkeypatch.setenv("S1_TOKEN", "open")
    evaluate(*SEARCH, "--reward-url", "grpc://127.0.0.1:9")
    assert reward.asked[0] == ("127.0.0.1:9", "prm") and reward.headers == {"authorization": "Bearer open"}


def test_overwriting_forgets_trees_and_scores(evaluate, server):
    evaluate("--max-thinking-tokens", 8, *SEARCH, "--repeat", 2, "--temperature", 1)
    call("eval", evaluate.task, "--max-thinking-tokens", 8, "--overwrite", "--out", evaluate.folder, "--url", server.url)
    assert not {"trees.jsonl", "scores.json"} & {path.name for path in evaluate.folder.iterdir()}


def test_what_is_no_file_of_scores_is_refused(evaluate):
    evaluate(*SEARCH)
    (evaluate.folder / "scores.json").write_text("[]")
    assert "scores.json: not a file of scores" in call("eval", "--show", evaluate.folder, code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--rebase", "4"), "--rebase needs --reward-model"),
        (("--max-thinking-tokens", "4", "--rebase-tokens", "9"), "are for --rebase, which is not given"),
        (("--max-thinking-tokens", "4", "--reward-url", "x:1"), "--reward-url is for --reward-model"),
        (("--max-thinking-tokens", "4", "--reward-model", "prm"), "is for --rebase, or --repeat of 2 or more; neither is given"),
        (("--rebase", "16", "--rebase-tokens", "9", "--reward-model", "prm"), "max_tokens: got 9, allowed: at least the width, 16"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, problem):
    assert problem in call("eval", "arithmetic", *arguments, code=2).stderr
