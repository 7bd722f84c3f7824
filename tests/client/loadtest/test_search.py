# SPDX-License-Identifier: Apache-2.0
"""The capacity search in every monotone world, and in every noisy world of a few loads."""

import pytest

from s1_client.loadtest._objective import Objective
from s1_client.loadtest._search import NUM_CONFIRMATIONS, Bracket, CapacitySearch, Trial
from s1_client.loadtest._typed import Malformed


def search(mode="concurrency", least=1.0, most=64.0, precision=1.0):
    return CapacitySearch(mode=mode, least=least, most=most, precision_percent=precision, objective=Objective())


def run(searched, holds):
    """Run a search in a world where ``holds(load)`` decides; its trials."""
    trials = []
    while (load := searched.next_load(trials)) is not None:
        trials.append(Trial(load, holds(load)))
        assert len(trials) < 60
    return trials


@pytest.mark.parametrize("most", [2, 3, 7, 64])
def test_in_every_monotone_world_the_capacity_is_exact_and_confirmed(most):
    searched = search(most=float(most))
    for capacity in range(most + 1):
        trials = run(searched, lambda load, capacity=capacity: load <= capacity)
        found = searched.bracket(trials)
        assert found.held == (capacity or None) and found.failed == (capacity + 1 if capacity < most else None)
        assert found.is_confirmed == (capacity > 0)
        assert len(trials) <= 15


def test_a_precision_leaves_a_bracket_no_wider():
    """The larger the precision, the fewer levels."""
    lengths = []
    for precision in (1.0, 10.0, 50.0):
        searched = search(most=1000.0, precision=precision)
        trials = run(searched, lambda load: load <= 300)
        found = searched.bracket(trials)
        assert found.held <= 300 < found.failed and found.failed - found.held <= max(1, precision / 100 * found.held)
        lengths.append(len(trials))
    assert lengths == sorted(lengths, reverse=True) and lengths[0] > lengths[-1]


@pytest.mark.parametrize("precision", [1.0, 10.0])
def test_at_a_request_rate_every_capacity_is_bracketed(precision):
    searched = search("request_rate", 0.1, 100.0, precision)
    for step in range(1, 300):
        capacity = 0.1 * 1.0233**step
        found = searched.bracket(run(searched, lambda rate, capacity=capacity: rate <= capacity))
        assert found.held <= capacity and found.is_confirmed
        if capacity < 100:
            assert capacity < found.failed <= found.held * (1 + precision / 100) + 0.005 * found.held  # rates have three digits


def every_world(searched, trials=()):
    """Yield the trials of every search: at each level the objective may hold or fail."""
    load = searched.next_load(trials)
    if load is None:
        yield trials
        return
    assert len(trials) < 40
    for holds in (True, False):
        yield from every_world(searched, (*trials, Trial(load, holds)))


def test_every_noisy_world_ends_with_a_bracket_that_its_trials_support():
    """All outcomes of all levels, monotone or not: the capacity held twice and never failed, nor did a smaller load."""
    searched, num_worlds = search(most=12.0), 0
    for trials in every_world(searched):
        num_worlds += 1
        found = searched.bracket(trials)
        failed = [trial.load for trial in trials if not trial.holds]
        assert found.failed == min(failed, default=None)
        if found.held is None:
            assert found.failed == 1
        else:
            assert found.num_held == sum(trial == Trial(found.held, True) for trial in trials) == NUM_CONFIRMATIONS
            assert all(load > found.held for load in failed)
            assert found.failed is None or found.failed == found.held + 1
        assert all(trial.load <= trials[0].load or Trial(trials[0].load, True) in trials for trial in trials)
    assert num_worlds > 50


def test_a_search_continues_from_its_trials():
    """The next load follows from the trials alone, in any order."""
    searched = search()
    trials = run(searched, lambda load: load <= 21)
    for number in range(len(trials)):
        assert searched.next_load(trials[:number]) == trials[number].load
    assert searched.next_load(list(reversed(trials))) is None


def test_a_capacity_that_fails_its_confirmation_is_searched_below():
    outcomes = iter([True, True, False, True, False, True, True])
    trials = run(search(most=4.0), lambda load: next(outcomes))
    assert trials == [Trial(1, True), Trial(2, True), Trial(4, False), Trial(3, True), Trial(3, False), Trial(2, True)]
    assert search(most=4.0).bracket(trials) == Bracket(2, 3, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"least": 0.0}, r"search: got 0:64, allowed: integers >= 1"),
        ({"least": 1.5}, r"search: got 1.5:64, allowed: integers >= 1"),
        ({"least": 4.0, "most": 4.0}, r"search: got 4:4, allowed: MIN:MAX with 0 < MIN < MAX"),
        ({"mode": "request_rate", "least": -1.0}, r"search: got -1:64"),
        ({"most": float("inf")}, r"search: got 1:inf"),
        ({"most": float("nan")}, r"search: got 1:nan"),
        ({"precision": 0.5}, r"precision_percent: got 0.5, allowed: 1 to 50"),
        ({"precision": float("nan")}, r"precision_percent: got nan"),
    ],
)
def test_impossible_values_are_refused(values, message):
    with pytest.raises(Malformed, match=message):
        search(**values)
