# SPDX-License-Identifier: Apache-2.0
"""``s1 stats``: sample files, a column each."""

import json
import re

import pytest

from client.cli.running import call, write_lines
from client.evaluation.made import entry, reply
from client.evaluation.test_stats import THOUGHT, log
from s1_client.testing import FakeServer


@pytest.fixture
def ours(tmp_path):
    path = tmp_path / "samples.jsonl"
    write_lines(path, entry("q0", "x", reply(thought=40)), entry("q1", "x"))
    return path


@pytest.fixture
def theirs(tmp_path):
    path = tmp_path / "log.jsonl"
    write_lines(path, log(f"{THOUGHT}<|im_start|>answer\nAnswer: 7"))
    return path


def test_files_stand_side_by_side(ours, theirs):
    told = call("stats", ours, theirs)
    assert "thinking, mean" in told.stdout and "40.0" in told.stdout and "6.0" in told.stdout
    assert "words, not tokens" in told.stderr
    assert "words" not in call("stats", ours).stderr


def test_json_has_every_length(ours, theirs):
    found = json.loads(call("stats", "--json", ours, theirs).stdout)
    assert found[str(ours)]["by_length"] == [[40, None]] and found[str(theirs)]["by_length"] == [[6, True]]
    assert found[str(ours)]["num_failed"] == 1


def test_a_tokenizer_counts_tokens(theirs, tmp_path):
    path = tmp_path / "tokenizer.json"
    model = {"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"}
    splitter = {"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated", "invert": False}
    path.write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model, "pre_tokenizer": splitter}))
    told = call("stats", "--json", "--tokenizer", path, theirs)
    (found,) = json.loads(told.stdout).values()
    assert found["mean_answer_tokens"] == len("Answer: 7") and told.stderr == ""


def test_an_evaluation_has_a_column_for_each_setting_and_its_own_grades(tmp_path, monkeypatch):
    """By the folder or by its file; of a file alone nobody knows what is right."""
    monkeypatch.setattr("s1_client.cli.evaluate.figures.FIGURES", {})
    task, folder = tmp_path / "task.jsonl", tmp_path / "out"
    write_lines(task, {"id": "easy", "prompt": "easy", "expected": 42}, {"id": "hard", "prompt": "hard", "expected": 7})
    with FakeServer() as server:
        server.says(thinking=" one two three four five six", answer=" 42 or so")
        asked = ("--max-thinking-tokens", "2,100,16", "--max-tokens", 2)
        call("eval", task, *asked, "--out", folder, "--url", server.url)
    told = call("stats", folder)
    assert re.search(r"budget 2 +budget 16 +budget 100", told.stdout)
    assert re.search(r"^thinking, mean +2\.0 +6\.0 +6\.0 *$", told.stdout, re.M)
    assert re.search(r"^right, % +50 +50 +50 *$", told.stdout, re.M)
    assert re.search(r"^answers cut +2 +2 +2 *$", told.stdout, re.M)
    assert call("stats", folder / "samples.jsonl").stdout == told.stdout
    found = json.loads(call("stats", "--json", folder).stdout)
    assert {name.removeprefix(f"{folder}/samples.jsonl: ") for name in found} == {"budget 2", "budget 16", "budget 100"}
    assert sorted(found[f"{folder}/samples.jsonl: budget 2"]["by_length"]) == [[2, False], [2, True]]  # replies come in any order


def test_attempts_that_a_rejection_did_not_accept_have_no_grade(tmp_path, monkeypatch):
    monkeypatch.setattr("s1_client.cli.evaluate.figures.FIGURES", {})
    task, folder = tmp_path / "task.jsonl", tmp_path / "out"
    write_lines(task, {"id": "easy", "prompt": "easy", "expected": 42})
    with FakeServer() as server:
        server.will_say(thinking=" far too long a thought", answer=" 7")
        server.will_say(thinking=" short", answer=" 42")
        call("eval", task, "--rejection", "3", "--temperature", 1, "--out", folder, "--url", server.url)
    (found,) = json.loads(call("stats", "--json", folder).stdout).values()
    assert found["by_length"] == [[1, True], [3, None]] and found["accuracy"] == 1


def test_a_sweep_has_a_column_for_each_setting_and_its_own_grades(tmp_path):
    questions, folder = tmp_path / "questions.jsonl", tmp_path / "out"
    write_lines(questions, {"prompt": "easy", "expected": 42}, {"prompt": "open"})
    with FakeServer() as server:
        server.says(thinking=" one two three", answer=" 42")
        call("sweep", "--file", questions, "--max-thinking-tokens", "-1,2", "--num-ignore", "0,1", "--out", folder, "--url", server.url)
    found = json.loads(call("stats", "--json", folder).stdout)
    names = {name.removeprefix(f"{folder}/samples.jsonl: ") for name in found}
    assert names == {"budget 2", "budget context", "budget 2 + 1 refused", "budget context + 1 refused"}
    assert all(one["accuracy"] == 1 and [grade for _, grade in one["by_length"] if grade is not True] == [None] for one in found.values())


def test_many_settings_fit_into_80_columns(tmp_path):
    path = tmp_path / "samples.jsonl"
    write_lines(path, *(entry("q0", f"budget {2**power} + 1 refused", reply(thought=power)) for power in range(12)))
    shown = call("stats", path).stdout
    assert max(map(len, shown.splitlines()[1:])) <= 80 and shown.count("responses") == 3


def test_a_log_with_two_filters_has_a_column_for_each(tmp_path):
    """The harness writes each question once for each: the responses are the same, the grades are not."""
    path = tmp_path / "samples_gsm8k.jsonl"
    text = f"{THOUGHT}<|im_start|>answer\nAnswer: 7"
    lines = [log(text, right=right) | {"doc_id": 0, "filter": name} for name, right in (("strict-match", 0.0), ("flexible-extract", 1.0))]
    write_lines(path, *lines)
    found = json.loads(call("stats", "--json", tmp_path).stdout)
    assert {name.partition(": ")[2]: (one["num_samples"], one["accuracy"]) for name, one in found.items()} == {
        "strict-match": (1, 0),
        "flexible-extract": (1, 1),
    }


def test_a_folder_without_replies_is_refused(tmp_path):
    assert "holds no samples.jsonl (s1 eval, s1 sweep)" in call("stats", tmp_path, code=2).stderr


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 1: not JSON"),
        ("prompt,expected", "line 1: not JSON"),
        ("\x89PNG", "line 1: not JSON"),
        ("", "the file is empty"),
        ("[]", "line 1: not an object"),
        ("{}", "allowed: lines with 'reply'"),
    ],
)
def test_what_is_no_sample_file_is_refused(tmp_path, line, problem):
    (tmp_path / "bad.jsonl").write_text(line + "\n")
    assert problem in call("stats", tmp_path / "bad.jsonl", code=2).stderr


def test_files_of_another_system_are_read(theirs):
    """A log of the harness may hold NaN, a lone surrogate, U+2028 and a response that is null."""
    lines = [log("7") | {"other": float("nan")}, log("\udcff"), log(None)]
    text = "".join(f"{json.dumps(line)}\r\n\r\n" for line in lines)
    odd = json.dumps(log("one\N{LINE SEPARATOR}two\N{NEXT LINE}three"), ensure_ascii=False)
    theirs.write_bytes(b"\xef\xbb\xbf" + f"{text}{odd}".encode())
    told = call("stats", "--json", theirs)
    (found,) = json.loads(told.stdout).values()
    assert (found["num_samples"], found["num_without_answer"], found["mean_answer_tokens"]) == (4, 4, 1.25)
    assert "torn" not in told.stderr


def test_a_torn_last_line_is_left_out_and_told(ours):
    """As a run leaves it that was killed, or is still writing."""
    ours.write_bytes(ours.read_bytes() + b'{"id": "q9", "rep')
    told = call("stats", "--json", ours)
    assert f"{ours}: its last line, 3, is incomplete and left out" in told.stderr
    assert json.loads(told.stdout)[str(ours)]["num_samples"] == 1


def test_what_is_no_tokenizer_is_refused(theirs):
    assert "not a tokenizer.json" in call("stats", "--tokenizer", theirs, theirs, code=2).stderr
