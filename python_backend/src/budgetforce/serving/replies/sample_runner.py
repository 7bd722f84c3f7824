# SPDX-License-Identifier: Apache-2.0
"""Runs a sample: the loop between the core and an engine. Independent of Triton.

A sample ends in exactly one way: a chunk with the result, or an exception to the caller (``reply``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
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
    Phase,
    Reencode,
    Reencoded,
    RoundEnded,
    RoundRecord,
    Started,
    StopWordFound,
    ThinkingMode,
    TimeIsUp,
    TokensSampled,
)
from budgetforce.core import Cancelled as CancelledEvent
from budgetforce.errors import EngineFailed
from budgetforce.serving.planning.plan import ReplyPlan
from budgetforce.serving.replies.deadline import NEVER, TICK_S, Deadline, Pace
from budgetforce.serving.replies.engine_calls import EngineCalls
from budgetforce.serving.replies.reply_text import ReplyText
from budgetforce.serving.replies.result import RoundTrace, ms_since, round_report, sample_result, usage_report
from budgetforce.serving.replies.sample_facts import Arrivals, SampleFacts
from budgetforce.serving.replies.sinks import OutputChunk, Sink
from budgetforce.serving.replies.span_context import SpanContext
from budgetforce.serving.result_schema import SampleProgress, SampleResult
from budgetforce.text.tokenizer import ChatTokenizer


@dataclass(slots=True, kw_only=True)
class SampleRunner:
    """Runs a sample: asks the core for the next action, performs it, and reports the outcome to the core.

    Attributes:
        request_id: the client's name for the request; need not be unique.
        sink: takes the chunks, in order.
        index: which of the request's samples it is.
        span: of the request; None = it is not traced.
        first_ids_came: set with the engine's first ids, or when the sample ends without any.
    """

    request_id: str
    plan: ReplyPlan
    calls: EngineCalls
    tokenizer: ChatTokenizer
    sink: Sink
    deadline: Deadline = NEVER
    index: int = 0
    span: SpanContext | None = None
    first_ids_came: asyncio.Event = field(default_factory=asyncio.Event)
    rounds: list[RoundTrace] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    _pace: Pace = field(default_factory=Pace)
    _arrivals: dict[Phase, Arrivals] = field(default_factory=lambda: {phase: Arrivals() for phase in Phase})
    _answer_now_pending: bool = False
    _cut_by: AnswerNow | TimeIsUp | None = None
    _running_round: tuple[Phase, asyncio.Timeout] | None = None
    _forcer: BudgetForcer = field(init=False)
    _text: ReplyText = field(init=False)
    _idle_since: float = field(init=False)

    def __post_init__(self) -> None:
        stop_words = {phase: self.plan.stop_words_of(phase) for phase in Phase}
        self._forcer = BudgetForcer(self.plan.forcing)
        self._text = ReplyText(self.tokenizer.token_bytes, stop_words, self.index)
        self._idle_since = self.started

    async def run(self) -> None:
        """Run the sample to its end.

        Raises EngineFailed, EngineUnavailable, InvalidRequest (from the engine) or asyncio.CancelledError. A ShellProtocolError of
        the core passes through: it is a bug of ours.
        """
        watching = asyncio.create_task(self._watch_deadline()) if self.deadline.answers else None
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
        """Close thinking at once, if it is still open. Call it from the event loop only."""
        self._answer_now_pending = True
        self._cut_if_due()

    @property
    def is_over(self) -> bool:
        """Whether the result is being sent or has been sent."""
        return self._forcer.ledger.answer_end is not None

    def so_far(self) -> SampleProgress:
        """Return the progress, for the error of a request that fails."""
        ledger = self._forcer.ledger
        return {"index": self.index, "num_rounds": len(ledger.rounds), "usage": usage_report(ledger)}

    def facts(self) -> SampleFacts:
        """Return what the metrics need to know about the run."""
        forcing = self.plan.forcing
        return SampleFacts(
            ledger=self._forcer.ledger,
            traces=self.rounds,
            arrivals=self._arrivals,
            budget=forcing.max_thinking_tokens if forcing.mode is ThinkingMode.FORCED else 0,
            call_results=self.calls.results,
        )

    async def _loop(self) -> None:
        last = self._emit(self._forcer.receive(Started()))
        while not isinstance(last, Finish):
            if isinstance(last, Generate):
                actions = await self._round(last)
                last = self._emit(actions, self._round_ended())
            else:
                last = self._emit(self._reencode(last))

    def _emit(self, actions: Sequence[Action], round_ended: OutputChunk | None = None) -> Any:
        """Put the chunks of ``actions``, with ``round_ended`` behind the round's own text.

        Returns the last action, which is the next thing to do (None if there is none).
        """
        chunks = [chunk for action in actions if isinstance(action, Emit) for chunk in self._text.chunks(action)]
        if actions and isinstance(actions[-1], Finish):
            chunks += self._text.done(self._result())
        if round_ended is not None:
            sampled = set(Phase)
            behind = (n for n, chunk in enumerate(chunks) if chunk.event not in sampled and not _is_held_back_text(chunk))
            chunks.insert(next(behind, len(chunks)), round_ended)
        for chunk in chunks:
            self.sink.put(chunk)
        return actions[-1] if actions else None

    def _round_ended(self) -> OutputChunk:
        return self._text.round_ended(round_report(self._record, self.rounds[-1]))

    def _reencode(self, action: Reencode) -> list[Action]:
        text = self.tokenizer.decode(action.context_ids[action.start :])
        return self._forcer.receive(Reencoded(self.tokenizer.encode_marker(text)))

    # --- a round --------------------------------------------------------------------------

    @property
    def _record(self) -> RoundRecord:
        return self._forcer.ledger.rounds[len(self.rounds) - 1]  # not [-1]: the core may have opened the next round

    async def _round(self, generate: Generate) -> list[Action]:
        trace = RoundTrace(gap_ms=ms_since(self._idle_since), span=None if self.span is None else self.span.child())
        self.rounds.append(trace)
        cut = self._due_cut(generate.phase)
        if cut is not None and (actions := self._forcer.receive(cut)):
            return actions
        started = time.monotonic()
        try:
            async with asyncio.timeout(None) as timer:
                self._running_round = (generate.phase, timer)
                actions = await self._sample(generate, trace, started)
                while self._record.ended_by is None and isinstance(
                    again := actions[-1], Generate
                ):  # see ``Generate``: the round runs again
                    actions = await self._sample(again, trace, started)
        except TimeoutError:  # from ``timer``: nothing else here has a time limit
            actions = self._cut(generate.phase)
        finally:
            self._running_round = None
            trace.engine_ms = ms_since(started)
        self._idle_since = time.monotonic()
        return actions

    def _cut(self, phase: Phase) -> list[Action]:
        """Cut the round short, unless its end came at the same moment."""
        assert self._cut_by is not None
        if self._text.stop_word(phase) is not None:
            return self._forcer.receive(StopWordFound())
        # No actions mean that there is nothing to cut: the round's last id was the answer's marker, or thinking was ending.
        return self._forcer.receive(self._cut_by) or self._forcer.receive(RoundEnded())

    async def _sample(self, generate: Generate, trace: RoundTrace, started: float) -> list[Action]:
        def take(ids: tuple[int, ...]) -> bool:
            came = time.monotonic()
            has_stop_word = self._receive_ids(ids, generate.phase, came)
            if trace.first_token_ms is None and self._record.num_sampled_tokens:
                trace.first_token_ms = ms_since(started, came)
                self.first_ids_came.set()
            return not has_stop_word

        is_whole = await self.calls.run_round(generate, self._forcer, trace, take)
        return self._forcer.receive(RoundEnded() if is_whole else StopWordFound())

    def _receive_ids(self, ids: tuple[int, ...], phase: Phase, came: float) -> bool:
        """Pass sampled ids to the core; return whether their text contains a stop word.

        With stop words the ids go singly, so that the ids behind a stop word do not depend on how the engine cuts its stream.
        """
        self._pace.count_ids(len(ids), came)
        self._arrivals[phase].note(came, len(ids))
        if not self.plan.stop_words_of(phase):
            self._emit_text(self._forcer.receive(TokensSampled(ids)))
            return False
        for token_id in ids:
            self._emit_text(self._forcer.receive(TokensSampled((token_id,))))
            if self._text.stop_word(phase) is not None:
                return True
        return False

    def _emit_text(self, actions: Sequence[Action]) -> None:
        """Put the chunks of sampled ids; nothing else follows from them."""
        for action in actions:
            assert isinstance(action, Emit)
            for chunk in self._text.chunks(action):
                self.sink.put(chunk)

    # --- cuts by the deadline or by answer_now -----------------------------------------------

    async def _watch_deadline(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._cut_if_due()

    def _cut_if_due(self) -> None:
        if self._running_round is None:
            return
        phase, timer = self._running_round
        self._cut_by = self._due_cut(phase)
        if self._cut_by is not None:
            self._running_round = None  # only once: a timer cannot be rescheduled while it expires
            timer.reschedule(0)

    def _due_cut(self, phase: Phase) -> AnswerNow | TimeIsUp | None:
        """Return the event that must cut a round of ``phase`` short now, if there is any."""
        if self.deadline.is_up(phase, time.monotonic(), self.plan.num_answer_tokens, self._pace.s_per_token):
            return TimeIsUp()
        return AnswerNow() if self._answer_now_pending and phase is Phase.THINKING else None

    def _result(self) -> SampleResult:
        return sample_result(
            request_id=self.request_id,
            index=self.index,
            ledger=self._forcer.ledger,
            traces=self.rounds,
            stop_word=self._text.stop_word(Phase.ANSWER),
            effective=self.plan.effective,
            training=self.plan.training,
            total_ms=ms_since(self.started),
        )


def _is_held_back_text(chunk: OutputChunk) -> bool:
    """Return whether the chunk is text that was held back: its ids were sent earlier."""
    return chunk.event == "injected" and not chunk.ids
