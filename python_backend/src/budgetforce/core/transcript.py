# SPDX-License-Identifier: Apache-2.0
"""A sample's context and token accounting. Deciding what happens next is BudgetForcer's job."""

from __future__ import annotations

import codecs

from budgetforce.core.actions import Action, Emit
from budgetforce.core.budget import BudgetRule
from budgetforce.core.ledger import Ledger, RoundRecord
from budgetforce.core.plan import ForcingPlan
from budgetforce.core.states import Phase


class Transcript:
    """Adds ids to the context, counts each, and returns Emits for those that the caller may see.

    An id is emitted when its characters are complete. Until then it is held: it already stands in
    the context, and a cut can still remove half a character.

    Attributes:
        context: ids of the prompt and of the sample so far.
        ledger: the counts so far; valid at every moment.
    """

    def __init__(self, plan: ForcingPlan) -> None:
        self.context = list(plan.prompt_ids)
        self.ledger = Ledger(prompt=len(plan.prompt_ids))
        self._plan = plan
        self._has_later_cut = plan.budget_rule is BudgetRule.PER_ROUND
        self._held: list[int] = []
        self._held_phase = Phase.ANSWER
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._num_overrun = 0  # ids at the context's end that the evaluation's cut will remove

    @property
    def round(self) -> RoundRecord:
        """Return the record of the last round."""
        return self.ledger.rounds[-1]

    def begin_round(self, phase: Phase) -> None:
        """Open the record of a new round."""
        self.ledger.rounds.append(RoundRecord(phase=phase, num_prompt_tokens=len(self.context)))

    def count_sampled(self) -> None:
        """Count an id that the engine sampled, whatever becomes of it."""
        self.round.num_sampled_tokens += 1
        self.ledger.sampled += 1

    def consume_terminator(self) -> None:
        """Count a terminator, which enters neither text nor context."""
        self.ledger.terminators += 1

    def add_sampled(self, phase: Phase, token_id: int) -> list[Action]:
        """Add a sampled id; return the Emits that it completes."""
        if token_id >= self._plan.num_token_ids:
            self._drop(1)
            return []
        if phase is Phase.THINKING and self._room_before_cut() == 0:
            self.context.append(token_id)
            self._num_overrun += 1
            self._drop(1)
            return []
        fragment = self._plan.fragments.get(token_id)
        if fragment is None and not self._held:
            self.context.append(token_id)
            self._count(phase, 1)
            return [Emit(phase=phase, ids=(token_id,))]
        self.hold(phase, token_id)
        self._utf8.decode(b"." if fragment is None else fragment)
        return [] if self._utf8.getstate()[0] else self.release()

    def hold(self, phase: Phase, token_id: int) -> None:
        """Add a sampled id without emitting it: it may be half a character or part of a marker."""
        self.context.append(token_id)
        self._count(phase, 1)
        self._held.append(token_id)
        self._held_phase = phase

    def release(self) -> list[Action]:
        """Emit the held ids as text."""
        held, self._held = tuple(self._held), []
        self._utf8.reset()
        return [Emit(phase=self._held_phase, ids=held)] if held else []

    def release_as_marker(self, phase: Phase) -> list[Action]:
        """Emit the held ids as the marker with which the model opened ``phase``."""
        self._count(self._held_phase, -len(self._held))
        self._count(phase, len(self._held))
        held, self._held = tuple(self._held), []
        return [Emit(phase=phase, ids=held, hidden=True)]

    def drop_held(self) -> None:
        """Remove the held ids from the context: half a character at a cut."""
        if not self._held:
            return
        self._drop(len(self._held))
        self._count(self._held_phase, -len(self._held))
        del self.context[len(self.context) - len(self._held) :]
        self._held.clear()
        self._utf8.reset()

    def inject(self, phase: Phase, ids: tuple[int, ...], *, hidden: bool = False) -> list[Action]:
        """Add injected ids after the held ones; return the Emits of both."""
        if not ids:
            return []
        released = self.release()
        kept = ids[: self._room_before_cut()] if phase is Phase.THINKING else ids
        self.context += ids
        self._num_overrun += len(ids) - len(kept)
        if phase is Phase.THINKING:
            self.ledger.thinking_injected += len(kept)
        else:
            self.ledger.answer_injected += len(kept)
        if self.ledger.rounds:
            self.round.injected_ids += kept
        return [*released, Emit(phase=phase, ids=kept, injected=True, hidden=hidden)] if kept else released

    def cut_overrun(self) -> None:
        """Remove the ids beyond the cap, as the authors' evaluation does when thinking is over."""
        del self.context[len(self.context) - self._num_overrun :]
        self._num_overrun = 0

    def replace_end(self, start: int, ids: tuple[int, ...]) -> None:
        """Replace the context from ``start`` on by ``ids``."""
        self.ledger.reencoded += start + len(ids) - len(self.context)
        self.context[start:] = ids

    def check(self) -> None:
        """Raise AssertionError if ledger and context disagree."""
        self.ledger.check(len(self.context) - self._num_overrun)

    def _room_before_cut(self) -> int | None:
        """Return how many more ids the evaluation's later cut will keep; None = this budget rule has no such cut."""
        if not self._has_later_cut:
            return None
        return max(0, self._plan.max_thinking_tokens - self.ledger.thinking)

    def _count(self, phase: Phase, number: int) -> None:
        if phase is Phase.THINKING:
            self.ledger.thinking_sampled += number
        else:
            self.ledger.answer_sampled += number

    def _drop(self, number: int) -> None:
        self.ledger.dropped += number
        self.round.num_dropped_tokens += number
