# SPDX-License-Identifier: Apache-2.0
"""Errors as JSON. (Messages of the stream: test_wire.py; gRPC's statuses: test_status.py.)"""

from s1_client import Overloaded


def test_an_error_is_a_line_of_json():
    error = Overloaded("full", 2.0)
    error.request_id = "r"
    assert error.to_dict() == {"error": "Overloaded", "message": "full", "retryable": True, "request_id": "r"}
