# SPDX-License-Identifier: Apache-2.0
"""The one object a shell holds for one reply: events in, actions out.

    forcer = BudgetForcer(plan)
    actions = forcer.receive(Started())
    # do the actions in order; a Generate is always the last of a list, and what
    # it brings goes back in: TokensSampled (any number of times), then RoundEnded

Rules on ids (after the authors' evaluation code, with its quirks put right; the budget rules
PER_ROUND and SAMPLED put them back, for audits):

1. A terminator ends the round that samples it. It is consumed: not emitted, not put into
   the next context, not counted against the budget.
2. While ignores are left, or the floor is not met, the end of thinking is refused: an ignore
   string goes in, if the budget holds it and one id more, and thinking goes on.
3. Otherwise the answer is opened. A natural end gets the answer marker; a cut gets a line
   break (unless the text ends in one), the marker and the answer prefix.
4. A cut waits for a line or sentence end as long as the grace allows, and takes back half a
   character rather than splitting it.
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

_FULL = {State.THINKING: RoundEnd.BUDGET, State.GRACE: RoundEnd.GRACE}  # else LENGTH


class BudgetForcer:
    """Budget forcing for one reply. Not thread-safe; feed it from one place.

    Attributes:
        state: where the reply stands.
    """

    def __init__(self, plan: ForcingPlan) -> None:
        self.state = State.IDLE
        self._plan = plan
        self._reply = Transcript(plan)
        self._budget = Budget(plan.max_thinking_tokens, plan.budget_rule)
        self._matcher = MarkerMatcher(plan.thinking_marker_ids, plan.answer_marker_ids)
        self._rounds = Rounds(self._reply)
        self._go_on: Callable[[], list[Action]] = self._think  # behind a re-encoding
        self._answer_left = 0

    @property
    def ledger(self) -> Ledger:
        """The counts so far; valid at every moment."""
        return self._reply.ledger

    @property
    def context_ids(self) -> tuple[int, ...]:
        """Prompt and reply so far: what the next round would be asked to continue."""
        return tuple(self._reply.context)

    def receive(self, event: Event) -> list[Action]:
        """Take one event and say what to do.

        Raises EngineProtocolError if the engine broke its contract, ShellProtocolError if the event
        cannot happen in this state; the forcer is then in DONE.
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
        self._reply.check()
        return actions

    def _dispatch(self, event: Event) -> list[Action]:
        if self.state is State.IDLE and not isinstance(event, Started | AnswerNow | Cancelled):
            raise ShellProtocolError("the first event must be Started")
        match event:
            case TokensSampled(ids):
                actions = [action for token_id in ids for action in self._take(token_id)]
                return merge_emits(actions) if len(actions) > 1 else actions
            case RoundEnded():
                return self._end_round()
            case StopWordFound():
                return self._end_at_stop_word()
            case Reencoded(ids):
                return self._reencoded(ids)
            case AnswerNow():
                return self._cut_thinking_short(RoundEnd.ANSWER_NOW, ThinkingEnd.ANSWER_NOW)
            case TimeIsUp():
                return self._cut_thinking_short(RoundEnd.DEADLINE, ThinkingEnd.DEADLINE) or self._cut_answer_short()
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

    def _take(self, token_id: int) -> list[Action]:
        """Book one sampled id; what it allows to be handed on."""
        record, stops = self._rounds.count(token_id)
        if self.state is State.UNFORCED:
            return self._take_unforced(record, token_id, stops=stops)
        if stops and token_id not in self._plan.boundary_ids:
            return self._consume(record, token_id)
        if stops:
            record.ended_by = RoundEnd.BOUNDARY
        return self._keep(record, token_id)

    def _keep(self, record: RoundRecord, token_id: int) -> list[Action]:
        if record.phase is Phase.THINKING:
            self._budget.charge(sampled=1)
        return self._reply.sample(record.phase, token_id)

    def _consume(self, record: RoundRecord, token_id: int) -> list[Action]:
        record.ended_by, record.terminator_id = RoundEnd.TERMINATOR, token_id
        self._budget.charge(terminators=1)
        self._reply.consume()
        return []

    def _take_unforced(self, record: RoundRecord, token_id: int, *, stops: bool) -> list[Action]:
        """An id of a model that is left to itself: part of a marker, a terminator, or text."""
        matcher, reply = self._matcher, self._reply
        was_midway, released = matcher.is_midway, []
        taken = matcher.match(token_id)
        if not taken and was_midway:
            released = reply.release()  # what began a marker was text; this id may begin one again
            was_midway, taken = False, matcher.match(token_id)
        if taken:
            released = released if was_midway else released + reply.release()
            record.ended_by = RoundEnd.MARKER
            reply.hold(record.phase, token_id)
            return released if matcher.is_midway else released + reply.release_as_marker(matcher.phase)
        if token_id in self._plan.answer_terminators:
            return released + self._consume(record, token_id)
        if stops:
            record.ended_by = RoundEnd.MARKER
        return released + self._keep(record, token_id)

    # --- ends -------------------------------------------------------------------------

    def _end_round(self) -> list[Action]:
        record = self._rounds.end(_FULL.get(self.state, RoundEnd.LENGTH))
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
        if self._plan.grace_tokens and self._reply.context[-1] not in self._plan.boundary_ids:
            return [self._give_grace()]
        return self._close_thinking(Cause.BUDGET_SPENT, ThinkingEnd.BUDGET, cut=True)

    def _give_grace(self) -> Generate:
        self._move(Cause.GRACE_GIVEN)
        stops = self._plan.thinking_terminators | self._plan.boundary_ids
        asked = self._rounds.ask(Phase.THINKING, self._plan.grace_tokens, stops)
        self._reply.round.in_grace = True
        return asked

    def _end_grace(self, record: RoundRecord) -> list[Action]:
        if record.ended_by is RoundEnd.TERMINATOR:
            return self._close_thinking(Cause.END_ACCEPTED, ThinkingEnd.NATURAL, cut=False)
        return self._close_thinking(Cause.GRACE_OVER, ThinkingEnd.BUDGET, cut=True)

    def _refusal(self) -> tuple[RefusedFor, tuple[int, ...]] | None:
        """Why the end of thinking is refused and with what; None if it is accepted."""
        plan, ledger = self._plan, self.ledger
        string = plan.ignore_ids[ledger.num_ignored % len(plan.ignore_ids)]
        fits = self._budget.has_room_for(string) and len(self._reply.context) + len(string) < plan.max_context_tokens
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
        """Go on to the answer; half a character at a cut is taken back."""
        self.ledger.thinking_end = end
        if self._plan.leave_answer_to_model and cause in (Cause.END_ACCEPTED, Cause.BUDGET_SPENT):
            self._matcher.phase = Phase.THINKING
            return self._leave_to_model(Cause.LEFT_TO_MODEL)
        self._move(cause)
        if cut:
            self._reply.drop_held()
        return self._reply.release() + self._open_answer(cut=cut)

    def _open_answer(self, *, cut: bool) -> list[Action]:
        plan = self._plan
        needs_break = cut and self._reply.context[-1] not in plan.line_break_bearing
        self._reply.cut_overrun()
        marker = (plan.line_break_ids if needs_break else ()) + (plan.cut_answer_ids if cut else plan.answer_ids)
        prefix = plan.answer_prefix_ids if cut or plan.prefix_after_natural_end else ()
        actions = self._reply.inject(Phase.ANSWER, marker, hidden=True) + self._reply.inject(Phase.ANSWER, prefix)
        self._answer_left = self._room_for_answer
        return actions + self._answer()

    def _cut_thinking_short(self, ended_by: RoundEnd, end: ThinkingEnd) -> list[Action]:
        thinks_unforced = self.state is State.UNFORCED and self._matcher.phase is Phase.THINKING
        if self.state not in (State.THINKING, State.GRACE) and not thinks_unforced:
            return []
        self._reply.round.ended_by = ended_by
        return self._close_thinking(Cause.CUT_SHORT, end, cut=True)

    def _cut_answer_short(self) -> list[Action]:
        """An answer whose last id is its end already has one."""
        is_over = self._reply.round.ended_by in (RoundEnd.TERMINATOR, RoundEnd.MARKER)
        return [] if is_over else self._finish(RoundEnd.DEADLINE, AnswerEnd.DEADLINE)

    def _end_at_stop_word(self) -> list[Action]:
        if self.state is not State.THINKING:
            return self._finish(RoundEnd.STOP_WORD, AnswerEnd.STOP_WORD)
        self._reply.round.ended_by = RoundEnd.STOP_WORD
        return self._close_thinking(Cause.END_ACCEPTED, ThinkingEnd.NATURAL, cut=False)

    def _finish_answer(self, record: RoundRecord) -> list[Action]:
        if record.ended_by is not RoundEnd.TERMINATOR:
            return self._finish(RoundEnd.LENGTH, AnswerEnd.LENGTH)
        num_marker_ids = len(self._plan.answer_marker_ids) if self._matcher.answer_opened else 0
        said = self.ledger.answer_sampled > num_marker_ids
        return self._finish(RoundEnd.TERMINATOR, AnswerEnd.STOP if said else AnswerEnd.EMPTY)

    def _finish(self, ended_by: RoundEnd, answer_end: AnswerEnd) -> list[Action]:
        self._reply.round.ended_by = ended_by
        if ended_by in (RoundEnd.LENGTH, RoundEnd.DEADLINE):
            self._reply.drop_held()
        return self._reply.release() + self._end(answer_end)

    def _end(self, answer_end: AnswerEnd) -> list[Action]:
        self._move(Cause.ANSWERED)
        self.ledger.answer_end = answer_end
        return [Finish(ledger=self.ledger)]

    def _cancel(self) -> list[Action]:
        self._move(Cause.STOPPED)
        self._reply.drop_held()
        if self.ledger.rounds and self._reply.round.ended_by is None:
            self._reply.round.ended_by = RoundEnd.CANCELLED
        if self.ledger.thinking_end is None:
            self.ledger.thinking_end = ThinkingEnd.CANCELLED
        self.ledger.answer_end = AnswerEnd.CANCELLED
        return [Finish(ledger=self.ledger)]

    # --- a model that is left to itself -------------------------------------------------

    def _leave_to_model(self, cause: Cause) -> list[Action]:
        self._move(cause)
        return [*self._reply.release(), *self._reencoded_or(self._begin_unforced)]

    def _begin_unforced(self) -> list[Action]:
        reserved = 0 if self._plan.leave_answer_to_model else self._plan.num_uncounted_tokens  # answer_now may still come
        self._answer_left = min(self._room_for_answer, self._context_left - reserved)
        return [self._go_on_unforced()] if self._answer_left > 0 else self._end(AnswerEnd.LENGTH)

    def _end_unforced_round(self, record: RoundRecord) -> list[Action]:
        self._answer_left -= record.num_sampled_tokens
        if record.ended_by is RoundEnd.MARKER and self._matcher.answer_opened:
            self._move(Cause.ANSWER_SEEN)
            if self.ledger.thinking and self.ledger.thinking_end is ThinkingEnd.ABSENT:
                self.ledger.thinking_end = ThinkingEnd.NATURAL
            return self._answer()
        if record.ended_by is not RoundEnd.TERMINATOR and self._answer_left:
            self._move(Cause.MARKER_SEEN)
            return [self._go_on_unforced()]
        return self._finish_unforced(record)

    def _finish_unforced(self, record: RoundRecord) -> list[Action]:
        if self._matcher.phase is Phase.ANSWER:
            return self._finish_answer(record)
        ended_by = record.ended_by if record.ended_by is RoundEnd.TERMINATOR else RoundEnd.LENGTH
        if self.ledger.thinking_end is ThinkingEnd.ABSENT:
            self.ledger.thinking_end = ThinkingEnd.NATURAL if ended_by is RoundEnd.TERMINATOR else ThinkingEnd.LENGTH
        return self._finish(ended_by, AnswerEnd.MISSING)

    def _go_on_unforced(self) -> Generate:
        """A round to the next id that could begin a marker; in the middle of one, a round of one id."""
        num = 1 if self._matcher.is_midway else self._answer_left
        return self._rounds.ask(self._matcher.phase, num, self._plan.answer_terminators | self._matcher.first_ids)

    # --- parts --------------------------------------------------------------------------

    @property
    def _context_left(self) -> int:
        return self._plan.max_context_tokens - len(self._reply.context)

    @property
    def _room_for_answer(self) -> int:
        """What the answer's cap and the context leave; with thinking free the cap is for all that is sampled."""
        counted = sum(record.num_sampled_tokens for record in self.ledger.rounds) if self._plan.mode is ThinkingMode.FREE else 0
        return min(self._plan.max_answer_tokens - counted, self._context_left)

    def _inject_thought(self, ids: tuple[int, ...]) -> list[Action]:
        self._budget.charge(injected=len(ids))
        return self._reply.inject(Phase.THINKING, ids)

    def _think(self) -> list[Action]:
        """A thinking round with what the budget leaves."""
        plan = self._plan
        min_tokens = 1 if self.ledger.num_ignored else 0
        if plan.budget_rule is BudgetRule.PER_ROUND:
            min_tokens = 1 if plan.num_ignore else plan.min_thinking_tokens
        left = min(self._budget.left, self._context_left)
        if left < 1:  # only re-encoding can fill the context behind our back
            return self._close_thinking(Cause.BUDGET_SPENT, ThinkingEnd.BUDGET, cut=True)
        return [self._rounds.ask(Phase.THINKING, left, plan.thinking_terminators, min_tokens)]

    def _answer(self) -> list[Action]:
        if self._answer_left < 1:
            return self._end(AnswerEnd.LENGTH)
        return [self._rounds.ask(Phase.ANSWER, self._answer_left, self._plan.answer_terminators)]

    def _reencoded_or(self, go_on: Callable[[], list[Action]]) -> list[Action]:
        """What comes next, or first the way through text and back."""
        if self._plan.reencode_from is None:
            return go_on()
        self._go_on = go_on
        return [Reencode(context_ids=self.context_ids, start=self._plan.reencode_from)]

    def _reencoded(self, ids: tuple[int, ...]) -> list[Action]:
        if self._plan.reencode_from is None:
            raise ShellProtocolError("the plan re-encodes nothing")
        self._reply.replace_end(self._plan.reencode_from, ids)
        return self._go_on()
