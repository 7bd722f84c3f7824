# SPDX-License-Identifier: Apache-2.0
"""The tree of a REBASE search (Wu et al. 2024, arXiv 2408.00724): its nodes, the division of the width, and token counts.

Pure: knows no server and no reward model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from s1_client.evaluation._parallel import majority
from s1_client.evaluation.grading.graders import Vote

DELIMITER = "\n\n"  # text that ends a step
OPEN, ANSWERED, DEPTH, BUDGET = "open", "answered", "depth", "budget"


@dataclass(slots=True, kw_only=True)
class Node:
    """A node of the tree: a step with the steps that lead to it.

    Attributes:
        steps: texts of all steps from the root to this one; joined they are the partial answer.
        score: score of the steps by the reward model; None before scoring.
        end: "open": may be expanded; "answered": the model ended its answer; "depth", "budget": the search ended it.
        num_tokens: tokens of this step.
    """

    steps: tuple[str, ...]
    parent: Node | None = field(default=None, repr=False)
    score: float | None = None
    end: str = OPEN
    num_tokens: int = 0

    @property
    def text(self) -> str:
        """The partial answer up to this step."""
        return "".join(self.steps)

    @property
    def scores(self) -> list[float]:
        """The scores of all steps from the root to this one."""
        before = [] if self.parent is None else self.parent.scores
        return before if self.score is None else [*before, self.score]


@dataclass(slots=True, kw_only=True)
class Tree:
    """The tree of a search and its token account.

    Attributes:
        budget: cap of the tokens of all steps.
        nodes: in order of generation.
        num_prompt_tokens: prompt tokens of all engine calls.
        kv_reused_blocks: blocks of them that the engine reused from its KV cache; None if it does not report them.
    """

    budget: int
    nodes: list[Node] = field(default_factory=list)
    num_requests: int = 0
    num_prompt_tokens: int = 0
    kv_reused_blocks: int | None = None

    @property
    def num_tokens(self) -> int:
        """The tokens of all steps so far."""
        return sum(node.num_tokens for node in self.nodes)

    @property
    def num_left(self) -> int:
        """The tokens that remain of the budget."""
        return self.budget - self.num_tokens

    @property
    def leaves(self) -> list[Node]:
        """Nodes whose answers have ended, for any reason."""
        return [node for node in self.nodes if node.end != OPEN]

    @property
    def answers(self) -> list[Node]:
        """Leaves whose answer the model ended; all leaves without such a leaf."""
        return [node for node in self.leaves if node.end == ANSWERED] or self.leaves

    def vote(self, vote: Vote, weigh: Callable[[Sequence[float]], float] | None = None) -> Node | None:
        """Return the leaf of the majority vote, weighted by a function of the scores (``WEIGHTS``); without one all count equally."""
        answers = self.answers
        weights = None if weigh is None else [weigh(node.scores) if node.scores else 0.0 for node in answers]
        index = majority([node.text for node in answers], vote, weights)
        return None if index is None else answers[index]

    def best(self) -> Node | None:
        """Return the leaf with the highest last score, the first of equals; None without a leaf."""
        return max(self.answers, key=lambda node: -math.inf if node.score is None else node.score, default=None)


WEIGHTS: dict[str, Callable[[Sequence[float]], float]] = {
    "last": lambda scores: scores[-1],
    "min": min,
    "mean": fmean,
    "product": math.prod,
}


def widths(scores: Sequence[float], width: int, temperature: float) -> list[int]:
    """Return the number of children of each node: ``width`` in all, divided by the softmax of the scores.

    From the best to the worst, each node gets its share of the remaining width, rounded up; so the worst may get none.
    """
    if temperature <= 0:
        raise ValueError(f"temperature: got {temperature}, allowed: temperature > 0")
    highest = max(scores, default=0.0)
    parts = [math.exp((score - highest) / temperature) for score in scores]
    given, left, total = [0] * len(scores), width, math.fsum(parts)
    for index in sorted(range(len(scores)), key=lambda index: -scores[index]):
        given[index] = min(left, math.ceil(left * parts[index] / total - 1e-9)) if total > 0 else 0
        left -= given[index]
        total -= parts[index]
    return given
