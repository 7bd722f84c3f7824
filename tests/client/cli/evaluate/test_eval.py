# SPDX-License-Identifier: Apache-2.0
"""``s1 eval``: a protocol asked, counted and told."""

import json
import re
import runpy
import shutil
from collections import Counter

import pytest

from client.cli.running import by_id, call, entries, write_lines
from client.evaluation.grading.test_judge import api  # noqa: F401  # a fixture
from s1_client import EngineFailed
from s1_client.evaluation import load_task
from s1_client.testing import FakeServer

FILES = {"settings.json", "samples.jsonl", "summary.json", "summary.csv", "scaling.png", "scaling.svg", "tokens.png", "tokens.svg"}


@pytest.fixture
def server():
    with FakeServer() as server:
        server.says(thinking=" one two three four five six", answer=" 42")
        yield server


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def task(tmp_path):
    path = tmp_path / "task.jsonl"
    write_lines(path, {"id": "easy", "prompt": "easy", "expected": 42}, {"id": "hard", "prompt": "hard", "expected": 7})
    return path


@pytest.fixture
def evaluate(server, folder, task, monkeypatch):
    """Run it without drawing, which takes its time; the summary, by setting."""
    monkeypatch.setattr("s1_client.cli.evaluate.figures.FIGURES", {})

    def run(*arguments, **rest):
        told = call("eval", task, *arguments, "--out", folder, "--url", server.url, "--max-retries", 0, **rest)
        summary = json.loads((folder / "summary.json").read_text())
        return told, {row["setting"]: row for row in summary["rows"]}

    return run


def test_a_protocol_is_asked_and_told(server, folder, task):
    """As a user has it, figures and all."""
    protocol = ("--max-thinking-tokens", "0,4,100", "--token-limits", "8", "--class-prompts", "--short-prompt", "Hurry.")
    told = call("eval", task, *protocol, "--out", folder, "--url", server.url)
    assert {path.name for path in folder.iterdir()} == FILES
    prompts = {str(one.prompt) for one in server.requests}
    assert {"easy", "easy\n\nThink for up to 8 tokens.", "hard\n\nHurry."} < prompts and len(prompts) == 2 * 4
    assert len(server.requests) == 2 * 6
    assert re.search(r"^budget 4 +2 +4\.0 +100 +1\.0 +0 +5\.0 +50 ", told.stdout, re.M)
    below = "the thinking of all 2 replies ended by itself below it, the longest after 6 tokens"
    assert f"budget 100: the budget had no effect; {below}" in told.stdout
    assert "budget 0 and budget 4 cannot be told apart with these 2 questions" in told.stdout
    assert "Scaling a doubling leaves out settings without thinking: budget 0\n" in told.stdout
    assert "class prompts: no Control without --max-thinking-tokens -1" in told.stdout
    assert told.stdout.count("50 (") == 6


def test_a_task_comes_with_the_command(server, folder, monkeypatch):
    monkeypatch.setattr("s1_client.cli.evaluate.figures.FIGURES", {})
    call("eval", "arithmetic", "--max-thinking-tokens", "4", "--out", folder, "--url", server.url)
    assert {str(one.prompt) for one in server.requests} == {question.prompt for question in load_task("arithmetic").questions}


def test_the_papers_curve_and_votes_of_generated_questions(server, folder):
    """As a user has it, figures and all: refused ends at the largest budget alone, and samples with a temperature of their own."""
    protocol = ("--max-thinking-tokens", "0,2,-1", "--num-ignore", "0,1", "--ignore-at", "-1", "--votes", 4, "--vote-temperature", 0.5)
    told = call("eval", "puzzles", "--num-questions", 6, *protocol, "--temperature", 0, "--seed", 5, "--out", folder, "--url", server.url)
    assert {path.name for path in folder.iterdir()} == FILES | {"curve.png", "curve.svg", "parallel.png", "parallel.svg"}
    asked = [(one.options["max_thinking_tokens"], one.options["num_ignore"], one.options["temperature"]) for one in server.requests]
    assert Counter(asked) == {(0, 0, 0): 6, (2, 0, 0): 6, (-1, 0, 0): 6, (-1, 1, 0): 6, (-1, 0, 0.5): 24}
    sampled = [one.options for one in server.requests if one.options["temperature"] == 0.5]
    assert {one["seed"] for one in sampled} == {5, 6, 7, 8} and {one["thinking_temperature"] for one in sampled} == {0.5}
    assert "natural end → 1 refused: +0.0 points" in told.stdout
    assert "the vote of 4 sampled at temperature 0.5 and budget context + 1 refused cannot be told apart" in told.stdout
    server.requests.clear()
    more = ("--max-thinking-tokens", "0", "--votes", 6, "--vote-temperature", 0.5)
    call("eval", "puzzles", "--num-questions", 6, *more, "--temperature", 0, "--seed", 5, "--out", folder, "--url", server.url)
    assert len(server.requests) == 2 * 6, "votes may be added"
    rows = {row["setting"]: row for row in json.loads((folder / "summary.json").read_text())["rows"]}
    assert list(rows["sampled at temperature 0.5"]["majority"]) == ["1", "2", "4", "6"] and len(rows) == 5


def test_it_goes_on_where_it_stopped_and_grows(evaluate, server, folder):
    evaluate("--max-thinking-tokens", "4", "--temperature", 0.5, "--seed", 3)
    server.requests.clear()
    _, rows = evaluate("--max-thinking-tokens", "4,100", "--num-ignore", "0,1", "--repeat", 2, "--temperature", 0.5, "--seed", 3)
    assert len(server.requests) == 2 * 4 * 2 - 2
    assert {one.options["seed"] for one in server.requests} == {3, 4}
    assert list(rows) == ["budget 4", "budget 100", "budget 4 + 1 refused", "budget 100 + 1 refused"]
    assert rows["budget 100 + 1 refused"]["mean_thinking_tokens"] == 13
    assert {k: vote["value"] for k, vote in rows["budget 4"]["majority"].items()} == {"1": 0.5, "2": 0.5}
    server.requests.clear()
    evaluate("--max-thinking-tokens", "4", "--temperature", 0.5, "--seed", 3)
    assert server.requests == []


def test_what_failed_is_asked_again(evaluate, server):
    server.will_say(error=EngineFailed("gone"))
    _, rows = evaluate("--max-thinking-tokens", "4", code=1)
    assert (rows["budget 4"]["num_samples"], rows["budget 4"]["num_failed"]) == (1, 1)
    _, rows = evaluate("--max-thinking-tokens", "4")
    assert (rows["budget 4"]["num_samples"], rows["budget 4"]["num_failed"]) == (2, 0)


def test_rejection_asks_again_and_no_more_often_than_it_may(evaluate, server, folder):
    server.says(to="easy", thinking=" far too long a thought for that")
    server.will_say(thinking=" too long a thought again", answer=" 42")
    server.will_say(thinking=" too long a thought again", answer=" 7")
    server.says(to="hard", thinking=" short", answer=" 7")
    arguments = ("--rejection", "3", "--max-attempts", 3, "--temperature", 1, "--concurrency", 1)
    told, rows = evaluate(*arguments)
    row = rows["rejection 3"]
    assert (row["num_samples"], row["num_unaccepted"], row["mean_attempts"], row["accuracy"]["value"]) == (2, 1, 2.5, 0.5)
    assert sorted(by_id(folder / "samples.jsonl")) == [
        *(f"easy/rejection 3/r0/t{t}" for t in range(3)),
        "hard/rejection 3/r0/t0",
        "hard/rejection 3/r0/t1",
    ]
    assert "1 of 2 have no thinking within the budget after up to 3 attempts; they count as wrong" in told.stdout
    server.requests.clear()
    evaluate(*arguments)
    assert server.requests == []


def test_the_evaluation_page_reads_the_results(root, evaluate, folder, capsys):
    """The program that the page shows, beside the folder of an evaluation."""
    evaluate("--max-thinking-tokens", "2,4")
    folder.rename(folder.with_name("evaluation"))
    runpy.run_path(shutil.copy(root / "client/examples/read_summary.py", folder.parent))
    assert capsys.readouterr().out == "[(2.0, 0.5), (4.0, 0.5)] 0.0 None\n"


def test_another_task_wants_another_folder(evaluate, task):
    evaluate("--max-thinking-tokens", "4")
    write_lines(task, {"id": "easy", "prompt": "easier", "expected": 42})
    arguments = ("eval", task, "--max-thinking-tokens", "4", "--out", task.parent / "out", "--url", "127.0.0.1:1")
    assert "holds another evaluation: a question, an option or the model differs" in call(*arguments, code=2).stderr


def test_two_evaluations_are_compared_in_one_figure(server, task, tmp_path):
    """As a user has it: the second model knows the hard one as well."""
    for name, answer in (("small", " 42"), ("large", " 7")):
        server.says(to="hard", thinking=" one two", answer=answer)
        call("eval", task, "--max-thinking-tokens", "4,100", "--out", tmp_path / name, "--url", server.url, "--model", "s1")
    told = call("eval", "--show", tmp_path / "small", "--show", tmp_path / "large")
    out = tmp_path / "large" / "comparison"
    assert {path.name for path in out.iterdir()} == {"comparison.json", "comparison.png", "comparison.svg"}
    assert re.search(r"^budget 4 +3\.0 +3\.0 +50 +100 +\+50\.0 \(", told.stdout, re.M)
    assert "small: budget 4 and large: budget 4 cannot be told apart with these 2 questions: +50.0 points" in told.stdout
    assert all(name in (out / "comparison.svg").read_text() for name in ("small: none refused", "large: none refused"))
    pairs = json.loads((out / "comparison.json").read_text())["pairs"]
    assert [(pair["setting"], pair["accuracies"]) for pair in pairs] == [("budget 4", [0.5, 1]), ("budget 100", [0.5, 1])]


def test_evaluations_of_other_questions_are_not_compared(evaluate, server, folder, tmp_path):
    evaluate("--max-thinking-tokens", "4")
    write_lines(tmp_path / "other.jsonl", {"prompt": "another", "expected": 1})
    call("eval", tmp_path / "other.jsonl", "--max-thinking-tokens", "4", "--out", tmp_path / "other", "--url", server.url)
    assert "have no question in common" in call("eval", "--show", folder, "--show", tmp_path / "other", code=2).stderr


@pytest.mark.parametrize("temperature", [(), ("--temperature", 0)])
@pytest.mark.parametrize("again", [("--max-thinking-tokens", "4", "--repeat", 2), ("--rejection", "4")])
def test_equal_replies_are_refused_before_anything_is_asked(server, folder, task, again, temperature):
    """As the server refuses several samples at temperature 0."""
    told = call("eval", task, *again, *temperature, "--out", folder, "--url", server.url, code=2)
    flag = next(one for one in again if one in ("--repeat", "--rejection"))
    assert re.search(f"{flag}: .* all replies to a question are the same; add --temperature X", " ".join(told.stderr.split()))
    assert server.requests == [] and not folder.exists()


def test_a_questions_own_temperature_decides_whether_its_repeats_are_equal(server, folder, tmp_path):
    """Over the command's, as in a sweep."""
    repeats = ("--max-thinking-tokens", "4", "--repeat", 2, "--url", server.url)
    warm, cold = tmp_path / "warm.jsonl", tmp_path / "cold.jsonl"
    write_lines(warm, {"prompt": "easy", "expected": 42, "temperature": 0.7})
    call("eval", warm, *repeats, "--out", folder)
    assert [round(one.options["temperature"], 3) for one in server.requests] == [0.7, 0.7]
    write_lines(cold, {"prompt": "easy", "expected": 42, "id": "q7", "temperature": 0})
    for command in ("eval", cold), ("sweep", "--file", cold):
        refused = call(*command, *repeats, "--temperature", 0.7, "--out", tmp_path / "cold", code=2).stderr
        assert "--repeat: question q7: at temperature 0 all replies" in " ".join(refused.split())
    assert len(server.requests) == 2


def test_a_single_attempt_of_a_rejection_needs_no_temperature(evaluate):
    _, rows = evaluate("--rejection", "3", "--max-attempts", 1)
    assert rows["rejection 3"]["num_unaccepted"] == 2


@pytest.mark.parametrize(
    ("name", "meant"), [("aime24", "s1_aime24"), ("arithmatic", "arithmetic"), ("s1_math5000", "s1_math500"), ("puzzle", "puzzles")]
)
def test_a_misspelt_task_has_a_suggestion(name, meant):
    assert f"did you mean '{meant}'" in call("eval", name, "--max-thinking-tokens", "4", code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "give one of TASK and --show"),
        (("--show", ".", "--show", ".", "--show", "."), "the latter once or twice"),
        (("arithmetic", "--show", "."), "give one of TASK and --show"),
        (("arithmetic",), "no setting; give --max-thinking-tokens"),
        (("nowhere", "--max-thinking-tokens", "1"), "task: got 'nowhere', allowed: arithmetic, letters, chain, sums, puzzles, s1_aime24"),
        (("arithmetic", "--max-thinking-tokens", "1", "--capped"), "--capped is for --token-limits"),
        (("arithmetic", "--max-thinking-tokens", "1", "--ignore-str", "Hmm"), "--ignore-str is for --num-ignore of 1 or more"),
        (("arithmetic", "--rejection", "0"), "allowed: different integers >= 1"),
        (("arithmetic", "--max-thinking-tokens", "1", "--ignore-at", "1"), "--ignore-at is for --num-ignore of 1 or more"),
        (
            ("letters", "--max-thinking-tokens", "0,8", "--num-ignore", "1", "--ignore-at", "-1"),
            "--ignore-at: got -1, allowed: the budgets of --max-thinking-tokens (0, 8)",
        ),
        (("arithmetic", "--max-thinking-tokens", "1", "--num-questions", "3"), "--num-questions: got 3 with task 'arithmetic', allowed"),
        (("arithmetic", "--max-thinking-tokens", "1", "--question-seed", "3"), "--question-seed: got 3 with task 'arithmetic', allowed"),
        (("letters", "--max-thinking-tokens", "1", "--num-questions", "10001"), "10001 is not in the range"),
        (("letters", "--max-thinking-tokens", "1", "--vote-temperature", "1"), "--vote-temperature is for --votes"),
        (("letters", "--votes", "4", "--vote-temperature", "0"), "0.0 is not in the range x>0"),
        (("letters", "--votes", "4", "--vote-temperature", "nan"), "--vote-temperature: got nan, allowed: a finite number > 0"),
        (("letters", "--votes", "4", "--repeat", "2"), "--repeat is for settings other than --votes"),
        (("letters,letters", "--votes", "4"), "allowed: each of letters, chain, sums at most once"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, problem):
    told = call("eval", *arguments, code=2)
    assert problem in " ".join(told.stderr.split())


def test_a_folder_of_something_else_cannot_be_shown(tmp_path):
    assert "holds no evaluation (it has no settings.json)" in call("eval", "--show", tmp_path, code=2).stderr
    (tmp_path / "settings.json").write_text("{}")
    assert "settings.json: written by another version ('task')" in call("eval", "--show", tmp_path, code=2).stderr


def test_what_is_no_file_of_samples_is_refused(evaluate, folder):
    evaluate("--max-thinking-tokens", "4")
    (folder / "samples.jsonl").write_text("{}\n")
    assert "samples.jsonl:1: not a line of results" in call("eval", "--show", folder, code=2).stderr
    (folder / "samples.jsonl").unlink()
    assert "samples.jsonl: No such file" in call("eval", "--show", folder, code=2).stderr


def test_all_lines_are_kept_with_their_accounts(evaluate, folder):
    evaluate("--max-thinking-tokens", "4")
    assert {frozenset(entry["reply"]) for entry in entries(folder / "samples.jsonl")} == {
        frozenset(("thinking", "answer", "answer_prefix", "answer_text", "result", "index", "num_attempts"))
    }
    assert all(entry["reply"]["result"]["effective"]["max_thinking_tokens"] == 4 for entry in entries(folder / "samples.jsonl"))


def test_a_grading_can_be_said_for_all_questions(evaluate, server, folder):
    server.says(thinking=" so", answer=r" \boxed{\frac{84}{2}}")
    _, rows = evaluate("--max-thinking-tokens", "4", "--grading", "math")
    assert rows["budget 4"]["accuracy"]["value"] == 0.5
    assert {one["grading"] for one in json.loads((folder / "settings.json").read_text())["task"]["questions"]} == {"math"}


def test_what_a_grading_needs_is_told_before_anything_is_asked(server, folder, task, monkeypatch):
    monkeypatch.delenv("S1_JUDGE_MODEL", raising=False)
    command = ("eval", task, "--max-thinking-tokens", "4", "--grading", "judge", "--out", folder, "--url", server.url)
    assert "$S1_JUDGE_MODEL" in call(*command, code=2).stderr
    assert server.requests == []


@pytest.mark.parametrize("said", ["perhaps", "<think>the same? different?", None])
def test_what_a_judge_says_does_not_end_an_evaluation(evaluate, server, api, monkeypatch, said):  # noqa: F811
    monkeypatch.setattr(api, "says", said)
    server.says(to="easy", thinking=" so", answer=" 42")
    server.says(to="hard", thinking=" so", answer=" seven")
    told, rows = evaluate("--max-thinking-tokens", "4", "--grading", "judge")
    assert rows["budget 4"]["accuracy"]["value"] == 0.5
    assert "budget 4: 1 of 2 answers could not be graded and count as wrong; the judge replied" in told.stdout


@pytest.mark.parametrize("grading", ["integer", "letter", "math", "text"])
def test_no_answer_ends_an_evaluation(evaluate, server, folder, task, grading):
    """Among them a number that Python does not convert, which a file of samples keeps for good."""
    answers = [
        "9" * 5000,
        "-" + "8{,}000" * 2000,
        "\\boxed{" * 3000,
        "9^{9^{9^{9}}}",
        "Answer:" * 3000,
        "\\frac{" * 3000,
        "1e999999999",
        "\0",
        "",
    ]
    write_lines(task, *({"prompt": f"{place}?", "expected": "B" if grading == "letter" else 7} for place in range(len(answers))))
    for place, answer in enumerate(answers):
        server.says(to=f"{place}?", thinking=" so", answer=answer)
    _, rows = evaluate("--max-thinking-tokens", "4", "--grading", grading)
    assert rows["budget 4"]["accuracy"]["value"] == 0
    call("eval", "--show", folder)


def test_questions_may_be_chats_with_options_of_their_own(evaluate, server, task):
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "easy"}]
    write_lines(task, {"messages": chat, "expected": 42, "max_tokens": 7, "seed": None}, {"prompt": "hard", "expected": 7})
    evaluate("--token-limits", "8", "--max-tokens", 9, "--seed", 3)
    asked = {str(one.prompt): one.options for one in server.requests}
    told = "Think for up to 8 tokens."
    assert asked.keys() == {str([chat[0], {"role": "user", "content": f"easy\n\n{told}"}]), f"hard\n\n{told}"}
    assert {(options["max_tokens"], options.get("seed")) for options in asked.values()} == {(7, None), (9, 3)}


def test_a_reward_model_does_not_score_answers_to_chats(server, folder, task):
    write_lines(task, {"id": "x", "messages": [{"role": "user", "content": "easy"}], "expected": 42})
    command = ("eval", task, "--rebase", "2", "--reward-model", "r", "--out", folder, "--url", server.url)
    assert "--reward-model: question x is a chat" in call(*command, code=2).stderr


def test_a_judge_that_fails_loses_no_sample(server, folder, task, monkeypatch):
    monkeypatch.setattr("s1_client.cli.evaluate.figures.FIGURES", {})
    monkeypatch.setenv("S1_JUDGE_MODEL", "wise")
    monkeypatch.setenv("S1_JUDGE_URL", "http://127.0.0.1:1")
    server.says(thinking=" so", answer=" forty-two")
    command = ("eval", task, "--max-thinking-tokens", "4", "--grading", "judge", "--out", folder, "--url", server.url)
    assert f"s1 eval --show {folder} grades them again" in call(*command, code=2).stderr
    assert len(entries(folder / "samples.jsonl")) == 2
