# SPDX-License-Identifier: Apache-2.0
"""A phase ends when the deadline leaves it no more time."""

import math

import pytest

from budgetforce.core import Phase
from budgetforce.serving.replies.deadline import NEVER, Deadline, Pace


def test_no_timeout_is_no_deadline():
    assert Deadline.after(5.0, None, None) is NEVER
    assert NEVER.at == math.inf
    assert not NEVER.is_up(Phase.ANSWER, 1e12, 10, 1.0)


def test_a_deadline_counts_from_the_arrival():
    deadline = Deadline.after(5.0, 1500, "answer")
    assert (deadline.at, deadline.timeout_s, deadline.answers) == (6.5, 1.5, True)
    assert not Deadline.after(5.0, 1500, None).answers


def test_a_deadline_that_cancels_ends_no_phase_by_itself():
    assert not Deadline.after(0.0, 1000, "cancel").is_up(Phase.ANSWER, 99.0, 10, 0.1)


@pytest.mark.parametrize(
    ("num_answer_tokens", "s_per_token", "last_moment"),
    [
        (100, 0.0, 9.0),  # nothing measured: a tenth of the time
        (100, 0.02, 6.0),  # twice what 100 tokens take
        (1, 0.02, 9.0),
        (10_000, 0.02, -390.0),  # more than there is: at once
    ],
)
def test_thinking_ends_when_the_rest_of_the_time_is_the_answers(num_answer_tokens, s_per_token, last_moment):
    deadline = Deadline.after(0.0, 10_000, "answer")
    assert not deadline.is_up(Phase.THINKING, last_moment - 0.01, num_answer_tokens, s_per_token)
    assert deadline.is_up(Phase.THINKING, last_moment + 0.01, num_answer_tokens, s_per_token)


def test_the_answer_ends_at_the_deadline_itself():
    deadline = Deadline.after(0.0, 10_000, "answer")
    assert not deadline.is_up(Phase.ANSWER, 9.99, 100, 0.02)
    assert deadline.is_up(Phase.ANSWER, 10.0, 100, 0.02)


def test_the_pace_is_measured_from_the_first_id_on():
    pace = Pace()
    assert pace.s_per_token == 0
    pace.count_ids(1, 100.0)
    assert pace.s_per_token == 0
    for later in range(1, 5):
        pace.count_ids(1, 100.0 + 0.5 * later)
    assert pace.s_per_token == 2.0 / 5
