# SPDX-License-Identifier: Apache-2.0
"""Errors as JSON. (Messages of the stream: test_wire.py; gRPC's statuses: test_status.py.)"""

import pytest

from s1_client import Overloaded, ServerFailed
from s1_client._wire.errors import from_message


def test_an_error_is_a_line_of_json():
    error = Overloaded("full", 2.0)
    error.request_id = "r"
    assert error.to_dict() == {"error": "Overloaded", "message": "full", "retryable": True, "request_id": "r", "num_attempts": 0}


@pytest.mark.parametrize("details", ["5", "null", "[1]", '"text"', "no JSON", pytest.param("[" * 100_000, id="deep")])
def test_a_second_line_that_is_no_json_object_is_part_of_the_message(details):
    error = from_message(f"something\n{details}")
    assert (type(error), str(error), error.request_id) == (ServerFailed, f"something\n{details}", None)


def test_a_wait_that_is_no_number_is_not_read():
    error = from_message("OVERLOADED: full; retry after 1.2.3 s")
    assert (type(error), error.retry_after_s) == (Overloaded, None)
