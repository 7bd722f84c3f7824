# SPDX-License-Identifier: Apache-2.0
"""BudgetForcer: the state machine of a sample. A shell feeds events in and carries out the actions.

    forcer = BudgetForcer(plan)
    actions = forcer.receive(Started())
    # Carry out the actions in order. A Generate is always the last action of a list. Report its
    # ids with TokensSampled (any number of times), then its end with RoundEnded.

Rules on ids (from the authors' evaluation code without its quirks; the budget rules PER_ROUND and
SAMPLED restore the quirks, for audits):

1. A terminator ends the round that samples it. It is consumed: not emitted, not part of the
   next context, not counted against the budget.
2. While ``num_ignore`` is not used up, or the floor is not reached, an end of thinking is refused:
   an ignore string is injected, if the budget has room for it and one more id, and thinking goes on
   with an id that is no terminator (``rounds``).
3. Otherwise the answer opens. After a natural end the answer marker is injected; after a cut, a
   line break (unless the text ends in one), the marker and the answer prefix.
4. A cut waits for the end of a line or sentence within ``grace_tokens``. A cut removes half a
   character instead of splitting it.
5. The answer runs to a terminator, a stop word or its own cap.
6. Ids without a token are dropped: neither text nor context, but counted.
"""

from __future__ import annotations

from collections.abc import Callable

from budgetforce.core.actions import Action, Finish, Generate, Reencode, merge_emits
from budgetforce.core.budget import Budget, BudgetRule
from budgetforce.core.errors import EngineProtocolError, ShellProtocolError
from budgetforce.core.events import AnswerNow, Cancelled, Event, Reencoded, RoundEnded, Started, StopWordFound, TimeIsUp, TokensSampled
from budgetforce.core.ledger import AnswerEnd, Ledger, RefusedFor, RoundEnd, RoundRecord, ThinkingEnd
from budgetforce.core.markers import MarkerMatcher
from budgetforce.core.plan import ForcingPlan, ThinkingMode
from budgetforce.core.rounds import Rounds
from budgetforce.core.states import TRANSITIONS, Cause, Phase, State
from budgetforce.core.transcript import Transcript

_END_WHEN_FULL = {State.THINKING: RoundEnd.BUDGET, State.GRACE: RoundEnd.GRACE}  # in other states: LENGTH


class BudgetForcer:
    """Runs budget forcing for one sample. Not thread-safe.

    Attributes:
        state: the sample's state.
    """

    def __init__(self, plan: ForcingPlan) -> None:
        self.state = State.IDLE
        self._plan = plan
        self._transcript = Transcript(plan)
        self._budget = Budget(plan.max_thinking_tokens, plan.budget_rule)
        self._matcher = MarkerMatcher(plan.thinking_marker_ids, plan.answer_marker_ids)
        self._rounds = Rounds(self._transcript)
        self._after_reencoding: Callable[[], list[Action]] = self._think
        self._answer_left = 0

    @property
    def ledger(self) -> Ledger:
        """Return the token account so far; valid at every moment."""
        return self._transcript.ledger

    @property
    def context_ids(self) -> tuple[int, ...]:
        """Return prompt and sample so far: the context that the next round would continue."""
        return tuple(self._transcript.context)

    def receive(self, event: Event) -> list[Action]:
        """Process an event and return the actions that follow from it.

        Raises EngineProtocolError if the engine broke its contract, ShellProtocolError if the state
        does not allow the event; the forcer is then in DONE.
        """
        state = self.state
        if state is State.DONE:
            return []
        try:
            actions = self._dispatch(event)
        except EngineProtocolError:
            self.state = State.DONE
            raise
        except ShellProtocolError as error:
            self.state = State.DONE
            raise ShellProtocolError(f"{type(event).__name__} in state {state.name}: {error}") from error
        self._transcript.check()
        return actions

    def _dispatch(self, event: Event) -> list[Action]:
        if self.state is State.IDLE and not isinstance(event, Started | AnswerNow | Cancelled):
            raise ShellProtocolError("the first event must be Started")
        match event:
            case TokensSampled(ids):
                return self._receive_ids(ids)
            case RoundEnded():
                return self._end_round()
            case StopWordFound():
                return self._end_at_stop_word()
            case Reencoded(ids):
                return self._reencoded(ids)
            case AnswerNow():
                return self._cut_thinking(RoundEnd.ANSWER_NOW, ThinkingEnd.ANSWER_NOW)
            case TimeIsUp():
                return self._cut_thinking(RoundEnd.DEADLINE, ThinkingEnd.DEADLINE) or self._cut_answer()
            case Cancelled():
                return self._cancel()
            case Started():
                return self._start()
        raise AssertionError(f"unknown event {event!r}")

    def _move(self, cause: Cause) -> None:
        row = TRANSITIONS[self.state]
        if cause not in row:
            raise ShellProtocolError(f"{cause.name} has no cell in row {self.state.name} of the state table")
        self.state = row[cause]

    def _start(self) -> list[Action]:
        match self._plan.mode:
            case ThinkingMode.FREE:
                self.ledger.thinking_end = ThinkingEnd.ABSENT
                return self._leave_to_model(Cause.NOT_FORCED)
            case ThinkingMode.OFF:
                return self._close_thinking(Cause.NO_BUDGET, ThinkingEnd.OFF, cut=False)
        if self._plan.max_thinking_tokens == 0:
            return self._close_thinking(Cause.NO_BUDGET, ThinkingEnd.SKIPPED, cut=True)
        self._move(Cause.OPENED)
        actions = self._inject_thought(self._plan.thinking_prefix_ids) if self._plan.holds_thinking_prefix else []
        return [*actions, *self._think()]

    # --- ids of the running round ---------------------------------------------------

    def _receive_ids(self, ids: tuple[int, ...]) -> list[Action]:
        actions: list[Action] = []
        for token_id in ids:
            actions += self._receive_id(token_id)
        return merge_emits(actions) if len(actions) > 1 else actions

    def _receive_id(self, token_id: int) -> list[Action]:
        """Count a sampled id and return the Emits that it completes."""
        counted = self._rounds.count(token_id)
        if counted is None:
            return []
        record, stops = counted
        if self.state is State.UNFORCED:
            return self._add_unforced(record, token_id, stops=stops)
        if stops and token_id not in self._plan.boundary_ids:
            return self._consume(record, token_id)
        if stops:
            record.ended_by = RoundEnd.BOUNDARY
        return self._keep(record, token_id)

    def _keep(self, record: RoundRecord, token_id: int) -> list[Action]:
        if record.phase is Phase.THINKING:
            self._budget.charge(sampled=1)
        return self._transcript.add_sampled(record.phase, token_id)

    def _consume(self, record: RoundRecord, token_id: int) -> list[Action]:
        record.ended_by, record.terminator_id = RoundEnd.TERMINATOR, token_id
        self._budget.charge(terminators=1)
        self._transcript.consume_terminator()
        return []

    def _add_unforced(self, record: RoundRecord, token_id: int, *, stops: bool) -> list[Action]:
        """Sort an id of an unforced model into marker, terminator or text."""
        matcher, transcript = self._matcher, self._transcript
        was_midway, released = matcher.is_midway, []
        taken = matcher.match(token_id)
        if not taken and was_midway:
            released = transcript.release()  # the matched ids were text; this id may begin a marker again
            was_midway, taken = False, matcher.match(token_id)
        if taken:
            released = released if was_midway else released + transcript.release()
            record.ended_by = RoundEnd.MARKER
            transcript.hold(record.phase, token_id)
            return released if matcher.is_midway else released + transcript.release_as_marker(matcher.phase)
        if token_id in self._plan.answer_terminators:
            return released + self._consume(record, token_id)
        if stops:
            record.ended_by = RoundEnd.MARKER
        return released + self._keep(record, token_id)

    # --- ends of rounds and phases ----------------------------------------------------

    def _end_round(self) -> list[Action]:
        if (again := self._rounds.redo()) is not None:
            return [again]
        record = self._rounds.end(_END_WHEN_FULL.get(self.state, RoundEnd.LENGTH))
        match self.state:
            case State.THINKING:
                return self._end_thinking_round(record)
            case State.GRACE:
                return self._end_grace(record)
            case State.UNFORCED:
                return self._end_unforced_round(record)
        return self._finish_answer(record)

    def _end_thinking_round(self, record: RoundRecord) -> list[Action]:
        if record.ended_by is RoundEnd.TERMINATOR:
            refusal = self._refusal()
            if refusal is not None:
                return self._refuse_end(record, *refusal)
            return self._close_thinking(Cause.END_ACCEPTED, ThinkingEnd.NATURAL, cut=False)
        if self._plan.grace_tokens and self._transcript.context[-1] not in self._plan.boundary_ids:
            return [self._give_grace()]
        return self._close_thinking(Cause.BUDGET_SPENT, ThinkingEnd.BUDGET, cut=True)

    def _give_grace(self) -> Generate:
        self._move(Cause.GRACE_GIVEN)
        stops = self._plan.thinking_terminators | self._plan.boundary_ids
        generate = self._rounds.begin(Phase.THINKING, self._plan.grace_tokens, stops)
        self._transcript.round.in_grace = True
        return generate

    def _end_grace(self, record: RoundRecord) -> list[Action]:
        if record.ended_by is RoundEnd.TERMINATOR:
            return self._close_thinking(Cause.END_ACCEPTED, ThinkingEnd.NATURAL, cut=False)
        return self._close_thinking(Cause.GRACE_OVER, ThinkingEnd.BUDGET, cut=True)

    def _refusal(self) -> tuple[RefusedFor, tuple[int, ...]] | None:
        """Return why an end of thinking is refused and the ignore string; None if the end is accepted."""
        plan, ledger = self._plan, self.ledger
        string = plan.ignore_ids[ledger.num_ignored % len(plan.ignore_ids)]
        fits = self._budget.has_room_for(string) and len(self._transcript.context) + len(string) < plan.max_context_tokens
        if ledger.num_ignored < plan.num_ignore and fits:
            return RefusedFor.NUM_IGNORE, string
        if ledger.thinking < plan.min_thinking_tokens and plan.budget_rule is BudgetRule.EXACT:
            return RefusedFor.FLOOR, string if fits else ()
        return None

    def _refuse_end(self, record: RoundRecord, reason: RefusedFor, string: tuple[int, ...]) -> list[Action]:
        self._move(Cause.END_REFUSED)
        record.refused_for = reason
        self.ledger.num_ignored += 1
        return [*self._inject_thought(string), *self._reencoded_or(self._think)]

    def _close_thinking(self, cause: Cause, end: ThinkingEnd, *, cut: bool) -> list[Action]:
        """End thinking and open the answer; after a cut, half a character is removed."""
        self.ledger.thinking_end = end
        if self._plan.leave_answer_to_model and cause in (Cause.END_ACCEPTED, Cause.BUDGET_SPENT):
            self._matcher.phase = Phase.THINKING
            return self._leave_to_model(Cause.LEFT_TO_MODEL)
        self._move(cause)
        if cut:
            self._transcript.drop_held()
        return self._transcript.release() + self._open_answer(cut=cut)

    def _open_answer(self, *, cut: bool) -> list[Action]:
        plan = self._plan
        needs_break = cut and self._transcript.context[-1] not in plan.line_break_bearing
        self._transcript.cut_overrun()
        marker = (plan.line_break_ids if needs_break else ()) + (plan.cut_answer_ids if cut else plan.answer_ids)
        prefix = plan.answer_prefix_ids if cut or plan.prefix_after_natural_end else ()
        actions = self._transcript.inject(Phase.ANSWER, marker, hidden=True) + self._transcript.inject(Phase.ANSWER, prefix)
        self._answer_left = self._room_for_answer
        return actions + self._answer()

    def _cut_thinking(self, ended_by: RoundEnd, end: ThinkingEnd) -> list[Action]:
        thinks_unforced = self.state is State.UNFORCED and self._matcher.phase is Phase.THINKING
        if self.state not in (State.THINKING, State.GRACE) and not thinks_unforced:
            return []
        self._transcript.round.ended_by = ended_by
        return self._close_thinking(Cause.CUT_SHORT, end, cut=True)

    def _cut_answer(self) -> list[Action]:
        """End the answer, unless its last id has already ended it."""
        is_over = self._transcript.round.ended_by in (RoundEnd.TERMINATOR, RoundEnd.MARKER)
        return [] if is_over else self._finish(RoundEnd.DEADLINE, AnswerEnd.DEADLINE)

    def _end_at_stop_word(self) -> list[Action]:
        if self.state is not State.THINKING:
            return self._finish(RoundEnd.STOP_WORD, AnswerEnd.STOP_WORD)
        self._transcript.round.ended_by = RoundEnd.STOP_WORD
        return self._close_thinking(Cause.END_ACCEPTED, ThinkingEnd.NATURAL, cut=False)

    def _finish_answer(self, record: RoundRecord) -> list[Action]:
        if record.ended_by is not RoundEnd.TERMINATOR:
            return self._finish(RoundEnd.LENGTH, AnswerEnd.LENGTH)
        num_marker_ids = len(self._plan.answer_marker_ids) if self._matcher.answer_opened else 0
        has_text = self.ledger.answer_sampled > num_marker_ids
        return self._finish(RoundEnd.TERMINATOR, AnswerEnd.STOP if has_text else AnswerEnd.EMPTY)

    def _finish(self, ended_by: RoundEnd, answer_end: AnswerEnd) -> list[Action]:
        self._transcript.round.ended_by = ended_by
        if ended_by in (RoundEnd.LENGTH, RoundEnd.DEADLINE):
            self._transcript.drop_held()
        return self._transcript.release() + self._end_sample(answer_end)

    def _end_sample(self, answer_end: AnswerEnd) -> list[Action]:
        self._move(Cause.ANSWERED)
        self.ledger.answer_end = answer_end
        return [Finish(ledger=self.ledger)]

    def _cancel(self) -> list[Action]:
        self._move(Cause.STOPPED)
        self._transcript.drop_held()
        if self.ledger.rounds and self._transcript.round.ended_by is None:
            self._transcript.round.ended_by = RoundEnd.CANCELLED
        if self.ledger.thinking_end is None:
            self.ledger.thinking_end = ThinkingEnd.CANCELLED
        self.ledger.answer_end = AnswerEnd.CANCELLED
        return [Finish(ledger=self.ledger)]

    # --- unforced: the model opens and closes its phases ---------------------------------

    def _leave_to_model(self, cause: Cause) -> list[Action]:
        self._move(cause)
        return [*self._transcript.release(), *self._reencoded_or(self._begin_unforced)]

    def _begin_unforced(self) -> list[Action]:
        reserved = 0 if self._plan.leave_answer_to_model else self._plan.num_uncounted_tokens  # answer_now may still come
        self._answer_left = min(self._room_for_answer, self._context_left - reserved)
        return [self._continue_unforced()] if self._answer_left > 0 else self._end_sample(AnswerEnd.LENGTH)

    def _end_unforced_round(self, record: RoundRecord) -> list[Action]:
        self._answer_left -= record.num_sampled_tokens
        if record.ended_by is RoundEnd.MARKER and self._matcher.answer_opened:
            self._move(Cause.ANSWER_SEEN)
            if self.ledger.thinking and self.ledger.thinking_end is ThinkingEnd.ABSENT:
                self.ledger.thinking_end = ThinkingEnd.NATURAL
            return self._answer()
        if record.ended_by is not RoundEnd.TERMINATOR and self._answer_left:
            self._move(Cause.MARKER_SEEN)
            return [self._continue_unforced()]
        return self._finish_unforced(record)

    def _finish_unforced(self, record: RoundRecord) -> list[Action]:
        if self._matcher.phase is Phase.ANSWER:
            return self._finish_answer(record)
        ended_by = record.ended_by if record.ended_by is RoundEnd.TERMINATOR else RoundEnd.LENGTH
        if self.ledger.thinking_end is ThinkingEnd.ABSENT:
            self.ledger.thinking_end = ThinkingEnd.NATURAL if ended_by is RoundEnd.TERMINATOR else ThinkingEnd.LENGTH
        return self._finish(ended_by, AnswerEnd.MISSING)

    def _continue_unforced(self) -> Generate:
        """Begin a round up to the next id that could begin a marker; within a marker, a round of a single id."""
        num = 1 if self._matcher.is_midway else self._answer_left
        return self._rounds.begin(self._matcher.phase, num, self._plan.answer_terminators | self._matcher.first_ids)

    # --- helpers ------------------------------------------------------------------------

    @property
    def _context_left(self) -> int:
        return self._plan.max_context_tokens - len(self._transcript.context)

    @property
    def _room_for_answer(self) -> int:
        """Return how many ids the answer may have; in mode FREE its cap covers all sampled ids."""
        plan = self._plan
        counted = sum(record.num_sampled_tokens for record in self.ledger.rounds) if plan.mode is ThinkingMode.FREE else 0
        room = min(plan.max_answer_tokens - counted, self._context_left)
        return room if plan.max_total_tokens is None else min(room, plan.max_total_tokens - self.ledger.thinking)

    def _inject_thought(self, ids: tuple[int, ...]) -> list[Action]:
        self._budget.charge(injected=len(ids))
        return self._transcript.inject(Phase.THINKING, ids)

    def _think(self) -> list[Action]:
        """Begin a thinking round with the remaining budget."""
        plan = self._plan
        min_tokens = 1 if self.ledger.num_ignored else 0
        if plan.budget_rule is BudgetRule.PER_ROUND:
            min_tokens = 1 if plan.num_ignore else plan.min_thinking_tokens
        left = min(self._budget.left, self._context_left)
        if left < 1:  # possible only if re-encoding lengthened the context
            return self._close_thinking(Cause.BUDGET_SPENT, ThinkingEnd.BUDGET, cut=True)
        may_redo = bool(min_tokens) and self._is_end_unlikely
        return [self._rounds.begin(Phase.THINKING, left, plan.thinking_terminators, min_tokens, may_redo=may_redo)]

    @property
    def _is_end_unlikely(self) -> bool:
        """Return whether to try the round behind a refused end without a ban on terminators.

        Not where nothing was injected: the engine would sample the same terminator again. Audits keep the authors' ban.
        """
        return self._plan.budget_rule is BudgetRule.EXACT and bool(self._transcript.round.injected_ids)

    def _answer(self) -> list[Action]:
        if self._answer_left < 1:
            return self._end_sample(AnswerEnd.LENGTH)
        return [self._rounds.begin(Phase.ANSWER, self._answer_left, self._plan.answer_terminators)]

    def _reencoded_or(self, proceed: Callable[[], list[Action]]) -> list[Action]:
        """Return ``proceed()``, or a Reencode after which ``proceed`` is called."""
        if self._plan.reencode_from is None:
            return proceed()
        self._after_reencoding = proceed
        return [Reencode(context_ids=self.context_ids, start=self._plan.reencode_from)]

    def _reencoded(self, ids: tuple[int, ...]) -> list[Action]:
        if self._plan.reencode_from is None:
            raise ShellProtocolError("the plan re-encodes nothing")
        self._transcript.replace_end(self._plan.reencode_from, ids)
        return self._after_reencoding()
