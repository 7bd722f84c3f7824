# SPDX-License-Identifier: Apache-2.0
"""Two calls do not start together if they could write different ids into one KV block; all others do. Blocks of 4 ids."""

from budgetforce.engine.start_guard import StartGuard

STEM = (1, 2, 3, 4, 5, 6)  # ends inside the second block


def guard(num_pool_blocks=100):
    return StartGuard(block_size=4, num_pool_blocks=num_pool_blocks)


def guard_after(*prompts, sampled=()):
    """A guard that has seen these prompts through, one after the other, each with these ids behind it."""
    one = guard()
    for key, prompt in enumerate(prompts):
        one.start(key, prompt)
        for token_id in sampled or (9, 9):
            one.advance({key: [token_id]})
        one.drop(key)
        one.advance({})
    return one


def test_prompts_that_part_behind_an_end_inside_the_block_do_not_start_together():
    one = guard_after(STEM)
    one.start(7, (*STEM, 10))
    assert not one.may_start((*STEM, 11))


def test_the_end_may_be_that_of_a_reply():
    one = guard_after(STEM[:3], sampled=STEM[3:])
    one.start(7, (*STEM, 10))
    assert not one.may_start((*STEM, 11))


def test_prompts_that_part_where_nothing_ended_start_together():
    """As those that share a system prompt alone."""
    one = guard()
    one.start(7, (*STEM, 10))
    assert one.may_start((*STEM, 11))


def test_prompts_that_part_at_a_block_s_begin_start_together():
    one = guard_after(STEM[:4], STEM[:3])
    one.start(7, (*STEM[:4], 10))
    assert one.may_start((*STEM[:4], 11))


def test_prompts_that_part_in_a_later_block_start_together():
    """Into the block with the end they write the same ids."""
    one = guard_after(STEM)
    one.start(7, (*STEM, 7, 8, 9, 10))
    assert one.may_start((*STEM, 7, 8, 9, 11))


def test_equal_prompts_and_a_prompt_that_goes_on_from_another_start_together():
    one = guard_after(STEM)
    one.start(7, (*STEM, 10))
    assert one.may_start((*STEM, 10))
    assert one.may_start((*STEM, 10, 11))
    assert one.may_start(STEM)


def test_a_call_has_its_block_for_itself_from_its_second_id_on():
    one = guard_after(STEM)
    one.start(7, (*STEM, 10))
    one.advance({7: [11]})
    assert not one.may_start((*STEM, 12))
    one.advance({7: [13]})
    assert one.may_start((*STEM, 12))


def test_a_dropped_call_holds_its_block_for_one_more_step():
    one = guard_after(STEM)
    one.start(7, (*STEM, 10))
    one.advance({7: [11]})
    one.drop(7)
    assert not one.may_start((*STEM, 12))
    one.advance({})
    assert one.may_start((*STEM, 12))


def test_a_call_does_not_overtake_one_that_it_would_then_keep_waiting():
    one = guard_after(STEM)
    one.start(7, (*STEM, 10))
    assert not one.may_start((*STEM, 10), [(*STEM, 11)])
    assert one.may_start((1, 2), [(*STEM, 11)])


def test_ends_are_remembered_as_long_as_the_pool_can_hold_them():
    """A pool of 2 blocks of 4 ids: 8 newer ends forget an end no earlier, and 16 do."""
    one = guard(num_pool_blocks=2)
    one.start(0, STEM)
    for token_id in range(100, 107):
        one.start(token_id, (token_id,))
    one.start(7, (*STEM, 10))
    one.advance({0: [9, 9]})
    assert not one.may_start((*STEM, 11))
    for token_id in range(200, 220):
        one.start(token_id, (token_id,))
    assert one.may_start((*STEM, 11))
