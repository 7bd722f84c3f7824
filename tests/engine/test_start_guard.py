# SPDX-License-Identifier: Apache-2.0
"""Two calls do not start together if they could write different ids into one KV block; all others do. Blocks of 4 ids."""

import pytest

from budgetforce.engine.cpu import start_guard
from budgetforce.engine.cpu.start_guard import StartGuard

STEM = (1, 2, 3, 4, 5, 6)  # ends inside the second block


def guard(num_pool_blocks=100):
    return StartGuard(block_size=4, num_pool_blocks=num_pool_blocks)


def guard_after(*prompts, sampled=()):
    """Return a guard that has run these prompts, one after the other, each followed by these ids."""
    one = guard()
    for key, prompt in enumerate(prompts):
        one.start(key, prompt)
        for token_id in sampled or (9, 9):
            one.advance({key: [token_id]})
        one.drop(key)
        one.advance({})
    return one


def test_prompts_that_diverge_after_an_end_inside_the_block_do_not_start_together():
    one = guard_after(STEM)
    one.start(7, (*STEM, 10))
    assert not one.may_start(8, (*STEM, 11))


def test_the_end_may_be_that_of_a_reply():
    one = guard_after(STEM[:3], sampled=STEM[3:])
    one.start(7, (*STEM, 10))
    assert not one.may_start(8, (*STEM, 11))


def test_prompts_that_diverge_where_no_prompt_ended_start_together():
    """As do prompts that share only a system prompt."""
    one = guard()
    one.start(7, (*STEM, 10))
    assert one.may_start(8, (*STEM, 11))


def test_prompts_that_diverge_at_the_start_of_a_block_start_together():
    one = guard_after(STEM[:4], STEM[:3])
    one.start(7, (*STEM[:4], 10))
    assert one.may_start(8, (*STEM[:4], 11))


def test_prompts_that_diverge_in_a_later_block_start_together():
    """They write the same ids into the block with the end."""
    one = guard_after(STEM)
    one.start(7, (*STEM, 7, 8, 9, 10))
    assert one.may_start(8, (*STEM, 7, 8, 9, 11))


def test_equal_prompts_and_a_prompt_that_continues_another_start_together():
    one = guard_after(STEM)
    one.start(7, (*STEM, 10))
    assert one.may_start(8, (*STEM, 10))
    assert one.may_start(8, (*STEM, 10, 11))
    assert one.may_start(8, STEM)


def test_a_call_has_its_block_for_itself_from_its_second_id_on():
    one = guard_after(STEM)
    one.start(7, (*STEM, 10))
    one.advance({7: [11]})
    assert not one.may_start(8, (*STEM, 12))
    one.advance({7: [13]})
    assert one.may_start(8, (*STEM, 12))


def test_a_dropped_call_holds_its_block_for_one_more_step():
    one = guard_after(STEM)
    one.start(7, (*STEM, 10))
    one.advance({7: [11]})
    one.drop(7)
    assert not one.may_start(8, (*STEM, 12))
    one.advance({})
    assert one.may_start(8, (*STEM, 12))


def test_a_call_does_not_overtake_a_call_that_it_would_delay():
    one = guard_after(STEM)
    one.start(7, (*STEM, 10))
    assert not one.may_start(8, (*STEM, 11))
    assert not one.may_start(9, (*STEM, 10))
    assert one.may_start(10, (1, 2))
    one.advance({7: [12, 13]})
    assert one.may_start(8, (*STEM, 11))


def test_ends_are_remembered_as_long_as_the_pool_can_hold_them():
    """A pool of 2 blocks of 4 ids: an end is forgotten only when 8 others are newer."""
    one = guard(num_pool_blocks=2)
    one.start(0, STEM)
    for token_id in range(100, 107):
        one.start(token_id, (token_id,))
    one.start(7, (*STEM, 10))
    one.advance({0: [9, 9]})
    assert not one.may_start(8, (*STEM, 11))
    for token_id in range(200, 220):
        one.start(token_id, (token_id,))
    assert one.may_start(8, (*STEM, 11))


def test_an_end_that_calls_continue_from_is_not_forgotten():
    """The pool keeps the block as long as it is used, too."""
    one = guard(num_pool_blocks=2)
    one.start(0, STEM)
    for token_id in range(100, 120):
        one.start(token_id, (token_id,))
        one.start(-token_id, (*STEM, 7, 8, 9))
    one.start(7, (*STEM, 10))
    assert not one.may_start(8, (*STEM, 11))


def test_an_unrelated_reply_with_the_same_end_holds_no_call_back():
    """Its last block has the same length and ids, but another block comes before it."""
    one = guard_after((9, *STEM[1:]), sampled=(10, 10))
    one.start(7, (*STEM, 10))
    assert one.may_start(8, (*STEM, 11))


def test_only_the_sampled_part_of_a_reply_may_be_an_end():
    """A reply that begins at a block's begin and goes through the next one: both blocks have ends, the prompt's has none."""
    one = guard_after(STEM[:4], sampled=(5, 6, 7, 8, 9))
    stem = (*STEM[:4], 5, 6, 7, 8, 9)
    for key, (num_ids, may) in enumerate([(2, True), (4, True), (5, False), (7, False), (8, True), (9, False)], 10):
        one.start(key, (*stem[:num_ids], 20))
        assert one.may_start(100 + key, (*stem[:num_ids], 21)) == may
        one.drop(key)
        one.advance({})


@pytest.mark.parametrize("is_held", [True, False], ids=["held back", "started"])
def test_work_for_a_call_grows_neither_with_the_others_prompts_nor_again_at_each_step(is_held, monkeypatch):
    """A prompt is hashed once. Afterwards, blocks without an end cost nothing, and of the others only those are compared that part."""
    num_calls, num_operations = 20, {}
    for num_blocks in (5, 50):
        stem = tuple(range(4 * num_blocks + 2))
        one = guard(num_pool_blocks=1000)
        if is_held:
            one.start(0, stem)
        one.start(1, (*stem, 1000))
        prompts = {key: (*stem, 1000 + key) for key in range(2, 2 + num_calls)}
        hashes = count(monkeypatch, "extend_hash")
        comparisons = count(monkeypatch, "_differ")
        assert [one.may_start(key, prompt) for key, prompt in prompts.items()] == [not is_held] * num_calls
        assert len(hashes) <= num_calls * (num_blocks + 1 + 4)
        hashes.clear()
        one.advance({})
        assert [one.may_start(key, prompt) for key, prompt in prompts.items()] == [not is_held] * num_calls
        num_operations[num_blocks] = len(hashes), len(comparisons)
        monkeypatch.undo()
    assert num_operations[5] == num_operations[50]
    assert max(num_operations[50]) <= 4 * num_calls


def count(monkeypatch, name):
    """The calls of one of the guard's functions from now on."""
    calls, real = [], getattr(start_guard, name)
    monkeypatch.setattr(start_guard, name, lambda *given: calls.append(given) or real(*given))
    return calls
