# SPDX-License-Identifier: Apache-2.0
"""Fields are checked singly; a field that is not set is None. (All refusals: tests/server/test_bad_input.py.)"""

import pytest

from budgetforce.errors import InvalidRequest
from budgetforce.serving.requests.request import ReplyRequest, read_command, read_reply_request


def read(**inputs):
    return read_reply_request({"text_input": [b"hi"], **inputs})


def test_a_text_is_a_chat_of_one_message_and_all_else_stays_open():
    expected = ReplyRequest(messages=({"role": "user", "content": "hi"},), prompt_field="text_input")
    assert expected == read()


def test_messages_are_taken_as_they_are():
    request = read_reply_request({"messages": [b'[{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]']})
    assert [message["role"] for message in request.messages] == ["system", "user"]


def test_values_at_the_edge_are_allowed():
    request = read(
        max_thinking_tokens=[-1], num_ignore=[0], max_tokens=[1], temperature=[0.0], top_p=[1.0], seed=[2**64 - 1], ignore_str=[b""]
    )
    assert (request.max_thinking_tokens, request.num_ignore, request.ignore_str) == (-1, 0, ("",))
    assert request.sampling == {"temperature": 0.0, "top_p": 1.0, "seed": 2**64 - 1}


def test_sampling_fields_are_taken_by_phase():
    request = read(temperature=[1.0], thinking_temperature=[0.5], thinking_bad_words=[b"x"])
    assert (request.sampling, request.thinking_sampling) == ({"temperature": 1.0}, {"temperature": 0.5, "bad_words": ("x",)})


def test_a_refusal_names_the_field_of_the_phase():
    with pytest.raises(InvalidRequest, match="field 'thinking_top_p': got 7.0, allowed: 0 < thinking_top_p <= 1"):
        read(thinking_top_p=[7.0])


def test_ignore_strings_may_be_several_and_empty():
    assert read(ignore_str=[b"Wait", b""]).ignore_str == ("Wait", "")
    with pytest.raises(InvalidRequest, match="no value"):
        read(ignore_str=[])


def test_answer_now_stands_alone():
    assert read_command({"answer_now": [True]}) == "answer_now"
    assert read_command({"cancel": [True], "stream": [True]}) == "cancel"
    assert not read_command({"answer_now": [False], "text_input": [b"hi"]})
    with pytest.raises(InvalidRequest, match="text_input"):
        read_command({"answer_now": [True], "text_input": [b"hi"]})


def test_that_the_prompt_is_left_out_may_be_said_and_the_contrary_is_refused():
    assert read(exclude_input_in_output=[True]) == read()
    with pytest.raises(InvalidRequest, match="field 'exclude_input_in_output': got false, allowed: true"):
        read(exclude_input_in_output=[False])


def test_empty_words_mean_none():
    """As clients of the stock models send them."""
    assert read(stop_words=[b"", b"END"], bad_words=[b""]).stop_words == ("END",)


def test_several_values_for_a_single_value_are_refused():
    with pytest.raises(InvalidRequest, match="2 values"):
        read(max_tokens=[1, 2])


def test_the_message_quotes_a_shortened_value():
    with pytest.raises(InvalidRequest) as refused:
        read_reply_request({"messages": [b"x" * 1000]})
    assert len(str(refused.value).partition(", allowed")[0]) < 150


def test_a_chat_has_so_many_messages():
    chat = b"[%s]" % b",".join([b'{"role": "user", "content": "u"}'] * 5)
    read_reply_request({"messages": [chat]}, max_messages=5)
    with pytest.raises(InvalidRequest, match='got "5 messages", allowed: at most 4 messages'):
        read_reply_request({"messages": [chat]}, max_messages=4)
