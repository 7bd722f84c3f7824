# SPDX-License-Identifier: Apache-2.0
"""The integers that the client names as allowed are those that the server takes."""

import numpy as np
import pytest

import s1_client
from budgetforce.errors import InvalidRequest
from budgetforce.serving.requests.request import read_reply_request
from s1_client._ranges import integers_of
from s1_client._wire import OPTIONS, infer_request

TENSORS = {"INT32": np.iinfo(np.int32), "UINT64": np.iinfo(np.uint64)}


@pytest.mark.parametrize("name", [name for name, datatype in OPTIONS.items() if datatype in TENSORS])
def test_a_fields_range_is_the_servers(name):
    limits = TENSORS[OPTIONS[name]]
    least, most = integers_of(name, int(limits.min), int(limits.max))
    for value in (least, most):
        read_reply_request({"text_input": [b"hi"], name: [value]})
    for value in (least - 1, most + 1):
        if limits.min <= value <= limits.max:
            with pytest.raises(InvalidRequest, match=name):
                read_reply_request({"text_input": [b"hi"], name: [value]})


def test_a_value_that_cannot_be_sent_is_told_that_range():
    with pytest.raises(s1_client.InvalidRequest) as refused:
        infer_request("hi", {"max_tokens": "5"}, stream=True)
    assert str(refused.value) == "max_tokens: got '5', allowed: an integer from 1 to 2147483647"
