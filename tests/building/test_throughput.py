# SPDX-License-Identifier: Apache-2.0
"""Replies an hour at some budgets: the estimate's arithmetic, and a load test's record beside it."""

import json

import pytest

from budgetforce.building.__main__ import main
from budgetforce.building.gpus import parse_gpus
from budgetforce.building.planner import ACHIEVED, plan_engine
from budgetforce.building.spec import QWEN2_5_32B, EngineSpec
from budgetforce.building.throughput import ANSWER_TOKENS, PROMPT_TOKENS, read_levels, reply_rates
from budgetforce.errors import ConfigError
from client.loadtest import records


def of(gpus, **spec):
    _, gpu = parse_gpus(gpus)
    return plan_engine(EngineSpec(model="x", **spec), QWEN2_5_32B, gpu)


def test_the_largest_budget_is_what_the_longest_sequence_leaves_for_it():
    assert [rate.budget_tokens for rate in reply_rates(of("2xH100"))] == [1_000, 8_000, 32_768 - PROMPT_TOKENS - ANSWER_TOKENS]
    assert [rate.budget_tokens for rate in reply_rates(of("2xH100", max_seq_len=8192))] == [1_000, 7_168]


def test_as_many_replies_decode_together_as_batch_and_kv_cache_hold():
    """323,712 tokens hold 9 sequences of full length, and more than the batch of 32 of the shorter ones."""
    assert [rate.num_concurrent for rate in reply_rates(of("2xH100"))] == [32, 32, 9]
    assert [rate.num_concurrent for rate in reply_rates(of("2xH100", max_batch_size=4))] == [4, 4, 4]


def test_rates_and_times_follow_from_the_decode_step():
    """At a reply's mean context, at the share of the bound that was achieved; thinking alone comes before the answer."""
    made = of("2xH100")
    rate = reply_rates(made)[1]
    step_s = made.decode(32, PROMPT_TOKENS + (8_000 + ANSWER_TOKENS) // 2).step_s / ACHIEVED
    assert rate.answer_s == pytest.approx(8_000 * step_s)
    assert rate.replies_per_hour == pytest.approx(32 * 3600 / ((8_000 + ANSWER_TOKENS) * step_s))
    assert 8_000 / 105 < rate.answer_alone_s < rate.answer_s


def test_without_a_known_speed_or_room_there_is_no_estimate():
    assert reply_rates(of("2x80GB")) == []
    assert reply_rates(of("2xA100-40GB"))[-1].budget_tokens == 8_000  # the KV cache holds no longer reply


@pytest.fixture
def record(tmp_path):
    """Write a record; its path."""

    def write(*levels):
        path = tmp_path / "run.json"
        path.write_text(records.run(*levels).to_json())
        return path

    return write


def test_a_level_of_a_record_is_measured_by_its_complete_replies(record):
    """Two replies of 4 + 2 tokens, one of them injected, in half a second."""
    failed = records.request(end="Overloaded", num_thinking_tokens=99)
    (level,) = read_levels(record(records.level(records.request(), records.request(), failed, duration_s=0.5)))
    assert (level.load, level.tokens_per_s, level.replies_per_hour) == ("2 concurrent", 20.0, 14_400.0)
    assert (level.thinking_tokens, level.answer_tokens, level.answer_s) == (4, 2, 0.08)
    assert level.replies_per_hour_at(32) == 3600 * 20 / (32 + ANSWER_TOKENS)


def test_a_level_that_was_not_streamed_has_no_time_and_one_without_replies_is_left_out(record):
    joined, failed = records.request(time_to_first_answer_token_ms=None), records.request(end="Overloaded")
    rate = {"mode": "request_rate", "distribution": "poisson"}
    (level,) = read_levels(record(records.level(joined, value=2.5, **rate), records.level(failed, value=9.0, **rate)))
    assert (level.load, level.answer_s) == ("2.5 a second", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no run.json of s1 loadtest"),
        ("[]", "no run.json of s1 loadtest"),
        ('{"schema": "s1-loadtest/2"}', "schema: got 's1-loadtest/2', allowed: 's1-loadtest/1'"),
        ('{"schema": "s1-loadtest/1", "levels": []}', "has no complete reply"),
        ('{"schema": "s1-loadtest/1", "levels": [{}]}', "no run.json of s1 loadtest"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as refused:
        read_levels(path)
    assert str(path) in str(refused.value)


def run(capsys, *arguments):
    code = main(["plan", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_the_estimates_are_shown_as_estimates(capsys):
    _, out, _ = run(capsys, "--gpus", "2xH100")
    assert "estimated at 69% of the bound" in out
    assert "\n8,000              32        590   3.0 min (113 s)\n" in out
    assert "replies/h" not in run(capsys, "--gpus", "2x80GB")[1]


def test_a_record_is_shown_beside_them_as_measured(capsys, record):
    path = record(records.level(records.request(), duration_s=0.5))
    _, out, _ = run(capsys, "--gpus", "2xH100", "--measured", path)
    assert "measured by a load test (run.json)" in out
    assert "2 concurrent: 10 tokens/s, 7,200 replies of 4 + 2 tokens an hour, answer after 0 s" in out
    assert "carried over: 20 an hour at 1,000, 4 an hour at 8,000, 1 an hour at 31,744" in out
    shown = json.loads(run(capsys, "--gpus", "2xH100", "--measured", path, "--json")[1])
    assert shown["measured"][0]["replies_per_hour"] == 7200
    assert [rate["num_concurrent"] for rate in shown["replies_estimated"]] == [32, 32, 9]


def test_a_record_that_is_missing_is_one_sentence(capsys, tmp_path):
    code, out, err = run(capsys, "--gpus", "2xH100", "--measured", tmp_path / "none.json")
    assert (code, out) == (1, "")
    assert "none.json: no run.json of s1 loadtest (FileNotFoundError" in err
    assert "Traceback" not in err
