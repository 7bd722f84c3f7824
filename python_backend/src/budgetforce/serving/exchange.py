# SPDX-License-Identifier: Apache-2.0
"""One request: the loop between the core, an engine and a sink. Knows no Triton.

Every way through ends in exactly one of: ``sink.close`` (the reply with its result), or an
exception to the caller after ``sink.settle`` (who then sends the one error response).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from budgetforce.core import (
    Action,
    BudgetForcer,
    Emit,
    Finish,
    Generate,
    Ledger,
    Phase,
    ProtocolViolation,
    RoundEnded,
    Started,
    StopWordFound,
    TokensSampled,
)
from budgetforce.core import Cancelled as CancelledEvent
from budgetforce.engine.base import Engine, EngineCall, EngineDelta
from budgetforce.errors import EngineFailed
from budgetforce.serving.planning import ReplyPlan
from budgetforce.serving.sinks import Piece, Sink
from budgetforce.text.detokenizer import StreamDecoder
from budgetforce.text.stop_words import StopWordFilter


@dataclass(slots=True)
class RoundTrace:
    """What the engine's side of a round was like. The first call's reuse is the round's."""

    num_engine_calls: int = 0
    kv_reused_blocks: int | None = None
    first_token_ms: float | None = None
    engine_ms: float = 0.0


class ReplyText:
    """Ids of a reply to text, phase by phase; thinking and answer are decoded apart."""

    def __init__(self, token_bytes: Sequence[bytes], stop_words: Sequence[str]) -> None:
        self._decoders = {phase: StreamDecoder(token_bytes) for phase in Phase}
        self._stop_words = StopWordFilter(stop_words)

    @property
    def stop_word(self) -> str | None:
        """The stop word that ended the answer, if one did."""
        return self._stop_words.found

    def pieces(self, emit: Emit) -> list[Piece]:
        """What to hand on for ``emit``. The first marker of the answer ends the thinking text."""
        if emit.hidden:
            return [*self.flush(Phase.THINKING), Piece(event="answer_opened", ids=emit.ids)]
        text = self._decoders[emit.phase].feed(emit.ids)
        if emit.phase is Phase.THINKING:
            return [Piece(event="injected" if emit.injected else "thinking", thinking=text, ids=emit.ids)]
        if emit.injected:
            return [Piece(event="injected", answer=text, ids=emit.ids)]
        return [Piece(event="answer", answer=self._stop_words.feed(text), ids=emit.ids)]

    def flush(self, phase: Phase) -> list[Piece]:
        """What was held back when a phase is over."""
        text = self._decoders[phase].flush()
        if phase is Phase.ANSWER:
            text = self._stop_words.feed(text) + self._stop_words.flush()
            return [Piece(event="answer", answer=text)] if text else []
        return [Piece(event="thinking", thinking=text)] if text else []


@dataclass(slots=True)
class Exchange:
    """Runs one reply.

    Attributes:
        request_id: unique among the running requests; engine calls are named after it.
        num_calls: engine calls so far.
    """

    request_id: str
    plan: ReplyPlan
    engine: Engine
    sink: Sink
    text: ReplyText
    num_calls: int = 0
    rounds: list[RoundTrace] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    async def run(self) -> Ledger:
        """Run to the end; the ledger.

        Raises EngineFailed, EngineUnavailable, InvalidRequest (from the engine) or
        asyncio.CancelledError; nothing more goes to the sink then.
        """
        forcer = BudgetForcer(self.plan.forcing)
        try:
            actions = forcer.receive(Started())
            while (generate := self._hand_on(actions)) is not None:
                actions = await self._round(forcer, generate)
            for piece in self.text.flush(Phase.ANSWER):
                self.sink.put(piece)
            await self.sink.close(json.dumps(self._result(forcer.ledger)))
        except ProtocolViolation as error:
            await self.sink.settle()
            raise EngineFailed(str(error)) from error
        except asyncio.CancelledError:
            forcer.receive(CancelledEvent())
            await self.sink.settle()
            raise
        except Exception:
            await self.sink.settle()
            raise
        return forcer.ledger

    def _hand_on(self, actions: Sequence[Action]) -> Generate | None:
        """Give what is to be shown to the sink; the round to run next, or None at the end."""
        for action in actions:
            match action:
                case Emit():
                    for piece in self.text.pieces(action):
                        self.sink.put(piece)
                case Generate():
                    return action
                case Finish():
                    return None
        return None

    async def _round(self, forcer: BudgetForcer, generate: Generate) -> list[Action]:
        trace = RoundTrace()
        self.rounds.append(trace)
        started = time.monotonic()
        async with aclosing(self._calls(generate, trace)) as deltas:
            async for delta in deltas:
                if trace.first_token_ms is None and delta.ids:
                    trace.first_token_ms = _ms_since(started)
                self._hand_on(forcer.receive(TokensSampled(delta.ids)))
                if self.text.stop_word is not None:
                    break
        trace.engine_ms = _ms_since(started)
        return forcer.receive(RoundEnded() if self.text.stop_word is None else StopWordFound())

    async def _calls(self, generate: Generate, trace: RoundTrace) -> AsyncGenerator[EngineDelta, None]:
        """The engine calls of a round. A terminator cannot be kept off for one id only, so a round
        that must not begin with one is two calls: one id with the terminators banned, then the rest.
        """
        context, left = generate.context_ids, generate.max_new_tokens
        if generate.forbid_terminator_first:
            first: tuple[int, ...] = ()
            async for delta in self._call(context, 1, trace, banned=True):
                first += delta.ids
                yield delta
            context, left = context + first, left - 1
            if not first or left == 0:
                return
        async for delta in self._call(context, left, trace):
            yield delta

    async def _call(
        self, context: tuple[int, ...], max_new_tokens: int, trace: RoundTrace, *, banned: bool = False
    ) -> AsyncGenerator[EngineDelta, None]:
        terminators = self.plan.forcing.terminators
        call = EngineCall(
            request_id=f"{self.request_id}-{self.num_calls}",
            input_ids=context,
            max_new_tokens=max_new_tokens,
            stop_ids=terminators,
            banned_ids=terminators if banned else frozenset(),
            sampling=replace(self.plan.sampling, seed=call_seed(self.plan.sampling.seed, self.num_calls)),
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
            "finish_reason": {"thinking": ledger.thinking_end, "answer": ledger.answer_end},
            "stop_word": self.text.stop_word,
            "usage": {
                "num_prompt_tokens": ledger.prompt,
                "num_thinking_tokens": ledger.thinking,
                "num_thinking_sampled": ledger.thinking_sampled,
                "num_thinking_injected": ledger.thinking_injected,
                "num_answer_tokens": ledger.answer_sampled,
                "num_answer_injected": ledger.answer_injected,
                "num_terminators": ledger.terminators,
                "num_ignored": ledger.num_ignored,
            },
            "effective": self.plan.effective,
            "rounds": [_round_report(record, trace) for record, trace in zip(ledger.rounds, self.rounds, strict=True)],
            "engine_time_to_first_token_ms": None if first is None else first.first_token_ms,
            "total_ms": _ms_since(self.started),
        }


def call_seed(seed: int | None, index: int) -> int | None:
    """The seed of a request's ``index``-th engine call: equal requests repeat, no two calls of one do."""
    if seed is None:
        return None
    return int.from_bytes(hashlib.blake2b(f"{seed}/{index}".encode(), digest_size=8).digest(), "little")


def _round_report(record: Any, trace: RoundTrace) -> dict[str, Any]:
    return {
        "phase": record.phase,
        "num_prompt_tokens": record.num_prompt_tokens,
        "num_sampled_tokens": record.num_sampled_tokens,
        "num_injected_tokens": record.num_injected_tokens,
        "ended_by": record.ended_by,
        "terminator_id": record.terminator_id,
        "num_engine_calls": trace.num_engine_calls,
        "kv_reused_blocks": trace.kv_reused_blocks,
        "first_token_ms": trace.first_token_ms,
        "engine_ms": trace.engine_ms,
    }


def _ms_since(started: float) -> float:
    return round((time.monotonic() - started) * 1e3, 3)
