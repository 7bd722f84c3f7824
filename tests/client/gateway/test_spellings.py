# SPDX-License-Identifier: Apache-2.0
"""The table of spellings: each means what its inventor's server means by it, and two that disagree are refused, naming both."""

import itertools

import pytest

from s1_client.gateway.errors import Refusal
from s1_client.gateway.shapes import validated
from s1_client.gateway.spellings import SPELLINGS, BudgetFields, budget_of


def body(path, value):
    """A body with a value at a path; Anthropic's object needs its type."""
    first, _, second = path.partition(".")
    if not second:
        return {first: value}
    return {first: {**({"type": "enabled"} if first == "thinking" else {}), second: value}}


def merged(*bodies):
    made = {}
    for one in bodies:
        for name, value in one.items():
            made[name] = {**made[name], **value} if isinstance(made.get(name), dict) and isinstance(value, dict) else value
    return made


def read(*bodies):
    return budget_of(validated(BudgetFields, merged(*bodies)))


def refused(*bodies):
    with pytest.raises(Refusal) as error:
        read(*bodies)
    assert error.value.status == 400
    return error.value


TOKENS = [path for path in SPELLINGS if path.endswith(("tokens", "budget"))]
EFFORTS = [path for path in SPELLINGS if path.endswith("effort")]
SWITCHES = [path for path in SPELLINGS if path.endswith(("enabled", "enable_thinking", ".thinking"))]


def test_the_groups_of_this_test_hold_the_whole_table():
    others = {"think", "thinking", "thinking.type", "include_reasoning", "reasoning.exclude", "thinking.display"}
    assert {*TOKENS, *EFFORTS, *SWITCHES, *others} == set(SPELLINGS)


@pytest.mark.parametrize("path", TOKENS)
@pytest.mark.parametrize("number", [-1, 0, 1, 8000])
def test_a_number_is_the_budget(path, number):
    budget = read(body(path, number))
    assert budget.options == {"max_thinking_tokens": number}
    assert budget.spelled["max_thinking_tokens"] == path


@pytest.mark.parametrize("path", TOKENS)
@pytest.mark.parametrize("value", [True, 2.0, "5", -2, 2**31])
def test_anything_else_is_no_number_of_tokens(path, value):
    assert refused(body(path, value)).param == path


@pytest.mark.parametrize("path", [*EFFORTS, "think"])
@pytest.mark.parametrize("effort", ["minimal", "low", "medium", "high", "xhigh", "max"])
def test_an_effort_is_left_to_the_servers_preset(path, effort):
    assert read(body(path, effort)).options == {"reasoning_effort": effort}


@pytest.mark.parametrize("path", [*EFFORTS, "think"])
def test_effort_none_turns_thinking_off(path):
    given = {"thinking": {"type": "disabled", "effort": "none"}} if path == "thinking.effort" else body(path, "none")
    assert read(given).options == {"thinking": "off"}


@pytest.mark.parametrize("path", [*EFFORTS, "think"])
@pytest.mark.parametrize("value", ["ultra", 0.5, "LOW", ""])
def test_an_unknown_effort_is_refused(path, value):
    assert refused(body(path, value)).param == path


@pytest.mark.parametrize("path", [*SWITCHES, "think"])
def test_a_switch_turns_thinking_off_or_leaves_the_preset(path):
    assert read(body(path, False)).options == {"thinking": "off"}
    assert read(body(path, True)).options == {}


def test_anthropics_types():
    assert read({"thinking": {"type": "disabled"}}).options == {"thinking": "off"}
    assert read({"thinking": {"type": "adaptive"}}).options == {}
    assert read({"thinking": {"type": "enabled", "budget_tokens": 3}}).options == {"max_thinking_tokens": 3}


@pytest.mark.parametrize(
    ("mode", "options"), [("off", {"thinking": "off"}), ("free", {"thinking": "free"}), ("forced", {"thinking": "forced"})]
)
def test_our_own_word(mode, options):
    assert read({"thinking": mode}).options == options


@pytest.mark.parametrize(
    "hidden", [{"include_reasoning": False}, {"reasoning": {"exclude": True}}, {"thinking": {"type": "adaptive", "display": "omitted"}}]
)
def test_a_thought_that_is_not_wanted_is_not_sent(hidden):
    assert (read(hidden).is_shown, read().is_shown) == (False, True)


def groups():
    """Pairs of spellings of one kind, with two values that disagree."""
    yield from ((first, 100, second, 200) for first, second in itertools.combinations(TOKENS, 2))
    yield from ((first, "low", second, "high") for first, second in itertools.combinations([*EFFORTS, "think"], 2))
    yield from ((first, False, second, True) for first, second in itertools.combinations([*SWITCHES, "think"], 2))
    yield from ((first, 100, second, "low") for first, second in itertools.product(TOKENS, [*EFFORTS, "think"]))
    yield from ((first, 100, second, False) for first, second in itertools.product(TOKENS, [*SWITCHES, "think"]))
    yield "include_reasoning", True, "reasoning.exclude", True


@pytest.mark.parametrize(("first", "one", "second", "other"), list(groups()))
def test_two_that_disagree_are_refused_naming_both(first, one, second, other):
    refusal = refused(body(first, one), body(second, other))
    assert {first, second} == set(refusal.param.split(", "))
    assert first in refusal.message
    assert second in refusal.message


@pytest.mark.parametrize(("first", "one", "second", "other"), [group for group in groups() if type(group[1]) is type(group[3])])
def test_two_that_agree_are_no_conflict(first, one, second, other):
    value = True if first == "include_reasoning" else one
    same = False if second == "reasoning.exclude" else value
    assert read(body(first, value), body(second, same)).options == read(body(first, value)).options


def test_no_budget_agrees_with_no_thinking():
    assert read({"enable_thinking": False, "thinking_budget": 0, "reasoning_effort": "none"}).options == {"thinking": "off"}


def test_null_is_no_spelling():
    assert read(dict.fromkeys(BudgetFields.model_fields)).options == {}


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"reasoning": {"effrt": "low"}}, "reasoning.effrt"),
        ({"thinking": {"type": "enabled", "keep": "all"}}, "thinking.keep"),
        ({"chat_template_kwargs": {"add_generation_prompt": True}}, "chat_template_kwargs.add_generation_prompt"),
        ({"reasoning_budget_message": "stop"}, "reasoning_budget_message"),
        ({"nvext": {"max_thinking_tokens": 3, "top_k": 1}}, "nvext.top_k"),
        ({"separate_reasoning": False}, "separate_reasoning"),
        ({"reasoning_format": "none"}, "reasoning_format"),
    ],
)
def test_what_has_no_meaning_here_is_refused_with_its_path(wrong, path):
    assert refused(wrong).param == path
