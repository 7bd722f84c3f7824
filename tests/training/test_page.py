# SPDX-License-Identifier: Apache-2.0
"""What docs/training.md shows is accepted: its file of questions, its recipe, the names of recipes, stages and options."""

import re
import shlex

import pytest
from training_sets import write_set

from budgetforce.curating import __main__ as data_commands
from budgetforce.curating.decontaminate import load_tests
from budgetforce.curating.recipe import bundled_recipes, load_recipe
from budgetforce.curating.rows import read_rows
from budgetforce.curating.runner import STEPS
from budgetforce.training import __main__ as training_commands
from budgetforce.training.recipe import recipe_names


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs/training.md").read_text()


@pytest.fixture
def shown(page, tmp_path, monkeypatch):
    """A folder with the files that the page shows; the recipe's tokenizer is one that is at hand."""
    for name, text in re.findall(r"<!-- file in tests: (\S+) -->\n```\w+\n(.*?)```", page, re.S):
        (tmp_path / name).write_text(re.sub(r"^tokenizer = .*", 'tokenizer = "s1-tiny"', text, flags=re.M))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(page, script):
    """The commands of a script on the page, without the words in front of its name."""
    lines = [line for block in re.findall(r"```sh\n(.*?)```", page, re.S) for line in block.splitlines()]
    split = [shlex.split(line, comments=True) for line in lines]
    return [words[words.index(script) + 1 :] for words in split if script in words]


def test_the_questions_and_the_recipe_are_collected(shown):
    assert data_commands.main(["all", "--recipe", "mine.toml", "--work", "work", "--until", "collect"]) == 0
    rows = {row["source_id"]: row for row in read_rows(shown / "work/01-collect/rows.jsonl")}
    assert [(rows[name]["expected"], rows[name]["grading"]) for name in ("q1", "q2")] == [("400", "integer"), ("2^30", "math")]
    assert rows["q2"]["metadata"] == {"domain": "Number theory"}


def test_the_dry_run_writes_nothing(page, shown, capsys):
    (command,) = [words for words in commands(page, "build/data.py") if "--dry-run" in words]
    before = sorted(shown.iterdir())
    assert data_commands.main(command) == 0
    assert "trace" in capsys.readouterr().out
    assert sorted(shown.iterdir()) == before


def test_a_file_of_test_questions_can_be_kept_out_of_the_set(page, shown):
    (text,) = re.findall(r"<!-- test set in tests -->\n```toml\n(.*?)```", page, re.S)
    (shown / "both.toml").write_text(f"{(shown / 'mine.toml').read_text()}\n{text}")
    (shown / "my-test-questions.jsonl").write_text('{"prompt": "What is 6 * 7?", "expected": "42"}\n')
    (found,) = load_tests(load_recipe("both.toml").recipe.decontaminate)
    assert list(found.questions.values()) == ["What is 6 * 7?"]


def test_the_trial_fits_a_set_with_the_tokenizer_of_s1_tiny(shown, root, monkeypatch, capsys):
    write_set(shown / "set", num_rows=20)
    monkeypatch.chdir(root)
    command = ["sft", "--recipe", str(shown / "trial.toml"), "--data", str(shown / "set"), "--work", str(shown / "trial"), "--dry-run"]
    assert training_commands.main(command) == 0
    assert "trial: 6 steps of 16 sequences" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["s1-1.5b", "1xH100"], ["s1-32b", "16xH100"]], ids=" ".join)
def test_the_plan_needs_nothing_but_the_recipe(arguments, capsys):
    assert training_commands.main(["plan", "--recipe", arguments[0], "--gpus", arguments[1]]) == 0
    assert "not yet run on GPUs" in capsys.readouterr().out


def test_the_page_names_every_recipe_and_every_stage(page):
    assert set(bundled_recipes()) <= set(re.findall(r"`([\w-]+)`", page.partition("## Stages")[2]))
    assert set(recipe_names()) <= set(re.findall(r"[\w.-]+\w", page))
    assert re.findall(r"^\| `(\w+)` \|", page.partition("## Stages")[2].partition("The card")[0], re.M) == list(STEPS)
