# SPDX-License-Identifier: Apache-2.0
"""Convert the tree of a search to and from JSON, and choose its answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s1_client.evaluation.grading.graders import Vote
from s1_client.evaluation.search.tree import DELIMITER, WEIGHTS, Node, Tree

WEIGHT = "last"  # a key of WEIGHTS: the weight of an answer in a tree's vote


def steps_of(answer: str, delimiter: str = DELIMITER) -> tuple[str, ...]:
    """Split an answer into the steps that a reward model gets, each with the delimiter that ends it."""
    *steps, last = answer.split(delimiter)
    return (*(step + delimiter for step in steps), *([last] if last or not steps else []))


def tree_to_dict(tree: Tree) -> dict[str, Any]:
    """Return the tree as JSON-compatible values. A node has its own step and its parent's index (None: the root)."""
    indices = {id(node): index for index, node in enumerate(tree.nodes)}
    nodes = [
        {
            "parent": indices.get(id(node.parent)),
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
    """Return the tree that ``tree_to_dict`` converted."""
    nodes: list[Node] = []
    for item in data["nodes"]:
        parent = None if item["parent"] is None else nodes[item["parent"]]
        before = () if parent is None else parent.steps
        values = {name: item[name] for name in ("score", "end", "num_tokens")}
        nodes.append(Node(steps=(*before, item["step"]), parent=parent, **values))
    counts = {name: data[name] for name in ("budget", "num_requests", "num_prompt_tokens", "kv_reused_blocks")}
    return Tree(nodes=nodes, **counts)


def answer_of(tree: Tree, vote: Vote) -> tuple[Node, int]:
    """Return the leaf that is a tree's answer, and the number of tokens of its steps.

    The leaf wins the vote of the leaves, each weighted by the score of its last step; if no leaf has a vote, it is the
    leaf with the highest score.
    """
    leaf = tree.vote(vote, WEIGHTS[WEIGHT]) or tree.best() or Node(steps=())
    num_tokens, node = 0, leaf
    while node.parent is not None:
        num_tokens, node = num_tokens + node.num_tokens, node.parent
    return leaf, num_tokens + node.num_tokens
