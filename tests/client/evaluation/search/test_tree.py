# SPDX-License-Identifier: Apache-2.0
"""The tree of a REBASE search: division of the width, token account and vote."""

import itertools
import math

import pytest

from s1_client.evaluation import VOTES
from s1_client.evaluation.search.tree import ANSWERED, BUDGET, WEIGHTS, Node, Tree, widths


def test_equal_scores_share_equally():
    assert widths([0.5] * 4, 8, 0.2) == [2, 2, 2, 2]


def test_the_best_node_gets_most_children_and_the_worst_may_get_none():
    assert widths([0.1, 0.9, 0.1], 4, 0.2) == [0, 4, 0]
    assert widths([0.4, 0.9, 0.5], 8, 0.2) == [0, 7, 1]


def test_the_shares_are_the_papers_ceilings_taken_from_the_best_down():
    scores, width, temperature = [0.3, 0.8, 0.6, 0.55], 16, 0.2
    expected, left, rest = {}, width, sorted(scores, reverse=True)
    while rest:
        total = sum(math.exp(score / temperature) for score in rest)
        expected[rest[0]] = min(left, math.ceil(left * math.exp(rest[0] / temperature) / total))
        left -= expected[rest[0]]
        rest = rest[1:]
    assert widths(scores, width, temperature) == [expected[score] for score in scores]


@pytest.mark.parametrize("width", [1, 2, 7, 16])
def test_no_more_and_no_less_than_the_width_is_given(width):
    for scores in itertools.product([-1000.0, 0.0, 0.5, 1.0, 1000.0], repeat=3):
        assert sum(widths(scores, width, 0.2)) == width


def test_a_temperature_of_nothing_is_refused():
    with pytest.raises(ValueError, match="temperature: got 0"):
        widths([1.0], 1, 0)


@pytest.fixture
def tree():
    """Return a tree with two answers 7 of low score, an answer 8 of high score, and a leaf that the search ended."""
    tree = Tree(budget=100)
    root = Node(steps=("so\n",), score=0.5, num_tokens=10)
    ends = [("7", 0.3, ANSWERED), ("7", 0.2, ANSWERED), ("8", 0.9, ANSWERED), ("9", 1.0, BUDGET)]
    leaves = [Node(steps=("so\n", text), parent=root, score=score, end=end, num_tokens=5) for text, score, end in ends]
    tree.nodes.extend([root, *leaves])
    return tree


def test_the_ledger_is_the_sum_of_the_steps(tree):
    assert (tree.num_tokens, tree.num_left, len(tree.leaves), len(tree.answers)) == (30, 70, 4, 3)


def test_a_vote_counts_heads_or_weighs_scores(tree):
    assert tree.vote(VOTES["integer"]).text == "so\n7"
    assert tree.vote(VOTES["integer"], WEIGHTS["last"]).text == "so\n8"
    assert tree.best().text == "so\n8"
    assert {name: weigh(tree.answers[0].scores) for name, weigh in WEIGHTS.items()} == {
        "last": 0.3,
        "min": 0.3,
        "mean": 0.4,
        "product": 0.15,
    }


def test_where_no_answer_came_to_its_end_all_leaves_count(tree):
    tree.nodes[1:4] = []
    assert tree.best().text == "so\n9"
    assert Tree(budget=1).vote(VOTES["integer"]) is None and Tree(budget=1).best() is None
