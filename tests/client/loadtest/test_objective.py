# SPDX-License-Identifier: Apache-2.0
import pytest

from s1_client.loadtest._objective import CONFIDENCE, Objective
from s1_client.loadtest._typed import Malformed


@pytest.mark.parametrize(("percentile", "needed"), [(50, 5), (90, 29), (95, 59), (99, 299), (99.9, 2995)])
def test_a_level_needs_enough_requests_for_its_percentile(percentile, needed):
    """If fewer than P% kept the limit, ``needed`` requests would all keep it with a probability below 5%, one fewer would not."""
    assert Objective(percentile=float(percentile)).num_needed == needed
    assert (percentile / 100) ** needed <= 1 - CONFIDENCE < (percentile / 100) ** (needed - 1)


def test_an_objective_is_told_in_words():
    whole = Objective(percentile=90.0, time_to_first_token_ms=500.0, request_latency_ms=1e4, max_rejected_percent=2.5)
    assert whole.text == "p90 time to first token <= 500 ms, p90 request latency <= 10000 ms, at most 2.5% rejected, no request failed"
    assert Objective().text == "no request rejected, no request failed"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"percentile": 49.0}, "percentile: got 49, allowed: 50 to 99.9"),
        ({"percentile": 100.0}, "percentile: got 100"),
        ({"percentile": float("nan")}, "percentile: got nan"),
        ({"time_to_first_token_ms": 0.0}, "time_to_first_token_ms: got 0, allowed: a number > 0"),
        ({"time_to_first_answer_token_ms": float("inf")}, "time_to_first_answer_token_ms: got inf"),
        ({"request_latency_ms": float("nan")}, "request_latency_ms: got nan"),
        ({"max_rejected_percent": -1.0}, "max_rejected_percent: got -1, allowed: 0 to 100$"),
        ({"max_failed_percent": 6.0, "request_latency_ms": 9.0}, "max_failed_percent: got 6, allowed: 0 to 5, because such a request"),
    ],
)
def test_limits_that_no_level_could_keep_or_exceed_are_refused(values, message):
    with pytest.raises(Malformed, match=message):
        Objective(**values)
