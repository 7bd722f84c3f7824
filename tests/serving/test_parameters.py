# SPDX-License-Identifier: Apache-2.0
"""Request parameters, which a model may ignore without a word, are refused by name."""

import json
import re

import pytest

from budgetforce.errors import InvalidRequest
from budgetforce.serving.requests.parameters import NAMES_ELSEWHERE, read_parameters, refuse_parameters

FIELDS = (
    "text_input",
    "max_thinking_tokens",
    "max_tokens",
    "temperature",
    "seed",
    "num_samples",
    "stop_words",
    "top_k",
    "top_p",
    "timeout_ms",
)


def refused(parameters, **settings):
    with pytest.raises(InvalidRequest) as refusal:
        refuse_parameters(read_parameters(json.dumps(parameters)), FIELDS, **{"request_id": "", **settings})
    return refusal.value


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("max_thinking_token", "max_thinking_tokens"),
        ("temprature", "temperature"),
        ("Seed", "seed"),
        ("n", "num_samples"),
        ("random_seed", "seed"),
    ],
)
def test_an_unknown_name_is_refused_with_a_suggestion(name, meant):
    refusal = refused({name: 3})
    assert (refusal.field, refusal.value) == (name, 3)
    assert refusal.allowed == f"the name of an existing field; did you mean {meant}?"


def test_a_name_unlike_any_field_is_refused_without_a_suggestion():
    assert refused({"beam_width": 2}).allowed == "the name of an existing field"


def test_a_fields_own_name_is_refused_as_a_parameter():
    assert "is an input tensor" in refused({"max_tokens": 3}).allowed


def test_the_id_over_http_is_no_parameter_and_another_id_is():
    refuse_parameters(read_parameters('{"id": "abc"}'), FIELDS, request_id="abc")
    assert refused({"id": "abc"}, request_id="other").field == "id"


def test_headers_that_the_server_forwards_pass_and_others_do_not():
    """Triton looks for the pattern anywhere in the name, and so do we."""
    forwarded = re.compile("^x-|traceparent")
    refuse_parameters(read_parameters('{"x-user": "me", "traceparent": "00-1-2-01"}'), FIELDS, request_id="", forwarded=forwarded)
    assert refused({"x-user": "me", "temprature": 1}, forwarded=forwarded).field == "temprature"


@pytest.mark.parametrize("parameters", ["", "{}"])
def test_no_parameters_are_no_mistake(parameters):
    refuse_parameters(read_parameters(parameters), FIELDS, request_id="")


def test_invalid_json_is_refused():
    with pytest.raises(InvalidRequest, match="that JSON can hold"):
        read_parameters('{"x":')


def test_a_megabyte_of_them_is_refused_unread():
    with pytest.raises(InvalidRequest, match="at most 16384"):
        read_parameters("[" * 2**20)


@pytest.mark.parametrize("name", ["", "a\nb", "\u202e", "x" * 5000])
def test_any_name_makes_a_refusal_of_one_short_line_that_can_be_read_back(name):
    refusal = refused({name: 1})
    assert "\n" not in str(refusal) and len(str(refusal)) < 300
    assert InvalidRequest.parse(str(refusal)).field == refusal.field


def test_every_suggestion_is_a_field(root):
    config = (root / "model_repository/s1/config.pbtxt").read_text()
    assert [name for name in NAMES_ELSEWHERE.values() if f'name: "{name}"' not in config] == []
