# SPDX-License-Identifier: Apache-2.0
"""REBASE search over a served model: a tree of an answer's steps, expanded where a reward model scores highest.

Each node is expanded by a request: thinking is off, the steps so far are the answer's prefix, the step ends at the
delimiter, and the samples are the node's children. So the engine can reuse the shared prefix from its KV cache,
admission and token accounting of ``s1`` apply, and any engine works. The prefix is sent as text: at a seam between
steps its token ids may differ from the sampled ids.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from s1_client import Client, Reply, Request
from s1_client.evaluation.search.reward import Scorer
from s1_client.evaluation.search.tree import ANSWERED, BUDGET, DELIMITER, DEPTH, OPEN, Node, Tree, widths

_RESERVED = ("thinking", "answer_prefix", "answer_prefix_policy", "stop_words", "max_tokens", "max_total_tokens", "num_samples", "seed")
_DEFAULTS = {"temperature": 1.0}  # children of a node must differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Parameters of a search. Defaults are the s1 authors' settings where they publish them.

    Attributes:
        width: number of children per level; each finished leaf reduces it by 1.
        max_tokens: cap of the tokens of all steps of the tree.
        max_step_tokens: cap of a step's tokens.
        max_depth: most steps of an answer.
        temperature: temperature of the softmax that divides the width; the lower, the more children the best nodes get.
        delimiter: text that ends a step.
        seed: seed of the first request; each further request has the next.
    """

    width: int = 16
    max_tokens: int = 16384
    max_step_tokens: int = 256
    max_depth: int = 25
    temperature: float = 0.2
    delimiter: str = DELIMITER
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "max_tokens", "max_step_tokens", "max_depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, allowed: {name} >= 1")
        if self.max_tokens < self.width:
            raise ValueError(f"max_tokens: got {self.max_tokens}, allowed: at least the width, {self.width}")
        if self.temperature <= 0:
            raise ValueError(f"temperature: got {self.temperature}, allowed: temperature > 0")
        if not self.delimiter:
            raise ValueError("delimiter: got '', allowed: text that is not empty")


def rebase(client: Client, question: str, scorer: Scorer, search: Search | None = None, **options: Any) -> Tree:
    """Search for answers to a question and return the tree.

    ``options`` are request options of ``Client.stream``, except those that the search sets. Raises TypeError for one of
    these, ValueError unless the scorer returns a finite score for each node, and S1Error if a request fails.
    """
    reserved = sorted(set(options) & set(_RESERVED))
    if reserved:
        raise TypeError(f"option '{reserved[0]}' is set by the search")
    running = _RunningSearch(client, question, scorer, search or Search(), {**_DEFAULTS, **options})
    running.grow()
    return running.tree


class _RunningSearch:
    """A search in progress, with the tree so far."""

    def __init__(self, client: Client, question: str, scorer: Scorer, search: Search, options: dict[str, Any]) -> None:
        self.tree = Tree(budget=search.max_tokens)
        self._client = client
        self._question = question
        self._scorer = scorer
        self._search = search
        self._options = options

    def grow(self) -> None:
        """Expand the tree level by level until no node is open."""
        live = [(Node(steps=()), self._search.width)]
        while live:
            children = self._expanded(live)
            self._score(children)
            live = self._to_expand([child for child in children if child.end == OPEN])

    def _to_expand(self, live: Sequence[Node]) -> list[tuple[Node, int]]:
        """Return the open nodes that get children, each with their number; the others are abandoned."""
        width = self._search.width - len(self.tree.leaves)
        if not live or width < 1:
            return []
        shares = widths([node.score or 0.0 for node in live], width, self._search.temperature)
        return [(node, share) for node, share in zip(live, shares, strict=True) if share]

    def _expanded(self, parents: Sequence[tuple[Node, int]]) -> list[Node]:
        """Return the children of a level, whose steps together stay within the remaining budget."""
        num_children = sum(share for _, share in parents)
        room = min(self._search.max_step_tokens, self.tree.num_left // num_children)
        if room < 1:
            for node, _ in parents:
                node.end = BUDGET
            return []
        requests = [self._request(node, share, room, number) for number, (node, share) in enumerate(parents)]
        self.tree.num_requests += len(requests)
        outcomes = list(self._client.map(requests, concurrency=len(requests)))
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
        children = [self._child(node, reply) for (node, _), outcome in zip(parents, outcomes, strict=True) for reply in outcome.replies]
        self.tree.nodes.extend(children)
        return children

    def _request(self, node: Node, num_children: int, room: int, number: int) -> Request:
        options = {**self._options, "thinking": "off", "stop_words": [self._search.delimiter], "max_tokens": room}
        options["seed"] = self._search.seed + self.tree.num_requests + number
        if node.text:
            options |= {"answer_prefix": node.text, "answer_prefix_policy": "always"}
        if num_children > 1:
            options["num_samples"] = num_children
        return Request(prompt=self._question, options=options)

    def _child(self, parent: Node, reply: Reply) -> Node:
        assert reply.answer.startswith(parent.text), "an answer begins with its prefix"
        new = reply.answer[len(parent.text) :]
        is_over = reply.answer_end not in ("stop_word", "length")
        step = new + self._search.delimiter if reply.answer_end == "stop_word" else new
        self._count(reply)
        end = ANSWERED if is_over else DEPTH if len(parent.steps) + 1 == self._search.max_depth else OPEN
        num_tokens = reply.usage.num_answer_tokens + reply.usage.num_dropped
        return Node(steps=(*parent.steps, step), parent=parent, end=end, num_tokens=num_tokens)

    def _count(self, reply: Reply) -> None:
        for call in reply.trace:
            self.tree.num_prompt_tokens += call.num_prompt_tokens
            if call.kv_reused_blocks is not None:
                self.tree.kv_reused_blocks = (self.tree.kv_reused_blocks or 0) + call.kv_reused_blocks

    def _score(self, nodes: Sequence[Node]) -> None:
        if not nodes:
            return
        scores = self._scorer(self._question, [node.steps for node in nodes])
        if len(scores) != len(nodes) or not all(map(math.isfinite, scores)):
            raise ValueError(f"scorer: got {scores!r}, allowed: a finite number for each of {len(nodes)} answers")
        for node, score in zip(nodes, scores, strict=True):
            node.score = float(score)
