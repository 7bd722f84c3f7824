# SPDX-License-Identifier: Apache-2.0
"""The client's table of request fields agrees with the server's checks, with ``Options``, and with what the command offers."""

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

import s1_client
from budgetforce.errors import InvalidRequest
from budgetforce.serving.requests.request import read_reply_request
from s1_client._fields import FIELDS
from s1_client._wire import infer_request
from s1_client.testing._messages import read_inputs

TENSORS = {"INT32": np.iinfo(np.int32), "UINT64": np.iinfo(np.uint64)}
TYPES = {"BYTES": "str", "INT32": "int", "UINT64": "int", "FP32": "float"}
BOUNDED = [row for row in FIELDS.values() if row.least is not None]
WORDED = [row for row in FIELDS.values() if row.values]


def refusal(name, value):
    """The server's refusal of one field's value; None if it takes it."""
    try:
        read_reply_request({"text_input": [b"hi"], name: [value.encode() if isinstance(value, str) else value]})
    except InvalidRequest as error:
        return error
    return None


def fake_refusal(name, value):
    """The same, of the FakeServer."""
    message = infer_request("hi", {name: value}, stream=True)
    try:
        read_inputs(service_pb2.ModelInferRequest.FromString(message.SerializeToString()))
    except s1_client.InvalidRequest as error:
        return error
    return None


@pytest.mark.parametrize("row", FIELDS.values(), ids=FIELDS)
def test_the_typed_options_have_each_field_with_its_type(row):
    expected = f"{TYPES[row.datatype]} | {'Sequence[str] | ' if row.is_list else ''}None"
    assert s1_client.Options.__annotations__[row.name].__forward_arg__ == expected


def test_the_typed_options_have_nothing_else():
    assert set(s1_client.Options.__annotations__) == set(FIELDS)


@pytest.mark.parametrize("name", [name for name, row in FIELDS.items() if row.datatype in TENSORS])
def test_a_fields_range_is_the_servers(name):
    limits, row = TENSORS[FIELDS[name].datatype], FIELDS[name]
    least = int(limits.min if row.least is None else row.least)
    most = int(limits.max if row.most is None else row.most)
    for value in (least, most):
        assert refusal(name, value) is None
    for value in (least - 1, most + 1):
        if limits.min <= value <= limits.max:
            refused = refusal(name, value)
            assert refused is not None, f"serving/requests/request.py does not read {name!r}, or does not check its range"
            assert refused.field == name


@pytest.mark.parametrize("row", BOUNDED, ids=lambda row: row.name)
def test_a_number_out_of_range_is_refused_in_the_servers_words_by_the_fake_server_too(row):
    """The bounds themselves, and a value beyond each."""
    step = 0.5 if row.datatype == "FP32" else 1
    values = [row.least - step, row.least, *([] if row.most is None else [row.most, row.most + step])]
    for value in values:
        server = refusal(row.name, value)
        fake = fake_refusal(row.name, value)
        assert row.accepts(value) == (server is None) == (fake is None)
        assert server is None or (row.allowed, fake.allowed) == (server.allowed, server.allowed)


@pytest.mark.parametrize("row", WORDED, ids=lambda row: row.name)
def test_the_words_of_a_field_are_the_servers(row):
    assert [refusal(row.name, word) for word in row.values] == [None] * len(row.values)
    assert refusal(row.name, "no such word").allowed == row.allowed


def test_a_value_that_cannot_be_sent_is_told_its_range():
    with pytest.raises(s1_client.InvalidRequest) as refused:
        infer_request("hi", {"max_tokens": "5"}, stream=True)
    assert str(refused.value) == "max_tokens: got '5', allowed: an integer from 1 to 2147483647"
