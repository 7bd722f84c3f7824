# SPDX-License-Identifier: Apache-2.0
"""Every short world: all engine outputs over a small alphabet, under all small budgets, obey the laws."""

from itertools import product

from budgetforce.core import BudgetForcer, Emit, Finish, ForcingPlan, Generate, Phase, RoundEnded, Started, ThinkingEnd, TokensSampled

ORDINARY, LINE_BREAK, END, EOS = 1, 2, 3, 4
TERMINATORS = frozenset({END, EOS})
WORLDS = list(product((ORDINARY, LINE_BREAK, END, EOS), repeat=6))
BUDGETS, IGNORES, STRINGS = range(5), range(3), ((), (7,), (7, 8))


def make_plan(budget, num_ignore, ignore_ids):
    return ForcingPlan(
        prompt_ids=(100,),
        terminators=TERMINATORS,
        max_thinking_tokens=budget,
        num_ignore=num_ignore,
        ignore_ids=ignore_ids,
        max_answer_tokens=2,
        max_context_tokens=1000,
        answer_ids=(60,),
        cut_answer_ids=(60, 61),
        answer_prefix_ids=(62,),
        line_break_ids=(LINE_BREAK,),
        line_break_bearing=frozenset({LINE_BREAK}),
    )


def next_ids(world, position, generate):
    """What an engine that wants to say ``world`` from ``position`` on says in a round, and where it stands then."""
    ids = []
    while len(ids) < generate.max_new_tokens:
        token_id = world[position] if position < len(world) else END
        position += 1
        if not ids and generate.forbid_terminator_first and token_id in TERMINATORS:
            token_id = ORDINARY
        ids.append(token_id)
        if token_id in TERMINATORS:
            break
    return ids, position


def play(plan, world, *, burst):
    """All actions of a world, and the ids that the engine said."""
    forcer = BudgetForcer(plan)
    actions, said, position = list(forcer.receive(Started())), [], 0
    while not isinstance(actions[-1], Finish):
        ids, position = next_ids(world, position, actions[-1])
        said += ids
        chunks = [ids] if burst else [[token_id] for token_id in ids]
        for chunk in chunks:
            actions += forcer.receive(TokensSampled(tuple(chunk)))
        actions += forcer.receive(RoundEnded())
    return forcer, actions, said


def emitted(actions):
    return [(a.phase, a.injected, i) for a in actions if isinstance(a, Emit) for i in a.ids]


def check_laws(plan, world):
    forcer, actions, said = play(plan, world, burst=True)
    ledger = forcer.ledger
    assert ledger.thinking <= plan.max_thinking_tokens
    assert ledger.num_ignored <= plan.num_ignore
    assert sum(isinstance(action, Finish) for action in actions) == 1
    assert (*plan.prompt_ids, *(i for _, _, i in emitted(actions))) == forcer.context_ids
    assert len(said) == ledger.thinking_sampled + ledger.answer_sampled + ledger.terminators
    assert not TERMINATORS & {i for _, injected, i in emitted(actions) if not injected}
    phases = [phase for phase, _, _ in emitted(actions)]
    assert phases == sorted(phases, key=[Phase.THINKING, Phase.ANSWER].index)
    if ledger.thinking_end is ThinkingEnd.BUDGET:
        assert ledger.thinking == plan.max_thinking_tokens
    refused_though_room = ledger.num_ignored < plan.num_ignore and plan.max_thinking_tokens - ledger.thinking > len(plan.ignore_ids)
    assert not (ledger.thinking_end is ThinkingEnd.NATURAL and refused_though_room)
    one_by_one = play(plan, world, burst=False)
    assert emitted(one_by_one[1]) == emitted(actions)
    assert [a for a in one_by_one[1] if isinstance(a, Generate)] == [a for a in actions if isinstance(a, Generate)]
    assert one_by_one[0].ledger == ledger


def test_every_short_world_obeys_the_laws():
    """4^6 engine outputs x 5 budgets x 3 ignores x 3 strings = 184,320 worlds, each played in bursts and one by one."""
    plans = [make_plan(*setting) for setting in product(BUDGETS, IGNORES, STRINGS)]
    for plan in plans:
        for world in WORLDS:
            check_laws(plan, world)
    assert len(plans) * len(WORLDS) == 184_320
