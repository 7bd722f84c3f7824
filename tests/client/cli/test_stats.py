# SPDX-License-Identifier: Apache-2.0
"""``s1 stats``: sample files, a column each."""

import json

import pytest

from client.cli.running import call, write_lines
from client.evaluation.made import entry, reply
from client.evaluation.test_stats import THOUGHT, log


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


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 1: not JSON"),
        ("prompt,expected", "line 1: not JSON"),
        ("\x89PNG", "line 1: not JSON"),
        ("", "no line in it"),
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
    assert f"{ours}: its last line, 3, is torn; it is left out" in told.stderr
    assert json.loads(told.stdout)[str(ours)]["num_samples"] == 1


def test_what_is_no_tokenizer_is_refused(theirs):
    assert "not a tokenizer.json" in call("stats", "--tokenizer", theirs, theirs, code=2).stderr
