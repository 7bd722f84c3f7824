# SPDX-License-Identifier: Apache-2.0
"""The orders of a drain, and when it is over. (With a server: tests/server/test_drain.py.)"""

import pytest

from budgetforce.config import ANNOUNCE
from budgetforce.launcher import drain
from budgetforce.launcher.drain import Drain


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(drain, "CHECK_S", 0)


@pytest.fixture
def order(tmp_path):
    return tmp_path / "control"


def metrics(is_draining, num_open):
    return f's1_draining{{model_instance="s1_0_0"}} {is_draining}\ns1_requests_open{{model_instance="s1_0_0"}} {num_open}\nother 7\n'


def lives():
    return False


def test_it_waits_until_every_s1_drains_and_no_request_is_open(order):
    """It takes two quiet checks, because the gauges lag."""
    gauges = iter([(0, 0), (1, 0), (2, 2), (2, 0), (2, 1), (2, 0), (2, 0)])
    Drain(order_file=order, read_metrics=lambda: metrics(*next(gauges)), has_ended=lives).run(45, 0)
    assert order.read_text() == "45\n"
    assert next(gauges, None) is None


def test_a_failed_check_does_not_end_it(order):
    """It counts as a check at which the server was busy."""
    looks = iter(["quiet", "failed", "cut", "quiet", "quiet"])

    def read():
        look = next(looks)
        if look == "failed":
            raise TimeoutError
        return metrics(2, 0) if look == "quiet" else "s1_requests_open{} "

    Drain(order_file=order, read_metrics=read, has_ended=lives).run(45, 0)
    assert next(looks, None) is None


@pytest.mark.parametrize("ends", [False, True])
def test_that_of_a_server_that_never_answers_ends_with_its_time_or_the_server(order, monkeypatch, ends):
    has_failed = []

    def read():
        has_failed.append(True)
        raise ConnectionRefusedError

    monkeypatch.setattr(drain, "DRAIN_END_S", 0.0)
    Drain(order_file=order, read_metrics=read, has_ended=lambda: ends and bool(has_failed)).run(600 if ends else 0.01, 0)
    assert has_failed


def test_it_is_announced_first_and_then_nobody_looks_at_open_requests(order):
    """A quiet server still announces its drain for the whole time: the balancer needs it."""
    seen = []

    def has_ended():
        seen.append(order.read_text())
        return seen[-1] != f"{ANNOUNCE}\n"

    Drain(order_file=order, read_metrics=lambda: pytest.fail("asked"), has_ended=has_ended).run(45, 0.001)
    assert (seen[0], seen[-1]) == (f"{ANNOUNCE}\n", "45\n")


def test_a_file_that_cannot_be_written_lets_the_stop_go_on(tmp_path):
    Drain(order_file=tmp_path / "gone" / "control", read_metrics=lambda: pytest.fail("asked"), has_ended=lives).run(45, 5)
