# SPDX-License-Identifier: Apache-2.0
"""A search's tree as JSON holds it, and its answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s1_client.evaluation.grading.graders import Vote
from s1_client.evaluation.search.tree import DELIMITER, WEIGHTS, Node, Tree

WEIGHT = "last"  # of an answer in a tree's vote, see WEIGHTS


def steps_of(answer: str, delimiter: str = DELIMITER) -> tuple[str, ...]:
    """A whole answer as a reward model gets it: each step with the delimiter that ends it."""
    *steps, last = answer.split(delimiter)
    return (*(step + delimiter for step in steps), *([last] if last or not steps else []))


def tree_to_dict(tree: Tree) -> dict[str, Any]:
    """The tree with its ledger. Each node has its own step alone, and the place of its parent (None: the question)."""
    places = {id(node): place for place, node in enumerate(tree.nodes)}
    nodes = [
        {
            "parent": places.get(id(node.parent)),
            "step": node.steps[-1],
            "score": node.score,
            "end": node.end,
            "num_tokens": node.num_tokens,
        }
        for node in tree.nodes
    ]
    return {
        "budget": tree.budget,
        "num_tokens": tree.num_tokens,
        "num_requests": tree.num_requests,
        "num_prompt_tokens": tree.num_prompt_tokens,
        "kv_reused_blocks": tree.kv_reused_blocks,
        "nodes": nodes,
    }


def tree_of(data: Mapping[str, Any]) -> Tree:
    """The tree out of ``tree_to_dict``."""
    nodes: list[Node] = []
    for one in data["nodes"]:
        parent = None if one["parent"] is None else nodes[one["parent"]]
        before = () if parent is None else parent.steps
        nodes.append(Node(steps=(*before, one["step"]), parent=parent, score=one["score"], end=one["end"], num_tokens=one["num_tokens"]))
    counts = {name: data[name] for name in ("budget", "num_requests", "num_prompt_tokens", "kv_reused_blocks")}
    return Tree(nodes=nodes, **counts)


def answer_of(tree: Tree, vote: Vote) -> tuple[Node, int]:
    """The leaf that is a tree's answer, and how many tokens its steps took.

    It is that of the vote of the leaves, each weighed by the score of its last step; where no leaf has a vote, that
    with the highest score.
    """
    leaf = tree.vote(vote, WEIGHTS[WEIGHT]) or tree.best() or Node(steps=())
    num_tokens, node = 0, leaf
    while node.parent is not None:
        num_tokens, node = num_tokens + node.num_tokens, node.parent
    return leaf, num_tokens + node.num_tokens
