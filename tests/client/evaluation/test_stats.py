# SPDX-License-Identifier: Apache-2.0
r"""Statistics of sample files, by the definitions in the module's docstring."""

import pytest

from client.evaluation.made import entry, reply
from s1_client.evaluation._stats import BadSample, split, statistics, statistics_by_setting

THOUGHT = "<|im_start|>think\nfirst step\n\nand a third one\n"


def words(text):
    return len(text.split())


def log(text, *, filtered=None, prompt="a question of five words", right=1.0):
    """Return a line of an lm-eval sample log, in the format of the authors' results."""
    return {
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {}}},
        "resps": [[text]],
        "filtered_resps": [text if filtered is None else filtered],
        "exact_match": right,
    }


@pytest.mark.parametrize(
    ("text", "thinking", "answer"),
    [
        (f"{THOUGHT}<|im_start|>answer\nAnswer: 7", "first step\n\nand a third one", "Answer: 7"),
        (f"{THOUGHT}<|im_start|>answer\nFinal Answer: 7", "first step\n\nand a third one", "Final Answer: 7"),
        (f"{THOUGHT}<|im_start|>answer no line\nbreak", "first step\n\nand a third one", "no line\nbreak"),
        (f"{THOUGHT}<|im_start|>answer\n1<|im_start|>answer\n2", "first step\n\nand a third one", "2"),
        ("<think>\nso\n</think>\n\n7", "so", "\n7"),
        ("<|im_start|>think\ncut in the middle", "cut in the middle", ""),
        ("an answer at once", "", "an answer at once"),
        ("<|im_start|>answer\n7", "", "7"),
        ("", "", ""),
    ],
)
def test_a_response_is_taken_apart_at_its_markers(text, thinking, answer):
    assert split(text) == (thinking, answer)


def test_a_log_is_counted():
    lines = [log(f"{THOUGHT}<|im_start|>answer\nAnswer: 7"), log("no marks", right=0.0)]
    found = statistics(lines, count=words)
    assert (found.num_samples, found.mean_thinking_tokens, found.min_thinking_tokens, found.max_thinking_tokens) == (2, 3, 0, 6)
    assert (found.mean_answer_tokens, found.mean_total_tokens) == (2, 5)
    assert (found.mean_steps, found.mean_step_tokens) == (1.5, 2)
    assert (found.accuracy, found.num_without_answer, found.num_without_thinking) == (0.5, 1, 1)
    assert found.by_length == [(0, False), (6, True)]


def test_a_metric_that_was_left_out_is_no_grade():
    assert statistics([log("7", right=-1), log("7", right=None), log("7", right=0)], count=words).accuracy == 0


def test_a_boxed_answer_is_an_answer():
    assert statistics([log(r"\boxed{7}")], count=words).num_without_answer == 0


def test_a_filter_that_left_the_answer_alone_does_not_hide_the_thinking():
    found = statistics([log(f"{THOUGHT}<|im_start|>answer\nAnswer: 7", filtered="7")], count=words)
    assert found.mean_thinking_tokens == 6


def test_steps_of_step_conditional_control_are_those_that_count_down():
    text = "<|im_start|>2 steps left\none\nline\n<|im_start|>1 steps left\nmore\n<|im_start|>answer\n7"
    found = statistics([log(text)], count=words, max_steps=1)
    assert (found.mean_steps, found.num_over_limit) == (2, 1)


def test_too_long_responses_are_counted():
    """Prompt 5 + thinking 6 + answer 2 tokens reach 13, a context of 21 minus 8."""
    line = log(f"{THOUGHT}<|im_start|>answer\nAnswer: 7")
    assert [statistics([line], count=words, context_tokens=number).num_too_long for number in (21, 20)] == [0, 1]


def test_our_own_files_have_exact_counts_and_limits():
    lines = [
        entry("q0", "x", reply("Answer: 7", thinking="one\ntwo\n", thought=40, answered=3, max_thinking_tokens=39)),
        {**entry("q1", "x", reply(thought=0, thinking="", max_thinking_tokens=39)), "other_replies": [reply(thought=2)]},
        entry("q2", "x"),
    ]
    found = statistics(lines, count=lambda text: pytest.fail("texts are not counted"))
    assert (found.num_samples, found.num_failed, found.mean_thinking_tokens, found.mean_steps) == (3, 1, 14, 1)
    assert (found.num_over_limit, found.num_without_thinking, found.num_without_answer, found.accuracy) == (1, 1, 2, None)


def test_of_repeats_only_the_first_has_the_lines_grade():
    """The harness grades the first response of a line, or a vote of all; the others have no grade."""
    line = log("7", right=1.0) | {"resps": [["Answer: 7", "Answer: 8", "Answer: 9"]]}
    found = statistics([line], count=words)
    assert (found.num_samples, found.accuracy) == (3, 1)
    assert sorted(str(right) for _, right in found.by_length) == ["None", "None", "True"]


def test_repeats_with_grades_of_their_own_keep_them():
    """The authors' tasks with 64 repeats write such lines."""
    line = log("7", right=1.0) | {"resps": [["Answer: 7", "Answer: 8"]], "exact_matches": [1, 0]}
    assert statistics([line], count=words).accuracy == 0.5


def test_a_repeat_with_unfinished_thinking_is_counted_with_the_others():
    texts = [f"{THOUGHT}<|im_start|>answer\nAnswer: 7", "<|im_start|>think\nwithout an end"]
    line = log("") | {"resps": [texts], "filtered_resps": [texts]}
    assert statistics([line], count=words).by_length == [(3, None), (6, True)]


def test_a_response_that_two_filters_grade_is_counted_once():
    lines = [log("7", right=right) | {"filter": name} for name, right in (("strict", 0.0), ("flexible", 1.0))]
    found = statistics(lines, count=words)
    assert (found.num_samples, found.accuracy) == (1, 0)
    columns = statistics_by_setting(lines, count=words)
    assert {name: (stats.num_samples, stats.accuracy) for name, stats in columns.items()} == {"strict": (1, 0), "flexible": (1, 1)}


def test_settings_of_a_file_have_statistics_of_their_own():
    lines = [entry("q0", "budget 16", reply(answer_end="length")), entry("q1", "budget 16"), entry("q0", "budget 32", reply(thought=20))]
    found = statistics_by_setting(lines, count=words, grade=lambda line: line["meta"]["setting"] == "budget 32")
    assert {name: (stats.num_samples, stats.num_failed, stats.accuracy, stats.num_answers_cut) for name, stats in found.items()} == {
        "budget 16": (1, 1, 0, 1),
        "budget 32": (1, 0, 1, 0),
    }


def test_a_file_without_a_sample_has_no_means():
    assert statistics([], count=words).mean_thinking_tokens is None


@pytest.mark.parametrize("line", [{}, {"reply": {}}, {"filtered_resps": [7]}, {"reply": None}])
def test_a_line_that_is_not_a_sample_is_refused(line):
    with pytest.raises(BadSample):
        statistics([line], count=words)


def test_a_log_of_our_model_has_exact_counts():
    """A line has three samples of a question, of which the harness grades the first."""
    line = log("7") | {
        "arguments": {"gen_args_0": {"arg_0": "?", "arg_1": {}, "arg_2": {"replies": [reply(thought=n) for n in (1, 2, 6)]}}}
    }
    found = statistics([line], count=words)
    assert (found.num_samples, found.mean_thinking_tokens, found.by_length) == (3, 3, [(1, True), (2, None), (6, None)])
