# SPDX-License-Identifier: Apache-2.0
"""The filters keep and drop what the authors' notebook keeps and drops."""

import itertools
import re

import pytest

from budgetforce.curating.quality import bad_string, is_of, missing_feature, solved_by_weak_model
from curating.sample_rows import AIME, row

PIECES = (
    "[asy] draw(); [/asy]",
    "![Image](a.png)",
    "see p7.",
    "see p1000.",
    "see p0.",
    "**12**",
    "**bold** and 3",
    "**two words 2**",
    "plain",
)


def notebook_keeps(question, source):
    """data/filter.ipynb @77272c6, its loop over strings, rewritten."""
    if (
        "[asy]" not in question
        and "![Image]" not in question
        and not any(f"p{i}." in question for i in range(1, 1000))
        and not re.search(r"\*\*(?=.*\d)[^\s\]]*\*\*", question)
    ):
        return True
    return "[asy]" in question and "AIME" in source


@pytest.mark.parametrize("source", [AIME, "web"])
def test_bad_strings_are_those_of_the_notebook(source):
    """Over every text of up to three pieces."""
    find = bad_string((AIME,))
    texts = [" ".join(pieces) for number in (1, 2, 3) for pieces in itertools.product(PIECES, repeat=number)]
    kept = [text for text in texts if not find(row("a", question=text, source=source))]
    assert kept == [text for text in texts if notebook_keeps(text, source)]
    assert 10 < len(kept) < len(texts) - 10


def test_the_reason_is_the_string_itself():
    assert bad_string(())(row("a", question="see p17. there")) == "p17."


@pytest.mark.parametrize("field", ["domain", "is_correct", "num_thinking_tokens"])
def test_a_row_without_a_feature_is_named_by_it(field):
    assert missing_feature(())(row("a", **{field: None})) == field


def test_a_wrong_answer_and_a_trace_without_tokens_are_no_missing_features():
    assert missing_feature(())(row("a", is_correct=False, num_thinking_tokens=0)) == ""


def test_each_weak_model_must_have_been_graded():
    find = missing_feature(("7b", "32b"))
    assert find(row("a", weak_correct={"7b": False, "32b": None})) == "weak_correct.32b"
    assert find(row("a", weak_correct={"7b": False})) == "weak_correct.32b"
    assert find(row("a", weak_correct={"7b": False, "32b": True, "other": None})) == ""


@pytest.mark.parametrize(("small", "large"), list(itertools.product((True, False), repeat=2)))
def test_a_question_is_too_easy_if_any_weak_model_solves_it(small, large):
    find = solved_by_weak_model(("7b", "32b"))
    assert bool(find(row("a", weak_correct={"7b": small, "32b": large, "other": True}))) == (small or large)


def test_a_source_has_parts_but_no_namesakes():
    assert is_of(row("a", source="qfq/openaimath/Algebra"), ["qfq/openaimath"])
    assert is_of(row("a", source="qfq/openaimath"), ["qfq/openaimath"])
    assert not is_of(row("a", source="qfq/openaimath2"), ["qfq/openaimath"])
