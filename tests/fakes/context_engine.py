# SPDX-License-Identifier: Apache-2.0
"""A fake model whose next id depends only on its whole context.

Two programs that call it get equal ids exactly as long as they send equal contexts.
"""

from __future__ import annotations

import random
import zlib
from array import array
from collections.abc import AsyncGenerator, Callable, Sequence

from streamed_engine import StreamedEngine

from budgetforce.engine.base import EngineCall, EngineDelta


class ContextModel:
    """Picks ids from ``alphabet``, in an order determined by the context and ``salt``."""

    def __init__(self, alphabet: Sequence[int], salt: int) -> None:
        self._alphabet = list(alphabet)
        self._salt = salt

    def next_id(self, context: Sequence[int], banned: frozenset[int] = frozenset()) -> int:
        """Return the id after ``context``, other than the banned ids."""
        order = random.Random(zlib.crc32(array("q", context).tobytes(), self._salt))  # not for security
        while (token_id := order.choice(self._alphabet)) in banned:
            pass
        return token_id

    def generate(
        self,
        context: Sequence[int],
        max_tokens: int,
        min_tokens: int,
        stop_ids: set[int],
        until: Callable[[list[int]], bool] = lambda _: False,
    ) -> tuple[list[int], str]:
        """Return, as vLLM does, (ids with the stop id, "stop" or "length")."""
        ids: list[int] = []
        while len(ids) < max_tokens:
            banned = frozenset(stop_ids) if len(ids) < min_tokens else frozenset()
            ids.append(self.next_id([*context, *ids], banned))
            if ids[-1] in stop_ids or until(ids):
                return ids, "stop"
        return ids, "length"


class ContextEngine(StreamedEngine):
    """Wraps a ``ContextModel`` as an ``Engine``.

    Attributes:
        calls: all calls and the ids that each returned.
        keeps_min_tokens: whether a call's ``min_tokens`` are kept.
    """

    def __init__(self, model: ContextModel, *, keeps_min_tokens: bool = False) -> None:
        self.keeps_min_tokens = keeps_min_tokens
        self.calls: list[tuple[EngineCall, list[int]]] = []
        self._model = model

    async def stream(self, call: EngineCall) -> AsyncGenerator[EngineDelta, None]:
        ids: list[int] = []
        self.calls.append((call, ids))
        while len(ids) < call.max_new_tokens and not (ids and ids[-1] in call.stop_ids):
            banned = call.banned_ids | (call.stop_ids if len(ids) < call.min_tokens else frozenset())
            ids.append(self._model.next_id([*call.input_ids, *ids], banned))
            yield EngineDelta(ids=(ids[-1],))


class ScriptModel(ContextModel):
    """Samples ``script`` id by id, whatever the contexts, then repeats ``then``; ``instead`` replaces a banned id."""

    def __init__(self, script: Sequence[int], *, then: int, instead: int) -> None:
        super().__init__((), 0)
        self._script = list(script)
        self._then, self._instead = then, instead

    def next_id(self, context: Sequence[int], banned: frozenset[int] = frozenset()) -> int:
        token_id = self._script.pop(0) if self._script else self._then
        return self._instead if token_id in banned else token_id
