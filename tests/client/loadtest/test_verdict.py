# SPDX-License-Identifier: Apache-2.0
import pytest

from client.loadtest import records
from s1_client.loadtest._verdict import faults


def of(*requests, allowed=(), **level):
    return faults(records.run(records.level(*requests, **level)), allowed)


def test_a_run_of_correct_replies_has_no_fault():
    assert of(records.request()) == []


def test_a_run_that_ended_before_its_last_level_did_not_pass():
    scenario = {"load": [{"concurrency": [1, 2], "request_rate": []}, {"concurrency": [], "request_rate": [0.5]}]}
    ended = [records.level(records.request())] * 3
    assert faults(records.run(*ended, scenario=scenario), ()) == []
    assert faults(records.run(*ended[:2], scenario=scenario), ()) == ["the run ended early: 2 of 3 levels were run"]


@pytest.mark.parametrize("load", [None, "four", [1], [{"concurrency": 4}]])
def test_a_scenario_of_another_shape_has_no_levels_to_miss(load):
    """A record is a file that anybody can write."""
    assert faults(records.run(scenario={"load": load}), ()) == []


def test_equal_failures_and_faults_are_counted_together():
    failed = [records.request(end="EngineFailed", message="broke")] * 2
    wrong = [records.request(checks=("max_tokens: too many",))] * 3
    assert of(*failed, *wrong) == [
        "concurrency 2: work 'thought': 2 failed: EngineFailed: broke",
        "concurrency 2: work 'thought': 3 replies are incorrect: max_tokens: too many",
    ]


def test_an_error_may_be_allowed_but_not_an_incorrect_reply():
    overloaded = records.request(end="Overloaded", message="full")
    assert of(overloaded, allowed=["Overloaded"]) == []
    assert len(of(overloaded, records.request(checks=("x",)), allowed=["Overloaded"])) == 1


def test_problems_of_the_level_come_first():
    assert of(problems=("no request was answered",), mode="request_rate", value=0.5) == ["request rate 0.5: no request was answered"]
    assert of(problems=("lost",), mode="request_rate", value=0.5, distribution="poisson") == ["request rate 0.5, Poisson: lost"]
