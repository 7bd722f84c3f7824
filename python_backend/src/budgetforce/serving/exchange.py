# SPDX-License-Identifier: Apache-2.0
"""One sample: the loop between the core and an engine. Knows no Triton.

It ends in exactly one of: a piece with the result, or an exception to the caller (``reply``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from budgetforce.core import (
    Action,
    AnswerNow,
    BudgetForcer,
    Emit,
    EngineProtocolError,
    Finish,
    Generate,
    Ledger,
    Phase,
    Reencode,
    Reencoded,
    RoundEnded,
    Started,
    StopWordFound,
    TimeIsUp,
    TokensSampled,
)
from budgetforce.core import Cancelled as CancelledEvent
from budgetforce.errors import EngineFailed
from budgetforce.serving.calls import EngineCalls
from budgetforce.serving.deadline import NEVER, TICK_S, Deadline, Pace
from budgetforce.serving.planning import ReplyPlan
from budgetforce.serving.reply_text import ReplyText
from budgetforce.serving.report import RoundTrace, ms_since, round_report, usage_report
from budgetforce.serving.sinks import Piece, Sink
from budgetforce.text.tokenizer import ChatTokenizer


@dataclass(slots=True, kw_only=True)
class Exchange:
    """Runs one sample.

    Attributes:
        request_id: the client's name for the request; need not be unique.
        sink: takes the pieces, in order.
        index: which of the request's samples it is.
        first_ids_came: set with the engine's first ids, or when it is over without any.
    """

    request_id: str
    plan: ReplyPlan
    calls: EngineCalls
    tokenizer: ChatTokenizer
    sink: Sink
    deadline: Deadline = NEVER
    index: int = 0
    first_ids_came: asyncio.Event = field(default_factory=asyncio.Event)
    rounds: list[RoundTrace] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    _pace: Pace = field(default_factory=Pace)
    _hurried: bool = False
    _cut_by: AnswerNow | TimeIsUp | None = None
    _running: tuple[Phase, asyncio.Timeout] | None = None
    _forcer: BudgetForcer = field(init=False)
    _text: ReplyText = field(init=False)
    _idle_since: float = field(init=False)

    def __post_init__(self) -> None:
        stop_words = {phase: self.plan.stop_words_of(phase) for phase in Phase}
        self._forcer = BudgetForcer(self.plan.forcing)
        self._text = ReplyText(self.tokenizer.token_bytes, stop_words, self.index)
        self._idle_since = self.started

    async def run(self) -> None:
        """Run to the end.

        Raises EngineFailed, EngineUnavailable, InvalidRequest (from the engine) or
        asyncio.CancelledError.
        """
        watching = asyncio.create_task(self._watch_the_clock()) if self.deadline.answers else None
        try:
            await self._loop()
        except EngineProtocolError as error:
            raise EngineFailed(f"the engine broke its contract: {error}") from error
        except asyncio.CancelledError:
            self._forcer.receive(CancelledEvent())
            raise
        finally:
            self.first_ids_came.set()
            if watching is not None:
                watching.cancel()

    def answer_now(self) -> None:
        """Close thinking at once, if it is not closed; from the event loop only."""
        self._hurried = True
        self._cut_what_is_due()

    @property
    def is_over(self) -> bool:
        """Whether its result is on the way, or was."""
        return self._forcer.ledger.answer_end is not None

    def so_far(self) -> dict[str, Any]:
        """How far it got, for a request that fails."""
        ledger = self._forcer.ledger
        return {"index": self.index, "num_rounds": len(ledger.rounds), "usage": usage_report(ledger)}

    async def _loop(self) -> None:
        last = self._hand_on(self._forcer.receive(Started()))
        while not isinstance(last, Finish):
            if isinstance(last, Generate):
                actions = await self._round(last)
                last = self._hand_on(actions, self._round_ended())
            else:
                last = self._hand_on(self._reencode(last))

    def _hand_on(self, actions: Sequence[Action], ended: Piece | None = None) -> Any:
        """Hand on what is to be shown, ``ended`` behind what the round itself brought; the last action,
        which is the next thing to do (None: nothing is).
        """
        pieces = [piece for action in actions if isinstance(action, Emit) for piece in self._text.pieces(action)]
        if actions and isinstance(actions[-1], Finish):
            pieces += self._text.done(self._result(self._forcer.ledger))
        if ended is not None:
            behind = next((n for n, piece in enumerate(pieces) if piece.event not in set(Phase) and not _is_released(piece)), len(pieces))
            pieces.insert(behind, ended)
        for piece in pieces:
            self.sink.put(piece)
        return actions[-1] if actions else None

    def _round_ended(self) -> Piece:
        record = self._forcer.ledger.rounds[len(self.rounds) - 1]  # the next one may have been opened
        return self._text.round_ended(round_report(record, self.rounds[-1]))

    def _reencode(self, asked: Reencode) -> list[Action]:
        text = self.tokenizer.decode(asked.context_ids[asked.start :])
        return self._forcer.receive(Reencoded(self.tokenizer.encode_marker(text)))

    # --- one round ------------------------------------------------------------------------

    async def _round(self, generate: Generate) -> list[Action]:
        trace = RoundTrace(gap_ms=ms_since(self._idle_since))
        self.rounds.append(trace)
        cut = self._what_cuts(generate.phase)
        if cut is not None and (actions := self._forcer.receive(cut)):
            return actions
        started = time.monotonic()
        try:
            async with asyncio.timeout(None) as patience:
                self._running = (generate.phase, patience)
                ended = await self._sample(generate, trace)
        except TimeoutError:  # nothing else has a time limit here
            assert self._cut_by is not None
            # Nothing to cut: the answer's marker was the round's last id, or its end was under way.
            ended = self._forcer.receive(self._cut_by) or self._forcer.receive(RoundEnded())
        finally:
            self._running = None
        trace.engine_ms = ms_since(started)
        self._idle_since = time.monotonic()
        return ended

    async def _sample(self, generate: Generate, trace: RoundTrace) -> list[Action]:
        started = time.monotonic()
        async with aclosing(self.calls.of_round(generate, self._forcer, trace)) as sampled:
            async for ids in sampled:
                if trace.first_token_ms is None:
                    trace.first_token_ms = ms_since(started)
                    self.first_ids_came.set()
                if self._take(ids, generate.phase):
                    return self._forcer.receive(StopWordFound())
        return self._forcer.receive(RoundEnded())

    def _take(self, ids: tuple[int, ...], phase: Phase) -> bool:
        """Tell the core of sampled ids; whether a stop word is among their text. What comes behind one must not
        depend on how the engine cuts its stream, so where there are stop words the ids go one by one.
        """
        self._pace.count(len(ids))
        for some in [(token_id,) for token_id in ids] if self.plan.stop_words_of(phase) else [ids]:
            self._hand_on(self._forcer.receive(TokensSampled(some)))
            if self._text.stop_word(phase) is not None:
                return True
        return False

    # --- what cuts one short -----------------------------------------------------------------

    async def _watch_the_clock(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._cut_what_is_due()

    def _cut_what_is_due(self) -> None:
        if self._running is None:
            return
        phase, patience = self._running
        self._cut_by = self._what_cuts(phase)
        if self._cut_by is not None:
            self._running = None  # once: patience cannot be rescheduled while it expires
            patience.reschedule(0)

    def _what_cuts(self, phase: Phase) -> AnswerNow | TimeIsUp | None:
        """What cuts a round of ``phase`` short now."""
        if self.deadline.is_up(phase, time.monotonic(), self.plan.num_answer_tokens, self._pace.s_per_token):
            return TimeIsUp()
        return AnswerNow() if self._hurried and phase is Phase.THINKING else None

    def _result(self, ledger: Ledger) -> dict[str, Any]:
        first = next((trace for trace in self.rounds if trace.first_token_ms is not None), None)
        return {
            "request_id": self.request_id,
            "index": self.index,
            "finish_reason": {"thinking": ledger.thinking_end, "answer": ledger.answer_end},
            "stop_word": self._text.stop_word(Phase.ANSWER),
            "usage": usage_report(ledger),
            "effective": self.plan.effective,
            "rounds": [round_report(record, trace) for record, trace in zip(ledger.rounds, self.rounds, strict=True)],
            "engine_time_to_first_token_ms": None if first is None else first.first_token_ms,
            "total_ms": ms_since(self.started),
        }


def _is_released(piece: Piece) -> bool:
    """Whether it is text that was held back, of ids that were handed on before."""
    return piece.event == "injected" and not piece.ids
