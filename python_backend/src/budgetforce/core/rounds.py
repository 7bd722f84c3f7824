# SPDX-License-Identifier: Apache-2.0
"""The engine rounds of a reply: what was asked, and whether the engine keeps to it."""

from __future__ import annotations

from budgetforce.core.actions import Generate
from budgetforce.core.errors import EngineProtocolError, ShellProtocolError
from budgetforce.core.ledger import RoundEnd, RoundRecord
from budgetforce.core.states import Phase
from budgetforce.core.transcript import Transcript


class Rounds:
    """One round after the other, each as it was asked."""

    def __init__(self, reply: Transcript) -> None:
        self._reply = reply
        self._asked: Generate | None = None

    def ask(self, phase: Phase, max_new_tokens: int, stop_ids: frozenset[int], min_tokens: int = 0) -> Generate:
        """Begin a round."""
        self._reply.begin_round(phase)
        self._asked = Generate(
            phase=phase,
            context_ids=tuple(self._reply.context),
            max_new_tokens=max_new_tokens,
            stop_ids=stop_ids,
            min_tokens=min(min_tokens, max_new_tokens),
        )
        return self._asked

    def count(self, token_id: int) -> tuple[RoundRecord, bool]:
        """Count an id that was sampled; the running round, and whether the id ends it.

        Raises EngineProtocolError for an id that may not come, ShellProtocolError if no round runs.
        """
        record, asked = self._running()
        if record.ended_by is not None:
            raise EngineProtocolError(f"id {token_id} was sampled after the round's end ({record.ended_by.value})")
        if token_id < 0:
            raise EngineProtocolError(f"{token_id} is no id")
        if record.num_sampled_tokens == asked.max_new_tokens:
            raise EngineProtocolError(f"more than the {asked.max_new_tokens} ids asked for were sampled")
        stops = token_id in asked.stop_ids
        if stops and record.num_sampled_tokens < asked.min_tokens:
            raise EngineProtocolError(f"terminator {token_id} was sampled first although it was forbidden")
        record.num_sampled_tokens += 1
        return record, stops

    def end(self, when_full: RoundEnd) -> RoundRecord:
        """End the round: by the id that did, or ``when_full``.

        Raises EngineProtocolError if it is neither at a stop id nor full, ShellProtocolError if no round runs.
        """
        record, asked = self._running()
        if record.ended_by is None:
            if record.num_sampled_tokens < asked.max_new_tokens:
                raise EngineProtocolError(
                    f"the round ended after {record.num_sampled_tokens} of {asked.max_new_tokens} ids without a terminator"
                )
            record.ended_by = when_full
        self._asked = None
        return record

    def _running(self) -> tuple[RoundRecord, Generate]:
        if self._asked is None:
            raise ShellProtocolError("no round runs")
        return self._reply.round, self._asked
