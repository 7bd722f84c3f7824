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
from itertools import groupby
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a reply.

    Attributes:
        event: "thinking_opened", "thinking", "injected", "answer_opened", "answer" or "done".
        index: which of the request's samples it belongs to.
        thinking: thinking text.
        answer: answer text.
        ids: the ids behind it, in the order of the context.
        result: JSON, on a sample's last piece only.
    """

    event: str
    index: int = 0
    thinking: str = ""
    answer: str = ""
    ids: tuple[int, ...] = ()
    result: str | None = None


Send = Callable[[Sequence[Piece], bool], None]  # (pieces, whether they end the request); blocking


class Sink(Protocol):
    """Where the pieces of one reply go, in order. Belongs to one event loop."""

    def put(self, piece: Piece) -> None:
        """Take a piece; never blocks. Raises what an earlier send raised."""
        ...

    async def ready(self) -> None:
        """Wait until a piece would leave at once. Until then it is as well to let more come together."""
        ...

    async def close(self) -> None:
        """Everything has been put: send the rest; the last response of the request is among it."""
        ...

    async def settle(self) -> None:
        """Wait for a send under way; nothing is sent afterwards."""
        ...


class StreamSink:
    """Sends pieces as they come, see above, in the threads of ``executor``."""

    def __init__(self, send: Send, executor: Executor, num_samples: int = 1) -> None:
        self._send = send
        self._executor = executor
        self._loop = asyncio.get_running_loop()
        self._unsent: list[Piece] = []
        self._num_results_left = num_samples
        self._idle = asyncio.Event()
        self._idle.set()
        self._failure: Exception | None = None

    def put(self, piece: Piece) -> None:
        if self._failure is not None:
            raise self._failure
        self._unsent.append(piece)
        if self._idle.is_set():
            self._idle.clear()
            self._loop.call_soon(self._send_all)  # with whatever else is put before the loop's next turn

    async def ready(self) -> None:
        await self._idle.wait()

    def _send_all(self) -> None:
        pieces = merge(self._unsent)
        self._unsent.clear()
        if not pieces:
            self._idle.set()
            return
        self._num_results_left -= sum(piece.result is not None for piece in pieces)
        self._executor.submit(self._send_and_tell, pieces, self._num_results_left == 0)

    def _send_and_tell(self, pieces: Sequence[Piece], final: bool) -> None:
        failure = None
        try:
            self._send(pieces, final)
        except Exception as error:  # noqa: BLE001  # the reply's business, not this thread's
            failure = error
        self._loop.call_soon_threadsafe(self._sent, failure)

    def _sent(self, failure: Exception | None) -> None:
        self._failure = failure
        if failure is not None:
            self._unsent.clear()
        self._send_all()

    async def close(self) -> None:
        await self._idle.wait()
        if self._failure is not None:
            raise self._failure

    async def settle(self) -> None:
        self._unsent.clear()
        await self._idle.wait()


class JoiningSink:
    """Sends one response at the end, with everything in it: a piece for each sample, in order."""

    def __init__(self, send: Send, executor: Executor) -> None:
        self._send = send
        self._executor = executor
        self._pieces: list[Piece] = []

    def put(self, piece: Piece) -> None:
        self._pieces.append(piece)

    async def ready(self) -> None:
        """It always is: nothing leaves before the end."""

    async def close(self) -> None:
        in_order = sorted(self._pieces, key=lambda piece: piece.index)
        whole = [_join("done", list(of_one)) for _, of_one in groupby(in_order, lambda piece: piece.index)]
        await asyncio.get_running_loop().run_in_executor(self._executor, self._send, whole, True)

    async def settle(self) -> None:
        self._pieces.clear()


def merge(pieces: Iterable[Piece]) -> list[Piece]:
    """Neighbours of the same event and sample as one piece."""
    runs = [list(run) for _, run in groupby(pieces, lambda piece: (piece.event, piece.index))]
    return [run[0] if len(run) == 1 else _join(run[0].event, run) for run in runs]


def _join(event: str, pieces: Sequence[Piece]) -> Piece:
    return Piece(
        event=event,
        index=pieces[0].index,
        thinking="".join(piece.thinking for piece in pieces),
        answer="".join(piece.answer for piece in pieces),
        ids=tuple(token_id for piece in pieces for token_id in piece.ids),
        result=pieces[-1].result,
    )
