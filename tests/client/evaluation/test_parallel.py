# SPDX-License-Identifier: Apache-2.0
"""Majority votes, best of n, and pass@k."""

import itertools

import pytest

from s1_client.evaluation import VOTES, best_of, majority, pass_at
from s1_client.evaluation._parallel import powers_up_to

VOTE = VOTES["integer"]


@pytest.mark.parametrize(
    ("answers", "winner"),
    [
        (["5", "7", "7"], 1),
        (["5", "7"], 0),  # a tie: the first answer wins
        (["7", "5", "5", "7"], 0),
        (["none", "5"], 1),
        (["none", ""], None),
        ([], None),
    ],
)
def test_the_majority_is_the_first_answer_with_the_most_common_vote(answers, winner):
    assert majority(answers, VOTE) == winner


def test_weights_can_outvote_numbers():
    assert majority(["5", "5", "7"], VOTE, weights=[0.2, 0.2, 0.9]) == 2
    assert majority(["5", "5", "7"], VOTE, weights=[0.2, 0.2, 0.4]) == 0


def test_the_best_is_the_first_with_the_highest_score():
    assert best_of(["a", "bb", "cc"], len) == "bb"


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_pass_at_k_is_the_share_of_draws_with_a_right_sample(k):
    drawn = list(itertools.combinations([True, False, False, False], k))
    assert pass_at(k, num_right=1, number=4) == pytest.approx(sum(map(any, drawn)) / len(drawn))


def test_more_than_there_are_cannot_be_drawn():
    with pytest.raises(ValueError, match="k: got 5, allowed: 1 to 4"):
        pass_at(5, num_right=1, number=4)


def test_powers():
    assert [powers_up_to(number) for number in (0, 1, 4, 6)] == [[], [1], [1, 2, 4], [1, 2, 4, 6]]
