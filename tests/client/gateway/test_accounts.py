# SPDX-License-Identifier: Apache-2.0
"""Finish reasons and usage in OpenAI's words, for every way in which a reply can end."""

from dataclasses import replace

import pytest

from client.events import RESULT
from s1_client.gateway.accounts import account, chat_usage, finish_reason


@pytest.mark.parametrize(
    ("thinking", "answer", "reason"),
    [
        *(("natural", answer, "stop") for answer in ("stop", "stop_word", "empty", "missing")),
        *((thinking, "stop", "stop") for thinking in ("budget", "answer_now", "deadline", "length", "skipped", "off", "absent")),
        *(("natural", answer, "length") for answer in ("length", "deadline")),
        *((thinking, answer, "length") for thinking in ("length", "deadline") for answer in ("missing", "empty")),
        ("budget", "missing", "stop"),
    ],
)
def test_a_reply_is_cut_if_its_answer_is_or_its_thought_before_any_answer(thinking, answer, reason):
    assert finish_reason(replace(RESULT, thinking_end=thinking, answer_end=answer)) == reason


def test_usage_counts_the_prompt_once_and_the_samples_together():
    usage = replace(RESULT.usage, num_prompt_tokens=10, num_output_ids=7, num_thinking_tokens=4)
    counted = chat_usage([replace(RESULT, usage=usage)] * 3)
    assert (counted["prompt_tokens"], counted["completion_tokens"], counted["total_tokens"]) == (10, 21, 31)
    assert counted["completion_tokens_details"] == {"reasoning_tokens": 12}


def test_an_account_of_several_samples_holds_one_for_each():
    one, three = account([RESULT], ()), account([RESULT] * 3, ["messages[0].name"])
    assert {"effective", "finish_reason", "usage", "rounds", "request_id"} <= one.keys()
    assert "dropped" not in one
    assert ([sample["index"] for sample in three["samples"]], three["dropped"]) == ([0, 1, 2], ["messages[0].name"])
