# SPDX-License-Identifier: Apache-2.0
"""One sample: the loop between the core and an engine. Knows no Triton.

It ends in exactly one of: a piece with the result, or an exception to the caller (``reply``).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from budgetforce.core import (
    Action,
    AnswerNow,
    BudgetForcer,
    Emit,
    Finish,
    Generate,
    Ledger,
    Phase,
    ProtocolViolation,
    Reencode,
    Reencoded,
    RoundEnded,
    RoundRecord,
    Started,
    StopWordFound,
    TokensSampled,
)
from budgetforce.core import Cancelled as CancelledEvent
from budgetforce.engine.base import Engine, EngineCall, EngineDelta
from budgetforce.errors import EngineFailed
from budgetforce.serving.planning import ReplyPlan
from budgetforce.serving.sinks import Piece
from budgetforce.text.detokenizer import StreamDecoder
from budgetforce.text.stop_words import StopWordFilter
from budgetforce.text.tokenizer import ChatTokenizer


@dataclass(slots=True)
class RoundTrace:
    """What the engine's side of a round was like. The first call's reuse is the round's."""

    num_engine_calls: int = 0
    kv_reused_blocks: int | None = None
    gap_ms: float = 0.0
    first_token_ms: float | None = None
    engine_ms: float = 0.0


class ReplyText:
    """Ids of a sample to text, phase by phase; thinking and answer are decoded apart."""

    def __init__(self, token_bytes: Sequence[bytes], stop_words: Mapping[Phase, Sequence[str]], index: int = 0) -> None:
        self._decoders = {phase: StreamDecoder(token_bytes) for phase in Phase}
        self._stop_words = {phase: StopWordFilter(words) for phase, words in stop_words.items()}
        self._index = index

    def stop_word(self, phase: Phase) -> str | None:
        """The stop word that ended the phase, if one did."""
        return self._stop_words[phase].found

    def pieces(self, emit: Emit) -> list[Piece]:
        """What to hand on for ``emit``. The first marker of the answer ends the thinking text."""
        if emit.hidden and emit.phase is Phase.THINKING:
            return [self._piece("thinking_opened", ids=emit.ids)]
        if emit.hidden:
            return [*self.flush(Phase.THINKING), self._piece("answer_opened", ids=emit.ids)]
        text = self._decoders[emit.phase].feed(emit.ids)
        if not emit.injected:
            text = self._stop_words[emit.phase].feed(text)
        return [self._piece("injected" if emit.injected else emit.phase.value, ids=emit.ids, **{emit.phase.value: text})]

    def flush(self, phase: Phase) -> list[Piece]:
        """What was held back when a phase is over."""
        text = self._stop_words[phase].feed(self._decoders[phase].flush()) + self._stop_words[phase].flush()
        return [self._piece(phase.value, **{phase.value: text})] if text else []

    def done(self, result: dict[str, Any]) -> list[Piece]:
        """The last pieces: what was held back, and the result."""
        return [*self.flush(Phase.THINKING), *self.flush(Phase.ANSWER), self._piece("done", result=json.dumps(result))]

    def _piece(self, event: str, **parts: Any) -> Piece:
        return Piece(event=event, index=self._index, **parts)


@dataclass(slots=True, kw_only=True)
class Exchange:
    """Runs one sample.

    Attributes:
        request_id: the client's name for the request; need not be unique.
        index: which of the request's samples it is.
        put: takes the pieces, in order.
        first_ids_came: set with the engine's first ids, or when it is over without any.
        call_prefix: engine calls are named after it, unique among all that run.
        num_calls: engine calls so far.
    """

    request_id: str
    plan: ReplyPlan
    engine: Engine
    tokenizer: ChatTokenizer
    put: Callable[[Piece], None]
    index: int = 0
    first_ids_came: asyncio.Event = field(default_factory=asyncio.Event)
    call_prefix: str = field(default_factory=lambda: uuid.uuid4().hex)
    num_calls: int = 0
    rounds: list[RoundTrace] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    _hurried: bool = False
    _patience: asyncio.Timeout | None = None
    _text: ReplyText = field(init=False)
    _idle_since: float = field(init=False)

    def __post_init__(self) -> None:
        stop_words = {phase: self.plan.stop_words_of(phase) for phase in Phase}
        self._text = ReplyText(self.tokenizer.token_bytes, stop_words, self.index)
        self._idle_since = self.started

    async def run(self) -> None:
        """Run to the end.

        Raises EngineFailed, EngineUnavailable, InvalidRequest (from the engine) or
        asyncio.CancelledError.
        """
        forcer = BudgetForcer(self.plan.forcing)
        try:
            actions = forcer.receive(Started())
            while not isinstance(last := self._hand_on(actions), Finish):
                actions = await self._round(forcer, last) if isinstance(last, Generate) else self._reencode(forcer, last)
        except ProtocolViolation as error:
            raise EngineFailed(str(error)) from error
        except asyncio.CancelledError:
            forcer.receive(CancelledEvent())
            raise
        finally:
            self.first_ids_came.set()
        for piece in self._text.done(self._result(forcer.ledger)):
            self.put(piece)

    def answer_now(self) -> None:
        """Close thinking at once, if it is not closed; from the event loop only."""
        self._hurried = True
        patience, self._patience = self._patience, None  # once: it cannot be rescheduled while it expires
        if patience is not None:
            patience.reschedule(0)

    def _hand_on(self, actions: Sequence[Action]) -> Any:
        """Hand on what is to be shown; the last action, which is the next thing to do (None: nothing is)."""
        for action in actions:
            if isinstance(action, Emit):
                for piece in self._text.pieces(action):
                    self.put(piece)
        return actions[-1] if actions else None

    def _reencode(self, forcer: BudgetForcer, asked: Reencode) -> list[Action]:
        text = self.tokenizer.decode(asked.context_ids[asked.start :])
        return forcer.receive(Reencoded(self.tokenizer.encode_marker(text)))

    async def _round(self, forcer: BudgetForcer, generate: Generate) -> list[Action]:
        if self._hurried and (actions := forcer.receive(AnswerNow())):
            self.rounds.append(RoundTrace())
            return actions
        trace = RoundTrace(gap_ms=_ms_since(self._idle_since))
        self.rounds.append(trace)
        started = time.monotonic()
        try:
            async with asyncio.timeout(None) as patience:
                self._patience = patience if generate.phase is Phase.THINKING else None
                ended = await self._sample(forcer, generate, trace)
        except TimeoutError:  # nothing else has a time limit here
            # Nothing to close: the answer's marker was the round's last id, and its end was under way.
            ended = forcer.receive(AnswerNow()) or forcer.receive(RoundEnded())
        finally:
            self._patience = None
        trace.engine_ms = _ms_since(started)
        self._idle_since = time.monotonic()
        return ended

    async def _sample(self, forcer: BudgetForcer, generate: Generate, trace: RoundTrace) -> list[Action]:
        started = time.monotonic()
        async with aclosing(self._calls(forcer, generate, trace)) as deltas:
            async for delta in deltas:
                if trace.first_token_ms is None and delta.ids:
                    trace.first_token_ms = _ms_since(started)
                    self.first_ids_came.set()
                if self._take(forcer, delta.ids, generate.phase):
                    return forcer.receive(StopWordFound())
        return forcer.receive(RoundEnded())

    def _take(self, forcer: BudgetForcer, ids: tuple[int, ...], phase: Phase) -> bool:
        """Tell the core of sampled ids; whether a stop word is among their text. What comes behind one must not
        depend on how the engine cuts its stream, so where there are stop words the ids go one by one.
        """
        for some in [(token_id,) for token_id in ids] if self.plan.stop_words_of(phase) else [ids]:
            self._hand_on(forcer.receive(TokensSampled(some)))
            if self._text.stop_word(phase) is not None:
                return True
        return False

    async def _calls(self, forcer: BudgetForcer, generate: Generate, trace: RoundTrace) -> AsyncGenerator[EngineDelta, None]:
        """The engine calls of a round. Terminators cannot be kept off for some ids only, so a round that
        must not begin with one is two calls: so many ids with the terminators banned, then the rest.
        """
        context, left = generate.context_ids, generate.max_new_tokens
        if generate.min_tokens:
            num_ids = 0
            async for delta in self._call(generate, context, generate.min_tokens, trace, banned=generate.stop_ids):
                num_ids += len(delta.ids)
                yield delta
            context, left = forcer.context_ids, left - num_ids
            if num_ids < generate.min_tokens or left == 0:
                return
        async for delta in self._call(generate, context, left, trace):
            yield delta

    async def _call(
        self,
        generate: Generate,
        context: tuple[int, ...],
        max_new_tokens: int,
        trace: RoundTrace,
        *,
        banned: frozenset[int] = frozenset(),
    ) -> AsyncGenerator[EngineDelta, None]:
        sampling = self.plan.sampling[generate.phase]
        call = EngineCall(
            request_id=f"{self.call_prefix}-{self.num_calls}",
            input_ids=context,
            max_new_tokens=max_new_tokens,
            stop_ids=generate.stop_ids,
            banned_ids=self.plan.masked_ids | banned,
            sampling=replace(sampling, seed=call_seed(sampling.seed, self.index, self.num_calls)),
        )
        self.num_calls += 1
        trace.num_engine_calls += 1
        async with aclosing(self.engine.stream(call)) as deltas:
            async for delta in deltas:
                if trace.num_engine_calls == 1 and delta.kv_reused_blocks is not None:
                    trace.kv_reused_blocks = delta.kv_reused_blocks
                yield delta

    def _result(self, ledger: Ledger) -> dict[str, Any]:
        first = next((trace for trace in self.rounds if trace.first_token_ms is not None), None)
        return {
            "request_id": self.request_id,
            "index": self.index,
            "finish_reason": {"thinking": ledger.thinking_end, "answer": ledger.answer_end},
            "stop_word": self._text.stop_word(Phase.ANSWER),
            "usage": {
                "num_prompt_tokens": ledger.prompt,
                "num_output_ids": ledger.reply,
                "num_thinking_tokens": ledger.thinking,
                "num_thinking_sampled": ledger.thinking_sampled,
                "num_thinking_injected": ledger.thinking_injected,
                "num_grace_tokens": ledger.grace,
                "num_answer_tokens": ledger.answer_sampled,
                "num_answer_injected": ledger.answer_injected,
                "num_terminators": ledger.terminators,
                "num_dropped": ledger.dropped,
                "num_ignored": ledger.num_ignored,
            },
            "effective": self.plan.effective,
            "rounds": [_round_report(record, trace) for record, trace in zip(ledger.rounds, self.rounds, strict=True)],
            "engine_time_to_first_token_ms": None if first is None else first.first_token_ms,
            "total_ms": _ms_since(self.started),
        }


def call_seed(seed: int | None, sample: int, call: int) -> int | None:
    """The seed of a sample's ``call``-th engine call: equal requests repeat, no two calls of one do."""
    if seed is None:
        return None
    return int.from_bytes(hashlib.blake2b(f"{seed}/{sample}/{call}".encode(), digest_size=8).digest(), "little")


def _round_report(record: RoundRecord, trace: RoundTrace) -> dict[str, Any]:
    return {
        "phase": record.phase,
        "num_prompt_tokens": record.num_prompt_tokens,
        "num_sampled_tokens": record.num_sampled_tokens,
        "num_dropped_tokens": record.num_dropped_tokens,
        "ended_by": record.ended_by,
        "terminator_id": record.terminator_id,
        "refused_for": record.refused_for,
        "injected_ids": record.injected_ids,
        "num_engine_calls": trace.num_engine_calls,
        "kv_reused_blocks": trace.kv_reused_blocks,
        "gap_ms": trace.gap_ms,
        "first_token_ms": trace.first_token_ms,
        "engine_ms": trace.engine_ms,
    }


def _ms_since(started: float) -> float:
    return round((time.monotonic() - started) * 1e3, 3)
