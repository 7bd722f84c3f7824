# SPDX-License-Identifier: Apache-2.0
"""The paper's metrics reproduce its tables (arXiv 2501.19393, Table 3 and the appendix; AIME24)."""

import pytest

from s1_client.evaluation import Run, control, performance, scaling

TOKENS = (1024, 2048, 4096, 8192, 16384)
STEPS = tuple(100 * number for number in (16, 32, 64, 128, 256))  # the paper's proxy: 100 tokens a step


def runs(thinking, accuracies, limits=None):
    limits = limits or [None] * len(thinking)
    return [Run(thinking_tokens=a, accuracy=f, most=most) for a, f, most in zip(thinking, accuracies, limits, strict=True)]


BUDGETS = runs((500, 1000, 2000, 3933, 5301, 6657, 7320), (0.0, 13.3, 30.0, 43.3, 50.0, 53.3, 56.7))
TOLD_TOKENS = runs((7939, 7158, 8263, 7108, 7500), (26.7, 30.0, 33.3, 33.3, 40.0), TOKENS)
CAPPED_TOKENS = runs((1024, 2048, 4031, 5664, 6330), (3.3, 30.0, 33.3, 33.3, 40.0), TOKENS)
TOLD_STEPS = runs((7252, 6277, 5396, 5552, 7551), (33.3, 23.3, 33.3, 36.7, 33.3), STEPS)
CAPPED_STEPS = runs((1517, 2963, 4636, 5409, 7551), (23.3, 23.3, 33.3, 36.7, 33.3), STEPS)
CLASSES = [Run(thinking_tokens=8033, accuracy=30.0, most=6109), Run(thinking_tokens=9651, accuracy=36.7, least=6109)]
REJECTION = runs((2974, 3703, 4344, 4734, 5193, 5293), (40.0, 36.7, 33.3, 30.0, 26.7, 23.3), (3500, 4000, 5000, 6000, 8000, 16000))


@pytest.mark.parametrize(
    ("runs", "expected_control", "expected_scaling", "expected_performance"),
    [
        (BUDGETS, None, 14.8, 56.7),
        (TOLD_TOKENS, 40, -23.45, 40.0),
        (CAPPED_TOKENS, 100, 13.18, 40.0),
        (TOLD_STEPS, 60, 3.02, 36.7),
        (CAPPED_STEPS, 100, 6.44, 36.7),
        (CLASSES, 50, 25.31, 36.7),
        (REJECTION, 100, -28.77, 40.0),
    ],
    ids=[
        "budget forcing",
        "prompted tokens",
        "prompted tokens + cap",
        "prompted steps",
        "prompted steps + cap",
        "classes",
        "rejection",
    ],
)
def test_the_published_runs_give_the_published_metrics(runs, expected_control, expected_scaling, expected_performance):
    """Only Scaling of rejection sampling differs from the published value (-35), on either axis."""
    assert scaling(runs) == pytest.approx(expected_scaling, abs=0.05)
    assert performance(runs) == expected_performance
    if expected_control is not None:
        assert control(runs) == expected_control


def test_a_linear_axis_counts_points_a_token():
    assert scaling(runs((10, 20, 30), (0, 10, 40)), is_log2=False) == pytest.approx((1 + 2 + 3) / 3)


def test_a_run_without_thinking_has_no_place_on_the_logarithmic_axis():
    assert scaling(runs((0, 16, 32), (90, 10, 20))) == 10


def test_runs_of_equal_length_have_no_scaling():
    assert scaling(runs((16, 16), (10, 20))) is None
    assert (scaling([]), control([]), performance([])) == (None, None, None)
