# SPDX-License-Identifier: Apache-2.0
"""Which calls must not start together on OpenVINO's prefix cache.

OpenVINO GenAI 2026.4 finds not only full KV blocks but also one that is filled in part, by the
ids up to where an earlier prompt or call ended. It gives that block to every call whose prompt
goes on from there, and a prefill writes into it in place: only a decode step copies a shared
block first. Two calls that go on with different ids overwrite each other's KV, and the spoilt
block stays in the cache for later calls. From its second id on a call has the block for itself.
(Upstream: restore_cached_blocks, allocate and append_slots in cache/block_manager.hpp.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

_NUM_IDS_TO_SETTLE = 2  # the first ends the prefill; the second comes of the decode step that copies


@dataclass(slots=True)
class _Started:
    prompt: tuple[int, ...]
    ids: list[int]  # the prompt and what was sampled
    is_dropped: bool = False

    @property
    def is_settled(self) -> bool:
        return len(self.ids) >= len(self.prompt) + _NUM_IDS_TO_SETTLE


class StartGuard:
    """Tells whether a call may start beside those that started just before.

    Ends of prompts and calls are remembered as hashes: a false match only delays a start. A block of
    the pool has had at most ``block_size`` ends, so as many as the pool can hold are never forgotten.

    Args:
        block_size: ids in a KV block.
        num_pool_blocks: KV blocks of the cache.
    """

    def __init__(self, *, block_size: int, num_pool_blocks: int) -> None:
        self._block_size = block_size
        self._max_ends = block_size * num_pool_blocks
        self._ends: set[int] = set()
        self._older_ends: set[int] = set()
        self._started: dict[int, _Started] = {}
        self._unsettled: dict[int, _Started] = {}

    def may_start(self, prompt: tuple[int, ...], held_back: Sequence[tuple[int, ...]] = ()) -> bool:
        """Return whether no unsettled call would get the same partly filled block and other ids to write into it.

        Nor one of those held back before: else calls that come later could keep them waiting for ever.
        """
        others = chain((other.prompt for other in self._unsettled.values()), held_back)
        return not any(self._share_open_block(prompt, other) for other in others)

    def start(self, key: int, prompt: tuple[int, ...]) -> None:
        """Note that a call was given to the pipeline."""
        self._started[key] = self._unsettled[key] = _Started(prompt, list(prompt))
        self._remember_end(prompt)

    def drop(self, key: int) -> None:
        """Note that a call was dropped. The pipeline still holds its blocks during the next step."""
        self._started.pop(key).is_dropped = True

    def advance(self, sampled: Mapping[int, Sequence[int]]) -> None:
        """Note that a step is over, and the ids that it sampled, by key."""
        gone = [key for key, call in self._unsettled.items() if call.is_dropped]
        for key, ids in sampled.items():
            call = self._started[key]
            for token_id in ids:
                call.ids.append(token_id)
                self._remember_end(call.ids)
            if call.is_settled and key in self._unsettled:
                gone.append(key)
        for key in gone:
            del self._unsettled[key]

    def _share_open_block(self, one: tuple[int, ...], other: tuple[int, ...]) -> bool:
        """Whether the two prompts part inside a block, behind an end that is inside it, too."""
        num_common = self._num_common(one, other)
        if num_common == min(len(one), len(other)):
            return False  # they write the same ids
        block_start = num_common - num_common % self._block_size
        ends = (self._end(one, length) for length in range(block_start + 1, num_common + 1))
        return any(end in self._ends or end in self._older_ends for end in ends)

    def _num_common(self, one: tuple[int, ...], other: tuple[int, ...]) -> int:
        """Length of the longest common beginning: block by block, then by ids."""
        shortest, size = min(len(one), len(other)), self._block_size
        block_starts = range(0, shortest, size)
        start = next((n for n in block_starts if one[n : n + size] != other[n : n + size]), block_starts[-1])
        pairs = zip(one[start:], other[start:], strict=False)
        return next((start + n for n, (left, right) in enumerate(pairs) if left != right), shortest)

    def _remember_end(self, ids: Sequence[int]) -> None:
        if len(ids) % self._block_size:
            self._ends.add(self._end(ids, len(ids)))
        if len(self._ends) > self._max_ends:
            self._older_ends, self._ends = self._ends, set()

    def _end(self, ids: Sequence[int], length: int) -> int:
        return hash((length, *ids[length - length % self._block_size : length]))
