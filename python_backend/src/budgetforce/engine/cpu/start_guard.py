# SPDX-License-Identifier: Apache-2.0
"""Decides which calls must not start together on OpenVINO's prefix cache.

OpenVINO GenAI 2026.4 reuses not only full KV blocks but also a partly filled block, found by the
ids up to the point where an earlier prompt or call ended. It gives that block to every call whose
prompt continues from there, and prefill writes into the block in place: only a decode step copies
a shared block first. Two calls that continue with different ids overwrite each other's KV, and
the corrupt block stays in the cache for later calls. From its second id on, a call has a block of
its own. (Upstream: restore_cached_blocks, allocate and append_slots in cache/block_manager.hpp.)

As in the cache, the hash of all ids before a block identifies it, so each id is hashed only once.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TypeVar

from budgetforce.engine.cpu.kv_blocks import extend_hash

_NUM_IDS_TO_SETTLE = 2  # the first ends the prefill; the second comes from the decode step that copies the block

_Block = tuple[int, ...]
_Item = TypeVar("_Item")
_Blocks = dict[int, _Block]  # a prompt's blocks by the hash of all ids before each; the last may be filled in part


@dataclass(slots=True)
class _Tail:
    """The last block of a running call, and the hash of all ids before it."""

    prefix_hash: int
    open_ids: list[int]
    num_sampled: int = 0


class _Ends:
    """Positions inside blocks where a prompt ended or a call may end, least recently used first.

    Args:
        max_ends: maximum number of ends to remember.
    """

    def __init__(self, max_ends: int) -> None:
        self._max_ends = max_ends
        self._ends: OrderedDict[int, int] = OrderedDict()  # hash of all ids up to the end -> hash of those before its block
        self._num_in_block: dict[int, int] = {}

    def add(self, prefix_hash: int, ids: _Block) -> None:
        end = extend_hash(prefix_hash, ids)
        if end not in self._ends:
            _increment(self._num_in_block, prefix_hash)
        self._ends[end] = prefix_hash
        self._ends.move_to_end(end)
        if len(self._ends) > self._max_ends:
            _decrement(self._num_in_block, self._ends.popitem(last=False)[1])

    def blocks_among(self, blocks: _Blocks) -> Set[int]:
        """Return the blocks of the prompt that may hold an end."""
        return self._num_in_block.keys() & blocks.keys()

    def use_first(self, prefix_hash: int, block: _Block) -> int:
        """Return how many ids of the block lie before its first end, 0 if it has no end; mark the end as used."""
        for num_ids in range(1, len(block) + 1):
            if (end := extend_hash(prefix_hash, block[:num_ids])) in self._ends:
                self._ends.move_to_end(end)
                return num_ids
        return 0


class StartGuard:
    """Decides whether a call may start beside calls that have just started.

    Of several ends in a block only the first counts: calls that share a later end share the first, too. A block of the pool
    has at most ``block_size`` ends, and a start marks the ends on its path as used; so the guard remembers as many ends as
    the pool can hold.

    Args:
        block_size: number of ids in a KV block.
        num_pool_blocks: number of KV blocks in the cache.
    """

    def __init__(self, *, block_size: int, num_pool_blocks: int) -> None:
        self._block_size = block_size
        self._ends = _Ends(block_size * num_pool_blocks)
        self._cut_prompts: dict[int, _Blocks] = {}  # since the last step
        self._cut_prompts_before: dict[int, _Blocks] = {}  # in the step before it
        self._running: dict[int, _Tail] = {}
        self._unsettled: dict[int, _Blocks] = {}
        self._held_back: list[tuple[int, _Block]] = []
        # Blocks of unsettled and held-back calls, by the hash before the block; with the number of such calls.
        self._written: defaultdict[int, dict[_Block, int]] = defaultdict(dict)

    def may_start(self, key: int, prompt: tuple[int, ...]) -> bool:
        """Return whether no unsettled call would share a partly filled block with this call and write other ids into it.

        Calls held back since the last step count as well: otherwise later calls could delay them for ever.
        """
        blocks = self._cut_once(key, prompt)
        open_blocks = [(prefix_hash, blocks[prefix_hash]) for prefix_hash in self._ends.blocks_among(blocks)]
        if not any(self._is_contested(*block) for block in open_blocks):
            return True
        self._held_back += open_blocks
        self._add_written(open_blocks)
        return False

    def start(self, key: int, prompt: tuple[int, ...]) -> None:
        """Record that a call was added to the pipeline."""
        blocks = self._unsettled[key] = self._cut_once(key, prompt)
        self._add_written(blocks.items())
        for prefix_hash in self._ends.blocks_among(blocks):
            self._ends.use_first(prefix_hash, blocks[prefix_hash])
        prefix_hash, last = next(reversed(blocks.items()))
        if len(last) == self._block_size:
            self._running[key] = _Tail(extend_hash(prefix_hash, last), [])
        else:
            self._running[key] = _Tail(prefix_hash, list(last))
            self._ends.add(prefix_hash, last)

    def drop(self, key: int) -> None:
        """Record that a call was dropped. The pipeline still holds its blocks during the next step."""
        del self._running[key]

    def advance(self, sampled: Mapping[int, Sequence[int]]) -> None:
        """Record that a step is over, with the ids it sampled, by key."""
        self._cut_prompts_before, self._cut_prompts = self._cut_prompts, {}
        self._remove_written(self._held_back)
        self._held_back = []
        settled = self._unsettled.keys() - self._running.keys()
        for key, ids in sampled.items():
            tail = self._running[key]
            for token_id in ids:
                self._append(tail, token_id)
            if key in self._unsettled and tail.num_sampled >= _NUM_IDS_TO_SETTLE:
                settled.add(key)
        for key in settled:
            self._remove_written(self._unsettled.pop(key).items())

    def _append(self, tail: _Tail, token_id: int) -> None:
        tail.num_sampled += 1
        tail.open_ids.append(token_id)
        if len(tail.open_ids) == 1:
            self._ends.add(tail.prefix_hash, (token_id,))
        if len(tail.open_ids) == self._block_size:
            tail.prefix_hash = extend_hash(tail.prefix_hash, tuple(tail.open_ids))
            tail.open_ids = []

    def _cut_once(self, key: int, prompt: tuple[int, ...]) -> _Blocks:
        """Return the prompt's blocks, cut only once for a call that is checked again in each step."""
        if key not in self._cut_prompts:
            cut_before = self._cut_prompts_before.get(key)
            self._cut_prompts[key] = self._cut(prompt) if cut_before is None else cut_before
        return self._cut_prompts[key]

    def _cut(self, prompt: tuple[int, ...]) -> _Blocks:
        blocks: _Blocks = {}
        prefix_hash = 0
        for start in range(0, len(prompt), self._block_size):
            blocks[prefix_hash] = block = prompt[start : start + self._block_size]
            prefix_hash = extend_hash(prefix_hash, block)
        return blocks

    def _is_contested(self, prefix_hash: int, block: _Block) -> bool:
        """Return whether the block of another call differs from this block, after an end that both share."""
        others = self._written.get(prefix_hash)
        if others is None or others.keys() == {block}:
            return False
        num_ids = self._ends.use_first(prefix_hash, block)
        return num_ids > 0 and any(other[:num_ids] == block[:num_ids] and _differ(other, block) for other in others)

    def _add_written(self, blocks: Iterable[tuple[int, _Block]]) -> None:
        for prefix_hash, block in blocks:
            _increment(self._written[prefix_hash], block)

    def _remove_written(self, blocks: Iterable[tuple[int, _Block]]) -> None:
        for prefix_hash, block in blocks:
            _decrement(self._written[prefix_hash], block)
            if not self._written[prefix_hash]:
                del self._written[prefix_hash]


def _differ(left: _Block, right: _Block) -> bool:
    """Return whether two blocks with the same prefix have different ids; a shorter block is compared up to its end."""
    num_common = min(len(left), len(right))
    return left[:num_common] != right[:num_common]


def _increment(counts: dict[_Item, int], item: _Item) -> None:
    counts[item] = counts.get(item, 0) + 1


def _decrement(counts: dict[_Item, int], item: _Item) -> None:
    """Decrement the item's count; remove the item at 0."""
    counts[item] -= 1
    if not counts[item]:
        del counts[item]
