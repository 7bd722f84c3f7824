# SPDX-License-Identifier: Apache-2.0
"""The line that ``s1 loadtest`` prints for a finished level."""

from client.loadtest.records import level, request, run
from s1_client.cli.load.progress import level_line
from s1_client.loadtest._summary import Slo, summarise


def test_a_line_has_the_figures_of_the_report():
    """Both count sampled tokens for the throughput."""
    held = level(request(), request(), request(end="Overloaded", num_answer_tokens=0), duration_s=2.0)
    told = level_line(held)
    assert told == "2 of 3 answered in 2.0 s, 5.0 tokens/s, first token 20 ms, first answer token 80 ms, whole 100 ms"
    (summary,) = summarise(run(held), Slo()).levels
    assert f"{summary.tokens_per_s:.1f} tokens/s" in told


def test_the_times_of_a_line_are_over_the_same_replies():
    """A quick reply without streaming has no first token; included, replies would seem to end before their answers begin."""
    whole = request(time_to_first_token_ms=None, time_to_first_answer_token_ms=None, request_latency_ms=30.0)
    told = level_line(level(request(), whole, whole))
    assert told.endswith("first token 20 ms, first answer token 80 ms, whole 100 ms (of 1 streamed)")
    assert level_line(level(whole, whole)).endswith("tokens/s, whole 30 ms")
