# SPDX-License-Identifier: Apache-2.0
"""The count of reused blocks is a true lower bound."""

from budgetforce.engine.cpu.kv_blocks import ResidentBlocks

IDS = list(range(100, 120))


def blocks(num_pool_blocks=100):
    return ResidentBlocks(block_size=4, num_pool_blocks=num_pool_blocks)


def test_full_blocks_of_a_shared_prefix_are_found():
    resident = blocks()
    resident.add(IDS[:10])
    assert resident.count(IDS) == 2
    assert resident.count([*IDS[:4], 1, 2, 3, 4, 5]) == 1
    assert resident.count([1, *IDS]) == 0


def test_the_last_id_of_a_prompt_is_always_computed():
    """A prompt that ends with a full block does not find that block whole."""
    resident = blocks()
    resident.add(IDS[:8])
    assert resident.count(IDS[:8]) == 1
    assert resident.count(IDS[:9]) == 2


def test_the_same_ids_after_another_prefix_are_other_blocks():
    resident = blocks()
    resident.add([1, 2, 3, 4, *IDS[:4]])
    assert resident.count([*IDS[:4], 9]) == 0


def test_only_half_of_the_pool_is_remembered_least_recently_used_first():
    """The engine may have evicted older blocks: they are not counted."""
    resident = blocks(num_pool_blocks=4)
    resident.add(IDS[:4])
    resident.add([1] * 4)
    assert resident.count([*IDS[:4], 9]) == 1  # used again: now the younger one
    resident.add([2] * 4)
    assert resident.count([*IDS[:4], 9]) == 1
    assert resident.count([1] * 5) == 0


def test_while_the_pool_fills_for_the_first_time_blocks_never_found_again_are_forgotten_first():
    """OpenVINO gives them the pool's own timestamp, however new they are."""
    resident = blocks(num_pool_blocks=4)
    for prompt in ([1] * 5, [2] * 5):
        resident.add(prompt)
        assert resident.count(prompt) == 1
    resident.add(young := [3] * 5)
    assert resident.count(young) == 0
    assert resident.count([1] * 5) == resident.count([2] * 5) == 1


def test_once_every_block_of_the_pool_was_used_the_newest_are_remembered():
    resident = blocks(num_pool_blocks=4)
    for token_id in range(4):
        resident.add([token_id] * 5)
        resident.count([token_id] * 5)
    resident.add([5] * 5)
    resident.add([6] * 5)
    assert resident.count([5] * 5) == resident.count([6] * 5) == 1


def test_a_block_that_is_computed_again_gets_no_new_timestamp():
    """The end of a call gives its blocks no new timestamp."""
    resident = blocks(num_pool_blocks=4)
    resident.add(IDS[:4])
    resident.add([1] * 4)
    resident.add(IDS[:4])
    resident.add([2] * 4)
    assert resident.count([*IDS[:4], 9]) == 0
