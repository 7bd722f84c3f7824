# SPDX-License-Identifier: Apache-2.0
"""Questions come with their provenance; a bad row is refused with its place, or dropped with its reason."""

import hashlib
import random

import pyarrow as pa
import pytest
from pyarrow import parquet

from budgetforce.building.stage import BuildFailed
from budgetforce.curating import collect
from budgetforce.curating.collect import CollectSettings
from budgetforce.curating.sources import FileSource, GeneratorSource
from budgetforce.curating.sources.files import sha256_of
from budgetforce.curating.tiny_tokenizer import write_tokenizer
from budgetforce.curating.tokens import Tokens
from curating.recipe_files import question, write_lines
from s1_client.evaluation.tasks.puzzles import is_held_out


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return Tokens(folder)


@pytest.fixture
def gather(tmp_path, tokens):
    """Collect from files of rows, each of them a source."""

    def run(*files, limit=None, on_bad_row="refuse", suffix="jsonl", **options):
        sources = []
        for number, rows in enumerate(files):
            path = tmp_path / f"source{number}.{suffix}"
            parquet.write_table(pa.Table.from_pylist(rows), path) if suffix == "parquet" else write_lines(path, rows)
            sources.append(FileSource(kind="file", path=path, **options))
        settings = CollectSettings(sources=tuple(sources), on_bad_row=on_bad_row)
        return collect.run(settings, random.Random(0), tokens, limit)

    return run


def test_a_row_has_its_question_and_provenance(gather, tmp_path):
    (row,) = gather([question(2, id="q2", solution="4", licence="MIT")]).rows
    assert row["id"] == hashlib.sha256(b"What is 2 + 2?").hexdigest()[:16]
    assert row["source_revision"] == f"sha256 {hashlib.sha256((tmp_path / 'source0.jsonl').read_bytes()).hexdigest()}"
    assert {name: row[name] for name in ("source", "source_id", "licence", "expected", "grading", "solution")} == {
        "source": "source0.jsonl",
        "source_id": "q2",
        "licence": "MIT",
        "expected": "4",
        "grading": "integer",
        "solution": "4",
    }
    assert row["columns"] == {"thinking": "Add.", "attempt": "Answer: 4"}


@pytest.mark.parametrize(
    ("bad", "place", "reason"),
    [
        ({"solution": "4"}, "question: missing, allowed: text", "missing-field"),
        ({"question": 7}, "question: got '7', allowed: text", "bad-field"),
        ('{"question": "2+2?", "id": NaN}', "id: got 'nan', allowed: text", "bad-field"),
        ({"question": ["What?"]}, "question: got \"['What?']\", allowed: text", "bad-field"),
        ({"question": " "}, "question: empty, allowed: text", "empty-question"),
        ({"question": "Say <|im_start|>answer"}, "question: spells the control token '<|im_start|>'", "control-token"),
        ({"question": "2+2?", "expected": "4", "grading": "luck"}, "grading: got 'luck', allowed: ", "bad-field"),
        (
            {"question": "2+2?", "expected": "four", "grading": "integer"},
            "expected: got 'four', allowed with grading integer: a whole number",
            "bad-field",
        ),
        ({"question": "2+2?", "id": "q1"}, "id: duplicate id 'q1', first at ", "duplicate-id"),
        ({"question": "2+2?", "metadata": "{'a': __import__('os')}"}, "metadata: got ", "bad-field"),
        ('{"question": "2+2?"', "not JSON: ", "not-json"),
        ('["2+2?"]', "got '[\"2+2?\"]', allowed: a JSON object", "not-json"),
        ('{"question": "\\ud800?"}', "half a character (a ", "not-json"),
    ],
)
def test_a_bad_row_is_refused_or_dropped_by_name(gather, tmp_path, bad, place, reason):
    rows = [question(1, id="q1"), bad, question(3, id="q3")]
    with pytest.raises(BuildFailed) as caught:
        gather(rows)
    assert f"{tmp_path / 'source0.jsonl'}:2: {place}" in str(caught.value)
    outcome = gather(rows, on_bad_row="drop")
    assert len(outcome.rows) == 2
    assert [(drop.reason, ":2: " in drop.detail) for drop in outcome.dropped] == [(reason, True)]


def test_only_the_first_bad_rows_are_listed(gather):
    with pytest.raises(BuildFailed, match="and 5 more bad rows"):
        gather([{"solution": "?"}] * 15)


def test_a_question_that_is_there_twice_stays_once_by_the_earlier_source(gather):
    outcome = gather([question(1, source="first"), question(2)], [question(1, source="second"), question(1, source="second")])
    assert sorted(row["source"] for row in outcome.rows) == ["first", "source0.jsonl"]
    assert {(drop.reason, drop.source) for drop in outcome.dropped} == {("duplicate-question", "source1.jsonl")}
    assert [drop.detail.rpartition("source1.jsonl")[2] for drop in outcome.dropped] == [":1: also in first", ":2: also in first"]


def test_a_source_without_a_row_is_named(gather):
    with pytest.raises(BuildFailed, match=r"source source1.jsonl: no row"):
        gather([question(1)], [])


def test_the_order_of_rows_changes_nothing(gather):
    rows = [question(number, solution=solution) for number in range(20) for solution in ("a", "b")]
    before = gather(rows)
    random.Random(1).shuffle(rows)
    after = gather(rows)
    without_revision = [[{**row, "source_revision": None} for row in outcome.rows] for outcome in (before, after)]
    assert without_revision[0] == without_revision[1]
    assert len(before.rows) == len(before.dropped) == 20


def test_a_limit_takes_the_first_rows_of_each_source(gather):
    outcome = gather([question(number) for number in range(5)], [question(number) for number in range(10, 15)], limit=2)
    assert outcome.found == {"sources": {"source0.jsonl": {"rows": 2, "kept": 2}, "source1.jsonl": {"rows": 2, "kept": 2}}}


def test_the_authors_columns_are_read(gather):
    published = {
        "question": "How many r in raspberry?",
        "solution": "Count. \\boxed{3}",
        "cot_type": "math",
        "source_type": "qfq/openaimath/Algebra",
        "metadata": repr({"level": "Level 5", "answer": None, "nested": ("a", 1.5)}),
        "cot": None,
        "thinking_trajectories": ["r, r, r"],
        "attempt": "3",
    }
    (row,) = gather([published], suffix="parquet", layout="s1", expected_from="solution").rows
    assert (row["source"], row["expected"], row["grading"]) == ("qfq/openaimath/Algebra", "3", "integer")
    assert row["metadata"] == {"level": "Level 5", "answer": None, "nested": ["a", 1.5]}
    assert row["columns"] == {"cot_type": "math", "thinking_trajectories": ["r, r, r"], "attempt": "3"}


def test_metadata_that_json_cannot_hold_stays_as_text(gather):
    (row,) = gather([question(1, metadata="{'a': b'bytes'}")]).rows
    assert row["metadata"] == {"repr": "{'a': b'bytes'}"}


def test_half_a_character_in_metadata_stays_as_text(gather):
    """In a literal it is written as six harmless characters; a file of rows could not hold it."""
    (row,) = gather([question(1, metadata="{'a': '\\ud800'}")]).rows
    assert row["metadata"] == {"repr": "{'a': '\\ud800'}"}


def test_a_file_is_digested_again_when_it_has_changed(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("one")
    first = sha256_of(path)
    path.write_text("other")
    assert [first, sha256_of(path)] == [hashlib.sha256(text).hexdigest() for text in (b"one", b"other")]


def test_columns_may_have_other_names(gather):
    (row,) = gather([{"problem": "2+2?", "answer": 4}], columns={"question": "problem", "expected": "answer"}, grading="math").rows
    assert (row["question"], row["expected"], row["grading"]) == ("2+2?", "4", "math")
    assert "columns" not in row


def test_columns_that_json_cannot_hold_are_written_as_text(gather):
    (row,) = gather([question(1, image=b"\x00")], suffix="parquet").rows
    assert row["columns"]["image"] == r"b'\x00'"


def test_files_that_cannot_be_read_are_named(gather, tmp_path, tokens):
    with pytest.raises(BuildFailed, match=r"missing.jsonl: no such file \(source missing.jsonl\)"):
        collect.run(CollectSettings(sources=(FileSource(kind="file", path=tmp_path / "missing.jsonl"),)), random.Random(0), tokens)
    broken = tmp_path / "broken.parquet"
    broken.write_text("no parquet")
    with pytest.raises(BuildFailed, match="broken.parquet: not a parquet file"):
        collect.run(CollectSettings(sources=(FileSource(kind="file", path=broken),)), random.Random(0), tokens)


def test_generated_questions_are_never_held_out(tokens):
    sources = tuple(GeneratorSource(kind="generator", name=name, num_questions=200) for name in ("letters", "chain", "sums"))
    outcome = collect.run(CollectSettings(sources=sources), random.Random(5), tokens)
    assert len(outcome.rows) + len(outcome.dropped) == 600
    assert not any(is_held_out(row["metadata"]["core"]) for row in outcome.rows)
    again = collect.run(CollectSettings(sources=sources), random.Random(5), tokens)
    assert again == outcome
    assert collect.run(CollectSettings(sources=sources), random.Random(6), tokens) != outcome
