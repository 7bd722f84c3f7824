# SPDX-License-Identifier: Apache-2.0
"""The context of a reply and the books on it. Knows what an id is worth, not what to do next."""

from __future__ import annotations

import codecs

from budgetforce.core.actions import Action, Emit
from budgetforce.core.budget import BudgetRule
from budgetforce.core.ledger import Ledger, RoundRecord
from budgetforce.core.plan import ForcingPlan
from budgetforce.core.states import Phase


class Transcript:
    """Takes ids one by one, books each and says which may be handed on.

    An id is handed on when the characters it belongs to are whole: until then it is held,
    in the context already, so that a cut can take half a character back.

    Attributes:
        context: prompt and reply so far.
        ledger: the counts so far; valid at every moment.
    """

    def __init__(self, plan: ForcingPlan) -> None:
        self.context = list(plan.prompt_ids)
        self.ledger = Ledger(prompt=len(plan.prompt_ids))
        self._plan = plan
        self._held: list[int] = []
        self._held_phase = Phase.ANSWER
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._num_overrun = 0  # ids at the context's end that the evaluation's cut will take off

    @property
    def round(self) -> RoundRecord:
        """The running round."""
        return self.ledger.rounds[-1]

    def begin_round(self, phase: Phase) -> None:
        self.ledger.rounds.append(RoundRecord(phase=phase, num_prompt_tokens=len(self.context)))

    def consume(self) -> None:
        """Book a terminator."""
        self.ledger.terminators += 1

    def sample(self, phase: Phase, token_id: int) -> list[Action]:
        """Take a sampled id."""
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
            self._book(phase, 1)
            return [Emit(phase=phase, ids=(token_id,))]
        self.hold(phase, token_id)
        self._utf8.decode(b"." if fragment is None else fragment)
        return [] if self._utf8.getstate()[0] else self.release()

    def hold(self, phase: Phase, token_id: int) -> None:
        """Take a sampled id that may turn out to be another thing than text."""
        self.context.append(token_id)
        self._book(phase, 1)
        self._held.append(token_id)
        self._held_phase = phase

    def release(self) -> list[Action]:
        """Hand on what is held, as text."""
        held, self._held = tuple(self._held), []
        self._utf8.reset()
        return [Emit(phase=self._held_phase, ids=held)] if held else []

    def release_as_marker(self, phase: Phase) -> list[Action]:
        """Hand on what is held: the model opened ``phase`` with it."""
        self._book(self._held_phase, -len(self._held))
        self._book(phase, len(self._held))
        held, self._held = tuple(self._held), []
        return [Emit(phase=phase, ids=held, hidden=True)]

    def drop_held(self) -> None:
        """Take back what is held: half a character at a cut."""
        if not self._held:
            return
        self._drop(len(self._held))
        self._book(self._held_phase, -len(self._held))
        del self.context[len(self.context) - len(self._held) :]
        self._held.clear()
        self._utf8.reset()

    def inject(self, phase: Phase, ids: tuple[int, ...], *, hidden: bool = False) -> list[Action]:
        """Put ids of ours in, behind what is held."""
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
        """Take off what lies beyond the cap, as the authors' evaluation does when thinking is over."""
        del self.context[len(self.context) - self._num_overrun :]
        self._num_overrun = 0

    def replace_end(self, start: int, ids: tuple[int, ...]) -> None:
        """Put ``ids`` in place of the context from ``start`` on."""
        self.ledger.reencoded += start + len(ids) - len(self.context)
        self.context[start:] = ids

    def check(self) -> None:
        """Raise AssertionError if the books are wrong."""
        self.ledger.check(len(self.context) - self._num_overrun)

    def _room_before_cut(self) -> int | None:
        """Ids that the evaluation's cut leaves of what may still come; None = nothing is cut afterwards."""
        if self._plan.budget_rule is not BudgetRule.PER_ROUND:
            return None
        return max(0, self._plan.max_thinking_tokens - self.ledger.thinking)

    def _book(self, phase: Phase, number: int) -> None:
        if phase is Phase.THINKING:
            self.ledger.thinking_sampled += number
        else:
            self.ledger.answer_sampled += number

    def _drop(self, number: int) -> None:
        self.ledger.dropped += number
        self.round.num_dropped_tokens += number
