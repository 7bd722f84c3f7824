# SPDX-License-Identifier: Apache-2.0
"""``s1 sweep``: the requests of a grid, its summary and its plot."""

import csv
import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from client.cli.running import by_id, call, write_lines
from s1_client import EngineFailed
from s1_client.evaluation import load_task
from s1_client.evaluation._intervals import estimate
from s1_client.testing import FakeServer

GRID = ("--max-thinking-tokens", "0,4,100", "--num-ignore", "0,1")


@pytest.fixture
def server():
    with FakeServer() as server:
        server.says(thinking=" one two three four five six", answer=" 42")
        yield server


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.jsonl"
    write_lines(
        path,
        {"id": "easy", "prompt": "easy", "expected": 42},
        {"prompt": "hard", "expected": "7", "max_tokens": 9},
        {"messages": [{"role": "user", "content": "words"}], "expected": "forty-two"},
        {"prompt": "open"},
    )
    return path


@pytest.fixture
def sweep(server, folder):
    """Run s1 sweep over the grid, with results in the folder."""

    def run(*arguments, grid=GRID, **rest):
        return call("sweep", *arguments, *grid, "--out", folder, "--url", server.url, "--max-retries", 0, **rest)

    return run


def rows(folder):
    """Return the rows of the summary by budget and number of refused ends."""
    found = json.loads((folder / "summary.json").read_text())["rows"]
    return {(row["limit"], row["num_ignore"]): row for row in found}


def test_every_question_is_asked_at_every_setting(sweep, server, questions, folder):
    sweep("--file", questions, "--temperature", 0.5)
    asked = {(str(one.prompt), one.options["max_thinking_tokens"], one.options["num_ignore"]) for one in server.requests}
    assert len(asked) == len(server.requests) == 4 * 6
    assert {one.options["temperature"] for one in server.requests} == {0.5}
    assert {one.options.get("max_tokens") for one in server.requests if one.prompt == "hard"} == {9}
    entry = by_id(folder / "samples.jsonl")["easy/budget 4 + 1 refused/r0"]
    assert entry["meta"] == {"question": "easy", "setting": "budget 4 + 1 refused", "repeat": 0, "attempt": 0}
    assert entry["reply"]["thinking"] == " one two three four"


def test_the_summary_counts_setting_by_setting(sweep, questions, folder):
    sweep("--file", questions)
    found = rows(folder)
    assert list(found) == [(0, 0), (4, 0), (100, 0), (0, 1), (4, 1), (100, 1)]
    assert [found[setting]["mean_thinking_tokens"] for setting in found] == [0, 4, 6, 0, 4, 13]
    assert [found[setting]["thinking_ends"] for setting in found] == [{"skipped": 4}, {"budget": 4}, {"natural": 4}] * 2
    assert [found[setting]["mean_ignored"] for setting in found] == [0, 0, 0, 0, 0, 1]
    assert {row["num_samples"] for row in found.values()} == {4}
    assert {row["num_failed"] for row in found.values()} == {0}
    assert {row["median_s"] for row in found.values()} == {0.001}
    assert found[0, 0]["mean_answer_tokens"] == 1


def test_right_answers_are_counted_where_they_are_known(sweep, questions, folder):
    """One of three answers is right: question "open" has no expected answer, and " 42" is neither 7 nor forty-two."""
    said = sweep("--file", questions).stdout
    row = rows(folder)[100, 1]
    assert row["accuracy"] == asdict(estimate([1, 0, 0]))
    assert (row["num_questions"], row["num_samples"], row["num_graded"]) == (4, 4, 3)
    assert "33 (0–100)" in said
    assert "accuracies rest on a part of the replies at each setting: 3 of 4 have a known right answer" in said
    assert "accuracy of 3 of 4 replies a point" in (folder / "sweep.svg").read_text()


def test_answers_that_were_cut_are_counted_and_told(sweep, server, questions, folder):
    server.says(answer=" it is perhaps 42")
    said = sweep("--file", questions, "--max-tokens", 3).stdout
    row = rows(folder)[4, 0]
    assert (row["share_answers_cut"], row["answer_ends"]) == (0.75, {"length": 3, "stop": 1})
    assert "answers were cut at max_tokens 3 in 6 of 6 settings, most at budget 0: 3 of 4. They are graded as they are" in said
    assert "answers were cut" not in sweep("--file", questions, "--max-tokens", 99, "--overwrite").stdout


def test_a_question_may_say_how_it_is_graded(sweep, server, questions, folder):
    """The file of questions is the same as for an evaluation."""
    server.says(thinking=" so", answer=" 7 or 42")
    write_lines(questions, *({"id": kind, "prompt": kind, "expected": "7", "grading": kind} for kind in ("integer", "text")))
    sweep("--file", questions, "--temperature", 0.5)
    row = rows(folder)[100, 0]
    assert (row["num_samples"], row["accuracy"]["value"]) == (2, 0)
    write_lines(questions, {"prompt": "x", "expected": 7, "grading": "letter"})
    assert "allowed with grading letter: one letter" in sweep("--file", questions, code=2).stderr


def test_the_csv_has_the_same_figures(sweep, questions, folder):
    sweep("--file", questions)
    with (folder / "summary.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    for line, row in zip(table, rows(folder).values(), strict=True):
        names = (
            "limit",
            "num_ignore",
            "num_samples",
            "num_graded",
            "num_failed",
            "mean_thinking_tokens",
            "mean_ignored",
            "mean_answer_tokens",
            "median_s",
        )
        assert {name: float(line[name]) for name in names} == {name: row[name] for name in names}
        assert float(line["accuracy"]) == row["accuracy"]["value"]


def test_a_question_alone_is_a_sweep_without_grades(sweep, folder):
    said = sweep("why").stdout
    assert "right" not in said and "thought" in said
    assert f"figures: {folder}/sweep.png" in said
    assert rows(folder)[4, 0]["accuracy"] is None
    assert {path.name for path in folder.iterdir()} == {
        "samples.jsonl",
        "settings.json",
        "summary.json",
        "summary.csv",
        "sweep.png",
        "sweep.svg",
    }


def test_a_task_of_evaluations_is_swept(sweep, server, folder):
    sweep("--task", "letters", "--num-questions", 3, "--question-seed", 7)
    expected = load_task("letters", num_questions=3, seed=7)
    assert {str(one.prompt) for one in server.requests} == {question.prompt for question in expected.questions}
    assert {row["num_graded"] for row in rows(folder).values()} == {3}


def test_no_end_is_refused_if_nothing_is_said_of_it(sweep, folder):
    sweep("why", grid=("--max-thinking-tokens", "0,4"))
    assert list(rows(folder)) == [(0, 0), (4, 0)]


def test_the_table_fits_into_80_columns(sweep, server, questions):
    server.says(to="open", error=EngineFailed("no"))
    said = sweep("--file", questions, code=1).stdout
    table = said.splitlines()[:10]
    assert "fail" in table[0] or "fail" in table[1]
    assert max(map(len, table)) <= 80
    assert "…" not in said


def test_repeats_have_seeds_of_their_own(sweep, server, folder):
    sweep("why", "--repeat", 3, "--seed", 7, "--temperature", 1, grid=("--max-thinking-tokens", "5", "--num-ignore", "0"))
    assert sorted(one.options["seed"] for one in server.requests) == [7, 8, 9]
    assert rows(folder)[5, 0]["num_samples"] == 3


@pytest.mark.parametrize(("options", "said"), [
    ((), "the temperature of the server's default preset is not known here, and at 0 all replies"),
    (("--preset", "mine"), "the temperature of preset mine is not known here, and at 0 all replies"),
    (("--temperature", 0), "at temperature 0 all replies"),
    (("--temperature", 0, "--preset", "qwen3"), "at temperature 0 all replies"),
    (("--thinking-temperature", 0, "--temperature", 0), "at temperature 0 all replies"),
    (("--preset", "s1"), "at temperature 0, that of preset s1, all replies"),
])  # fmt: skip
def test_equal_repeats_are_refused(sweep, server, options, said):
    told = " ".join(sweep("why", "--repeat", 2, *options, code=2).stderr.split())
    assert f"--repeat: {said} to a question are the same; add --temperature X, allowed: X > 0" in told
    assert ("or --preset qwen3" in told) == ("not known" in said)
    assert server.requests == []


# --- going on -------------------------------------------------------------------------------------


def test_the_same_command_asks_nothing_again(sweep, server, questions, folder):
    first = sweep("--file", questions).stdout
    second = sweep("--file", questions)
    assert len(server.requests) == 24 and second.stdout == first
    assert "24 skipped (already there)" in second.stderr


def test_settings_may_be_added(sweep, server, questions, folder):
    sweep("--file", questions)
    sweep("--file", questions, grid=("--max-thinking-tokens", "-1,0,4", "--num-ignore", "1,0"))
    assert len(server.requests) == 24 + 8
    assert [budget for budget, ignore in rows(folder) if ignore == 0] == [0, 4, 100, -1]


def test_the_order_of_the_rows_is_not_that_of_the_command_line(sweep, folder):
    sweep("why", grid=("--max-thinking-tokens", "-1,100,4", "--num-ignore", "1,0"))
    assert list(rows(folder)) == [(4, 0), (100, 0), (-1, 0), (4, 1), (100, 1), (-1, 1)]


def test_what_failed_is_counted_and_asked_again(sweep, server, questions, folder):
    server.says(to="hard", error=EngineFailed("out of blocks"))
    sweep("--file", questions, code=1)
    assert {(row["num_samples"], row["num_failed"]) for row in rows(folder).values()} == {(3, 1)}
    server.says(to="hard", answer=" 7")
    sweep("--file", questions)
    assert {(row["num_samples"], row["num_failed"], row["accuracy"]["value"]) for row in rows(folder).values()} == {(4, 0, 2 / 3)}
    assert len(server.requests) == 24 + 6


def test_a_setting_without_replies_is_a_row_without_figures(sweep, server, folder):
    server.says(error=EngineFailed("out of blocks"))
    sweep("why", code=1)
    assert {row["mean_thinking_tokens"] for row in rows(folder).values()} == {None}


def test_a_right_answer_may_be_mended_without_asking(sweep, server, questions, folder):
    sweep("--file", questions)
    text = questions.read_text().replace('"7"', "42")
    questions.write_text(text)
    sweep("--file", questions)
    assert len(server.requests) == 24
    assert rows(folder)[0, 0]["accuracy"]["value"] == 2 / 3


@pytest.mark.parametrize("change", [["how"], ["why", "--max-tokens", 5], ["why", "--model", "other"]])
def test_a_folder_holds_one_sweep(sweep, server, folder, change):
    sweep("why")
    said = sweep(*change, code=2).stderr
    assert f"{folder}: holds another evaluation" in said and "--out" in said and "--overwrite" in said
    assert len(server.requests) == 6


def test_the_results_of_a_batch_are_not_taken_for_a_sweeps(sweep, server, questions, folder):
    folder.mkdir()
    write_lines(questions, "why")
    call("batch", questions, folder / "samples.jsonl", "--url", server.url)
    assert "holds no evaluation" in sweep("why", code=2).stderr
    sweep("why", "--overwrite")


def test_without_out_the_folder_is_named_by_what_is_asked(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for question in ("why", "how", "why"):
        call("sweep", question, *GRID, "--url", server.url)
    assert len(list(tmp_path.glob("sweep-*/samples.jsonl"))) == 2
    assert len(server.requests) == 12


# --- drawing only ---------------------------------------------------------------------------------


def test_plot_only_draws_what_is_there_and_asks_nothing(sweep, questions, folder):
    said = sweep("--file", questions).stdout
    drawn = (folder / "sweep.svg").read_bytes()
    for name in ("sweep.png", "sweep.svg", "summary.json", "summary.csv"):
        (folder / name).unlink()
    assert call("sweep", "--plot-only", folder, "--url", "127.0.0.1:1").stdout == said
    assert (folder / "sweep.svg").read_bytes() == drawn


def test_a_sweep_whose_judge_is_missing_names_its_own_command(sweep, questions, folder, monkeypatch):
    sweep("why")
    settings = json.loads((folder / "settings.json").read_text())
    settings["task"]["questions"][0] |= {"expected": "so", "grading": "judge"}
    (folder / "settings.json").write_text(json.dumps(settings))
    monkeypatch.delenv("S1_JUDGE_MODEL", raising=False)
    error = " ".join(call("sweep", "--plot-only", folder, code=2).stderr.split())
    assert f"the samples are kept: s1 sweep --plot-only {folder} grades them again" in error


def test_plot_only_draws_a_sweep_that_was_stopped(sweep, folder):
    sweep("why")
    replies = folder / "samples.jsonl"
    replies.write_bytes(replies.read_bytes()[:-20])
    call("sweep", "--plot-only", folder)
    assert sum(row["num_samples"] for row in rows(folder).values()) == 5


@pytest.mark.parametrize("name", ["sweep.json", "replies.jsonl"])
def test_a_folder_of_an_earlier_version_is_neither_overwritten_nor_drawn(sweep, server, folder, name):
    folder.mkdir()
    (folder / name).write_text("{}\n")
    for done in (sweep("why", code=2), sweep("why", "--overwrite", code=2), call("sweep", "--plot-only", folder, code=2)):
        assert f"earlier version of s1 wrote ({name}); give another --out" in " ".join(done.stderr.split())
    assert server.requests == [] and [path.name for path in folder.iterdir()] == [name]


def test_a_figure_of_earlier_replies_does_not_stay(sweep, server, folder):
    sweep("why")
    server.says(error=EngineFailed("out of blocks"))
    assert "figures: none" in sweep("why", "--overwrite", code=1).stdout
    assert not list(folder.glob("sweep.*"))


def test_plot_only_needs_a_sweep(tmp_path):
    assert f"{tmp_path}: holds no evaluation" in call("sweep", "--plot-only", tmp_path, code=2).stderr


# --- what is refused ------------------------------------------------------------------------------


def test_a_bad_line_and_nothing_is_asked(sweep, server, questions):
    with questions.open("a") as file:
        file.write(
            '{"prompt": "a", "expected": true}\n{"prompt": "b", "num_ignore": 1}\n{"prompt": "c", "meta": 1}\nnope\n{"prompt": "open"}\n'
        )
    said = sweep("--file", questions, code=2).stderr
    assert f"{questions}:5: expected: got true, allowed: a number, or text" in said
    assert f"{questions}:6: num_ignore: not allowed in a question" in said
    assert f"{questions}:8: not JSON" in said
    assert "no request was sent" in said
    assert server.requests == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "one of QUESTION, --file, --task and --plot-only"),
        (["why", "--file", "{questions}"], "one of QUESTION"),
        (["why", "--num-ignore", "0"], "--max-thinking-tokens is missing"),
        (["why", "--task", "letters"], "one of QUESTION, --file, --task and --plot-only"),
        (["why", "--num-questions", "3"], "--num-questions and --question-seed are for --task, which is not given"),
        (["--task", "leters", "--max-thinking-tokens", "0"], "did you mean 'letters'?"),
        (["why", "--max-thinking-tokens", "0,x", "--num-ignore", "0"], "got '0,x', allowed: different integers >= -1"),
        (["why", "--max-thinking-tokens", "0,0", "--num-ignore", "0"], "got '0,0', allowed: different"),
        (["why", "--max-thinking-tokens", "0", "--num-ignore", "-1"], "allowed: different integers >= 0"),
        (["why", "--max-thinking-tokens", "0", "--num-ignore", "0", "--num-samples", "2"], "No such option"),
        (["why", "--max-thinking-tokens", "0", "--num-ignore", "0", "--out", "{questions}"], "is a file"),
        (["why", "--max-thinking-tokens", "0", "--num-ignore", "0", "--out", "{questions}/x"], "Not a directory"),
    ],
)
def test_a_wrong_command_line(questions, arguments, said):
    assert said in call("sweep", *(one.format(questions=questions) for one in arguments), code=2).stderr


def test_only_drawing_imports_matplotlib():
    """Importing matplotlib takes as long as importing everything else."""
    modules = "s1_client.cli.app, s1_client.cli.evaluate.eval, s1_client.cli.evaluate.sweep"
    code = f"import sys, {modules}; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
