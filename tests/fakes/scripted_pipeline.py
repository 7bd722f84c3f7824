# SPDX-License-Identifier: Apache-2.0
"""A fake token pipeline that samples a script of ids for each prompt, one id per call and step."""

from __future__ import annotations

from collections.abc import Callable

from budgetforce.engine.token_engine import TokenCall


class ScriptedPipeline:
    """Samples the ids that ``script(call)`` returns; masked ids are skipped, as in a real pipeline.

    Attributes:
        computed: keys computed at each step.
        broken: whether the next step fails.
        held_back: prompts that may not be added yet.
        offered: keys of the calls offered with ``may_add``, in order.
    """

    def __init__(self, script: Callable[[TokenCall], list[int]], *, block_size: int = 4, num_blocks: int = 100) -> None:
        self.block_size, self.num_blocks = block_size, num_blocks
        self.computed: list[list[int]] = []
        self.broken = False
        self.held_back: set[tuple[int, ...]] = set()
        self.offered: list[int] = []
        self.reused_ids: int | None = None
        self._script = script
        self._running: dict[int, list[int]] = {}

    def may_add(self, key: int, call: TokenCall) -> bool:
        self.offered.append(key)
        return call.input_ids not in self.held_back

    def add(self, key: int, call: TokenCall) -> None:
        masked = call.masked_ids
        ids = self._script(call)
        self._running[key] = [i for n, i in enumerate(ids) if n >= call.num_masked_steps or i not in masked]

    def step(self) -> dict[int, list[int]]:
        if self.broken:
            raise RuntimeError("the pipeline broke\nsecond line")
        self.computed.append(list(self._running))
        return {key: [ids.pop(0)] for key, ids in self._running.items() if ids}

    def drop(self, key: int) -> None:
        del self._running[key]

    def is_busy(self) -> bool:
        return bool(self._running)

    def num_reused_ids(self, key: int) -> int | None:
        return self.reused_ids
