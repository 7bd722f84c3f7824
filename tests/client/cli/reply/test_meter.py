# SPDX-License-Identifier: Apache-2.0
"""The line of figures: counts against caps, the recent rate, and the parts that are dropped on a narrow screen."""

import pytest

from client.events import RESULT, round_with
from s1_client import AnswerDelta, AnswerOpened, Injected, RoundEnded, ThinkingDelta
from s1_client.cli.reply.meter import Meter, clock, ledger_line


def fed(options, *, seconds=0.0, per_second=10, refused=0):
    """Return a meter after ``seconds`` of thinking, which starts at second 1, and ``refused`` refused ends."""
    meter = Meter(options, started=0.0)
    for number in range(int(seconds * per_second)):
        meter.add(ThinkingDelta(text="x", ids=(number,)), 1 + number / per_second)
    for _ in range(refused):
        meter.add(RoundEnded(round=round_with(refused_for="num_ignore")), 1 + seconds)
    return meter


def test_before_the_first_token_the_waiting_time_is_shown():
    assert Meter({}, started=0.0).line(65, 80) == "waiting 1:05"


def test_with_a_budget_the_line_shows_the_spent_part_and_the_time_left():
    meter = fed({"max_thinking_tokens": 8000, "num_ignore": 2}, seconds=60, per_second=50, refused=1)
    assert meter.line(61, 80) == "thinking 3,000/8,000 · refused 1/2 · 50 tok/s · ETA 1:40"


@pytest.mark.parametrize("options", [{}, {"max_thinking_tokens": -1}])
def test_without_a_budget_the_line_only_counts(options):
    assert fed(options, seconds=4).line(5, 80) == "thinking 40 · 10 tok/s"


def test_refused_ends_are_counted_for_any_reason():
    """min_thinking_tokens may refuse more ends than num_ignore."""
    assert "refused 1 ·" in fed({}, seconds=1, refused=1).line(2, 80)
    assert "refused 3 ·" in fed({"num_ignore": 2}, seconds=1, refused=3).line(2, 80)


def test_injected_tokens_count_against_the_budget_but_not_for_the_rate():
    meter = fed({"max_thinking_tokens": 50}, seconds=4)
    meter.add(Injected(phase="thinking", text="Wait", ids=(1, 2)), 5)
    assert meter.line(5, 80).startswith("thinking 42/50 · 10 tok/s")


def test_the_rate_is_the_recent_one():
    meter = fed({}, seconds=4, per_second=100)
    assert round(meter.rate(5)) == 100
    assert meter.rate(7) < 60
    assert meter.rate(20) == 0


def test_a_rate_needs_some_time():
    assert fed({}, seconds=0.3).rate(1.3) is None


def test_during_the_answer_its_tokens_are_counted():
    meter = fed({"max_thinking_tokens": 50, "max_tokens": 20}, seconds=4)
    meter.add(AnswerOpened(ids=()), 5)
    meter.add(AnswerDelta(text="y", ids=(1,)), 5)
    assert meter.line(5, 80) == "thinking 40/50 · answer 1/20 · 10 tok/s"


def test_a_narrow_line_drops_parts_instead_of_cutting_figures():
    meter = fed({"max_thinking_tokens": 8000, "num_ignore": 2}, seconds=60, per_second=50, refused=1)
    assert meter.line(61, 45) == "thinking 3,000/8,000 · refused 1/2 · ETA 1:40"
    assert meter.line(61, 34) == "thinking 3,000/8,000 · refused 1/2"
    assert meter.line(61, 22) == "thinking 3,000/8,000"
    assert meter.line(61, 16) == "thinking 3,000/…"


def test_durations_are_formatted_as_a_clock():
    assert [clock(seconds) for seconds in (0, 65.9, 3661)] == ["0:00", "1:05", "1:01:01"]


def test_the_line_of_the_ledger():
    assert ledger_line(RESULT, 0.0123) == (
        "thinking 3/80 tokens (natural end) · injected 5 (ends refused: 1) · answer 1 tokens (stop end) · first token 12 ms · 5 tokens/s"
    )
