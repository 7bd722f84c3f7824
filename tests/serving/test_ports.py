# SPDX-License-Identifier: Apache-2.0
"""One final response a request, whoever sends it; nothing after it, not even a question."""

import pytest
import triton_python_backend_utils as pb_utils

from budgetforce.errors import BudgetForceError, Cancelled, EngineFailed, EngineUnavailable, InvalidRequest
from budgetforce.serving.ports import ResponsePort, int32_tensor, text_tensor


def test_nothing_follows_the_final_response():
    """The sender would raise, and a real server crash."""
    sender = pb_utils.ResponseSender()
    port = ResponsePort(sender)
    port.send({"text_output": text_tensor("a")})
    port.send({"text_output": text_tensor("b")}, final=True)
    port.send({"text_output": text_tensor("c")})
    port.fail(EngineFailed("late"))
    port.close()
    assert not port.is_cancelled()
    assert sender.texts("text_output") == ["a", "b"]


def test_each_error_has_its_code():
    codes = {
        InvalidRequest("f", 1, "2"): pb_utils.TritonError.INVALID_ARG,
        EngineUnavailable("x"): pb_utils.TritonError.UNAVAILABLE,
        Cancelled("x"): pb_utils.TritonError.CANCELLED,
        EngineFailed("x"): pb_utils.TritonError.INTERNAL,
        BudgetForceError("x"): pb_utils.TritonError.INTERNAL,
    }
    for error, code in codes.items():
        sender = pb_utils.ResponseSender()
        ResponsePort(sender).fail(error)
        assert sender.responses[0].error.code == code
        assert str(sender.responses[0].error) == str(error)


def test_a_cancelled_client_is_seen():
    sender = pb_utils.ResponseSender()
    sender.cancelled = True
    assert ResponsePort(sender).is_cancelled()


def test_tensors_have_a_batch_of_one():
    assert int32_tensor(1, 2).tolist() == [[1, 2]]
    assert int32_tensor().shape == (1, 0)
    assert text_tensor("é").tolist() == [["é".encode()]]
    assert text_tensor("a", "b").shape == (1, 2)


def test_a_final_response_that_cannot_be_sent_is_at_least_the_end():
    class Full(pb_utils.ResponseSender):
        def send(self, response=None, flags=0):
            if response is not None:
                raise OSError("shared memory is full")
            super().send(flags=flags)

    sender = Full()
    with pytest.raises(OSError, match="shared memory is full"):
        ResponsePort(sender).send({"text_output": text_tensor("a")}, final=True)
    assert sender.finished.is_set()
