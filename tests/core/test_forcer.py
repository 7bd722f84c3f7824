# SPDX-License-Identifier: Apache-2.0
"""Budget forcing, rule by rule, on ids that are easy to read."""

from dataclasses import replace

import pytest
from forcing_plan import ANSWER, CUT, DOT, END, EOS, HEAD, HMM, NL, OPEN, PHANTOM, PREFIX, PROMPT, TAIL, THINK, WAIT, A, B, make_plan

from budgetforce.core import (
    AnswerEnd,
    AnswerNow,
    BudgetForcer,
    BudgetRule,
    Cancelled,
    Emit,
    EngineProtocolError,
    Finish,
    Generate,
    Phase,
    Reencode,
    Reencoded,
    RefusedFor,
    RoundEnd,
    RoundEnded,
    ShellProtocolError,
    Started,
    State,
    StopWordFound,
    ThinkingEnd,
    ThinkingMode,
    TimeIsUp,
    TokensSampled,
)


class Driver:
    """Feeds rounds of ids to a forcer and keeps all its actions."""

    def __init__(self, **changes):
        self.forcer = BudgetForcer(make_plan(**changes))
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


def test_a_cut_after_a_line_break_adds_no_other():
    """Whichever token ends in the line break."""
    driver = Driver(max_thinking_tokens=2).round(A, NL)
    assert driver.rounds[-1].context_ids == (*PROMPT, A, NL, OPEN, CUT, PREFIX)


def test_a_budget_of_zero_answers_at_once():
    """No thinking round is requested."""
    driver = Driver(max_thinking_tokens=0)
    assert [generate.phase for generate in driver.rounds] == [Phase.ANSWER]
    assert driver.rounds[0].context_ids == (*PROMPT, NL, OPEN, CUT, PREFIX)
    assert driver.round(END).ledger.thinking_end is ThinkingEnd.SKIPPED


def test_a_refused_end_becomes_the_ignore_string_and_may_not_come_back_first():
    """Exactly ``num_ignore`` times; the next end is accepted."""
    driver = Driver(num_ignore=1).round(A, END)
    assert driver.rounds[1].context_ids == (*PROMPT, A, WAIT)
    assert driver.rounds[1].min_tokens == 1
    assert driver.rounds[1].max_new_tokens == 8 - 2
    ledger = driver.round(B, EOS).round(A, END).ledger
    assert (ledger.num_ignored, ledger.thinking_sampled, ledger.thinking_injected) == (1, 2, 1)


def test_a_terminator_right_behind_an_ignore_string_is_thrown_away_and_its_round_runs_again():
    """It is neither shown nor counted against the budget; the second time the engine must not sample it."""
    driver = Driver(num_ignore=1).round(A, END)
    assert driver.rounds[1].may_redo
    driver.round(EOS)
    assert driver.rounds[2] == replace(driver.rounds[1], may_redo=False)
    assert len(driver.forcer.ledger.rounds) == 2
    ledger = driver.round(B, END).round(A, END).ledger
    assert [record.num_redone for record in ledger.rounds] == [0, 1, 0]
    assert (ledger.redone, ledger.terminators, ledger.thinking, ledger.thinking_end) == (1, 3, 3, ThinkingEnd.NATURAL)
    assert driver.shown(Phase.THINKING) == [A, WAIT, B]


def test_a_round_is_thrown_away_only_for_its_first_id():
    driver = Driver(num_ignore=1).round(A, END).round(B, EOS)
    assert driver.rounds[-1].phase is Phase.ANSWER
    assert driver.round(A, END).ledger.redone == 0


def test_nothing_may_follow_a_terminator_that_is_thrown_away():
    driver = Driver(num_ignore=1).round(A, END)
    with pytest.raises(EngineProtocolError, match=f"id {A} was sampled after a terminator"):
        driver.round(END, A)


@pytest.mark.parametrize("event", [AnswerNow(), TimeIsUp(), Cancelled()])
def test_a_sample_may_be_cut_between_a_terminator_that_is_thrown_away_and_its_round(event):
    """Before and after the end of the engine's call; the round counts what it threw away."""
    for ends in ([], [RoundEnded()]):
        driver = Driver(num_ignore=1).round(A, END)
        for happened in (TokensSampled((END,)), *ends, event):
            driver.actions += driver.forcer.receive(happened)
        ledger = driver.forcer.ledger
        assert (ledger.rounds[1].num_redone, ledger.rounds[1].num_sampled_tokens, ledger.thinking) == (1, 0, 2)
        if not isinstance(event, Cancelled):
            assert driver.rounds[-1].context_ids == (*PROMPT, A, WAIT, NL, OPEN, CUT, PREFIX)
            assert driver.round(B, END).ledger.redone == 1


def test_an_empty_ignore_string_only_refuses():
    """Nothing is injected, but the next id still must not be a terminator: the model would sample the same again."""
    driver = Driver(num_ignore=1, ignore_ids=((),)).round(A, END)
    assert driver.rounds[1].context_ids == (*PROMPT, A)
    assert (driver.rounds[1].min_tokens, driver.rounds[1].may_redo) == (1, False)


@pytest.mark.parametrize(("budget", "next_phase"), [(3, Phase.ANSWER), (4, Phase.THINKING)])
def test_an_end_is_refused_only_while_the_budget_has_room_for_the_string_and_an_id(budget, next_phase):
    """Two ids are sampled: a budget of 3 leaves one (the string and no id after it), 4 leaves two."""
    assert Driver(max_thinking_tokens=budget, num_ignore=5).round(A, B, END).rounds[1].phase is next_phase


def test_the_budget_covers_all_rounds_and_the_injected_ids():
    """2 sampled + 1 injected + 1 sampled = 4: cut there although num_ignore is not used up."""
    driver = Driver(max_thinking_tokens=4, num_ignore=9).round(A, B, END)
    assert driver.rounds[1].max_new_tokens == 1
    ledger = driver.round(A).round(END).ledger
    assert (ledger.thinking, ledger.thinking_end) == (4, ThinkingEnd.BUDGET)


def test_a_terminator_as_the_last_id_of_the_budget_is_a_natural_end():
    """The engine checks for stop ids before it checks the length."""
    assert Driver(max_thinking_tokens=2).round(A, END).round(END).ledger.thinking_end is ThinkingEnd.NATURAL


def test_the_answer_prefix_can_follow_a_natural_end_too():
    """Policy "always"."""
    driver = Driver(prefix_after_natural_end=True).round(A, END)
    assert driver.rounds[-1].context_ids == (*PROMPT, A, OPEN, PREFIX)


def test_a_thinking_prefix_starts_the_thought_and_counts():
    """It is injected before the first round, if the budget has room for it and another id."""
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
    """The shell finds it in the text; the core records it."""
    driver = Driver().round(END)
    driver.actions += driver.forcer.receive(TokensSampled((A,)))
    ledger = driver.end(StopWordFound()).ledger
    assert (ledger.answer_end, ledger.rounds[-1].ended_by) == (AnswerEnd.STOP_WORD, RoundEnd.STOP_WORD)


def test_an_answer_without_ids_is_no_success():
    """A terminator at once: empty, not stopped."""
    assert Driver().round(A, END).round(EOS).ledger.answer_end is AnswerEnd.EMPTY


# --- floor, strings in turn ---------------------------------------------------------------


def test_below_the_floor_every_end_is_refused():
    """As often as needed, even if num_ignore is used up; above it the end is accepted."""
    driver = Driver(min_thinking_tokens=4).round(A, END).round(B, END).round(A, END)
    assert [r.refused_for for r in driver.forcer.ledger.rounds] == [RefusedFor.FLOOR, RefusedFor.FLOOR, None, None]
    assert [generate.phase for generate in driver.rounds] == [Phase.THINKING] * 3 + [Phase.ANSWER]


def test_num_ignore_is_used_up_before_the_floor_refuses():
    driver = Driver(min_thinking_tokens=6, num_ignore=1).round(A, END).round(B, END).round(A, END)
    assert [r.refused_for for r in driver.forcer.ledger.rounds[:3]] == [RefusedFor.NUM_IGNORE, RefusedFor.FLOOR, RefusedFor.FLOOR]


def test_the_floor_holds_even_where_the_string_does_not_fit():
    """7 of 8 ids are used: no room for the string and another id, so the end is only refused."""
    driver = Driver(min_thinking_tokens=8).round(A, A, A, A, A, A, A, END)
    assert driver.rounds[-1].context_ids == (*PROMPT, *[A] * 7)
    assert (driver.rounds[-1].max_new_tokens, driver.rounds[-1].min_tokens) == (1, 1)
    assert driver.round(B).round(END).ledger.thinking == 8


def test_ignore_strings_are_used_in_turn():
    driver = Driver(num_ignore=3, ignore_ids=((WAIT,), (HMM,))).round(A, END).round(B, END).round(A, END)
    assert driver.shown(Phase.THINKING) == [A, WAIT, B, HMM, A, WAIT]


# --- cuts -----------------------------------------------------------------------------------


def test_grace_lets_a_cut_wait_for_the_end_of_a_sentence():
    """A round of at most grace_tokens ids that also stops at a boundary; it is counted and reported."""
    driver = Driver(max_thinking_tokens=2, grace_tokens=3).round(A, B)
    grace = driver.rounds[1]
    assert (grace.phase, grace.max_new_tokens, grace.stop_ids) == (Phase.THINKING, 3, {END, EOS, NL, DOT})
    ledger = driver.round(A, DOT).round(A, END).ledger
    assert driver.rounds[-1].context_ids == (*PROMPT, A, B, A, DOT, NL, OPEN, CUT, PREFIX)
    assert (ledger.grace, ledger.thinking, ledger.thinking_end, ledger.rounds[1].ended_by) == (2, 4, ThinkingEnd.BUDGET, RoundEnd.BOUNDARY)


def test_grace_is_bounded():
    driver = Driver(max_thinking_tokens=2, grace_tokens=2).round(A, B).round(A, A)
    assert driver.forcer.ledger.rounds[1].ended_by is RoundEnd.GRACE
    assert driver.rounds[-1].phase is Phase.ANSWER


def test_a_cut_at_a_boundary_needs_no_grace():
    driver = Driver(max_thinking_tokens=2, grace_tokens=2).round(A, DOT)
    assert driver.rounds[-1].phase is Phase.ANSWER
    assert driver.round(END).ledger.grace == 0


def test_an_end_in_the_grace_is_a_natural_one():
    """It is not refused, whatever num_ignore says: the budget is spent."""
    driver = Driver(max_thinking_tokens=2, grace_tokens=2, num_ignore=5).round(A, B).round(A, END)
    assert driver.rounds[-1].context_ids == (*PROMPT, A, B, A, OPEN)
    ledger = driver.round(A, END).ledger
    assert (ledger.thinking_end, ledger.grace) == (ThinkingEnd.NATURAL, 1)


def test_a_cut_removes_half_a_character():
    """It was never emitted; it is counted as dropped, and the budget stays spent."""
    driver = Driver(max_thinking_tokens=3).round(HEAD, TAIL, HEAD)
    assert driver.rounds[-1].context_ids == (*PROMPT, HEAD, TAIL, NL, OPEN, CUT, PREFIX)
    assert driver.shown(Phase.THINKING) == [HEAD, TAIL]
    ledger = driver.round(A, END).ledger
    assert (ledger.dropped, ledger.thinking) == (1, 2)


def test_the_answers_cut_removes_half_a_character_too():
    driver = Driver(max_answer_tokens=2).round(END).round(A, HEAD)
    assert driver.shown(Phase.ANSWER) == [A]
    assert driver.ledger.dropped == 1


@pytest.mark.parametrize("ids", [(HEAD, END), (HEAD, A, END), (TAIL, END)])
def test_half_a_character_is_kept_where_nothing_is_cut(ids):
    """The model itself ended or continued inside a character."""
    driver = Driver().round(*ids)
    assert driver.shown(Phase.THINKING) == list(ids[:-1])


def test_ids_without_a_token_are_dropped_and_counted():
    """Neither shown nor in the next context; they took the engine's time, so they count against the budget."""
    driver = Driver(max_thinking_tokens=3).round(A, PHANTOM, PHANTOM - 1)
    assert driver.rounds[-1].context_ids == (*PROMPT, A, PHANTOM - 1, NL, OPEN, CUT, PREFIX)
    ledger = driver.round(PHANTOM, A, END).ledger
    assert (ledger.dropped, ledger.thinking, ledger.answer_sampled) == (2, 2, 1)
    assert [record.num_dropped_tokens for record in ledger.rounds] == [1, 1]


# --- answer now --------------------------------------------------------------------------------


def test_answer_now_closes_thinking_at_once():
    """As a cut does; further ids of that round are discarded."""
    driver = Driver()
    driver.actions += driver.forcer.receive(TokensSampled((A, HEAD)))
    driver.end(AnswerNow())
    assert driver.rounds[-1].context_ids == (*PROMPT, A, NL, OPEN, CUT, PREFIX)
    ledger = driver.round(A, END).ledger
    assert (ledger.thinking_end, ledger.rounds[0].ended_by) == (ThinkingEnd.ANSWER_NOW, RoundEnd.ANSWER_NOW)


def test_answer_now_ends_the_grace_too():
    driver = Driver(max_thinking_tokens=1, grace_tokens=5).round(A).end(AnswerNow())
    assert driver.rounds[-1].phase is Phase.ANSWER


def test_answer_now_does_nothing_to_an_answer():
    driver = Driver().round(END)
    assert driver.forcer.receive(AnswerNow()) == []
    assert driver.round(A, END).ledger.thinking_end is ThinkingEnd.NATURAL


# --- time up -------------------------------------------------------------------------------------


def test_time_up_closes_thinking_and_leaves_the_answer_to_come():
    driver = Driver()
    driver.actions += driver.forcer.receive(TokensSampled((A,)))
    driver.end(TimeIsUp())
    assert driver.rounds[-1].context_ids == (*PROMPT, A, NL, OPEN, CUT, PREFIX)
    ledger = driver.round(A, END).ledger
    assert (ledger.thinking_end, ledger.answer_end) == (ThinkingEnd.DEADLINE, AnswerEnd.STOP)
    assert ledger.rounds[0].ended_by is RoundEnd.DEADLINE


def test_time_up_ends_an_answer_with_what_it_has():
    """Except for half a character."""
    driver = Driver().round(END)
    driver.actions += driver.forcer.receive(TokensSampled((A, HEAD)))
    ledger = driver.end(TimeIsUp()).ledger
    assert (ledger.answer_end, ledger.answer_sampled, ledger.dropped) == (AnswerEnd.DEADLINE, 1, 1)
    assert ledger.rounds[-1].ended_by is RoundEnd.DEADLINE


def test_time_up_between_an_answers_last_id_and_its_end_changes_nothing():
    driver = Driver().round(END)
    driver.actions += driver.forcer.receive(TokensSampled((A, EOS)))
    assert driver.forcer.receive(TimeIsUp()) == []
    assert driver.end(RoundEnded()).ledger.answer_end is AnswerEnd.STOP


def test_time_up_ends_the_answer_of_a_free_model():
    thought = free().round(END).round(THINK)
    thought.actions += thought.forcer.receive(TokensSampled((A,)))
    assert thought.end(TimeIsUp()).rounds[-1].phase is Phase.ANSWER
    said = free()
    said.actions += said.forcer.receive(TokensSampled((A,)))
    ledger = said.end(TimeIsUp()).ledger
    assert (ledger.thinking_end, ledger.answer_end) == (ThinkingEnd.ABSENT, AnswerEnd.DEADLINE)


# --- not forced ----------------------------------------------------------------------------------


def free(**changes):
    return Driver(mode=ThinkingMode.FREE, max_thinking_tokens=0, max_answer_tokens=9, **changes)


def test_a_free_model_opens_and_closes_its_phases_itself():
    """Markers are recognised across rounds, belong to the phase they open, and are hidden."""
    driver = free().round(END).round(THINK).round(A, B, END).round(ANSWER).round(A, EOS)
    assert [generate.max_new_tokens for generate in driver.rounds] == [9, 1, 7, 1, 3]
    assert (driver.shown(Phase.THINKING), driver.shown(Phase.ANSWER)) == ([A, B], [A])
    ledger = driver.ledger
    assert (ledger.thinking_end, ledger.answer_end) == (ThinkingEnd.NATURAL, AnswerEnd.STOP)
    assert (ledger.thinking_sampled, ledger.answer_sampled, ledger.terminators) == (4, 3, 1)
    assert driver.forcer.context_ids == (*PROMPT, END, THINK, A, B, END, ANSWER, A)


def test_a_free_model_may_answer_without_a_thought():
    ledger = free().round(A, B, END).ledger
    assert (ledger.thinking_end, ledger.answer_end, ledger.answer_sampled) == (ThinkingEnd.ABSENT, AnswerEnd.STOP, 2)
    assert free().round(END).round(ANSWER).round(A, EOS).ledger.thinking_end is ThinkingEnd.ABSENT


def test_a_free_model_that_never_answers_is_reported():
    """Ended by itself, or cut: the answer is missing, not empty."""
    ended = free().round(END).round(THINK).round(A, EOS).ledger
    assert (ended.thinking_end, ended.answer_end) == (ThinkingEnd.NATURAL, AnswerEnd.MISSING)
    cut = free().round(END).round(THINK).round(*[A] * 7).ledger
    assert (cut.thinking_end, cut.answer_end) == (ThinkingEnd.LENGTH, AnswerEnd.MISSING)


def test_the_beginning_of_a_marker_alone_is_text():
    driver = free().round(END).round(THINK).round(A, END).round(B).round(END).round(ANSWER).round(A, EOS)
    assert driver.shown(Phase.THINKING) == [A, END, B]


def test_a_thought_never_opens_again():
    """A terminator that could begin a marker ends the answer."""
    ledger = free().round(A, END).ledger
    assert ledger.answer_end is AnswerEnd.STOP
    ledger = free().round(END).round(ANSWER).round(A, END).ledger
    assert ledger.answer_end is AnswerEnd.STOP


def test_answer_now_closes_a_free_thought():
    driver = free().round(END).round(THINK)
    driver.actions += driver.forcer.receive(TokensSampled((A,)))
    driver.end(AnswerNow())
    assert driver.rounds[-1].context_ids == (*PROMPT, END, THINK, A, NL, OPEN, CUT, PREFIX)


def test_a_cut_removes_half_a_character_where_nothing_is_forced_too():
    driver = Driver(mode=ThinkingMode.FREE, max_thinking_tokens=0, max_answer_tokens=2).round(A, HEAD)
    assert (driver.shown(Phase.ANSWER), driver.ledger.dropped) == ([A], 1)
    whole = Driver(mode=ThinkingMode.FREE, max_thinking_tokens=0, max_answer_tokens=2).round(HEAD, TAIL)
    assert whole.shown(Phase.ANSWER) == [HEAD, TAIL]


def test_half_a_character_before_a_marker_is_text():
    driver = free().round(END).round(THINK).round(HEAD, END).round(ANSWER).round(A, EOS)
    assert driver.shown(Phase.THINKING) == [HEAD]
    assert driver.forcer.context_ids == (*PROMPT, END, THINK, HEAD, END, ANSWER, A)


def test_a_free_answer_of_a_marker_alone_is_empty():
    assert free().round(END).round(ANSWER).round(EOS).ledger.answer_end is AnswerEnd.EMPTY


def test_answer_now_leaves_the_cap_of_all_ids_unchanged():
    """9 in total: 2 for the marker and 3 of the thought leave 4."""
    driver = free().round(END).round(THINK)
    driver.actions += driver.forcer.receive(TokensSampled((A, A, A)))
    assert driver.end(AnswerNow()).rounds[-1].max_new_tokens == 4


def test_a_free_thought_leaves_room_for_a_requested_answer():
    """The context holds 12 ids after the prompt; opening an answer takes up to 4 of them."""
    driver = Driver(mode=ThinkingMode.FREE, max_thinking_tokens=0, max_answer_tokens=99, max_context_tokens=len(PROMPT) + 12)
    assert driver.rounds[0].max_new_tokens == 8


def test_thinking_off_goes_straight_to_the_answer():
    driver = Driver(mode=ThinkingMode.OFF, max_thinking_tokens=0)
    assert driver.rounds[0].context_ids == (*PROMPT, OPEN)
    assert driver.round(A, END).ledger.thinking_end is ThinkingEnd.OFF


# --- the authors' ways ------------------------------------------------------------------------------


def test_per_round_gives_every_round_the_whole_cap_and_cuts_afterwards():
    """The rounds continue from ids that are later cut off; an end in mid-sentence gets the plain marker."""
    driver = Driver(budget_rule=BudgetRule.PER_ROUND, max_thinking_tokens=3, num_ignore=1, fragments={}).round(A, A, END).round(B, B, END)
    assert [(r.max_new_tokens, r.min_tokens) for r in driver.rounds[:2]] == [(3, 1), (3, 1)]
    assert driver.rounds[1].context_ids == (*PROMPT, A, A, WAIT)
    assert driver.rounds[2].context_ids == (*PROMPT, A, A, WAIT, OPEN)
    ledger = driver.round(A, END).ledger
    assert (ledger.thinking, ledger.dropped, ledger.thinking_end) == (3, 2, ThinkingEnd.NATURAL)
    assert driver.shown(Phase.THINKING) == [A, A, WAIT]


@pytest.mark.parametrize(("num_ignore", "floor", "min_tokens"), [(0, 0, 0), (0, 2, 2), (1, 0, 1), (1, 2, 1)])
def test_per_round_masks_up_to_its_floor_or_after_a_refused_end(num_ignore, floor, min_tokens):
    """The authors' code overrides its floor where ends are refused."""
    driver = Driver(budget_rule=BudgetRule.PER_ROUND, num_ignore=num_ignore, min_thinking_tokens=floor)
    assert (driver.rounds[0].min_tokens, driver.rounds[0].may_redo) == (min_tokens, False)


@pytest.mark.parametrize("rule", [BudgetRule.PER_ROUND, BudgetRule.SAMPLED])
def test_the_authors_rules_keep_their_ban(rule):
    """Their programs never throw an id away."""
    driver = Driver(budget_rule=rule, num_ignore=1, max_thinking_tokens=8).round(A, END)
    assert (driver.rounds[1].min_tokens, driver.rounds[1].may_redo) == (1, False)


def test_sampled_counts_terminators_but_not_injected_ids():
    driver = Driver(budget_rule=BudgetRule.SAMPLED, max_thinking_tokens=4, num_ignore=5).round(A, END)
    assert [r.max_new_tokens for r in driver.rounds[:2]] == [4, 2]


def test_re_encoding_at_a_seam_replaces_ids():
    """The core requests them, and counts the change of the context's length."""
    driver = Driver(budget_rule=BudgetRule.SAMPLED, num_ignore=1, reencode_from=1, leave_answer_to_model=True, max_answer_tokens=5).round(
        A, END
    )
    assert driver.actions[-1] == Reencode(context_ids=(*PROMPT, A, WAIT), start=1)
    driver.end(Reencoded((PROMPT[1], 77)))
    assert driver.rounds[-1].context_ids == (*PROMPT, 77)
    driver.round(A, END).end(Reencoded((PROMPT[1], 77, A)))
    assert driver.rounds[-1].stop_ids == {END, EOS}
    ledger = driver.round(B, END).round(ANSWER).round(A, EOS).ledger
    assert (ledger.reencoded, ledger.thinking_end, ledger.answer_end) == (-1, ThinkingEnd.NATURAL, AnswerEnd.STOP)


@pytest.mark.parametrize(("new_ids", "left"), [((PROMPT[1],), 38), ((PROMPT[1], *[A] * 30), 8), ((PROMPT[1], *[A] * 38), None)])
def test_a_re_encoding_changes_the_answers_room(new_ids, left):
    """The answer has the rest of the context; without room the sample ends, and no empty round is requested."""
    settings = {"budget_rule": BudgetRule.SAMPLED, "reencode_from": 1, "leave_answer_to_model": True, "answer_prefix_ids": ()}
    driver = Driver(**settings, max_answer_tokens=99, max_context_tokens=40, max_thinking_tokens=5).round(A, END)
    driver.end(Reencoded(new_ids))
    if left is None:
        assert driver.ledger.answer_end is AnswerEnd.LENGTH
    else:
        assert driver.rounds[-1].max_new_tokens == left


def test_a_re_encoding_that_fills_the_context_ends_the_thought():
    settings = {
        "budget_rule": BudgetRule.SAMPLED,
        "num_ignore": 1,
        "reencode_from": 1,
        "leave_answer_to_model": True,
        "answer_prefix_ids": (),
    }
    driver = Driver(**settings, max_context_tokens=20, max_thinking_tokens=5).round(A, END)
    driver.end(Reencoded((PROMPT[1], *[A] * 18))).end(Reencoded((PROMPT[1], *[A] * 18)))
    assert (driver.ledger.thinking_end, driver.ledger.answer_end) == (ThinkingEnd.BUDGET, AnswerEnd.LENGTH)


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
        ({}, (END, A), "after the round's end"),
        ({"max_thinking_tokens": 1}, (A, B), "more than the 1 requested ids"),
        ({}, (A,), "without a terminator"),
    ],
)
def test_an_engine_that_breaks_its_contract_is_caught(changes, ids, message):
    """Never hidden: the sample ends with an error that says what happened."""
    driver = Driver(**changes)
    with pytest.raises(EngineProtocolError, match=message):
        driver.round(*ids)
    assert driver.forcer.state is State.DONE


@pytest.mark.parametrize(
    ("before", "event", "message"),
    [
        ([], TokensSampled((A,)), "TokensSampled in state IDLE: the first event must be Started"),
        ([], StopWordFound(), "StopWordFound in state IDLE: the first event must be Started"),
        ([Started()], Started(), "Started in state THINKING: OPENED has no cell in row THINKING of the state table"),
        ([Started()], Reencoded((A,)), "Reencoded in state THINKING: the plan re-encodes nothing"),
    ],
)
def test_an_event_that_the_state_does_not_allow_is_the_shells_mistake(before, event, message):
    """Never blamed on the engine: the error names event and state, and the sample is over."""
    forcer = BudgetForcer(make_plan())
    for earlier in before:
        forcer.receive(earlier)
    with pytest.raises(ShellProtocolError, match=message):
        forcer.receive(event)
    assert (forcer.state, forcer.receive(Started())) == (State.DONE, [])


def test_ids_between_two_rounds_are_the_shells_mistake():
    """The round has ended and the next one waits for the re-encoded context."""
    driver = Driver(reencode_from=0, num_ignore=1)
    driver.round(A, END)
    with pytest.raises(ShellProtocolError, match="TokensSampled in state THINKING: no round runs"):
        driver.forcer.receive(TokensSampled((A,)))


def test_a_forbidden_terminator_that_comes_first_is_caught():
    """Otherwise a refused end could come back at once, unnoticed."""
    with pytest.raises(EngineProtocolError, match="forbidden"):
        Driver(num_ignore=2).round(A, END).round(END).round(END)


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt_ids": ()},
        {"thinking_terminators": frozenset()},
        {"answer_terminators": frozenset()},
        {"ignore_ids": ()},
        {"max_thinking_tokens": -1},
        {"min_thinking_tokens": 9},
        {"grace_tokens": -1},
        {"num_ignore": -1},
        {"max_answer_tokens": 0},
        {"max_context_tokens": 2 + 8 + 4},
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes):
    """When the plan is built, not while it runs."""
    with pytest.raises(ValueError, match=r"empty|out of range|no room"):
        make_plan(**changes)
