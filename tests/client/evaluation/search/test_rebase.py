# SPDX-License-Identifier: Apache-2.0
"""REBASE over a server: the requests of each level, and the token budget of the whole tree."""

import pytest

from s1_client import Client, EngineFailed
from s1_client.evaluation import Search, rebase
from s1_client.evaluation.search.tree import ANSWERED, BUDGET, DEPTH
from s1_client.testing import FakeServer


@pytest.fixture
def server():
    with FakeServer() as server:
        yield server


@pytest.fixture
def client(server):
    with Client(server.url, max_retries=0) as client:
        yield client


def by_order(question, answers):
    """Score the first child of a level far above the others."""
    return [1.0 if number == 0 else 0.0 for number in range(len(answers))]


def test_the_first_level_has_the_trees_width_and_leaves_end_it(server, client):
    server.says(answer=" it is 7")
    tree = rebase(client, "six and one", by_order, Search(width=3))
    (request,) = server.requests
    assert request.prompt == "six and one"
    assert request.options == {
        "temperature": 1.0,
        "thinking": "off",
        "stop_words": ["\n\n"],
        "max_tokens": 256,
        "seed": 0,
        "num_samples": 3,
    } | {name: value for name, value in request.options.items() if name == "timeout_ms"}
    assert [(node.text, node.end) for node in tree.answers] == [(" it is 7", ANSWERED)] * 3
    assert (tree.num_tokens, tree.budget, tree.num_requests) == (9, 16384, 1)


def test_steps_that_are_cut_go_on_from_their_own_text(server, client):
    """Two words per step, four in the answer: the second level continues the first by sending it as the prefix."""
    server.says(answer=" one two three four")
    tree = rebase(client, "count", by_order, Search(width=2, max_step_tokens=2, max_depth=2), temperature=0.5)
    first, second = server.requests
    assert "answer_prefix" not in first.options
    assert (second.options["answer_prefix"], second.options["answer_prefix_policy"]) == (" one two", "always")
    assert second.options["num_samples"] == 2  # all of the width goes to the better node
    assert first.options["seed"] != second.options["seed"] and second.options["temperature"] == 0.5
    assert [(len(node.steps), node.end) for node in tree.leaves] == [(2, DEPTH)] * 2


def test_the_budget_covers_the_whole_tree(server, client):
    server.says(answer=" word" * 50)
    tree = rebase(client, "go on", by_order, Search(width=4, max_tokens=30, max_step_tokens=5))
    assert tree.num_tokens + tree.num_left == 30 and tree.num_tokens == 28
    assert max(request.options["max_tokens"] * request.options.get("num_samples", 1) for request in server.requests) == 20
    assert {node.end for node in tree.leaves} == {BUDGET}


def test_an_error_ends_the_search(server, client):
    server.says(error=EngineFailed("gone"))
    with pytest.raises(EngineFailed):
        rebase(client, "?", by_order)


@pytest.mark.parametrize("scores", [[1.0], [1.0, float("nan")]])
def test_a_scorer_gives_a_number_for_each(server, client, scores):
    with pytest.raises(ValueError, match="scorer: got .*allowed: a finite number for each of 2 answers"):
        rebase(client, "?", lambda question, answers: scores, Search(width=2))


def test_options_that_the_search_sets_are_refused(client):
    with pytest.raises(TypeError, match="option 'stop_words' is set by the search"):
        rebase(client, "?", by_order, stop_words=["x"])


@pytest.mark.parametrize(
    ("settings", "problem"),
    [({"width": 0}, "width: got 0"), ({"width": 8, "max_tokens": 7}, "at least the width, 8"), ({"temperature": 0}, "temperature > 0")],
)
def test_impossible_searches_are_refused(settings, problem):
    with pytest.raises(ValueError, match=problem):
        Search(**settings)
