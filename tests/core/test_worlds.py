# SPDX-License-Identifier: Apache-2.0
"""Every short world: all engine outputs over a small alphabet, under all small budgets, obey the laws.

Worlds are walked as a tree: a branch is taken only where the core requests an id, so no two
plays are equal and none is left out.
"""

from dataclasses import replace
from itertools import product

import pytest
from forcing_plan import END, EOS, HEAD, NL, PHANTOM, A, make_plan

from budgetforce.core import (
    AnswerEnd,
    AnswerNow,
    BudgetForcer,
    BudgetRule,
    Cancelled,
    Emit,
    Finish,
    Generate,
    Phase,
    RoundEnded,
    Started,
    ThinkingEnd,
    ThinkingMode,
    TimeIsUp,
    TokensSampled,
)

ORDINARY, LINE_BREAK, END_OF_TEXT = A, NL, 92
ALPHABET = (ORDINARY, LINE_BREAK, END, EOS, END_OF_TEXT, HEAD, PHANTOM)
TERMINATORS = frozenset({END, EOS, END_OF_TEXT})


def small_plan(budget=0, num_ignore=0, floor=0, grace=0, strings=((),), **changes):
    settings = {
        "thinking_terminators": TERMINATORS,
        "answer_terminators": TERMINATORS,
        "max_thinking_tokens": budget,
        "min_thinking_tokens": floor,
        "num_ignore": num_ignore,
        "ignore_ids": strings,
        "grace_tokens": grace,
        "boundary_ids": frozenset({LINE_BREAK}) if grace else frozenset(),
        "max_answer_tokens": 2,
        "fragments": {HEAD: b"\xc3"},
        "thinking_marker_ids": (END, ORDINARY),
        "answer_marker_ids": (END, LINE_BREAK),
    }
    return make_plan(**{**settings, **changes})


def every_world(play, length, alphabet=ALPHABET):
    """Call ``play(world)``, which returns how many ids of the world it used, for every world that differs in used ids."""
    digits, num_worlds = [0] * length, 0
    while True:
        used = min(play(tuple(alphabet[digit] for digit in digits)), length)
        num_worlds += 1
        while used and digits[used - 1] == len(alphabet) - 1:
            used -= 1
        if not used:
            return num_worlds
        digits[used - 1] += 1
        digits[used:] = [0] * (length - used)


def next_ids(world, position, generate, bans):
    """Return the ids that an engine with script ``world`` samples in a round from ``position`` on, and the new position.

    ``bans``: the engine never makes a call without the ban, also where it may.
    """
    ids, num_banned = [], generate.min_tokens if bans or not generate.may_redo else 0
    while len(ids) < generate.max_new_tokens:
        token_id = world[position] if position < len(world) else EOS
        position += 1
        if len(ids) < num_banned and token_id in generate.stop_ids:
            token_id = ORDINARY
        ids.append(token_id)
        if token_id in generate.stop_ids:
            break
    return ids, position


def play(plan, world, *, burst, interrupt=None, bans=False):
    """Play a whole sample; return the forcer, its actions, the sampled ids and the number of the world's ids used.

    ``interrupt`` = (event, n): the event follows the n-th id, and the rest of that round is discarded.
    """
    forcer = BudgetForcer(plan)
    actions, sampled, position = list(forcer.receive(Started())), [], 0
    while not isinstance(actions[-1], Finish):
        ids, position = next_ids(world, position, actions[-1], bans)
        for chunk in [ids] if burst else [[token_id] for token_id in ids]:
            if interrupt and len(sampled) == interrupt[1] and (interrupted := forcer.receive(interrupt[0])):
                actions += interrupted
                break
            sampled += chunk
            actions += forcer.receive(TokensSampled(tuple(chunk)))
        else:
            actions += forcer.receive(RoundEnded())
    return forcer, actions, sampled, position


def emitted(actions):
    return [(a.phase, a.injected, i) for a in actions if isinstance(a, Emit) for i in a.ids]


def check_ledger(plan, forcer, actions, sampled):
    """Check the laws of every sample, forced or not, however it ended."""
    ledger, shown = forcer.ledger, emitted(actions)
    assert sum(isinstance(action, Finish) for action in actions) == 1
    assert (*plan.prompt_ids, *(i for _, _, i in shown)) == forcer.context_ids
    assert len(sampled) == ledger.thinking_sampled + ledger.answer_sampled + ledger.terminators + ledger.dropped + ledger.redone
    assert PHANTOM not in forcer.context_ids
    phases = [phase for phase, _, _ in shown]
    assert phases == sorted(phases, key=[Phase.THINKING, Phase.ANSWER].index)
    assert ledger.thinking_end is not None
    assert ledger.answer_end is not None


def check_forcing(plan, forcer, actions):
    """Check cap, refusals, floor and cut."""
    ledger, shown = forcer.ledger, emitted(actions)
    thought = [i for phase, _, i in shown if phase is Phase.THINKING]
    dropped = sum(record.num_dropped_tokens for record in ledger.rounds if record.phase is Phase.THINKING)
    assert not TERMINATORS & {i for _, injected, i in shown if not injected}
    assert ledger.thinking - ledger.grace + dropped <= plan.max_thinking_tokens + (plan.grace_tokens and dropped)
    assert ledger.grace <= plan.grace_tokens
    refusals = [record for record in ledger.rounds if record.refused_for]
    assert len(refusals) == ledger.num_ignored
    strings = [plan.ignore_ids[n % len(plan.ignore_ids)] for n in range(len(refusals))]
    assert all(tuple(record.injected_ids) in (string, ()) for record, string in zip(refusals, strings, strict=True))
    if ledger.thinking_end is ThinkingEnd.BUDGET:
        assert ledger.thinking - ledger.grace + dropped >= plan.max_thinking_tokens
        assert not thought or thought[-1] != HEAD
    if ledger.thinking_end is ThinkingEnd.NATURAL and not ledger.grace and len(ledger.rounds) >= 2:
        room = plan.max_thinking_tokens - ledger.thinking - dropped
        next_string = plan.ignore_ids[ledger.num_ignored % len(plan.ignore_ids)]
        assert ledger.num_ignored >= plan.num_ignore or room <= len(next_string)
        assert ledger.thinking >= plan.min_thinking_tokens or room <= 0


def check_redone(plan, forcer, actions, sampled):
    """Check that the sample is the same, redone ids aside, with an engine that bans terminators at once."""
    redone, position, may_redo = [], 0, False
    for record in forcer.ledger.rounds:
        assert record.num_redone <= may_redo
        redone += range(position, position + record.num_redone)
        position += record.num_redone + record.num_sampled_tokens
        may_redo = bool(record.refused_for and record.injected_ids)
    assert TERMINATORS.issuperset(sampled[place] for place in redone)
    world = [token_id for place, token_id in enumerate(sampled) if place not in redone]
    banning, banning_actions, _, _ = play(plan, world, burst=True, bans=True)
    assert emitted(banning_actions) == emitted(actions)
    assert replace(banning.ledger, rounds=[]) == replace(forcer.ledger, rounds=[])
    assert banning.ledger.rounds == [replace(record, num_redone=0) for record in forcer.ledger.rounds]


def check_world(plan, world, check):
    forcer, actions, sampled, used = play(plan, world, burst=True)
    check_ledger(plan, forcer, actions, sampled)
    check(plan, forcer, actions)
    if forcer.ledger.redone:
        check_redone(plan, forcer, actions, sampled)
    one_by_one = play(plan, world, burst=False)
    assert emitted(one_by_one[1]) == emitted(actions)
    assert [a for a in one_by_one[1] if isinstance(a, Generate)] == [a for a in actions if isinstance(a, Generate)]
    assert one_by_one[0].ledger == forcer.ledger
    return used


def all_plans(**changes):
    budgets, ignores, floors, graces = range(5), range(3), (0, 2, 4), (0, 2)
    for budget, ignore, floor, grace, strings in product(budgets, ignores, floors, graces, (((),), ((7,), (7, 8)))):
        if floor <= budget:
            yield small_plan(budget, ignore, floor, grace, strings, **changes)


@pytest.mark.parametrize(
    ("alphabet", "length", "num_worlds"), [(ALPHABET, 4, 191_286), ((ORDINARY, LINE_BREAK, END), 7, 63_608)], ids=["wide", "deep"]
)
def test_every_short_world_obeys_the_laws(alphabet, length, num_worlds):
    """All outputs of up to 4 ids of 7 kinds, and of up to 7 of 3 kinds, under 108 settings of budget,
    ignores, floor, grace and strings; each in bursts and one by one.
    """
    plans = list(all_plans())
    assert len(plans) == 108
    played = sum(every_world(lambda world, plan=plan: check_world(plan, world, check_forcing), length, alphabet) for plan in plans)
    assert played == num_worlds


def test_every_short_world_of_a_model_that_is_left_to_itself():
    """Phases are the model's own; a thought never opens after the answer; no id is lost."""

    def check(plan, forcer, actions):
        ledger = forcer.ledger
        assert not ledger.thinking_injected + ledger.answer_injected + ledger.num_ignored
        assert (ledger.thinking_end is ThinkingEnd.ABSENT) == (ledger.thinking == 0)
        if ledger.answer_end is AnswerEnd.MISSING:
            assert not any(phase is Phase.ANSWER for phase, _, _ in emitted(actions))

    plan = small_plan(mode=ThinkingMode.FREE, max_answer_tokens=6)
    assert every_world(lambda world: check_world(plan, world, check), length=6) == 10_657


def test_every_short_world_under_a_cap_of_thinking_and_answer_together():
    """The answer gets what the thought left, up to its own cap; the sampled ids that it leaves out are never requested."""

    def check(plan, forcer, actions):
        check_forcing(plan, forcer, actions)
        ledger, requested = forcer.ledger, [action for action in actions if isinstance(action, Generate)]
        room = min(plan.max_answer_tokens, plan.max_total_tokens - ledger.thinking)
        assert room >= 1
        assert ledger.answer_sampled <= room
        assert requested[-1].phase is Phase.ANSWER
        assert next(action for action in requested if action.phase is Phase.ANSWER).max_new_tokens == room
        if ledger.answer_end is AnswerEnd.LENGTH:
            assert ledger.rounds[-1].num_sampled_tokens == room

    num_worlds = 0
    for budget, ignore, grace, total in product(range(4), range(3), (0, 1), range(1, 6)):
        if budget + grace < total:
            plan = small_plan(budget, ignore, 0, grace, ((7,),), max_answer_tokens=3, max_total_tokens=total)
            num_worlds += every_world(lambda world, plan=plan: check_world(plan, world, check), 4, (ORDINARY, LINE_BREAK, END, HEAD))
    assert num_worlds > 3_000


@pytest.mark.parametrize(
    "changes", [{"budget": 3}, {"budget": 2, "grace": 1}, {"mode": ThinkingMode.FREE}, {"budget_rule": BudgetRule.SAMPLED}]
)
def test_a_cap_of_both_leaves_room_for_an_answer_and_goes_with_forcing_alone(changes):
    with pytest.raises(ValueError, match="max_total_tokens has no meaning|no room for an answer"):
        small_plan(**changes, max_total_tokens=3)


@pytest.mark.parametrize("rule", [BudgetRule.PER_ROUND, BudgetRule.SAMPLED])
def test_every_short_world_under_the_authors_rules(rule):
    def check(plan, forcer, actions):
        cap = plan.max_thinking_tokens
        ledger = forcer.ledger
        assert not ledger.redone
        assert (ledger.thinking if rule is BudgetRule.PER_ROUND else ledger.thinking_sampled) <= cap
        assert ledger.num_ignored <= plan.num_ignore

    for budget, ignore in product(range(4), range(3)):
        plan = small_plan(budget, ignore, strings=((7,),), budget_rule=rule, fragments={})
        every_world(lambda world, plan=plan: check_world(plan, world, check), length=4)


@pytest.mark.parametrize("event", [AnswerNow(), TimeIsUp(), Cancelled()])
@pytest.mark.parametrize("mode", [ThinkingMode.FORCED, ThinkingMode.FREE])
def test_an_interrupt_at_any_moment_of_any_short_world(event, mode):
    """The sample ends exactly once and its ledger balances, whenever the event comes."""
    forced = mode is ThinkingMode.FORCED
    plan = small_plan(3 if forced else 0, 1, 0, 2, ((7,),), mode=mode, max_answer_tokens=4)
    for moment in range(6):

        def check(world, moment=moment):
            forcer, actions, sampled, used = play(plan, world, burst=False, interrupt=(event, moment))
            check_ledger(plan, forcer, actions, sampled)
            assert not forced or forcer.ledger.thinking - forcer.ledger.grace <= plan.max_thinking_tokens
            if isinstance(event, Cancelled) and len(sampled) == moment and forcer.ledger.answer_end is AnswerEnd.CANCELLED:
                assert isinstance(actions[-1], Finish)
            return used

        every_world(check, length=4)
