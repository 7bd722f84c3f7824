# SPDX-License-Identifier: Apache-2.0
"""The text of a row in each variant."""

import pytest

from budgetforce.curating import traces


@pytest.mark.parametrize(("number", "bucket"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (1024, 1024), (1025, 2048), (2048, 2048)])
def test_buckets_are_powers_of_two(number, bucket):
    assert traces.round_up(number) == bucket


def test_the_trace_and_the_answer_are_stripped_and_the_question_is_not():
    turns = traces.plain(" Why? ", "\n so \n", " 3\n")
    assert (turns.question, turns.reply, turns.bucket) == (" Why? ", "<|im_start|>think\nso\n<|im_start|>answer\n3", None)


def test_variant_token_names_the_limit_in_the_question():
    turns = traces.with_token_limit("Why?", "so", "3", 1500)
    assert (turns.question, turns.bucket) == ("Why?\n\nThink for up to 2048 tokens.", 2048)
    assert turns.reply == traces.plain("Why?", "so", "3").reply


def test_variant_step_counts_down_from_the_limit():
    """Three steps are rounded up to four, of which one is left over."""
    turns = traces.with_step_limit("Why?", "one\n\ntwo\nlines\n \n\nthree\n", "3")
    assert (turns.question, turns.bucket) == ("Why?\n\nThink for up to 4 steps.", 4)
    assert turns.reply == (
        "<|im_start|>4 steps left\none\n<|im_start|>3 steps left\ntwo\nlines\n<|im_start|>2 steps left\nthree\n<|im_start|>answer\n3"
    )


@pytest.mark.parametrize(
    ("answer", "prefix", "expected"),
    [
        ("3", "Answer: ", "Answer: 3"),
        ("Final Answer: 3", "Answer: ", "Final Answer: 3"),
        ("So the\nAnswer:3", "Answer: ", "So the\nAnswer:3"),
        ("answer: 3", "Answer: ", "Answer: answer: 3"),
        ("3", "", "3"),
    ],
)
def test_a_prefix_is_put_before_answers_without_it(answer, prefix, expected):
    assert traces.with_prefix(answer, prefix) == expected
