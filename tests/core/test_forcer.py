# SPDX-License-Identifier: Apache-2.0
"""What budget forcing does, rule by rule, on ids that are easy to read."""

import pytest

from budgetforce.core import (
    AnswerEnd,
    BudgetForcer,
    Cancelled,
    Emit,
    Finish,
    ForcingPlan,
    Generate,
    Phase,
    ProtocolViolation,
    RoundEnd,
    RoundEnded,
    Started,
    State,
    StopWordFound,
    ThinkingEnd,
    TokensSampled,
)

PROMPT, A, B, NL, WAIT, OPEN, CUT, PREFIX, END, EOS = (100, 101), 1, 2, 10, 50, 60, 61, 62, 90, 91


def plan(**changes):
    defaults = {
        "prompt_ids": PROMPT,
        "terminators": frozenset({END, EOS}),
        "max_thinking_tokens": 8,
        "num_ignore": 0,
        "ignore_ids": (WAIT,),
        "max_answer_tokens": 4,
        "max_context_tokens": 1000,
        "answer_ids": (OPEN,),
        "cut_answer_ids": (OPEN, CUT),
        "answer_prefix_ids": (PREFIX,),
        "line_break_ids": (NL,),
        "line_break_bearing": frozenset({NL}),
    }
    return ForcingPlan(**{**defaults, **changes})


class Driver:
    """Feeds rounds of ids to a forcer and keeps all its actions."""

    def __init__(self, **changes):
        self.forcer = BudgetForcer(plan(**changes))
        self.actions = list(self.forcer.receive(Started()))

    def round(self, *ids):
        self.actions += self.forcer.receive(TokensSampled(ids))
        return self.end(RoundEnded())

    def end(self, event):
        self.actions += self.forcer.receive(event)
        return self

    @property
    def rounds(self):
        return [action for action in self.actions if isinstance(action, Generate)]

    def shown(self, phase):
        return [i for a in self.actions if isinstance(a, Emit) and a.phase is phase and not a.hidden for i in a.ids]

    @property
    def ledger(self):
        assert isinstance(self.actions[-1], Finish)
        return self.actions[-1].ledger


def test_a_natural_end_opens_the_answer_with_the_marker_alone():
    """The terminator is consumed: not shown, not in the context, not counted against the budget."""
    driver = Driver().round(A, B, END)
    assert driver.rounds[-1].context_ids == (*PROMPT, A, B, OPEN)
    assert driver.shown(Phase.THINKING) == [A, B]
    ledger = driver.round(A, EOS).ledger
    assert (ledger.thinking_end, ledger.answer_end) == (ThinkingEnd.NATURAL, AnswerEnd.STOP)
    assert (ledger.thinking, ledger.terminators, ledger.answer_sampled) == (2, 2, 1)


def test_a_spent_budget_cuts_and_forces_the_answer():
    """A line break, the marker and the answer prefix, as in the authors' evaluation."""
    driver = Driver(max_thinking_tokens=2).round(A, B)
    assert driver.rounds[0].max_new_tokens == 2
    assert driver.rounds[-1].context_ids == (*PROMPT, A, B, NL, OPEN, CUT, PREFIX)
    assert driver.shown(Phase.ANSWER) == [PREFIX]
    assert driver.round(END).ledger.thinking_end is ThinkingEnd.BUDGET


def test_a_cut_behind_a_line_break_adds_none():
    """Whatever token bears the line break."""
    driver = Driver(max_thinking_tokens=2).round(A, NL)
    assert driver.rounds[-1].context_ids == (*PROMPT, A, NL, OPEN, CUT, PREFIX)


def test_a_budget_of_zero_answers_at_once():
    """No thinking round is asked for."""
    driver = Driver(max_thinking_tokens=0)
    assert [generate.phase for generate in driver.rounds] == [Phase.ANSWER]
    assert driver.rounds[0].context_ids == (*PROMPT, NL, OPEN, CUT, PREFIX)
    assert driver.round(END).ledger.thinking_end is ThinkingEnd.SKIPPED


def test_a_refused_end_becomes_the_ignore_string_and_may_not_come_back_first():
    """Exactly ``num_ignore`` times; the next end is accepted."""
    driver = Driver(num_ignore=1).round(A, END)
    assert driver.rounds[1].context_ids == (*PROMPT, A, WAIT)
    assert driver.rounds[1].forbid_terminator_first
    assert driver.rounds[1].max_new_tokens == 8 - 2
    ledger = driver.round(B, EOS).round(END).ledger
    assert (ledger.num_ignored, ledger.thinking_sampled, ledger.thinking_injected) == (1, 2, 1)


def test_an_empty_ignore_string_only_refuses():
    """Nothing is put in, but the terminator may still not come first."""
    driver = Driver(num_ignore=1, ignore_ids=()).round(A, END)
    assert driver.rounds[1].context_ids == (*PROMPT, A)
    assert driver.rounds[1].forbid_terminator_first


@pytest.mark.parametrize(("budget", "next_phase"), [(3, Phase.ANSWER), (4, Phase.THINKING)])
def test_an_end_is_refused_only_while_the_budget_holds_the_string_and_one_id(budget, next_phase):
    """Two ids thought: 3 leaves one (the string and nothing behind it), 4 leaves two."""
    assert Driver(max_thinking_tokens=budget, num_ignore=5).round(A, B, END).rounds[1].phase is next_phase


def test_the_budget_holds_over_all_rounds_with_what_was_injected():
    """2 sampled + 1 injected + 1 sampled = 4: cut there although ignores are left."""
    driver = Driver(max_thinking_tokens=4, num_ignore=9).round(A, B, END)
    assert driver.rounds[1].max_new_tokens == 1
    ledger = driver.round(A).round(END).ledger
    assert (ledger.thinking, ledger.thinking_end) == (4, ThinkingEnd.BUDGET)


def test_a_terminator_as_the_last_id_of_the_budget_is_a_natural_end():
    """The engine looks for stops before it looks at the length."""
    assert Driver(max_thinking_tokens=2).round(A, END).round(END).ledger.thinking_end is ThinkingEnd.NATURAL


def test_the_answer_prefix_can_follow_a_natural_end_too():
    """Policy "always"."""
    driver = Driver(prefix_after_natural_end=True).round(A, END)
    assert driver.rounds[-1].context_ids == (*PROMPT, A, OPEN, PREFIX)


def test_a_thinking_prefix_starts_the_thought_and_counts():
    """It is injected before the first round, if the budget holds it and one id more."""
    driver = Driver(thinking_prefix_ids=(A, B), max_thinking_tokens=3)
    assert driver.rounds[0].context_ids == (*PROMPT, A, B)
    assert driver.rounds[0].max_new_tokens == 1
    assert Driver(thinking_prefix_ids=(A, B), max_thinking_tokens=2).rounds[0].context_ids == PROMPT


def test_the_answer_is_cut_at_its_cap_and_at_the_context():
    """Whichever comes first."""
    assert Driver().round(END).rounds[-1].max_new_tokens == 4
    assert Driver(max_context_tokens=2 + 8 + 4 + 1).round(*[A] * 8).rounds[-1].max_new_tokens == 1
    assert Driver().round(END).round(A, A, A, A).ledger.answer_end is AnswerEnd.LENGTH


def test_a_stop_word_ends_the_answer():
    """The shell finds it in the text; the core books it."""
    driver = Driver().round(END)
    driver.actions += driver.forcer.receive(TokensSampled((A,)))
    ledger = driver.end(StopWordFound()).ledger
    assert (ledger.answer_end, ledger.rounds[-1].ended_by) == (AnswerEnd.STOP_WORD, RoundEnd.STOP_WORD)


@pytest.mark.parametrize("ids", [(), (A,), (A, END)])
def test_cancelling_ends_everywhere_and_nothing_follows(ids):
    """In either phase; later events do nothing."""
    driver = Driver()
    driver.actions += driver.forcer.receive(TokensSampled(ids))
    assert driver.end(Cancelled()).ledger.answer_end is AnswerEnd.CANCELLED
    assert driver.forcer.receive(TokensSampled((A,))) == []
    assert driver.forcer.receive(RoundEnded()) == []


@pytest.mark.parametrize(
    ("changes", "ids", "message"),
    [
        ({}, (END, A), "after terminator"),
        ({"max_thinking_tokens": 1}, (A, B), "more than the 1 ids"),
        ({}, (A,), "without a terminator"),
    ],
)
def test_an_engine_that_breaks_its_contract_is_caught(changes, ids, message):
    """Never papered over: the reply ends with an error that says what happened."""
    driver = Driver(**changes)
    with pytest.raises(ProtocolViolation, match=message):
        driver.round(*ids)
    assert driver.forcer.state is State.DONE


def test_a_forbidden_terminator_that_comes_first_all_the_same_is_caught():
    """Else a refused end could be chosen again at once, and nobody would know."""
    with pytest.raises(ProtocolViolation, match="forbidden"):
        Driver(num_ignore=2).round(A, END).round(END)


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt_ids": ()},
        {"terminators": frozenset()},
        {"max_thinking_tokens": -1},
        {"num_ignore": -1},
        {"max_answer_tokens": 0},
        {"max_context_tokens": 2 + 8 + 4},
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes):
    """When it is built, not while it runs."""
    with pytest.raises(ValueError, match=r"empty|out of range|no room"):
        plan(**changes)
