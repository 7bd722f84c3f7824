# SPDX-License-Identifier: Apache-2.0
"""Requests of the Responses and the Messages API: their system prompts, of which an empty one is left out and told, and their input."""

import pytest

from s1_client.gateway.errors import Refusal
from s1_client.gateway.messages_request import MessagesRequest, messages_order
from s1_client.gateway.responses_request import ResponsesRequest, responses_order
from s1_client.gateway.shapes import validated

USER = {"role": "user", "content": "hi"}
BRIEF = {"role": "system", "content": "Be brief."}


def response(**fields):
    return responses_order(validated(ResponsesRequest, {"model": "s1", "input": "hi", **fields}))


def message(**fields):
    return messages_order(validated(MessagesRequest, {"model": "s1", "max_tokens": 9, "messages": [USER], **fields}))


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_one_is_left_out_and_told(text):
    for order, path in (
        (response(instructions=text), "instructions"),
        (message(system=text), "system"),
        (message(system=[{"type": "text", "text": text}]), "system"),
        (response(input=[{"role": "system", "content": text}, USER]), "input[0]"),
    ):
        assert (order.prompt, order.dropped) == ([USER], (path,))


@pytest.mark.parametrize(
    "order", [response(instructions="Be brief."), message(system="Be brief."), response(input=[{**BRIEF, "role": "developer"}, USER])]
)
def test_any_other_reaches_the_model(order):
    assert (order.prompt, order.dropped) == ([BRIEF, USER], ())


@pytest.mark.parametrize("order", [response(), response(instructions=None), message(system=None)])
def test_none_is_not_told(order):
    assert (order.prompt, order.dropped) == ([USER], ())


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_input_is_refused_as_the_caller_spelt_it(text):
    with pytest.raises(Refusal) as error:
        response(input=text)
    assert error.value.message == "input: got nothing, allowed: a text that is not empty"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "input: got [], allowed: a text or at least 1 entry"),
        (3, "input: got 3, allowed: a text or a list"),
        ([{"type": "function_call_output"}], "input[0].type: got \"function_call_output\", allowed: 'message' or 'reasoning'"),
    ],
)
def test_a_refused_input_names_all_forms_that_are_allowed(wrong, message):
    with pytest.raises(Refusal) as error:
        response(input=wrong)
    assert error.value.message == message


def test_the_last_item_is_the_users():
    with pytest.raises(Refusal) as error:
        response(input=[USER, BRIEF])
    assert error.value.message == "input[1]: got an item of the system, allowed: a list whose last message is from the user"
