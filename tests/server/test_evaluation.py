# SPDX-License-Identifier: Apache-2.0
"""``s1 eval``, ``s1 stats`` and a search, with a real server and a small model behind them."""

import json

import pytest

from client.cli.running import call
from s1_client import ServerFailed
from s1_client.evaluation import VOTES, Search, ServedScorer, load_task, rebase
from s1_client.evaluation.tasks import arithmetic

NUM_QUESTIONS = 8


def test_a_task_is_evaluated(triton, tmp_path):
    """Eight questions at two settings: figures come out, budgets are kept, and nothing is asked twice."""
    task, folder = tmp_path / "task.jsonl", tmp_path / "out"
    task.write_text("".join(f"{line}\n" for line in arithmetic.text().splitlines()[::5]))
    arguments = ("eval", task, "--max-thinking-tokens", "0,12", "--max-tokens", 12, "--out", folder, "--url", triton.grpc_url)
    said = call(*arguments).stdout
    rows = {row["setting"]: row for row in json.loads((folder / "summary.json").read_text())["rows"]}
    assert [row["num_samples"] for row in rows.values()] == [NUM_QUESTIONS] * 2
    assert rows["budget 0"]["mean_thinking_tokens"] == 0 < rows["budget 12"]["mean_thinking_tokens"] <= 12
    assert "budget 0 and budget 12 cannot be told apart" in said or "budget 12 is " in said
    assert {"scaling.png", "scaling.svg", "tokens.png", "tokens.svg"} < {path.name for path in folder.iterdir()}
    assert "0 done, 16 skipped" in call(*arguments).stderr
    columns = json.loads(call("stats", "--json", folder).stdout)
    assert {name.partition(": ")[2]: one["accuracy"] for name, one in columns.items()} == {
        name: row["accuracy"]["value"] for name, row in rows.items()
    }


def test_first_words_of_a_thought_that_do_not_fit_are_told(client):
    """Those of preset smollm2 have sixteen tokens here."""
    options = {"preset": "smollm2", "num_ignore": 0, "max_tokens": 4}
    found = {budget: client.think("What is 2 + 3?", max_thinking_tokens=budget, **options) for budget in (8, 24)}
    assert [reply.result.effective["thinking_prefix"] for reply in found.values()] == [None, "I need to figure out"]
    assert not found[8].thinking.startswith("I need to figure out") and found[24].thinking.startswith("I need to figure out")


def test_lm_evaluation_harness_asks_a_server(triton, tmp_path):
    model_args = f"url={triton.grpc_url},max_thinking_tokens=8,num_ignore=1,max_tokens=8"
    command = ("lm-eval", "--model", "s1-triton", "--model_args", model_args, "--tasks", "s1_arithmetic", "--limit", NUM_QUESTIONS)
    assert "num_thinking_tokens" in call(*command, "--output_path", tmp_path, "--log_samples", "--apply_chat_template").stdout
    [path] = tmp_path.rglob("samples_*.jsonl")
    counted = json.loads(call("stats", "--json", path).stdout)[str(path)]
    assert counted["num_samples"] == NUM_QUESTIONS and 0 < counted["max_thinking_tokens"] <= 8


def test_a_tree_is_searched_with_a_served_reward_model(client, triton):
    """One budget for all steps, and the shared prefixes are found in the KV cache: the prompt alone is several blocks."""
    question = f"{'Think step by step, a line for each step. ' * 8}{load_task('arithmetic').questions[0].prompt}"
    search = Search(width=4, max_tokens=120, max_step_tokens=12, max_depth=3, delimiter="\n")
    with ServedScorer(triton.grpc_url, "toy_reward") as scorer:
        tree = rebase(client, question, scorer, search)
    assert 0 < tree.num_tokens <= tree.budget == 120
    assert all(0 <= node.score <= 1 for node in tree.nodes)
    assert 1 <= len(tree.leaves) <= 4 and tree.best() in tree.answers
    assert all(node.text.startswith(node.parent.text) for node in tree.nodes)
    assert tree.kv_reused_blocks >= tree.num_requests - 1
    tree.vote(VOTES["text"])


def test_a_task_is_searched_and_the_best_of_repeats_is_found(triton, tmp_path):
    task, folder = tmp_path / "task.jsonl", tmp_path / "out"
    task.write_text(arithmetic.text().splitlines()[0])
    search = ("--rebase", "2", "--rebase-tokens", 24, "--rebase-step-tokens", 6, "--reward-model", "toy_reward")
    sampled = ("--max-thinking-tokens", 8, "--repeat", 2, "--temperature", 1, "--max-tokens", 8)
    call("eval", task, *sampled, *search, "--out", folder, "--url", triton.grpc_url)
    rows = {row["setting"]: row for row in json.loads((folder / "summary.json").read_text())["rows"]}
    assert set(rows["budget 8"]["best_of"]) == {"1", "2"}
    assert 0 < rows["rebase 2"]["mean_spent_tokens"] <= 24
    assert (folder / "parallel.png").exists()


def test_a_reward_model_that_fails_is_told(triton):
    with (
        ServedScorer(triton.grpc_url, "toy_reward") as scorer,
        pytest.raises(ServerFailed, match="toy_reward: no reward today"),
    ):
        scorer("fail", [["step"]])
    with (
        ServedScorer(triton.grpc_url, "toy_reward") as scorer,
        pytest.raises(ServerFailed, match=r"toy_reward: got \[nan\], allowed: a finite number for each of 1 answers"),
    ):
        scorer("nan", [["step"]])
    with ServedScorer(triton.grpc_url, "toy_reward") as scorer:
        scorer.check()
    with ServedScorer(triton.grpc_url, "none") as scorer, pytest.raises(ServerFailed, match="none at .*not on the server"):
        scorer.check()
    with ServedScorer(triton.grpc_url, "none") as scorer, pytest.raises(ServerFailed, match="reward model none"):
        scorer("?", [["step"]])
