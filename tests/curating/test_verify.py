# SPDX-License-Identifier: Apache-2.0
"""A set that is whole passes every check; each kind of damage fails the check that is for it."""

import json
import shutil

import pytest

from budgetforce.curating import published, verify
from budgetforce.curating.render import RenderSettings
from budgetforce.curating.rows import Drop, Outcome
from budgetforce.curating.tiny_tokenizer import write_tokenizer
from budgetforce.curating.tokens import Tokens
from curating.sample_rows import publish, row, rows
from s1_client.evaluation.tasks.puzzles import puzzles

EXAM = "one two three four five six seven eight nine ten"
RECIPE = {
    "decontaminate": {"test_sets": [{"kind": "file", "path": "exam.jsonl", "name": "exam"}]},
    "render": {"max_tokens": 200},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_tokenizer(folder)
    return Tokens(folder)


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """A folder with a set and the test set of its recipe."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "exam.jsonl").write_text(json.dumps({"question": EXAM}) + "\n")
    given = rows(6)
    before = [("collect", 8, Outcome(rows=given, dropped=[Drop(id="x", source="web", reason="twin")] * 2))]
    publish(folder / "set", tiny, given, recipe=RECIPE, settings=RenderSettings(max_tokens=200), before=before)
    return folder


@pytest.fixture
def made(whole, tmp_path):
    """A copy to damage."""
    shutil.copytree(whole, tmp_path / "work")
    return tmp_path / "work"


def failed(folder):
    """The checks that fail, with their problem."""
    return {check.name: check.detail for check in verify.checks(folder / "set", folder) if not check.is_ok}


def change_rows(folder, change):
    """Damage rows, and correct digest and numbers so that only the check for the damage can fail."""
    found = list(published.read_data(folder / "set" / "data.parquet"))
    change(found)
    published.write_data(folder / "set" / "data.parquet", found)
    correct = {
        "sha256": published.file_sha256(folder / "set" / "data.parquet"),
        "num_tokens": sum(len(one["input_ids"]) for one in found),
        "num_loss_tokens": published.num_loss_tokens(found),
        "max_tokens": max(len(one["input_ids"]) for one in found),
    }
    describe(folder, **correct)


def describe(folder, **changes):
    path = folder / "set" / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change(name, **fields):
    return lambda found: found[int(name)].update(fields)


def test_a_whole_set_passes(whole, capsys):
    assert verify.main(whole / "set", whole) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert all(line.startswith("ok: ") for line in lines)
    assert lines[-2] == "ok: contamination: no row shares 8 words with exam"


def test_a_failed_check_is_shown_and_makes_the_exit_code(made, capsys):
    describe(made, num_rows=5)
    assert verify.main(made / "set", made) == 1
    assert "FAILED: numbers: num_rows: dataset.json says 5, found 6\n" in capsys.readouterr().out


ROW_DAMAGES = {
    "ids": (change(1, id="row0000"), "two rows have the id 'row0000'"),
    "encoding": (
        lambda found: found[2]["input_ids"].__setitem__(-3, 7) or found[2]["labels"].__setitem__(-3, 7),
        "row row0002: the tokenizer",
    ),
    "mask": (lambda found: found[3]["labels"].__setitem__(-1, -100), "row row0003: its labels"),
    "control tokens": (change(4, question="so <|im_end|>"), "row row0004: control token <|im_end|> in 'question'"),
    "contamination": (change(5, solution=f"as {EXAM}"), "1 rows; row row0005: solution shares 'one two"),
    "held-out problems": (
        change(0, metadata={"core": next(puzzles("sums", 0, held_out=True)).core}),
        "row row0000: its problem",
    ),
}


@pytest.mark.parametrize("name", ROW_DAMAGES)
def test_damage_to_a_row_fails_its_check(made, name):
    damage, message = ROW_DAMAGES[name]
    change_rows(made, damage)
    found = failed(made)
    assert list(found) == [name]
    assert found[name].startswith(message)


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_mask_one_id_too_early_or_too_late_fails(made, shift):
    def move(found):
        ids, num_prompt = found[0]["input_ids"], found[0]["labels"].count(-100) + shift
        found[0]["labels"] = [-100] * num_prompt + ids[num_prompt:]

    change_rows(made, move)
    assert list(failed(made)) == ["mask"]


def test_a_longer_row_than_the_recipe_allows_fails(made):
    describe(made, recipe=RECIPE | {"render": {"max_tokens": 50}})
    assert "the limit is 50" in failed(made)["lengths"]


@pytest.mark.parametrize(
    ("stage", "entry", "value", "message"),
    [
        (0, "rows_out", 7, "stage collect: 8 rows in, but 7 out and 2 left out"),
        (1, "rows_in", 7, "stage render: 7 rows in, but 6 out and 0 left out"),
        (1, "dropped", {"too-long": 1}, "stage render: 6 rows in, but 6 out and 1 left out"),
    ],
)
def test_a_funnel_that_does_not_sum_up_fails(made, stage, entry, value, message):
    funnel = json.loads((made / "set" / "dataset.json").read_text())["funnel"]
    funnel[stage][entry] = value
    describe(made, funnel=funnel)
    assert failed(made) == {"funnel": message}


def test_a_funnel_with_a_gap_or_another_end_fails(made):
    stages = [{"stage": name, "rows_in": number, "rows_out": number, "dropped": {}} for name, number in (("collect", 8), ("render", 6))]
    describe(made, funnel=stages)
    assert failed(made) == {"funnel": "stage render: 6 rows in, but 8 out of the stage before"}
    describe(made, funnel=stages[:1])
    assert failed(made) == {"funnel": "the last stage has 8 rows out, the set has 6"}


def test_a_changed_file_fails(made):
    found = list(published.read_data(made / "set" / "data.parquet"))
    found[0]["domain"] = "other"
    published.write_data(made / "set" / "data.parquet", found)
    assert list(failed(made)) == ["digests"]


def test_another_tokenizer_fails(made):
    path = made / "set" / "tokenizer" / "tokenizer_config.json"
    path.write_text(path.read_text() + "\n")
    assert list(failed(made)) == ["digests"]


def test_rows_that_the_recipe_cuts_pass(tiny, tmp_path):
    settings = {"max_tokens": 100, "on_too_long": "cut"}
    publish(tmp_path / "set", tiny, [row("a", thinking="so " * 90)], recipe={"render": settings}, settings=RenderSettings(**settings))
    assert failed(tmp_path) == {}


@pytest.mark.parametrize("name", ["dataset.json", "data.parquet"])
@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_text("[")])
def test_files_that_cannot_be_read_are_one_failed_check(made, name, harm):
    path = made / "set" / name
    harm(path)
    [(check, detail)] = failed(made).items()
    assert (check, detail.startswith(f"{path}: cannot be read")) == ("files", True)


def test_a_missing_test_set_cannot_be_checked(made):
    (made / "exam.jsonl").unlink()
    assert list(failed(made)) == ["contamination"]


def test_a_description_without_a_field_fails_where_it_is_needed(made):
    path = made / "set" / "dataset.json"
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != "funnel"}))
    assert list(failed(made)) == ["funnel"]


def test_a_table_that_is_no_set_is_refused_by_its_columns(made):
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"text": ["a"]}), made / "set" / "data.parquet")
    assert "no column id, question" in failed(made)["files"]


def test_a_puzzle_for_training_passes(tiny, tmp_path):
    puzzle = next(puzzles("letters", 0, held_out=False))
    publish(tmp_path / "set", tiny, [row("a", metadata={"core": puzzle.core})])
    assert failed(tmp_path) == {}
