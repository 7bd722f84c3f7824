# SPDX-License-Identifier: Apache-2.0
"""A preset is a file: every shipped one loads, and what is wrong in one is said."""

from dataclasses import replace
from importlib import resources

import pytest

from budgetforce import presets
from budgetforce.core import ThinkingMode
from budgetforce.errors import ConfigError
from budgetforce.presets import Preset
from budgetforce.serving.planning.planner import Planner
from budgetforce.serving.requests.request import ReplyRequest
from budgetforce.text.tokenizer import ChatTokenizer
from reference import qwen25


@pytest.mark.parametrize("name", presets.names())
def test_every_shipped_preset_loads(name):
    assert Preset.load(name).name == name


def test_s1_is_as_its_authors_have_it():
    """Source: budget forcing in the authors' evaluation code."""
    s1 = Preset.load("s1")
    assert (s1.thinking.start, s1.thinking.ignore_str, s1.thinking.max_tokens, s1.thinking.num_ignore) == (
        "<|im_start|>think",
        ("Wait",),
        32000,
        1,
    )
    assert (s1.answer.start, s1.answer.cut_start, s1.answer.prefix) == ("<|im_start|>answer", "<|im_start|>answer\n", "Final Answer:")


def test_s1_has_a_budget_for_each_effort_of_openai():
    assert Preset.load("s1").thinking.efforts == {"minimal": 512, "low": 2000, "medium": 8000, "high": 16000, "xhigh": 32000, "max": -1}


def test_a_table_of_efforts_is_whole_or_absent():
    text = (resources.files("budgetforce.presets") / "s1.toml").read_text()
    with pytest.raises(ConfigError, match="efforts are .*allowed: minimal, low"):
        Preset.parse("mine", text.replace("medium = 8000\n", ""))


def test_the_authors_presets_are_s1_with_other_rules():
    s1, evaluation, readme = (Preset.load(name) for name in ("s1", "s1-eval", "s1-readme"))
    assert [one.thinking.budget_rule for one in (s1, evaluation, readme)] == ["exact", "per_round", "sampled"]
    assert [one.thinking.seam for one in (s1, evaluation, readme)] == ["ids", "ids", "text"]
    assert {one.thinking.start for one in (s1, evaluation, readme)} == {"<|im_start|>think"}


@pytest.fixture(scope="module")
def qwen3():
    return ChatTokenizer(qwen25.load("<tool_response>", "</tool_response>", "<think>", "</think>"))


def test_qwen3_thinks_between_single_tokens(qwen3):
    """Another reasoning model is another file: nothing about markers is in the code."""
    preset = Preset.load("qwen3")
    think, end_of_thought = 151667, 151668
    assert preset.terminator_ids(qwen3.encode_marker) == ({end_of_thought, 151645, 151643}, {151645, 151643})
    request = ReplyRequest(messages=({"role": "user", "content": "hi"},), prompt_field="text_input", max_thinking_tokens=9)
    planner = Planner(qwen3, preset, 40960)
    forced = planner.plan(request).forcing
    assert forced.prompt_ids[-2:] == (think, 198)
    assert forced.answer_ids == forced.cut_answer_ids == (end_of_thought, 271)
    off = planner.plan(replace(request, thinking=ThinkingMode.OFF, max_thinking_tokens=None)).forcing
    assert off.answer_ids == (think, 271, end_of_thought, 271)
    free = planner.plan(replace(request, thinking=ThinkingMode.FREE, max_thinking_tokens=None)).forcing
    assert (free.thinking_marker_ids, free.answer_marker_ids) == ((think,), (end_of_thought,))


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(ConfigError, match="known: qwen3, s1, s1-eval, s1-readme, smollm2"):
        Preset.load("s2")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("num_ignore = 1", "", "num_ignore"),
        ("num_ignore = 1", "num_ignore = 1\nnum_waits = 2", "num_waits"),
        ("[answer]", "[reply]", "answer"),
        ("num_ignore = 1", "num_ignore = ", "Invalid value"),
        ('prefix_policy = "auto"', 'prefix_policy = "sometimes"', "prefix_policy is 'sometimes', allowed: auto, always, never"),
        ("num_ignore = 1", 'num_ignore = 1\nseam = "glue"', "seam is 'glue'"),
    ],
)
def test_a_file_with_a_missing_unknown_or_broken_key_is_refused(old, new, message):
    text = (resources.files(presets) / "s1.toml").read_text()
    assert old in text
    with pytest.raises(ConfigError, match=message):
        Preset.parse("mine", text.replace(old, new))


def test_a_terminator_must_be_one_token_of_the_model(tokenizer):
    text = (resources.files(presets) / "s1.toml").read_text()
    preset = Preset.parse("mine", text.replace('"<|im_end|>"', '"</think>"', 1))
    with pytest.raises(ConfigError, match="'</think>' is .* tokens"):
        preset.terminator_ids(tokenizer.encode_marker)
    assert Preset.load("s1").terminator_ids(tokenizer.encode_marker) == ({0, 1, 2}, {0, 1, 2})
    assert Preset.load("s1-eval").terminator_ids(tokenizer.encode_marker) == ({1, 2}, {2})
