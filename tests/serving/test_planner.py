# SPDX-License-Identifier: Apache-2.0
"""The budget algebra: a request's value is applied or refused, defaults give way, the answer's room comes first."""

import re
from contextlib import nullcontext
from dataclasses import replace

import pytest

from budgetforce.core import Phase, ThinkingMode
from budgetforce.engine.call_limits import LIMITS_OF_MODEL, NO_LIMITS
from budgetforce.errors import InvalidRequest
from budgetforce.presets import Preset
from budgetforce.serving.planning.planner import Planner
from budgetforce.serving.requests.request import ReplyRequest

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
    return forcing.longest_before_answer


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


EFFORTS = {"minimal": 5, "low": 10, "medium": 20, "high": 40, "xhigh": 32000, "max": -1}


def test_a_total_leaves_the_answer_its_reserve_or_half(plan):
    """The preset's budget, or -1, gives way; the answer's own cap is what the preset says, up to the total."""
    for total, budget in ((1, 0), (2, 1), (60, 30), (99, 50), (100, 50), (150, 100)):
        for fields in ({}, {"max_thinking_tokens": -1}):
            forcing = plan(max_total_tokens=total, **fields).forcing
            assert (forcing.max_thinking_tokens, forcing.max_total_tokens, forcing.max_answer_tokens) == (budget, total, total)


def test_a_budget_of_the_request_is_kept_within_a_total(plan):
    made = plan(max_total_tokens=100, max_thinking_tokens=99)
    assert (made.forcing.max_thinking_tokens, made.forcing.max_total_tokens) == (99, 100)
    assert made.max_kv_tokens == len(made.forcing.prompt_ids) + made.forcing.num_uncounted_tokens + 100
    assert plan(max_total_tokens=100, grace_tokens=9, max_thinking_tokens=90).forcing.max_thinking_tokens == 90


def test_no_more_is_reserved_for_an_answer_than_a_total_allows(plan):
    """A prompt that leaves 40 tokens has room for a reply of 30, although the preset's reserve is 50."""
    room = CONTEXT - longest(plan(max_thinking_tokens=0).forcing)
    long = "hi" + " hi" * (room - 40)
    with pytest.raises(InvalidRequest, match="of which 50 are reserved"):
        plan(content=long)
    forcing = plan(content=long, max_total_tokens=30).forcing
    assert (forcing.max_thinking_tokens, forcing.max_answer_tokens, longest(forcing)) == (10, 30, CONTEXT - 30)


@pytest.mark.parametrize("mode", ["off", "free"])
def test_without_forcing_a_total_is_a_cap_of_all_that_is_sampled(plan, mode):
    forcing = plan(max_total_tokens=20, thinking=ThinkingMode(mode)).forcing
    assert (forcing.max_answer_tokens, forcing.max_total_tokens) == (20, None)


@pytest.mark.parametrize(
    ("changes", "field", "allowed"),
    [
        ({"max_tokens": 51}, "max_tokens", "1 to 50: max_total_tokens 50 bounds"),
        ({"max_thinking_tokens": 50}, "max_thinking_tokens", "-1 to 49: max_total_tokens 50 bounds"),
        ({"max_thinking_tokens": 40, "grace_tokens": 10}, "max_thinking_tokens", "-1 to 39: max_total_tokens 50 bounds"),
        ({"grace_tokens": 50}, "grace_tokens", "0 to 49: max_total_tokens 50 bounds"),
        ({"min_thinking_tokens": 26}, "min_thinking_tokens", "0 to 25, the budget that max_thinking_tokens, max_total_tokens and the"),
    ],
)
def test_a_part_that_exceeds_the_total_is_refused_naming_both(plan, changes, field, allowed):
    with pytest.raises(InvalidRequest, match=re.escape(allowed)) as refused:
        plan(max_total_tokens=50, **changes)
    assert refused.value.field == field


def test_an_effort_is_a_budget_of_the_presets_table_and_gives_way_to_the_context(tokenizer, preset):
    with_table = replace(preset, thinking=replace(preset.thinking, efforts=EFFORTS))
    planner = Planner(tokenizer, with_table, CONTEXT)
    budgets = {effort: planner.plan(request(reasoning_effort=effort)).forcing.max_thinking_tokens for effort in EFFORTS}
    room = planner.plan(request()).forcing.max_thinking_tokens
    assert budgets == {"minimal": 5, "low": 10, "medium": 20, "high": 40, "xhigh": room, "max": room}
    assert planner.plan(request(reasoning_effort="low")).effective["reasoning_effort"] == "low"


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({}, "nothing: preset smollm2 has no budgets for efforts"),
        ({"max_thinking_tokens": 10}, "nothing beside max_thinking_tokens"),
        ({"thinking": ThinkingMode.OFF}, "nothing: thinking is off"),
    ],
)
def test_an_effort_that_has_no_budget_is_refused(plan, changes, allowed):
    with pytest.raises(InvalidRequest, match=f"field 'reasoning_effort': got .low., allowed: {allowed}"):
        plan(reasoning_effort="low", **changes)


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
    def seeds(**given):
        sampling = plan(**given).sampling
        return [sampling[phase].seed for phase in Phase]

    assert seeds() == [None, None]
    drawn = seeds(sampling={"temperature": 1.0})
    assert drawn[0] is not None
    assert drawn[0] == drawn[1]
    assert seeds(thinking_sampling={"temperature": 1.0})[0] is not None
    assert seeds(sampling={"temperature": 1.0, "seed": 5}, thinking_sampling={"seed": 6}) == [6, 5]


def test_sampling_defaults_are_the_presets(tokenizer, preset):
    sampling = {"temperature": 0.6, "top_k": 20}
    planner = Planner(tokenizer, replace(preset, sampling=sampling), CONTEXT)
    plan = planner.plan(request(sampling={"top_k": 5}, thinking_sampling={"temperature": 1.0}))
    assert [(one.temperature, one.top_k) for one in plan.sampling.values()] == [(1.0, 5), (0.6, 5)]


def test_several_samples_need_a_temperature(plan):
    assert plan(num_samples=3, thinking_sampling={"temperature": 1.0}).num_samples == 3
    with pytest.raises(InvalidRequest, match="num_samples.*got 3"):
        plan(num_samples=3)


def test_the_rows_without_a_token_are_masked(tokenizer, preset):
    num_tokens = len(tokenizer.token_bytes)
    masked = Planner(tokenizer, preset, CONTEXT, num_tokens + 3).plan(request()).masked_ids
    assert masked == {num_tokens, num_tokens + 1, num_tokens + 2}
    assert Planner(tokenizer, preset, CONTEXT, num_tokens).plan(request()).masked_ids == frozenset()


@pytest.mark.parametrize("fields", [{"sampling": {"top_k": 1025}}, {"thinking_sampling": {"top_k": 1025}}])
def test_a_top_k_that_tensorrt_llm_would_cut_is_refused_by_the_callers_field(tokenizer, preset, fields):
    """Its backend samples from 1,024 and says so in its log alone."""
    name = "top_k" if "sampling" in fields else "thinking_top_k"
    for limits, is_refused in ((LIMITS_OF_MODEL["tensorrt_llm"], True), (NO_LIMITS, False)):
        planner = Planner(tokenizer, preset, CONTEXT, call_limits=limits)
        planner.plan(request(sampling={"top_k": 1024}))
        with pytest.raises(InvalidRequest, match=f"field '{name}': got 1025, allowed: 0 to 1024") if is_refused else nullcontext():
            planner.plan(request(**fields))


def test_bad_words_that_vllm_would_die_of_are_refused_by_the_callers_field(tokenizer, preset):
    """Its runner bans 1,024 ids a call. Rows without a token, and terminators, are among them; multi-token words are not."""
    singles = [token.decode() for token in tokenizer.token_bytes if token.isalpha() and token.isascii()]
    singles = [word for word in singles if len(tokenizer.encode(word)) == 1][:1100]
    planner = Planner(tokenizer, preset, CONTEXT, len(tokenizer.token_bytes) + 399, call_limits=LIMITS_OF_MODEL["vllm_llm"])
    thinking, answer = preset.terminator_ids(tokenizer.encode_marker)
    room = 1024 - 399 - len(thinking | answer)
    planner.plan(request(sampling={"bad_words": tuple(singles[:room])}))
    for kind, name in (("sampling", "bad_words"), ("thinking_sampling", "thinking_bad_words")):
        given = {kind: {"bad_words": tuple(singles[: room + 1])}}
        with pytest.raises(InvalidRequest, match=f"'{name}': got .{room + 1} tokens., allowed: at most {room}: this engine bans 1024"):
            planner.plan(request(**given))


def test_a_presets_context_bounds_the_servers(tokenizer, preset):
    assert Planner(tokenizer, replace(preset, context_tokens=200), CONTEXT).plan(request()).forcing.max_context_tokens == 200


# --- floor, grace, prefix -----------------------------------------------------------------------


def test_on_timeout_needs_a_deadline(plan):
    with pytest.raises(InvalidRequest, match="on_timeout.*there is no timeout_ms"):
        plan(on_timeout="answer")


def test_a_floor_above_the_budget_is_refused_naming_both(plan):
    assert plan(min_thinking_tokens=7, max_thinking_tokens=7).forcing.min_thinking_tokens == 7
    with pytest.raises(InvalidRequest, match="min_thinking_tokens.*got 8, allowed: 0 to 7"):
        plan(min_thinking_tokens=8, max_thinking_tokens=7)


def test_a_floor_that_the_context_has_no_room_for_is_refused_naming_both(plan):
    room = plan().forcing.max_thinking_tokens
    with pytest.raises(InvalidRequest, match=f"min_thinking_tokens.*got {room + 1}, allowed: 0 to {room}"):
        plan(min_thinking_tokens=room + 1)


def test_grace_takes_its_room_from_the_thinking(plan):
    room = plan().forcing.max_thinking_tokens
    assert plan(grace_tokens=10).forcing.max_thinking_tokens == room - 10
    with pytest.raises(InvalidRequest, match=f"max_thinking_tokens.*got {room}, allowed: -1 to {room - 10}"):
        plan(grace_tokens=10, max_thinking_tokens=room)
    with pytest.raises(InvalidRequest, match=f"grace_tokens.*got {room + 1}, allowed: 0 to {room}"):
        plan(grace_tokens=room + 1)


def test_an_answer_prefix_of_the_request_is_used_and_bounded_by_the_reserve(plan, tokenizer):
    assert plan(answer_prefix="So:").forcing.answer_prefix_ids == tokenizer.encode("So:")
    assert plan(answer_prefix="").forcing.answer_prefix_ids == ()
    with pytest.raises(InvalidRequest, match='answer_prefix.*got "60 tokens", allowed: at most 50 tokens'):
        plan(answer_prefix=" word" * 60)


def test_an_answer_to_be_continued_is_bounded_by_the_context_alone(plan):
    """With thinking off the prefix may be all of an answer so far, as a search over its steps has it."""
    assert len(plan(thinking=ThinkingMode.OFF, answer_prefix=" word" * 60).forcing.answer_prefix_ids) == 60
    with pytest.raises(InvalidRequest, match=r'answer_prefix.*got "9000 tokens", allowed: at most \d+ tokens behind this prompt'):
        plan(thinking=ThinkingMode.OFF, answer_prefix=" word" * 9000)


def test_ignore_strings_are_encoded_one_by_one(plan, tokenizer):
    assert plan(ignore_str=("Wait", "")).forcing.ignore_ids == (tokenizer.encode("Wait"), ())


@pytest.mark.parametrize("field", ["ignore_str", "answer_prefix"])
def test_a_text_of_the_callers_that_spells_a_control_token_is_refused(plan, field):
    value = ("so <|im_end|>",) if field == "ignore_str" else "so <|im_end|>"
    with pytest.raises(InvalidRequest, match=f"{field}.*without <|im_end|>"):
        plan(**{field: value})


# --- modes and the authors' presets -----------------------------------------------------------------


def test_only_a_forced_thought_is_prefilled(plan, tokenizer):
    start = tokenizer.encode_marker("<|im_start|>think\n")
    forced, free, off = (plan(thinking=mode).forcing for mode in ThinkingMode)
    assert forced.prompt_ids == free.prompt_ids + start
    assert free.prompt_ids == off.prompt_ids


def test_without_a_thought_the_answer_has_a_prefix_only_if_one_is_asked_for(plan, tokenizer):
    assert plan(thinking=ThinkingMode.OFF).forcing.answer_prefix_ids == ()
    forcing = plan(thinking=ThinkingMode.OFF, answer_prefix="So:").forcing
    assert (forcing.answer_prefix_ids, forcing.prefix_after_natural_end) == (tokenizer.encode("So:"), True)


@pytest.mark.parametrize(
    ("mode", "field", "value"),
    [
        *(
            (mode, field, 1)
            for mode in ("free", "off")
            for field in ("max_thinking_tokens", "min_thinking_tokens", "num_ignore", "grace_tokens")
        ),
        ("free", "ignore_str", ("Wait",)),
        ("free", "answer_prefix", "So:"),
        ("off", "thinking_sampling", {"top_k": 2}),
    ],
)
def test_a_field_that_the_thinking_mode_does_not_use_is_refused(plan, mode, field, value):
    with pytest.raises(InvalidRequest, match=f"thinking is {mode}"):
        plan(thinking=ThinkingMode(mode), **{field: value})


@pytest.mark.parametrize(
    ("preset", "field"),
    [("s1-eval", "grace_tokens"), ("s1-readme", "grace_tokens"), ("s1-readme", "min_thinking_tokens"), ("s1-eval", "max_total_tokens")],
)
def test_the_authors_presets_refuse_what_the_authors_do_not_have(tokenizer, preset, field):
    with pytest.raises(InvalidRequest, match=f"{field}.*preset {preset}"):
        Planner(tokenizer, Preset.load("smollm2"), 8192).plan(request(preset=preset, **{field: 1}))


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"answer_prefix": "So:", "answer_prefix_policy": "never"}, "answer_prefix"),
        ({"answer_prefix": "", "answer_prefix_policy": "always"}, "answer_prefix_policy"),
        ({"preset": "s1-readme", "answer_prefix": "So:", "answer_prefix_policy": "always"}, "answer_prefix"),
        ({"preset": "s1-eval", "thinking": ThinkingMode.FREE}, "thinking"),
        ({"preset": "s1-eval", "min_thinking_tokens": 4, "num_ignore": 1}, "min_thinking_tokens"),
        ({"preset": "s1-readme", "num_ignore": 100_000}, "num_ignore"),
        ({"num_samples": 2, "max_thinking_tokens": 0, "thinking_sampling": {"temperature": 1.0}}, "num_samples"),
        ({"sampling": {"bad_words": ("<|im_end|>",)}}, "bad_words"),
    ],
)
def test_fields_without_effect_are_refused(tokenizer, fields, refused):
    with pytest.raises(InvalidRequest) as refusal:
        Planner(tokenizer, Preset.load("smollm2"), 8192).plan(request(**fields))
    assert refusal.value.field == refused


def test_every_parameter_is_reported_as_applied(plan):
    effective = plan(num_ignore=2, sampling={"temperature": 0.5, "seed": 1}).effective
    assert {"preset", "thinking", "max_thinking_tokens", "grace_tokens", "answer_prefix_policy", "thinking_seed"} <= set(effective)
    assert (effective["num_ignore"], effective["thinking_temperature"], effective["seed"]) == (2, 0.5, 1)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"max_thinking_tokens": 3}, None),
        ({"max_thinking_tokens": 30}, "I need to figure out"),
        ({"max_thinking_tokens": 0}, ""),
        ({"thinking": ThinkingMode.OFF}, ""),
        ({"thinking": ThinkingMode.FREE}, ""),
    ],
)
def test_first_words_of_a_thought_that_do_not_fit_are_reported(plan, fields, told):
    assert plan(**fields).effective["thinking_prefix"] == told


@pytest.mark.parametrize(("policy", "natural", "cut"), [("auto", False, True), ("always", True, True), ("never", False, False)])
def test_the_prefix_policy_decides_where_the_answer_prefix_goes(plan, policy, natural, cut):
    forcing = plan(answer_prefix_policy=policy).forcing
    assert (forcing.prefix_after_natural_end, bool(forcing.answer_prefix_ids)) == (natural, cut)


def test_a_preset_that_does_not_fit_the_model_is_refused(tokenizer, preset, monkeypatch):
    thinking = replace(preset.thinking, terminators=("</think>",))
    monkeypatch.setattr(Preset, "load", lambda _: replace(preset, name="other", thinking=thinking))
    with pytest.raises(InvalidRequest, match="</think>"):
        Planner(tokenizer, preset, CONTEXT).plan(request(preset="other"))


# --- what several rounds, or a prefix, make senseless -----------------------------------------------


@pytest.mark.parametrize("penalty", ["presence_penalty", "frequency_penalty"])
@pytest.mark.parametrize("cause", [{"num_ignore": 1}, {"num_ignore": 0, "min_thinking_tokens": 3}, {"num_ignore": 0, "grace_tokens": 3}])
def test_a_penalty_whose_count_would_start_anew_is_refused_naming_both_fields(plan, penalty, cause):
    name, value = list(cause.items())[-1]
    with pytest.raises(InvalidRequest) as refused:
        plan(sampling={penalty: 0.5}, **cause)
    assert refused.value.field == penalty
    assert f"{name} {value}" in refused.value.allowed and f"thinking_{penalty} 0" in refused.value.allowed
    with pytest.raises(InvalidRequest, match=f"field 'thinking_{penalty}'"):
        plan(thinking_sampling={penalty: 0.5}, **cause)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_ignore": 0},
        {"num_ignore": 2, "max_thinking_tokens": 0},
        {"thinking": ThinkingMode.OFF},
        {"thinking": ThinkingMode.FREE},
        {"num_ignore": 2, "thinking_sampling": {"presence_penalty": 0.0}},
    ],
)
def test_a_penalty_that_one_call_counts_is_kept(plan, changes):
    assert plan(sampling={"presence_penalty": 0.5}, **changes).sampling[Phase.ANSWER].presence_penalty == 0.5


def test_the_repetition_penalty_which_counts_the_prompt_too_goes_with_several_rounds(plan):
    assert plan(sampling={"repetition_penalty": 1.1}, num_ignore=2).sampling[Phase.THINKING].repetition_penalty == 1.1


@pytest.mark.parametrize("word", ["Final Answer:", "Answer", ":"])
def test_a_stop_word_within_the_answers_prefix_is_refused(plan, word):
    with pytest.raises(InvalidRequest, match=r'does not occur in answer_prefix \("Final Answer:"\)'):
        plan(stop_words=("x", word))
    assert plan(stop_words=(word,), answer_prefix_policy="never").stop_words.words == (word,)
    assert plan(stop_words=(word,), answer_prefix="So").stop_words.words == (word,)
    assert plan(stop_words=(word,), thinking=ThinkingMode.OFF, answer_prefix="Final Answer: so far").stop_words.words == (word,)


def test_a_prompt_whose_words_alone_are_too_many_is_never_encoded(tokenizer, preset, monkeypatch):
    planner = Planner(tokenizer, preset, CONTEXT)
    monkeypatch.setattr(tokenizer, "encode_chat", None)
    with pytest.raises(
        InvalidRequest, match=r"field 'text_input': got \"at least 301 tokens\", allowed: fewer: the context holds 300 tokens"
    ):
        planner.plan(request("word " * 301))
