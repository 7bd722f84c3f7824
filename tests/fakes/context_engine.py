# SPDX-License-Identifier: Apache-2.0
"""A model whose next id depends on its whole context and on nothing else: two programs that
call it get the same ids exactly as long as they give it the same contexts.
"""

from __future__ import annotations

import random
import zlib
from array import array
from collections.abc import AsyncGenerator, Callable, Sequence

from budgetforce.engine.base import EngineCall, EngineDelta


class ContextModel:
    """Picks from ``alphabet``, by a shuffle that the context and ``salt`` decide."""

    def __init__(self, alphabet: Sequence[int], salt: int) -> None:
        self._alphabet = list(alphabet)
        self._salt = salt

    def next_id(self, context: Sequence[int], banned: frozenset[int] = frozenset()) -> int:
        """The id behind ``context`` that is not banned."""
        order = random.Random(zlib.crc32(array("q", context).tobytes(), self._salt))  # a fake
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
        """As vLLM does: (ids with the stop id, "stop" or "length")."""
        ids: list[int] = []
        while len(ids) < max_tokens:
            banned = frozenset(stop_ids) if len(ids) < min_tokens else frozenset()
            ids.append(self.next_id([*context, *ids], banned))
            if ids[-1] in stop_ids or until(ids):
                return ids, "stop"
        return ids, "length"


class ContextEngine:
    """A ``ContextModel`` as an ``Engine``.

    Attributes:
        calls: every call and the ids that it gave.
    """

    def __init__(self, model: ContextModel) -> None:
        self.calls: list[tuple[EngineCall, list[int]]] = []
        self._model = model

    async def stream(self, call: EngineCall) -> AsyncGenerator[EngineDelta, None]:
        said: list[int] = []
        self.calls.append((call, said))
        while len(said) < call.max_new_tokens and not (said and said[-1] in call.stop_ids):
            said.append(self._model.next_id([*call.input_ids, *said], call.banned_ids))
            yield EngineDelta(ids=(said[-1],))


class ScriptModel(ContextModel):
    """Says ``script`` id by id, whatever the contexts, and ``then`` for ever; ``instead`` of a banned id."""

    def __init__(self, script: Sequence[int], *, then: int, instead: int) -> None:
        super().__init__((), 0)
        self._script = list(script)
        self._then, self._instead = then, instead

    def next_id(self, context: Sequence[int], banned: frozenset[int] = frozenset()) -> int:
        token_id = self._script.pop(0) if self._script else self._then
        return self._instead if token_id in banned else token_id
