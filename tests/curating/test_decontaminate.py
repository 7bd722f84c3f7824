# SPDX-License-Identifier: Apache-2.0
"""Planted leaks are found and their clean twins are kept; the report says what was found, where."""

import itertools
import json
import random
from pathlib import Path

import pytest

from budgetforce.building.stage import BuildFailed
from budgetforce.curating import decontaminate
from budgetforce.curating.contamination import TestSet
from budgetforce.curating.decontaminate import DecontaminateSettings
from budgetforce.curating.held_out import is_held_out
from budgetforce.curating.sources import FileSource
from budgetforce.errors import ConfigError
from curating.sample_rows import row, shuffled
from s1_client.evaluation.tasks.puzzles import puzzles

TEST = r"Let $k$ be the largest number such that every sum of $ x^{2} \, + 1 $ is prime. Find the last digit."
TESTS = [
    TestSet(name="exam", questions={"7": TEST, "8": "What is the best?"}),
    TestSet(name="other", questions={"1": "nothing of it " * 9}),
]
LEAKS = {
    "copied": TEST,
    "embedded": "In a town far away, LET $k$ be  the\nlargest number such that all is well.",
    "respaced": r"Is any number such that every sum of x^2+1 is prime?",
    "typeset": r"Let\, $ k $ be \text{the} largest number, such that: every dog barks",
}
TWINS = {
    "seven": "Let $k$ be the largest number such is life",
    "reordered": "Find the last digit. Every sum is prime. Let $k$ be the number",
    "other-formula": "We say that every sum of $x^2 - 1$ is prime. Why",
}


def run(rows, tests=TESTS, **settings):
    return decontaminate.run(rows, DecontaminateSettings(**settings), random.Random(0), tests)


def ids(rows):
    return [one["id"] for one in rows]


def dropped(outcome):
    return sorted(drop.id for drop in outcome.dropped)


@pytest.mark.parametrize("field", ["question", "solution"])
def test_leaks_are_found_and_clean_twins_are_kept(field):
    rows = [row(name, **{field: text}) for name, text in (LEAKS | TWINS).items()]
    outcome = run(rows)
    assert dropped(outcome) == sorted(LEAKS)
    assert ids(outcome.rows) == sorted(TWINS)
    assert {drop.reason for drop in outcome.dropped} == {"contaminated"}


def test_a_drop_says_what_was_shared_and_with_which_question():
    [drop] = run([row("a", question=LEAKS["embedded"])]).dropped
    assert drop.detail == "question shares 'let $k$ be the largest number such that' with exam 7 (words)"


def test_as_published_compares_only_the_question_by_white_space_words():
    rows = [row(name, question=text) for name, text in LEAKS.items()] + [
        row("solution", solution=TEST),
        row("short", question="What is the best?"),
    ]
    assert dropped(run(rows, as_published=True)) == ["copied", "embedded"]
    assert dropped(run(rows, fields=("question",), normalisations=("words",))) == ["copied", "embedded", "short"]


def test_a_question_too_short_for_an_ngram_is_found_only_as_a_whole():
    rows = [row("same", question="what  IS the best?"), row("longer", question="What is the best? Say why.")]
    assert dropped(run(rows)) == ["same"]


def test_a_short_question_is_compared_with_its_punctuation():
    """Without brackets "2*(3+4)" would be "2*3+4", another problem."""
    tests = [TestSet(name="exam", questions={"1": "What is 2*(3+4)?"})]
    assert dropped(run([row("same", question="What is 2*(3+4)?"), row("other", question="What is 2*3+4?")], tests)) == ["same"]


def test_boilerplate_in_the_allow_list_does_not_count():
    lead = "Answer the following question and give only the letter:"
    tests = [TestSet(name="exam", questions={"1": f"{lead} Which of the four planets has the most moons?"})]
    rows = [row("lead", question=f"{lead} Who?"), row("leak", question=f"{lead} Which of the four planets has the most moons?")]
    assert dropped(run(rows, tests)) == ["lead", "leak"]
    assert dropped(run(rows, tests, allow=(lead,))) == ["leak"]


def test_min_hits_counts_different_ngrams_of_one_field():
    rows = [
        row("one", question=LEAKS["embedded"]),
        row("many", question=TEST),
        row("again", question=f"{LEAKS['embedded']} {LEAKS['embedded']}"),
    ]
    assert dropped(run(rows, min_hits=1)) == ["again", "many", "one"]
    assert dropped(run(rows, min_hits=2)) == ["many"]


def test_the_report_counts_every_source_and_test_set():
    rows = [
        row("a", source="web", question=TEST),
        row("b", source="web"),
        row("c", source="book", solution=f"{TEST} {'nothing of it ' * 9}"),
    ]
    found = run(rows).found
    assert [(line["source"], line["test_set"], line["num_rows"], line["num_hits"]) for line in found["table"]] == [
        ("book", "exam", 1, 1),
        ("book", "other", 1, 1),
        ("web", "exam", 2, 1),
        ("web", "other", 2, 0),
    ]
    example = found["table"][2]["example"]
    assert (example["row"], example["test_id"], example["field"], example["normalisation"]) == ("a", "7", "question", "words")
    assert found["table"][3]["example"] is None
    assert [test["num_questions"] for test in found["test_sets"]] == [2, 1]
    assert found["frequent_ngrams"][0] == {"ngram": "let $k$ be the largest number such that", "num_rows": 2}


def test_the_order_of_the_rows_changes_nothing():
    rows = [row(name, question=text, source=name[0]) for name, text in (LEAKS | TWINS).items()]
    assert run(rows) == run(shuffled(rows))


@pytest.mark.parametrize("core", [5, None, ["chain"], *(f"apple {number}" for number in range(40))])
def test_a_core_that_is_no_puzzles_holds_nothing_out(core):
    """A file of questions may use the key for something else; a tenth of its rows must not vanish."""
    assert not is_held_out(row("a", metadata={"core": core}))


def test_a_held_out_puzzle_is_dropped_in_any_wording():
    held, trained = next(puzzles("chain", 1, held_out=True)), next(puzzles("chain", 1, held_out=False))
    rows = [row(name, question=f"Reworded {name}", metadata={"core": puzzle.core}) for name, puzzle in (("held", held), ("kept", trained))]
    outcome = run(rows, tests=[])
    assert (ids(outcome.rows), [(drop.id, drop.reason, drop.detail) for drop in outcome.dropped]) == (
        ["kept"],
        [("held", "held-out", held.core)],
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ngram": 0}, "ngram: got 0, allowed: an integer >= 1"),
        ({"min_hits": 0}, "min_hits: got 0"),
        ({"fields": ()}, "fields: got"),
        ({"normalisations": ()}, "normalisations: got"),
        ({"allow": ("too short",)}, 'allow: got "too short", allowed: texts of at least 8 words'),
        ({"as_published": True, "ngram": 13}, "as_published: got true, allowed: false beside ngram"),
        ({"test_sets": (FileSource(kind="file", path=Path("a.jsonl")),) * 2}, "test_sets: got"),
    ],
)
def test_a_bad_setting_is_refused(settings, message):
    with pytest.raises(ConfigError) as caught:
        DecontaminateSettings(**settings)
    assert caught.value.args[0].startswith(message)


def write(path, *rows):
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return FileSource(kind="file", path=path, name="exam", columns={"question": "problem"})


def test_a_test_set_is_read_like_a_source(tmp_path):
    source = write(tmp_path / "exam.jsonl", {"problem": "One?", "id": "a"}, {"problem": "Two?"})
    [test] = decontaminate.load_tests(DecontaminateSettings(test_sets=(source,)))
    assert (test.name, test.questions, test.origin) == ("exam", {"a": "One?", "row 2": "Two?"}, "exam.jsonl")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"question": "One?"}], "test set exam: {path}:1: problem: missing"),
        ([{"problem": "One?", "id": "a"}, {"problem": "Two?", "id": "a"}], "test set exam: {path}:2 has the id 'a' of an earlier row"),
        ([], "test set exam has no question"),
    ],
)
def test_an_unusable_test_set_is_refused(tmp_path, rows, message):
    path = tmp_path / "exam.jsonl"
    with pytest.raises(BuildFailed) as caught:
        decontaminate.load_tests(DecontaminateSettings(test_sets=(write(path, *rows),)))
    assert caught.value.args[0].startswith(message.format(path=path))


def test_every_window_of_eight_words_is_found():
    """Each place in the test question, at each place in a row."""
    words = TEST.split()
    windows = [words[start : start + 8] for start in range(len(words) - 7)]
    rows = [
        row(f"{number}-{start}", question=" ".join(["so"] * start + window + ["so"]))
        for (number, window), start in itertools.product(enumerate(windows), (0, 1, 9))
    ]
    assert len(run(rows, as_published=True).dropped) == len(rows) == 3 * len(windows)
