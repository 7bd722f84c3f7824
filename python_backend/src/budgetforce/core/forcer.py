# SPDX-License-Identifier: Apache-2.0
"""The one object a shell holds for one reply: events in, actions out.

    forcer = BudgetForcer(plan)
    actions = forcer.receive(Started())
    # do the actions in order; a Generate is always the last of a list, and what
    # it brings goes back in: TokensSampled (any number of times), then RoundEnded

Rules on ids (after the authors' evaluation code, with its quirks put right):

1. A terminator ends the round that samples it. It is consumed: not emitted, not put into
   the next context, not counted against the budget.
2. While ignores are left and the budget holds the ignore string and one id more, the end
   of thinking is refused: the ignore string goes in and thinking goes on.
3. Otherwise the answer is opened. A natural end gets the answer marker; a spent budget
   gets a line break (unless the text ends in one), the marker and the answer prefix.
4. The answer runs to a terminator, a stop word or its own cap.
"""

from __future__ import annotations

from budgetforce.core.actions import Action, Emit, Finish, Generate
from budgetforce.core.events import Cancelled, Event, RoundEnded, Started, StopWordFound, TokensSampled
from budgetforce.core.ledger import AnswerEnd, Ledger, RoundEnd, RoundRecord, ThinkingEnd
from budgetforce.core.plan import ForcingPlan
from budgetforce.core.states import TRANSITIONS, Cause, Phase, State


class ProtocolViolation(Exception):
    """The engine did what its contract rules out; the message says what."""


class BudgetForcer:
    """Budget forcing for one reply. Not thread-safe; feed it from one place.

    Attributes:
        state: where the reply stands.
        ledger: the counts so far; valid at every moment.
    """

    def __init__(self, plan: ForcingPlan) -> None:
        self.state = State.IDLE
        self.ledger = Ledger(prompt=len(plan.prompt_ids))
        self._plan = plan
        self._context = list(plan.prompt_ids)
        self._max_new_tokens = 0
        self._forbid_first = False

    @property
    def context_ids(self) -> tuple[int, ...]:
        """Prompt and reply so far: what the next round would be asked to continue."""
        return tuple(self._context)

    def receive(self, event: Event) -> list[Action]:
        """Take one event and say what to do.

        Raises ProtocolViolation if the engine broke its contract; the forcer is then in DONE.
        """
        if self.state is State.DONE:
            return []
        try:
            actions = self._dispatch(event)
        except ProtocolViolation:
            self.state = State.DONE
            raise
        self.ledger.check(len(self._context))
        return actions

    def _dispatch(self, event: Event) -> list[Action]:
        match event:
            case TokensSampled(ids):
                return self._take(ids)
            case RoundEnded():
                return self._end_round()
            case StopWordFound():
                return self._finish_answer(RoundEnd.STOP_WORD, AnswerEnd.STOP_WORD)
            case Cancelled():
                return self._cancel()
            case Started():
                return self._start()
        raise AssertionError(f"unknown event {event!r}")

    def _move(self, cause: Cause) -> None:
        row = TRANSITIONS[self.state]
        if cause not in row:
            raise ProtocolViolation(f"{cause.name} cannot happen in {self.state.name}")
        self.state = row[cause]

    def _start(self) -> list[Action]:
        if self._plan.max_thinking_tokens == 0:
            self.ledger.thinking_end = ThinkingEnd.SKIPPED
            self._move(Cause.NO_BUDGET)
            return self._open_answer(cut=True)
        self._move(Cause.OPENED)
        prefix = self._plan.thinking_prefix_ids
        actions = self._inject_thought(prefix) if self._has_room_for(prefix) else []
        return [*actions, self._generate(Phase.THINKING, self._budget_left)]

    # --- ids of the running round ---------------------------------------------------

    def _take(self, ids: tuple[int, ...]) -> list[Action]:
        shown = tuple(token_id for token_id in ids if self._take_one(token_id))
        return [Emit(phase=self._round.phase, ids=shown)] if shown else []

    def _take_one(self, token_id: int) -> bool:
        """Book one sampled id; False if it was a terminator."""
        record = self._round
        if record.ended_by is RoundEnd.TERMINATOR:
            raise ProtocolViolation(f"id {token_id} was sampled after terminator {record.terminator_id}")
        if record.num_sampled_tokens == self._max_new_tokens:
            raise ProtocolViolation(f"more than the {self._max_new_tokens} ids asked for were sampled")
        is_terminator = token_id in self._plan.terminators
        if is_terminator and self._forbid_first and record.num_sampled_tokens == 0:
            raise ProtocolViolation(f"terminator {token_id} was sampled first although it was forbidden")
        record.num_sampled_tokens += 1
        if is_terminator:
            record.ended_by, record.terminator_id = RoundEnd.TERMINATOR, token_id
            self.ledger.terminators += 1
            return False
        self._context.append(token_id)
        if record.phase is Phase.THINKING:
            self.ledger.thinking_sampled += 1
        else:
            self.ledger.answer_sampled += 1
        return True

    # --- ends -------------------------------------------------------------------------

    def _end_round(self) -> list[Action]:
        record = self._round
        if record.ended_by is None:
            if record.num_sampled_tokens < self._max_new_tokens:
                raise ProtocolViolation(
                    f"the round ended after {record.num_sampled_tokens} of {self._max_new_tokens} ids without a terminator"
                )
            record.ended_by = RoundEnd.LENGTH
        if record.phase is Phase.ANSWER:
            ended = AnswerEnd.STOP if record.ended_by is RoundEnd.TERMINATOR else AnswerEnd.LENGTH
            return self._finish_answer(record.ended_by, ended)
        return self._end_thinking_round(record)

    def _end_thinking_round(self, record: RoundRecord) -> list[Action]:
        cut = record.ended_by is RoundEnd.LENGTH
        if not cut and self._may_refuse:
            return self._refuse_end()
        self.ledger.thinking_end = ThinkingEnd.BUDGET if cut else ThinkingEnd.NATURAL
        self._move(Cause.BUDGET_SPENT if cut else Cause.END_ACCEPTED)
        return self._open_answer(cut=cut)

    @property
    def _may_refuse(self) -> bool:
        return self.ledger.num_ignored < self._plan.num_ignore and self._has_room_for(self._plan.ignore_ids)

    def _refuse_end(self) -> list[Action]:
        self._move(Cause.END_REFUSED)
        self.ledger.num_ignored += 1
        actions = self._inject_thought(self._plan.ignore_ids)
        return [*actions, self._generate(Phase.THINKING, self._budget_left, forbid_first=True)]

    def _open_answer(self, *, cut: bool) -> list[Action]:
        plan = self._plan
        needs_break = cut and self._context[-1] not in plan.line_break_bearing
        marker = (plan.line_break_ids if needs_break else ()) + (plan.cut_answer_ids if cut else plan.answer_ids)
        prefix = plan.answer_prefix_ids if cut or plan.prefix_after_natural_end else ()
        self.ledger.answer_injected += len(marker) + len(prefix)
        actions = self._inject(Phase.ANSWER, marker, hidden=True) + self._inject(Phase.ANSWER, prefix)
        room = plan.max_context_tokens - len(self._context)
        return [*actions, self._generate(Phase.ANSWER, min(plan.max_answer_tokens, room))]

    def _finish_answer(self, ended_by: RoundEnd, answer_end: AnswerEnd) -> list[Action]:
        self._move(Cause.ANSWERED)
        self._round.ended_by = ended_by
        self.ledger.answer_end = answer_end
        return [Finish(ledger=self.ledger)]

    def _cancel(self) -> list[Action]:
        self._move(Cause.STOPPED)
        if self.ledger.rounds and self._round.ended_by is None:
            self._round.ended_by = RoundEnd.CANCELLED
        if self.ledger.thinking_end is None:
            self.ledger.thinking_end = ThinkingEnd.CANCELLED
        self.ledger.answer_end = AnswerEnd.CANCELLED
        return [Finish(ledger=self.ledger)]

    # --- parts --------------------------------------------------------------------------

    @property
    def _round(self) -> RoundRecord:
        if not self.ledger.rounds:
            raise ProtocolViolation("no round runs")
        return self.ledger.rounds[-1]

    @property
    def _budget_left(self) -> int:
        return self._plan.max_thinking_tokens - self.ledger.thinking

    def _has_room_for(self, ids: tuple[int, ...]) -> bool:
        """Whether the budget holds ``ids`` and one sampled id more."""
        return self._budget_left > len(ids)

    def _inject_thought(self, ids: tuple[int, ...]) -> list[Action]:
        self.ledger.thinking_injected += len(ids)
        return self._inject(Phase.THINKING, ids)

    def _inject(self, phase: Phase, ids: tuple[int, ...], *, hidden: bool = False) -> list[Action]:
        if not ids:
            return []
        self._context += ids
        if self.ledger.rounds:
            self._round.num_injected_tokens += len(ids)
        return [Emit(phase=phase, ids=ids, injected=True, hidden=hidden)]

    def _generate(self, phase: Phase, max_new_tokens: int, *, forbid_first: bool = False) -> Generate:
        self._max_new_tokens, self._forbid_first = max_new_tokens, forbid_first
        self.ledger.rounds.append(RoundRecord(phase=phase, num_prompt_tokens=len(self._context)))
        return Generate(
            phase=phase,
            context_ids=self.context_ids,
            max_new_tokens=max_new_tokens,
            forbid_terminator_first=forbid_first,
        )
