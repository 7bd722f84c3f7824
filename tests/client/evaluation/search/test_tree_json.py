# SPDX-License-Identifier: Apache-2.0
"""Conversion of trees to and from JSON, and the choice of their answer."""

import json

import pytest

from s1_client.evaluation import VOTES, Node, Tree
from s1_client.evaluation.search.tree import ANSWERED, BUDGET
from s1_client.evaluation.search.tree_json import answer_of, steps_of, tree_of, tree_to_dict


def tree():
    """Return a tree with two steps to an answer 7, and two single steps to 8."""
    first = Node(steps=("6 and 1\n\n",), score=0.5, num_tokens=4)
    seven = Node(steps=(*first.steps, "is 7"), parent=first, score=0.9, end=ANSWERED, num_tokens=2)
    eights = [Node(steps=("it is 8",), score=0.4, end=ANSWERED, num_tokens=3) for _ in range(2)]
    return Tree(budget=64, nodes=[first, *eights, seven], num_requests=2, num_prompt_tokens=20, kv_reused_blocks=1)


def test_a_tree_survives_conversion_to_json():
    data = json.loads(json.dumps(tree_to_dict(tree())))
    assert tree_of(data) == tree()
    assert data["num_tokens"] == 12 and [node["parent"] for node in data["nodes"]] == [None, None, None, 0]


def test_its_answer_has_the_largest_weight_and_the_tokens_of_its_path():
    leaf, num_tokens = answer_of(tree(), VOTES["integer"])
    assert (leaf.text, num_tokens) == ("6 and 1\n\nis 7", 6)


def test_without_a_vote_the_best_leaf_is_the_answer():
    leaves = [Node(steps=(text,), score=score, end=BUDGET) for text, score in (("who knows", 0.1), ("not me", 0.2))]
    assert answer_of(Tree(budget=8, nodes=leaves), VOTES["integer"])[0].text == "not me"
    assert answer_of(Tree(budget=8), VOTES["integer"])[0].text == ""


@pytest.mark.parametrize(
    ("answer", "steps"),
    [("a\n\nb", ("a\n\n", "b")), ("a\n\n", ("a\n\n",)), ("a", ("a",)), ("", ("",))],
)
def test_an_answer_is_its_steps(answer, steps):
    assert steps_of(answer) == steps and "".join(steps) == answer
