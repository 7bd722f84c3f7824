# SPDX-License-Identifier: Apache-2.0
"""Which KV blocks a prefix cache is sure to hold.

OpenVINO GenAI reuses the KV of shared prefixes but does not say how much. Its cache finds a
full block by the ids of the prompt up to the block's end, keeps the blocks of ended calls
until it needs the room, and then gives up the least recently used. So whatever was used
within the last half of the pool's blocks is still there: that half is remembered here, and
a count made from it is a lower bound (a block that is filled in part is not counted).
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
        self._num_remembered = num_pool_blocks // 2
        self._used: OrderedDict[int, None] = OrderedDict()

    def count(self, prompt_ids: Sequence[int]) -> int:
        """How many full blocks a call with this prompt finds. The last id is always computed anew."""
        num_found = 0
        for key in self._keys(prompt_ids[:-1]):
            if key not in self._used:
                break
            self._used.move_to_end(key)
            num_found += 1
        return num_found

    def add(self, computed_ids: Sequence[int]) -> None:
        """The KV of these ids has been computed."""
        for key in self._keys(computed_ids):
            self._used[key] = None
            self._used.move_to_end(key)
        while len(self._used) > self._num_remembered:
            self._used.popitem(last=False)

    def _keys(self, ids: Sequence[int]) -> Iterator[int]:
        key = 0
        for end in range(self.block_size, len(ids) + 1, self.block_size):
            key = extend_hash(key, tuple(ids[end - self.block_size : end]))
            yield key
