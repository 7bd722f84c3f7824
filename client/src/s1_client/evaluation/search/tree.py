# SPDX-License-Identifier: Apache-2.0
"""The tree of a REBASE search (Wu et al. 2024, arXiv 2408.00724): who is expanded how often, and what it has cost.

Pure: knows no server and no reward model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from s1_client.evaluation._parallel import majority
from s1_client.evaluation.grading.graders import Vote

DELIMITER = "\n\n"  # ends a step
OPEN, ANSWERED, DEPTH, BUDGET = "open", "answered", "depth", "budget"


@dataclass(slots=True, kw_only=True)
class Node:
    """A step behind the steps that lead to it.

    Attributes:
        steps: texts of all steps from the question on, this one last; joined they are the answer so far.
        score: of the steps so far, by the reward model; None before it was asked.
        end: "open": may be expanded; "answered": the model ended its answer; "depth", "budget": the search ended it.
        num_tokens: that the step took.
    """

    steps: tuple[str, ...]
    parent: Node | None = field(default=None, repr=False)
    score: float | None = None
    end: str = OPEN
    num_tokens: int = 0

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self.steps)

    @property
    def scores(self) -> list[float]:
        """Of all steps from the question on."""
        before = [] if self.parent is None else self.parent.scores
        return before if self.score is None else [*before, self.score]


@dataclass(slots=True, kw_only=True)
class Tree:
    """A search and its ledger.

    Attributes:
        budget: tokens that all steps together may take.
        nodes: in the order in which they came.
        num_prompt_tokens: that went into the engine; of these ``kv_reused_blocks`` blocks were found in its KV cache
            (None: the engine does not tell).
    """

    budget: int
    nodes: list[Node] = field(default_factory=list)
    num_requests: int = 0
    num_prompt_tokens: int = 0
    kv_reused_blocks: int | None = None

    @property
    def num_tokens(self) -> int:
        """Taken so far."""
        return sum(node.num_tokens for node in self.nodes)

    @property
    def num_left(self) -> int:
        """Tokens that may still be taken."""
        return self.budget - self.num_tokens

    @property
    def leaves(self) -> list[Node]:
        """Nodes whose answers are over, for whatever reason."""
        return [node for node in self.nodes if node.end != OPEN]

    @property
    def answers(self) -> list[Node]:
        """Leaves that the model itself ended; all leaves if there is none."""
        return [node for node in self.leaves if node.end == ANSWERED] or self.leaves

    def vote(self, vote: Vote, weigh: Callable[[Sequence[float]], float] | None = None) -> Node | None:
        """The leaf that stands for the majority, each weighed by its scores (``WEIGHTS``); None: each counts the same."""
        answers = self.answers
        weights = None if weigh is None else [weigh(node.scores) if node.scores else 0.0 for node in answers]
        place = majority([node.text for node in answers], vote, weights)
        return None if place is None else answers[place]

    def best(self) -> Node | None:
        """The leaf with the highest last score; of equals the first."""
        return max(self.answers, key=lambda node: -math.inf if node.score is None else node.score, default=None)


WEIGHTS: dict[str, Callable[[Sequence[float]], float]] = {
    "last": lambda scores: scores[-1],
    "min": min,
    "mean": fmean,
    "product": math.prod,
}


def widths(scores: Sequence[float], width: int, temperature: float) -> list[int]:
    """How many children each node gets: ``width`` in all, shared by the softmax of the scores.

    From the best to the worst, each gets the ceiling of its share of what is left among those that are left; so the
    worst may get none.
    """
    if temperature <= 0:
        raise ValueError(f"temperature: got {temperature}, allowed: temperature > 0")
    highest = max(scores, default=0.0)
    parts = [math.exp((score - highest) / temperature) for score in scores]
    given, left, total = [0] * len(scores), width, math.fsum(parts)
    for place in sorted(range(len(scores)), key=lambda place: -scores[place]):
        given[place] = min(left, math.ceil(left * parts[place] / total - 1e-9)) if total > 0 else 0
        left -= given[place]
        total -= parts[place]
    return given
