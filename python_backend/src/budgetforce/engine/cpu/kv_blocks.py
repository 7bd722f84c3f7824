# SPDX-License-Identifier: Apache-2.0
"""Estimates which KV blocks OpenVINO's prefix cache holds.

OpenVINO GenAI 2026.4 reuses the KV of shared prefixes but does not report how much. Its cache finds a
full block by the ids of the prompt up to the block's end, and keeps the blocks of finished calls until it
needs the space. Then it evicts the block with the oldest timestamp. A block gets a new timestamp when it
is found again or overwritten, but not when it is taken from the free list: in a pool that fills for the
first time, blocks that were never found again go first, however new they are. (Upstream: allocate_block
and get_block_to_restore in cache/block_manager.hpp.)

No block is evicted before the pool is full. From then on this module remembers the blocks with the latest
timestamps, half as many as the pool has. A count from them is a lower bound (partly filled blocks are not
counted), as long as the other half covers the unknown cases: blocks that running calls share, or that equal
prompts computed twice, may have older timestamps.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence


def extend_hash(prefix_hash: int, ids: tuple[int, ...]) -> int:
    """Return the hash of a prefix and the ids after it; the empty prefix has the hash 0."""
    return hash((prefix_hash, ids))


class ResidentBlocks:
    """Remembers the prefixes whose blocks are resident.

    Attributes:
        block_size: number of ids in a block.
    """

    def __init__(self, *, block_size: int, num_pool_blocks: int) -> None:
        self.block_size = block_size
        self._num_pool_blocks = num_pool_blocks
        self._first: set[int] = set()  # blocks of the pool's first filling, at most
        self._never_stamped: OrderedDict[int, None] = OrderedDict()
        self._stamped: OrderedDict[int, None] = OrderedDict()

    def count(self, prompt_ids: Sequence[int]) -> int:
        """Return how many full blocks a call with this prompt finds. Its last id is always computed anew."""
        num_found = 0
        for key in self._keys(prompt_ids[:-1]):
            if key not in self:
                break
            self._never_stamped.pop(key, None)
            self._stamped[key] = None
            self._stamped.move_to_end(key)
            num_found += 1
        return num_found

    def add(self, computed_ids: Sequence[int], *, is_evicting: bool = True) -> None:
        """Record that the KV of these ids was computed; blocks are forgotten only once the pool may have evicted one."""
        for key in self._keys(computed_ids):
            if key not in self:
                self._add_block(key)
        while is_evicting and len(self._never_stamped) + len(self._stamped) > self._num_pool_blocks // 2:
            (self._never_stamped or self._stamped).popitem(last=False)

    def __contains__(self, key: int) -> bool:
        return key in self._stamped or key in self._never_stamped

    def _add_block(self, key: int) -> None:
        if len(self._first) < self._num_pool_blocks:  # the pool may still have blocks that were never used
            self._first.add(key)
            self._never_stamped[key] = None
        else:
            self._stamped[key] = None

    def _keys(self, ids: Sequence[int]) -> Iterator[int]:
        key = 0
        for end in range(self.block_size, len(ids) + 1, self.block_size):
            key = extend_hash(key, tuple(ids[end - self.block_size : end]))
            yield key
