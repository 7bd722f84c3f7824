# SPDX-License-Identifier: Apache-2.0
"""The rounds of a sample: builds the request of each and checks that the engine keeps to it.

A round behind a refused end must not begin with a terminator. Keeping terminators off is dear for an engine that can
ban ids only for a whole call, and they are rare there. So such a round may first be tried without a ban: if it begins with
a terminator, that id is thrown away, and the round runs again with the ban. At temperature 0 both ways give equal ids.
"""

from __future__ import annotations

from dataclasses import replace

from budgetforce.core.actions import Generate
from budgetforce.core.errors import EngineProtocolError, ShellProtocolError
from budgetforce.core.ledger import RoundEnd, RoundRecord
from budgetforce.core.states import Phase
from budgetforce.core.transcript import Transcript


class Rounds:
    """Tracks the running round and counts its ids."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._request: Generate | None = None  # of the running round
        self._is_rejected = False  # the running round began with a stop id that was thrown away

    def begin(
        self, phase: Phase, max_new_tokens: int, stop_ids: frozenset[int], min_tokens: int = 0, *, may_redo: bool = False
    ) -> Generate:
        """Begin a round and return its request to the engine."""
        self._is_rejected = False
        self._transcript.begin_round(phase)
        self._request = Generate(
            phase=phase,
            context_ids=tuple(self._transcript.context),
            max_new_tokens=max_new_tokens,
            stop_ids=stop_ids,
            min_tokens=min(min_tokens, max_new_tokens),
            may_redo=may_redo,
        )
        return self._request

    def redo(self) -> Generate | None:
        """Return the request that runs a rejected round again; None if the running round is not rejected."""
        if not self._is_rejected:
            return None
        self._is_rejected = False
        self._request = replace(self._running()[1], may_redo=False)
        return self._request

    def count(self, token_id: int) -> tuple[RoundRecord, bool] | None:
        """Count a sampled id; return the running round and whether the id is one of its stop ids. None if the id is thrown away.

        Raises EngineProtocolError for an id that may not come, ShellProtocolError if no round runs.
        """
        record, request = self._running()
        if self._reject(record, request, token_id):
            return None
        if record.ended_by is not None:
            raise EngineProtocolError(f"id {token_id} was sampled after the round's end ({record.ended_by.value})")
        if token_id < 0:
            raise EngineProtocolError(f"{token_id} is no id")
        if record.num_sampled_tokens == request.max_new_tokens:
            raise EngineProtocolError(f"more than the {request.max_new_tokens} requested ids were sampled")
        stops = token_id in request.stop_ids
        if stops and record.num_sampled_tokens < request.min_tokens:
            raise EngineProtocolError(f"terminator {token_id} was sampled first although it was forbidden there")
        self._transcript.count_sampled()
        return record, stops

    def _reject(self, record: RoundRecord, request: Generate, token_id: int) -> bool:
        """Return whether the id is thrown away: a stop id at the start of a round that may run again. It is counted as redone."""
        if self._is_rejected:
            raise EngineProtocolError(f"id {token_id} was sampled after a terminator")
        if not request.may_redo or record.num_sampled_tokens or token_id not in request.stop_ids:
            return False
        self._is_rejected = True
        record.num_redone += 1
        return True

    def end(self, when_full: RoundEnd) -> RoundRecord:
        """End the round and return its record; ``when_full`` is the reason if no id has ended it.

        Raises EngineProtocolError if the round is neither at a stop id nor full, ShellProtocolError if no round runs.
        """
        record, request = self._running()
        if record.ended_by is None:
            if record.num_sampled_tokens < request.max_new_tokens:
                raise EngineProtocolError(
                    f"the round ended after {record.num_sampled_tokens} of {request.max_new_tokens} ids without a terminator"
                )
            record.ended_by = when_full
        self._request = None
        return record

    def _running(self) -> tuple[RoundRecord, Generate]:
        if self._request is None:
            raise ShellProtocolError("no round runs")
        return self._transcript.round, self._request
