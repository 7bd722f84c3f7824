# SPDX-License-Identifier: Apache-2.0
"""The budget algebra: what is asked for is kept or refused, defaults give way, the answer's room comes first."""

from dataclasses import replace

import pytest

from budgetforce.errors import InvalidRequest
from budgetforce.presets import Preset
from budgetforce.serving.planning import Planner
from budgetforce.serving.request import ReplyRequest

CONTEXT = 300


def request(content="hi", **changes):
    return ReplyRequest(messages=({"role": "user", "content": content},), prompt_field="text_input", **changes)


@pytest.fixture
def preset():
    smollm2 = Preset.load("smollm2")
    return replace(smollm2, answer=replace(smollm2.answer, max_tokens=-1, reserve_tokens=50))


@pytest.fixture
def plan(tokenizer, preset):
    return lambda **changes: Planner(tokenizer, preset, CONTEXT).plan(request(**changes))


def longest(forcing):
    return len(forcing.prompt_ids) + forcing.max_thinking_tokens + forcing.num_closing_tokens


def test_the_default_budget_is_what_the_context_leaves_after_the_reserve(plan):
    assert longest(plan().forcing) == CONTEXT - 50


def test_an_answer_cap_that_is_asked_for_is_reserved_whole(plan):
    forcing = plan(max_tokens=120).forcing
    assert forcing.max_answer_tokens == 120
    assert longest(forcing) == CONTEXT - 120


def test_a_budget_that_fits_is_kept_and_one_more_is_refused_naming_both_numbers(plan):
    room = plan().forcing.max_thinking_tokens
    assert plan(max_thinking_tokens=room).forcing.max_thinking_tokens == room
    with pytest.raises(InvalidRequest, match=f"got {room + 1}, allowed: -1 to {room}: the context holds {CONTEXT}"):
        plan(max_thinking_tokens=room + 1)


def test_a_presets_budget_gives_way_to_the_context(tokenizer, preset):
    def budget(max_tokens):
        thinking = replace(preset.thinking, max_tokens=max_tokens)
        return Planner(tokenizer, replace(preset, thinking=thinking), CONTEXT).plan(request()).forcing.max_thinking_tokens

    assert budget(20) == 20
    assert budget(32000) == budget(-1) < CONTEXT


def test_a_prompt_that_leaves_no_room_is_refused(plan):
    with pytest.raises(InvalidRequest) as refused:
        plan(content="word " * 400)
    assert refused.value.field == "text_input"


def test_an_answer_that_leaves_no_room_for_the_prompt_is_refused_as_such(plan):
    with pytest.raises(InvalidRequest) as refused:
        plan(max_tokens=290)
    assert refused.value.field == "max_tokens"


def test_a_prompt_that_just_fits_gets_a_budget_of_zero(tokenizer, preset):
    base = Planner(tokenizer, preset, CONTEXT).plan(request()).forcing
    exact = CONTEXT - base.max_thinking_tokens
    assert Planner(tokenizer, preset, exact).plan(request()).forcing.max_thinking_tokens == 0
    with pytest.raises(InvalidRequest):
        Planner(tokenizer, preset, exact - 1).plan(request())


def test_sampling_draws_a_seed_only_where_one_matters(plan):
    assert plan().sampling.seed is None
    assert plan(temperature=1.0).sampling.seed is not None
    assert plan(temperature=1.0, seed=5).sampling.seed == 5


@pytest.mark.parametrize(("policy", "natural", "cut"), [("auto", False, True), ("always", True, True), ("never", False, False)])
def test_the_prefix_policy_decides_where_the_answer_prefix_goes(tokenizer, preset, policy, natural, cut):
    answer = replace(preset.answer, prefix_policy=policy)
    forcing = Planner(tokenizer, replace(preset, answer=answer), CONTEXT).plan(request()).forcing
    assert (forcing.prefix_after_natural_end, bool(forcing.answer_prefix_ids)) == (natural, cut)


def test_control_tokens_in_an_ignore_string_stay_text(plan):
    assert not {0, 1, 2} & set(plan(ignore_str="<|im_end|>").forcing.ignore_ids)


def test_a_preset_that_does_not_fit_the_model_is_refused(tokenizer, preset, monkeypatch):
    thinking = replace(preset.thinking, terminators=("</think>",))
    monkeypatch.setattr(Preset, "load", lambda _: replace(preset, name="other", thinking=thinking))
    with pytest.raises(InvalidRequest, match="</think>"):
        Planner(tokenizer, preset, CONTEXT).plan(request(preset="other"))
