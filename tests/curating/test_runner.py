# SPDX-License-Identifier: Apache-2.0
"""The stages of a recipe run once for the same inputs, are whole or absent, and go on after whatever stops them."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest

from budgetforce.curating import code_version
from budgetforce.curating.__main__ import main
from budgetforce.curating.runner import STAGES
from curating.fake_chat_api import FakeChatApi, think
from curating.recipe_files import FROM_FILE, PUZZLES, question, read_lines, write_lines, write_recipe

FOLDERS = [f"{number:02d}-{name}" for number, name in enumerate(STAGES, 1)]


@pytest.fixture
def run(tmp_path, capfd):
    """Run a step of the recipe in a work folder. Returns exit code, stdout and stderr."""

    def step(name="all", *options, recipe=PUZZLES, work="work"):
        path = write_recipe(tmp_path, recipe)
        code = main([name, "--recipe", str(path), "--work", str(tmp_path / work), *options])
        return code, *capfd.readouterr()

    return step


def reports(work):
    return [json.loads((work / folder / "report.json").read_text()) for folder in FOLDERS]


def ids(work):
    return [row["id"] for row in read_lines(work / "07-render" / "rows.jsonl")]


def test_all_stages_make_a_set_that_holds(run, tmp_path):
    code, out, err = run()
    assert code == 0, err
    assert "FAILED" not in out
    assert {path.name for path in (tmp_path / "work").iterdir()} == {".lock", "tokenizer", "set", *FOLDERS}
    assert [json.loads((tmp_path / "work" / "set" / "dataset.json").read_text())[key] for key in ("name", "num_rows")] == ["puzzles", 12]


def test_the_funnel_adds_up(run, tmp_path):
    rows = [question(number % 30) for number in range(40)] + [question(99, thinking="")]
    write_lines(tmp_path / "questions.jsonl", rows)
    code, _, err = run("all", "--until", "render", recipe=FROM_FILE + '[grade]\non_wrong = "drop"\n')
    assert code == 0, err
    found = reports(tmp_path / "work")
    assert [report["name"] for report in found] == list(STAGES)
    for folder, report in zip(FOLDERS, found, strict=True):
        assert report["rows_in"] == report["rows_out"] + sum(report["dropped"].values())
        assert report["rows_out"] == len(read_lines(tmp_path / "work" / folder / "rows.jsonl"))
        assert sum(report["dropped"].values()) == len(read_lines(tmp_path / "work" / folder / "dropped.jsonl"))
    assert all(before["rows_out"] == after["rows_in"] for before, after in pairwise(found))
    assert (found[0]["dropped"], found[1]["dropped"]) == ({"duplicate-question": 10}, {"empty-thinking": 1})


def test_a_finished_stage_is_not_made_again(run):
    assert run()[0] == 0
    code, _, err = run()
    assert code == 0
    assert err.count("already done") == len(STAGES) + 1


@pytest.mark.parametrize(
    ("old", "new", "first"),
    [
        ('method = "full"', 'method = "random"\ntarget = 5', "select"),
        ('answer_prefix = ""', 'answer_prefix = "So: "', "render"),
        ("[trace]", '[grade]\non_wrong = "drop"\n[trace]', "grade"),
        ("seed = 7", "seed = 8", "collect"),
    ],
)
def test_a_change_of_the_recipe_redoes_only_what_follows(run, old, new, first):
    assert run("all", "--until", "render")[0] == 0
    assert old in PUZZLES
    _, _, err = run("all", "--until", "render", recipe=PUZZLES.replace(old, new))
    done = [line.partition(":")[0] for line in err.splitlines() if "already done" in line]
    assert done == list(STAGES[: STAGES.index(first)])


def test_a_changed_file_of_questions_redoes_all(run, tmp_path):
    write_lines(tmp_path / "questions.jsonl", [question(number) for number in range(5)])
    assert run("all", "--until", "grade", recipe=FROM_FILE)[0] == 0
    write_lines(tmp_path / "questions.jsonl", [question(number) for number in range(6)])
    _, _, err = run("all", "--until", "grade", recipe=FROM_FILE)
    assert "already done" not in err
    assert "grade: 6 rows in, 6 out" in err


def test_the_order_of_the_questions_changes_nothing(run, tmp_path):
    rows = [question(number) for number in range(60)]
    chosen = FROM_FILE.replace('method = "full"', 'method = "diverse"\ntarget = 20')
    found = []
    for turn in range(3):
        write_lines(tmp_path / "questions.jsonl", rows)
        assert run("all", "--until", "render", recipe=chosen, work=f"work{turn}")[0] == 0
        found.append(ids(tmp_path / f"work{turn}"))
        random.Random(turn).shuffle(rows)
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 20


def test_stages_can_be_run_one_by_one(run, tmp_path):
    code, _, err = run("trace")
    assert code == 1
    assert "01-collect does not exist, or was made from other inputs: run collect first, or all" in err
    for stage in ("collect", "trace", "grade"):
        assert run(stage)[0] == 0
    assert (tmp_path / "work" / "03-grade" / "rows.jsonl").is_file()
    assert run("verify")[0] == 1


def test_a_limit_is_for_a_trial_and_redone_without(run, tmp_path):
    assert run("all", "--until", "trace", "--limit", "3")[0] == 0
    assert len(read_lines(tmp_path / "work" / "02-trace" / "rows.jsonl")) == 3
    assert run("all", "--until", "trace")[0] == 0
    assert len(read_lines(tmp_path / "work" / "02-trace" / "rows.jsonl")) == 12


def test_a_stage_that_leaves_no_row_fails_with_the_reasons(run, tmp_path):
    write_lines(tmp_path / "questions.jsonl", [question(number, thinking=" ") for number in range(4)])
    code, _, err = run("all", recipe=FROM_FILE)
    assert code == 1
    assert "stage trace: no row of 4 is left (dropped: empty-thinking 4); the first: Answer: " in err
    assert not list((tmp_path / "work").glob("02-trace*"))


def test_a_dry_run_writes_nothing(run, tmp_path):
    code, out, _ = run("all", "--dry-run")
    assert (code, out.splitlines()[:3]) == (
        0,
        ["collect: to do, puzzles/chain 12 rows", "trace: to do, teacher rules, no calls", "grade: to do"],
    )
    assert not (tmp_path / "work").exists()
    assert run("all", "--until", "grade")[0] == 0
    changed = PUZZLES + '[grade]\non_wrong = "drop"\n'
    _, out, _ = run("all", "--dry-run", recipe=changed)
    assert out.splitlines()[:4] == [
        "collect: done, 12 rows in, 12 out",
        "trace: done, 12 rows in, 12 out",
        "grade: to do again, since its inputs have changed, 12 rows in",
        "features: to do",
    ]


def test_a_dry_run_estimates_calls_and_cost(run, tmp_path):
    write_lines(tmp_path / "questions.jsonl", [{"question": "x" * 399 + str(number)} for number in range(10)])
    teacher = (
        'teacher = "openai"\nmodel = "m"\nmax_tokens = 1000\nusd_per_million_input = 100\nusd_per_million_output = 1000\nconcurrency = 1\n'
    )
    with FakeChatApi() as api:
        recipe = FROM_FILE.replace('teacher = "columns"\nthinking = "thinking"\nattempt = "attempt"', f'{teacher}url = "{api.url}"')
        assert run("collect", recipe=recipe)[0] == 0
        _, out, _ = run("trace", "--dry-run", recipe=recipe)
        expected = "10 calls, 0 replies are kept from earlier, about 1000 tokens in and at most 10000 out, 10.10 US dollars"
        assert out == f"trace: to do, teacher openai, {expected}\n"
        assert api.requests == []
        api.reply = lambda text: think(text) if not text.endswith("9") else (401, b"credit is used up")
        assert run("trace", recipe=recipe)[0] == 1
        kept = len(api.requests) - 1
        _, out, _ = run("trace", "--dry-run", recipe=recipe)
        assert (
            f"{10 - kept} calls, {kept} replies are kept from earlier, about {(10 - kept) * 100} tokens in and about {(10 - kept) * 7} out"
            in out
        )


def test_calls_and_cost_are_estimated_before_anything_is_made(run, tmp_path):
    """Of files the questions are known; one that is there twice is sent once."""
    write_lines(tmp_path / "questions.jsonl", [{"question": "x" * 399 + str(number % 9)} for number in range(10)])
    api = 'model = "m"\nmax_tokens = 1000\nusd_per_million_output = 1000\nurl = "http://127.0.0.1:1/v1"\n'
    recipe = FROM_FILE.replace('teacher = "columns"\nthinking = "thinking"\nattempt = "attempt"', f'teacher = "openai"\n{api}')
    recipe = recipe.replace('domain = "tfidf"', f'domain = "llm"\n[features.llm]\n{api}')
    code, out, _ = run("all", "--dry-run", recipe=recipe)
    assert code == 0
    assert out.splitlines()[1] == (
        "trace: to do, teacher openai, 9 calls, 0 replies are kept from earlier, about 900 tokens in and at most 9000 out, 9.00 US dollars"
    )
    assert re.fullmatch(r"features: to do, domains by m, 9 calls, .* tokens in and at most 9000 out, 9.00 US dollars", out.splitlines()[3])
    assert "9 calls" not in run("all", "--dry-run", "--limit", "4", recipe=recipe)[1]


def test_other_graders_remake_the_stages(tmp_path, monkeypatch):
    """They decide which answers are right."""
    digests = []
    for text in ("a", "b"):
        (tmp_path / "__init__.py").write_text(text)
        monkeypatch.setattr(code_version, "grading", SimpleNamespace(__file__=str(tmp_path / "__init__.py")))
        digests.append(code_version.digest_of_code.__wrapped__())
    assert digests[0] != digests[1]


# --- stopped at any moment ------------------------------------------------------------------

KILLED = """
import os, signal, sys
from budgetforce.curating import card, runner
def die(path, rows, original=runner.write_rows):
    found = original(path, rows)
    if sys.argv[1] in str(path):
        os.kill(os.getpid(), signal.SIGKILL)
    return found
def die_in_card(*arguments, original=card.write_set):
    found = original(*arguments)
    if sys.argv[1] == "set":
        os.kill(os.getpid(), signal.SIGKILL)
    return found
runner.write_rows, card.write_set = die, die_in_card
from budgetforce.curating.__main__ import main
sys.exit(main(sys.argv[2:]))
"""


def start(code, *arguments, **options):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_a_run_that_is_killed_in_any_stage_goes_on_and_ends_the_same(run, tmp_path):
    recipe, work = write_recipe(tmp_path), tmp_path / "work"
    for folder in ("01-collect", "04-features", "07-render", "set"):
        killed = start(KILLED, folder, "all", "--recipe", recipe, "--work", work)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not (work / folder).exists()
    code, out, err = run()
    assert (code, "FAILED" in out) == (0, False)
    assert "features: already done" in err
    assert not list(work.glob("*.partial"))
    assert run(work="at once")[0] == 0
    assert (work / "set" / "data.parquet").read_bytes() == (tmp_path / "at once" / "set" / "data.parquet").read_bytes()


def test_a_killed_run_repeats_no_question_that_was_answered(run, tmp_path):
    write_lines(tmp_path / "questions.jsonl", [{"question": f"{number}+1?"} for number in range(6)])
    teacher = 'teacher = "openai"\nmodel = "m"\nconcurrency = 1\n'
    with FakeChatApi() as api:
        recipe = FROM_FILE.replace('teacher = "columns"\nthinking = "thinking"\nattempt = "attempt"', f'{teacher}url = "{api.url}"')
        path, process = write_recipe(tmp_path, recipe), []

        def kill_at_the_third(text):
            if len(api.requests) == 3:
                os.kill(process[0].pid, signal.SIGKILL)
                process[0].wait()
            return think(text)

        api.reply = kill_at_the_third
        command = [
            sys.executable,
            "-m",
            "budgetforce.curating",
            "all",
            "--until",
            "trace",
            "--recipe",
            str(path),
            "--work",
            str(tmp_path / "work"),
        ]
        process.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        assert process[0].wait(120) == -signal.SIGKILL
        assert not (tmp_path / "work" / "02-trace").exists()
        assert run("all", "--until", "trace", recipe=recipe)[0] == 0
    answered, again = api.questions[:2], api.questions[2:]
    assert not set(answered) & set(again)
    assert len(read_lines(tmp_path / "work" / "02-trace" / "rows.jsonl")) == 6


FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from budgetforce.curating.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_full_disk_is_one_sentence_and_the_next_run_goes_on(run, tmp_path):
    recipe, work = PUZZLES.replace("num_questions = 12", "num_questions = 100"), tmp_path / "work"
    stopped = start(FULL, "all", "--until", "grade", "--recipe", write_recipe(tmp_path, recipe), "--work", work)
    assert stopped.returncode == 1
    assert stopped.stderr.splitlines()[-1].startswith("BUILD: stage collect: File too large: ")
    assert "Traceback" not in stopped.stderr
    assert {path.name for path in work.iterdir()} == {".lock", "tokenizer"}
    assert run("all", "--until", "grade", recipe=recipe)[0] == 0


def test_a_second_run_in_the_same_folder_is_refused(run, tmp_path):
    from budgetforce.building.stage import locked

    with locked(tmp_path / "work"):
        code, _, err = run("collect")
    assert code == 1
    assert "another build runs in" in err


def test_missing_files_and_bad_tokenizers_are_sentences(run):
    code, _, err = run("collect", recipe=FROM_FILE)
    assert code == 1
    assert "questions.jsonl: cannot be read: No such file or directory" in err
    code, _, err = run("collect", recipe=PUZZLES.replace('"s1-tiny"', '"owner/model"'))
    assert code == 1
    assert "tokenizer: got 'owner/model' at revision '', allowed: 's1-tiny', a folder, or the id of a model on the hub" in err
