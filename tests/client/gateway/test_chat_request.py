# SPDX-License-Identifier: Apache-2.0
"""Chat requests: neutral values are accepted, everything else that has no meaning is refused with its path, earlier turns are read."""

import pytest

from s1_client._fields import FIELDS
from s1_client.gateway.chat_request import ChatRequest, chat_order
from s1_client.gateway.errors import Refusal
from s1_client.gateway.shapes import validated

USER = {"role": "user", "content": "hi"}


def order(*messages, **fields):
    return chat_order(validated(ChatRequest, {"model": "s1", "messages": list(messages) or [USER], **fields}))


def refused(*messages, **fields):
    with pytest.raises(Refusal) as error:
        order(*messages, **fields)
    assert error.value.status == 400
    return error.value


NEUTRAL = {  # every argument of openai-python 3.57's create(), at the value that changes nothing
    "audio": None,
    "frequency_penalty": 0,
    "function_call": "none",
    "functions": [],
    "logit_bias": {},
    "logprobs": False,
    "max_completion_tokens": None,
    "max_tokens": None,
    "metadata": {"job": "7"},
    "modalities": ["text"],
    "moderation": None,
    "n": 1,
    "parallel_tool_calls": True,
    "prediction": None,
    "presence_penalty": 0.0,
    "prompt_cache_key": "a",
    "prompt_cache_options": {},
    "prompt_cache_retention": "24h",
    "reasoning_effort": None,
    "response_format": {"type": "text"},
    "safety_identifier": "b",
    "seed": None,
    "service_tier": "auto",
    "stop": None,
    "store": False,
    "stream": False,
    "stream_options": None,
    "temperature": None,
    "tool_choice": "none",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1,
    "user": "me",
    "verbosity": "medium",
    "web_search_options": None,
}


def test_openais_fields_at_their_defaults_change_nothing():
    sampling = {"frequency_penalty": 0, "presence_penalty": 0, "top_p": 1, "num_samples": 1}
    assert order(**NEUTRAL).options == sampling
    assert order(**dict.fromkeys(NEUTRAL)).options == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function"}]),
        ("tool_choice", "required"),
        ("response_format", {"type": "json_object"}),
        ("logprobs", True),
        ("top_logprobs", 1),
        ("logit_bias", {"1": 5}),
        ("store", True),
        ("modalities", ["audio"]),
        ("verbosity", "low"),
        ("service_tier", "flex"),
        ("web_search_options", {}),
        ("store", 0),
    ],
)
def test_what_this_server_has_not_is_refused(field, value):
    assert refused(**{field: value}).param == field


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in ("max_tokens", "num_samples", "stop_words")])
def test_every_request_field_of_the_server_stands_at_the_top_level(name):
    row = FIELDS[name]
    value = ["a"] if row.is_list else {"INT32": 3, "UINT64": 3, "FP32": 0.5, "BYTES": (row.values or ("a",))[0]}[row.datatype]
    assert order(**{name: value}).options[name] == value


def test_fields_of_other_names():
    assert order(n=2, stop=["a", "b"], max_answer_tokens=5).options == {"num_samples": 2, "stop_words": ["a", "b"], "max_tokens": 5}
    assert {"num_samples": "n", "stop_words": "stop", "max_tokens": "max_answer_tokens"}.items() <= order().spelled.items()


@pytest.mark.parametrize("name", ["num_samples", "stop_words", "text_input"])
def test_a_second_name_for_one_field_is_unknown(name):
    assert refused(**{name: 1}).code == "unknown_field"


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"max_thinking_token": 5}, "max_thinking_token"),
        ({"messages": [{**USER, "weight": 1}]}, "messages[0].weight"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache": 1}]}]}, "messages[0].content[0].cache"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}]},
            "messages[0].content[1].type",
        ),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{**USER, "tool_calls": [1]}]}, "messages[0].tool_calls"),
        ({"messages": []}, "messages"),
        ({"messages": [USER] * 2049}, "messages"),
        ({"stream_options": {"include_usag": True}, "stream": True}, "stream_options.include_usag"),
        ({"n": True}, "n"),
        ({"temperature": "0"}, "temperature"),
        ({"stop": [1]}, "stop[0]"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"seed": 1.0}, "seed"),
    ],
)
def test_a_mistake_is_named_by_its_path(fields, path):
    assert refused(**fields).param == path


def test_a_near_name_is_suggested_and_extra_body_explained():
    assert "did you mean 'num_ignore'" in refused(num_ignor=1).message
    assert "an argument of openai-python" in refused(extra_body={"num_ignore": 2}).message


def test_options_of_a_stream_need_a_stream():
    assert refused(stream_options={"include_usage": True}).param == "stream_options, stream"


# --- messages -------------------------------------------------------------------------------------


def test_roles_parts_and_several_system_messages():
    parts = [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}]
    read = order({"role": "developer", "content": "one"}, {"role": "system", "content": "two"}, {"role": "user", "content": parts})
    assert read.prompt == [
        {"role": "system", "content": "one"},
        {"role": "system", "content": "two"},
        {"role": "user", "content": "a\nb"},
    ]
    assert read.dropped == ()


@pytest.mark.parametrize(
    ("turn", "dropped"),
    [
        ({"content": "3", "reasoning_content": "r"}, "messages[1].reasoning_content"),
        ({"content": "3", "reasoning": "r"}, "messages[1].reasoning"),
        ({"content": "3", "reasoning_details": [{"type": "reasoning.text", "text": "r"}]}, "messages[1].reasoning_details"),
        ({"content": "<think>r</think>\n\n3"}, "messages[1].content: <think>"),
        ({"content": "3", "name": "s1"}, "messages[1].name"),
        ({"content": "3", "refusal": None, "tool_calls": [], "annotations": [], "audio": None, "function_call": None}, None),
    ],
)
def test_an_earlier_thought_is_left_out_and_told(turn, dropped):
    read = order(USER, {"role": "assistant", **turn}, USER)
    assert read.prompt == [USER, {"role": "assistant", "content": "3"}, USER]
    assert read.dropped == ((dropped,) if dropped else ())


@pytest.mark.parametrize("content", [None, "", " \n", "<think>only</think>", []])
def test_an_assistants_turn_without_an_answer_is_left_out(content):
    read = order(USER, {"role": "assistant", "content": content}, USER)
    assert read.prompt == [USER, USER]
    assert read.dropped[-1] == "messages[1]"


def test_think_tags_of_a_user_are_text():
    text = "<think>mine</think>"
    assert order({"role": "user", "content": text}).prompt == [{"role": "user", "content": text}]


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("content", [None, "", " \n", []])
def test_an_empty_system_prompt_is_left_out_and_told(role, content):
    """Chat programs send one where their user has typed none."""
    read = order({"role": role, "content": content}, USER)
    assert (read.prompt, read.dropped) == ([USER], ("messages[0]",))


def test_the_last_message_is_the_users():
    for role in ("system", "developer"):
        refusal = refused(USER, {"role": role, "content": "Be brief."})
        assert refusal.param == "messages[1].role"
        assert refusal.message == f'messages[1].role: got "{role}", allowed: a list whose last message is from the user'


@pytest.mark.parametrize("content", [None, "", "  ", []])
def test_a_user_says_something(content):
    assert refused({"role": "user", "content": content}).param == "messages[0].content"


def test_an_answer_cannot_be_continued():
    refusal = refused(USER, {"role": "assistant", "content": "The answer"})
    assert refusal.param == "messages[1].role"
    assert "answer_prefix" in refusal.message


# --- the bound of the whole reply ------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_total_tokens")])
def test_two_bounds_that_disagree_are_refused(first, second):
    assert set(refused(**{first: 100, second: 200}).param.split(", ")) == {first, second}
    assert order(**{first: 100, second: 100}).options == order(**{first: 100}).options


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n": 2.0}, "n: got 2.0, allowed: an integer"),
        ({"thinking_budget": -2}, "thinking_budget: got -2, allowed: a number >= -1"),
        ({"think": "hard"}, "think: got \"hard\", allowed: true or false or 'none', 'minimal'"),
        ({"messages": []}, "messages: got [], allowed: at least 1 entry"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content: got 3, allowed: a text or a list"),
        ({"messages": [USER] * 2049}, "allowed: at most 2048 entries"),
        ({"user": "x" * 513}, "allowed: a text of at most 512 characters"),
        ({"reasoning": 3}, "reasoning: got 3, allowed: an object"),
        ({"store": True}, "store: got true, allowed: false or null: this server stores nothing"),
    ],
)
def test_a_refusal_names_field_value_and_what_is_allowed(fields, message):
    assert message in refused(**fields).message
