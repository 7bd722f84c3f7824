# SPDX-License-Identifier: Apache-2.0
"""Messages may leave at once as long as sending them takes less than the sender's share of the time; then at that rate."""

import pytest

from budgetforce.serving.replies.send_pace import BURST_S, LEAST_SHARE, TARGET_SHARE, WAIT_PERIOD_S, SendPace


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pace(clock):
    return SendPace(clock)


def sent_within(pace, clock, seconds, cost_s):
    """How many messages leave if there are always some to send, each of which costs ``cost_s``."""
    end, number = clock.now + seconds, 0
    while clock.now < end:
        wait_s = pace.wait_s()
        clock.now += wait_s
        if not wait_s:
            pace.charge(1)
            pace.measured(cost_s)
            number += 1
    return number


def test_until_a_message_was_measured_all_leave_at_once(pace):
    for _ in range(10_000):
        assert pace.wait_s() == 0
        pace.charge(1)


@pytest.mark.parametrize("cost_s", [0.0001, 0.001, 0.02])
def test_under_load_messages_take_the_target_share_of_the_time(pace, clock, cost_s):
    """Also if a single message costs more than what is kept for a burst."""
    sent_within(pace, clock, 1, cost_s)
    assert sent_within(pace, clock, 100, cost_s) * cost_s == pytest.approx(100 * TARGET_SHARE, rel=0.05)


def test_streams_whose_messages_come_together_wait_for_nothing_while_there_is_room(pace, clock):
    """16 streams, a message of 0.1 ms of each every 10 ms: 0.16 of the time."""
    pace.measured(0.0001)
    for _ in range(1000):
        for _ in range(16):
            assert pace.wait_s() == 0
            pace.charge(1)
        clock.now += 0.01


def test_what_was_charged_without_a_turn_is_worked_off_and_a_burst_at_most(pace, clock):
    """Beginnings and ends are not held back, however many come; the others must not wait for long after them."""
    pace.measured(0.001)
    pace.charge(1_000_000)
    wait_s = pace.wait_s()
    assert wait_s == pytest.approx((BURST_S + pace.cost_s) / TARGET_SHARE)
    clock.now += wait_s
    assert pace.wait_s() == 0


def test_unused_time_is_kept_for_a_burst_and_no_longer(pace, clock):
    pace.measured(0.001)
    clock.now += 3600
    number = 0
    while not pace.wait_s():
        pace.charge(1)
        number += 1
    assert number == pytest.approx(BURST_S / 0.001, abs=1)


def test_a_message_takes_its_time_only_if_it_may_leave(pace, clock):
    pace.measured(0.001)
    taken = [pace.take() for _ in range(10)]
    assert taken == [True] * 5 + [False] * 5  # a burst
    clock.now += pace.wait_s()
    assert [pace.take(), pace.take()] == [True, False]


def test_the_cost_is_the_median_so_that_a_hiccup_of_the_machine_changes_nothing(pace):
    """And it follows a machine that becomes slower."""
    for _ in range(100):
        for s_per_message in [0.0001] * 9 + [0.05]:
            pace.measured(s_per_message)
    assert pace.cost_s == pytest.approx(0.0001, rel=0.2)
    for _ in range(200):
        pace.measured(0.001)
    assert pace.cost_s == pytest.approx(0.001, rel=0.05)


def test_a_first_message_that_is_slow_by_far_does_not_hold_the_others_back_for_long(pace, clock):
    """Such as one for which the machine stood still: its cost would count for the next hundred messages."""
    pace.measured(1.0)
    began = clock.now
    assert sent_within(pace, clock, 1, 0.0003) > 500
    assert pace.cost_s == pytest.approx(0.0003)
    assert clock.now - began <= 1.1


def share_after(clock, part, looks=50):
    """The share when the loop's thread has waited for a core for ``part`` of the time; None = the kernel does not count it."""
    began = clock.now
    pace = SendPace(clock, lambda: None if part is None else part * (clock.now - began))
    for _ in range(looks):
        clock.now += WAIT_PERIOD_S
        pace.wait_s()
    return pace.share


def test_messages_take_less_of_the_time_the_longer_the_thread_waits_for_a_core(clock):
    """Then Triton's own threads wait as well, and messages would queue behind them."""
    shares = [share_after(clock, part) for part in (0.0, 0.2, 0.4, 1.0)]
    assert shares == pytest.approx([1.0, 0.7, 0.4, LEAST_SHARE], abs=1e-3)


def test_without_that_count_the_share_is_fixed(clock):
    assert share_after(clock, None) == TARGET_SHARE


def test_a_short_wait_changes_little(clock):
    """A single look in which another program ran."""
    assert share_after(clock, 1.0, looks=1) > 0.5


@pytest.mark.parametrize("s_per_message", [0.0001, 0.01])
def test_a_batch_may_have_any_number_of_messages(pace, s_per_message):
    """After a pause of the event loop there may be very many; a power of their number is beyond a float's range."""
    pace.measured(0.001)
    pace.measured(s_per_message, 100_000)
    assert pace.cost_s == s_per_message
