# SPDX-License-Identifier: Apache-2.0
"""Which KV blocks a prefix cache most likely holds.

OpenVINO GenAI 2026.4 reuses the KV of shared prefixes but does not say how much. Its cache finds a
full block by the ids of the prompt up to the block's end, and keeps the blocks of ended calls until it
needs the room. Then it gives up the block with the oldest timestamp. A block gets a new timestamp when it
is found again or overwritten, but not when it is taken from the list of free ones: in a pool that fills for
the first time, blocks never found again go first, however young they are. (Upstream: allocate_block and
get_block_to_restore in cache/block_manager.hpp.)

Nothing is given up before the pool is full. From then on the blocks with the latest timestamps, half
as many as the pool has, are remembered here. A count made from them is a lower bound (a block that is
filled in part is not counted) as long as the other half makes up for what is not known here: a block that
running calls share, or that equal prompts computed twice, may have an older timestamp.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence


def extend_hash(prefix_hash: int, ids: tuple[int, ...]) -> int:
    """Return the hash of a prefix and the ids behind it; the empty prefix has the hash 0."""
    return hash((prefix_hash, ids))


class ResidentBlocks:
    """The prefixes whose blocks are resident, in blocks of ``block_size`` ids.

    Attributes:
        block_size: ids in a block.
    """

    def __init__(self, *, block_size: int, num_pool_blocks: int) -> None:
        self.block_size = block_size
        self._num_pool_blocks = num_pool_blocks
        self._first: set[int] = set()  # what the pool was filled with for the first time, at most
        self._never_stamped: OrderedDict[int, None] = OrderedDict()
        self._stamped: OrderedDict[int, None] = OrderedDict()

    def count(self, prompt_ids: Sequence[int]) -> int:
        """How many full blocks a call with this prompt finds. The last id is always computed anew."""
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
        """Note that the KV of these ids has been computed; nothing is forgotten before the pool may have evicted a block."""
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
