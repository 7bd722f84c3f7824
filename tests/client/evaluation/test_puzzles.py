# SPDX-License-Identifier: Apache-2.0
"""Puzzles: right answers, different problems, the same for a seed, and a split that no wording can cross."""

from itertools import islice

import pytest

from s1_client.evaluation.tasks.puzzles import FAMILIES, Puzzle, apply, is_held_out, puzzles


def drawn(family, seed=0, *, held_out=True, number=300):
    return list(islice(puzzles(family, seed, held_out=held_out), number))


def answered(puzzle: Puzzle) -> int:
    """The answer, computed from the question's own text."""
    text = puzzle.question.replace('"', " ").replace("?", " ").replace(".", " ").replace(",", " ")
    if puzzle.family == "letters":
        words = text.split()
        word = max((word for word in words if word not in ("letters", "times", "often")), key=lambda word: puzzle.core.endswith(" " + word))
        letter = next(word[0] for word in words if len(word.removesuffix("'s")) == 1 and word[0] != "I")
        return sum(character == letter for character in word)
    if puzzle.family == "sums":
        expression = "".join(character for character in text if character in "0123456789+-*")
        return int(eval(expression))
    tokens = text.replace(":", " ").replace("mod 10", " ").split()
    digit = int(next(token for token in tokens if token.isdigit()))
    for token in tokens:
        if token[0] in "+-*" and len(token) == 2:
            digit = int(eval(f"{digit}{token}")) % 10
    return digit


@pytest.mark.parametrize("family", FAMILIES)
def test_the_answer_follows_from_the_text_of_the_question(family):
    assert all(answered(puzzle) == puzzle.answer for puzzle in drawn(family))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_draws_the_same_different_problems_each_time(family):
    first = drawn(family)
    assert first == drawn(family)
    assert first != drawn(family, seed=1)
    assert len({puzzle.core for puzzle in first}) == len(first)
    assert {puzzle.family for puzzle in first} == {family}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_problem_is_held_out_in_every_wording_or_in_none(family):
    held, others = drawn(family), drawn(family, held_out=False)
    assert {puzzle.core for puzzle in held}.isdisjoint(puzzle.core for puzzle in others)
    assert all(is_held_out(puzzle.core) for puzzle in held)
    assert not any(is_held_out(puzzle.core) for puzzle in others)


def test_a_tenth_of_the_problems_is_held_out():
    cores = [f"letters r {number}" for number in range(20_000)]
    assert sum(map(is_held_out, cores)) / len(cores) == pytest.approx(0.1, abs=0.01)


def test_the_paper_s_question_is_a_puzzle_of_the_first_wording():
    assert "How many r in raspberry" in {f"How many {letter} in raspberry" for letter in "r"}
    puzzle = next(
        puzzle
        for puzzle in puzzles("letters", 0, held_out=True)
        if puzzle.question.startswith("How many ") and puzzle.question[-1].isalpha()
    )
    assert puzzle.question == f"How many {puzzle.facts['letter']} in {puzzle.facts['word']}"


@pytest.mark.parametrize(("operation", "digit", "result"), [("+7", 5, 2), ("-7", 5, 8), ("*7", 5, 5)])
def test_an_operation_keeps_the_last_digit(operation, digit, result):
    assert apply(operation, digit) == result


def test_an_unknown_family_is_refused():
    with pytest.raises(ValueError, match="family: got 'riddles', allowed: letters, chain, sums"):
        next(puzzles("riddles", 0, held_out=True))
