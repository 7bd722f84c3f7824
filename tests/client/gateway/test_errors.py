# SPDX-License-Identifier: Apache-2.0
"""Refusals of the server in the caller's words: its names of fields, and OpenAI's code for a prompt that is too long."""

import pytest

from s1_client import InvalidRequest
from s1_client.gateway.chat_request import ChatRequest, chat_order
from s1_client.gateway.errors import refusal_of
from s1_client.gateway.shapes import validated

USER = {"role": "user", "content": "hi"}


def refusal(field, value, allowed, **fields):
    """The refusal of a chat with these fields, for a server that refuses ``field``."""
    order = chat_order(validated(ChatRequest, {"model": "s1", "messages": [USER], **fields}))
    return refusal_of(InvalidRequest(field, value, allowed), order.spelled)


def test_a_budget_that_the_bound_leaves_no_room_for_is_refused_in_the_names_of_both():
    """Which budgets fit is the server's rule; the caller knows no max_total_tokens."""
    where = "max_total_tokens 100 bounds thinking and answer together"
    made = refusal("max_thinking_tokens", "100", f"-1 to 99: {where}", reasoning={"max_tokens": 100}, max_completion_tokens=100)
    assert (made.status, made.param) == (400, "reasoning.max_tokens")
    assert made.message.startswith(
        "reasoning.max_tokens: got 100, allowed: -1 to 99: max_completion_tokens 100 bounds thinking and answer together"
    )


def test_max_tokens_of_the_server_is_the_answers_and_has_another_name_here():
    made = refusal("max_tokens", "200", "1 to 100: max_total_tokens 100 bounds both, not max_tokens", max_answer_tokens=200, max_tokens=100)
    assert made.param == "max_answer_tokens"
    assert "1 to 100: max_tokens 100 bounds both, not max_answer_tokens" in made.message


def test_words_that_are_fields_too_stay_words():
    made = refusal("top_p", "2", "0 < top_p <= 1, with thinking, stop words and messages of any size", think=False)
    assert made.message == "top_p: got 2, allowed: 0 < top_p <= 1, with thinking, stop words and messages of any size"


@pytest.mark.parametrize("value", ['"5036 tokens"', "at least 70000 tokens", '"1600000 bytes"'])
@pytest.mark.parametrize("field", ["messages", "text_input"])
def test_a_prompt_that_is_too_long_has_openais_code_and_the_words_that_programs_look_for(field, value):
    made = refusal(field, value, "at most 1524 tokens")
    assert (made.status, made.kind, made.param, made.code) == (400, "invalid_request_error", "messages", "context_length_exceeded")
    assert made.message == f"prompt is too long: messages: got {value.strip(chr(34))}, allowed: at most 1524 tokens"


@pytest.mark.parametrize(("field", "value"), [("answer_prefix", '"600 tokens"'), ("messages", '"3000 messages"'), ("messages", '"hi"')])
def test_other_refusals_are_of_a_value(field, value):
    assert refusal(field, value, "something else").code == "invalid_value"
