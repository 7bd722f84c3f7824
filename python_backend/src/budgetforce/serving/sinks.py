# SPDX-License-Identifier: Apache-2.0
"""How pieces of a reply leave: one by one, or all at the end. Knows no Triton.

A stream sends its first piece at once; then one send is under way at a time, and what comes
meanwhile leaves together with the next. Nothing waits for a clock, so coalescing costs no
latency: there is more in a message only when the consumer or the machine is behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a reply.

    Attributes:
        event: "thinking", "injected", "answer_opened", "answer" or "done".
        thinking: thinking text.
        answer: answer text.
        ids: the ids behind it, in the order of the context.
        result: JSON, on the last piece only.
    """

    event: str
    thinking: str = ""
    answer: str = ""
    ids: tuple[int, ...] = ()
    result: str | None = None


Send = Callable[[Sequence[Piece], bool], None]  # (pieces, final); blocking


class Sink(Protocol):
    """Where the pieces of one reply go, in order."""

    def put(self, piece: Piece) -> None:
        """Take a piece; never blocks."""
        ...

    async def close(self, result: str) -> None:
        """Everything is said: send the rest and the result, the last response of the request."""
        ...

    async def settle(self) -> None:
        """Wait for a send under way; nothing is sent afterwards."""
        ...


class StreamSink:
    """Sends pieces as they come, see above. Belongs to one event loop; sends in ``executor``."""

    def __init__(self, send: Send, executor: Executor) -> None:
        self._send = send
        self._executor = executor
        self._unsent: list[Piece] = []
        self._sending: asyncio.Task[None] | None = None

    def put(self, piece: Piece) -> None:
        self._unsent.append(piece)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.ensure_future(self._send_all())

    async def _send_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._unsent:
            pieces, self._unsent = merge(self._unsent), []
            await loop.run_in_executor(self._executor, self._send, pieces, False)

    async def close(self, result: str) -> None:
        await self._settle_sending()
        pieces = [*merge(self._unsent), Piece(event="done", result=result)]
        await asyncio.get_running_loop().run_in_executor(self._executor, self._send, pieces, True)

    async def settle(self) -> None:
        self._unsent.clear()
        await self._settle_sending()

    async def _settle_sending(self) -> None:
        if self._sending is not None:
            await asyncio.shield(self._sending)


class JoiningSink:
    """Sends one response at the end, with everything in it."""

    def __init__(self, send: Send, executor: Executor) -> None:
        self._send = send
        self._executor = executor
        self._pieces: list[Piece] = []

    def put(self, piece: Piece) -> None:
        self._pieces.append(piece)

    async def close(self, result: str) -> None:
        whole = _join("done", self._pieces, result)
        await asyncio.get_running_loop().run_in_executor(self._executor, self._send, [whole], True)

    async def settle(self) -> None:
        self._pieces.clear()


def merge(pieces: Iterable[Piece]) -> list[Piece]:
    """Neighbours of the same event as one piece."""
    runs: list[list[Piece]] = []
    for piece in pieces:
        if runs and runs[-1][0].event == piece.event:
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return [run[0] if len(run) == 1 else _join(run[0].event, run, None) for run in runs]


def _join(event: str, pieces: Sequence[Piece], result: str | None) -> Piece:
    return Piece(
        event=event,
        thinking="".join(piece.thinking for piece in pieces),
        answer="".join(piece.answer for piece in pieces),
        ids=tuple(token_id for piece in pieces for token_id in piece.ids),
        result=result,
    )
