# SPDX-License-Identifier: Apache-2.0
"""Errors as JSON. (Messages of the stream: test_wire.py; gRPC's statuses: test_status.py.)"""

import copy
import pickle

import pytest

from s1_client import Cancelled, InvalidRequest, Overloaded, Partial, ServerFailed
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


@pytest.mark.parametrize(
    "error", [InvalidRequest("top_p", "7.0", "0 < top_p <= 1"), Overloaded("full", 2.0), Cancelled("the request was cancelled")]
)
@pytest.mark.parametrize("copied", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"])
def test_an_error_reaches_another_process_whole(error, copied):
    """A worker of ProcessPoolExecutor whose error cannot be unpickled breaks the whole pool."""
    error.request_id, error.num_attempts, error.partial = "r", 1, (Partial(thinking="one"),)
    again = copied(error)
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
