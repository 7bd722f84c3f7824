# SPDX-License-Identifier: Apache-2.0
"""One final response a request, whoever sends it; nothing after it, not even a question."""

import threading

import numpy as np
import pytest
import triton_python_backend_utils as pb_utils

from budgetforce.errors import BudgetForceError, Cancelled, EngineFailed, EngineUnavailable, InvalidRequest
from budgetforce.serving.frequent_tensors import frequent_tensors
from budgetforce.serving.ports import MAX_FINAL_CHARACTERS, ReplyPort, ResponsePort, int32_tensor, text_tensor
from budgetforce.serving.replies.sinks import OutputChunk


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


class Cramped(pb_utils.ResponseSender):
    """Has shared memory for an error, and for no result. As in Triton, the attempt to send a final response closes it."""

    def send(self, response=None, flags=0):
        if response is not None and response.error is None:
            if flags:
                self.finished.set()
            raise pb_utils.TritonModelException("shared memory is full")
        super().send(response, flags)


def test_a_large_final_response_that_cannot_be_sent_leaves_room_for_an_error():
    sender = Cramped()
    port = ReplyPort(sender, log=None)
    with pytest.raises(BudgetForceError, match="a response could not be sent: shared memory is full"):
        port.send_together([OutputChunk(event="done", result="r" * (MAX_FINAL_CHARACTERS // 2 + 1)) for _ in range(2)], final=True)
    assert not sender.finished.is_set()
    port.fail(EngineFailed("full"), "full")
    assert sender.finished.is_set()
    assert str(sender.responses[-1].error) == "full"


@pytest.mark.parametrize("num_characters", [5, MAX_FINAL_CHARACTERS + 1])
def test_a_final_response_of_any_size_is_one_response_and_the_end(num_characters):
    sender = pb_utils.ResponseSender()
    port = ReplyPort(sender, log=None)
    port.send_each([OutputChunk(event="done", result="r" * num_characters)], final=True)
    port.fail(EngineFailed("late"))
    assert sender.finished.is_set()
    assert [len(text) for text in sender.texts("result")] == [num_characters]
    assert len(sender.responses) == 1


def test_nothing_comes_between_a_large_final_response_and_the_end():
    """Such as the error of a deadline that comes while the response is being sent."""

    class Lock:
        num_times = 0

        def __enter__(self):
            self.num_times += 1

        def __exit__(self, *_):
            pass

    port = ReplyPort(pb_utils.ResponseSender(), log=None)
    port._lock = lock = Lock()
    port.send_together([OutputChunk(event="done", result="r" * (MAX_FINAL_CHARACTERS + 1))], final=True)
    assert lock.num_times == 1


def test_a_small_final_response_that_cannot_be_sent_says_why():
    with pytest.raises(BudgetForceError, match="a response could not be sent: shared memory is full"):
        ReplyPort(Cramped(), log=None).send_each([OutputChunk(event="done", result="r")], final=True)


def sent_tensors(*chunks):
    """The tensors of a stream's messages by name, a dictionary for each message."""
    sender = pb_utils.ResponseSender()
    ReplyPort(sender, log=None).send_each(chunks, final=True)
    return [{tensor.name(): tensor for tensor in response.output_tensors} for response in sender.responses]


def test_messages_of_a_frequent_token_share_their_tensors():
    """Triton puts a tensor into shared memory only once."""
    first, second = sent_tensors(*[OutputChunk(event="thinking", thinking=" the", ids=(5,), index=1) for _ in range(2)])
    assert all(first[name] is second[name] for name in first)
    assert {name: tensor.as_numpy().tolist() for name, tensor in second.items()} == {
        "text_output": [[b""]],
        "thinking_output": [[b" the"]],
        "output_ids": [[5]],
        "event": [[b"thinking"]],
        "index": [[1]],
    }


def test_a_tensor_is_not_shared_with_another_thread():
    """Its first send is not locked."""
    chunk, of_threads = OutputChunk(event="answer", answer="a", ids=(6,)), []
    threads = [threading.Thread(target=lambda: of_threads.append(sent_tensors(chunk)[0])) for _ in range(2)]
    for thread in threads:
        thread.start()
        thread.join()
    assert all(of_threads[0][name] is not of_threads[1][name] for name in of_threads[0])


def test_long_texts_and_several_ids_are_not_kept():
    frequent_tensors.clear()
    sent_tensors(OutputChunk(event="done", answer="an answer of some words", ids=(1, 2, 3), result='{"usage": {"num_answer_tokens": 1}}'))
    assert frequent_tensors.text.cache_info().currsize == len(["event", "thinking_output"])
    assert frequent_tensors.number.cache_info().currsize == len(["index"])


def test_an_engines_numbers_keep_their_shape():
    """Its tensors have a dimension for beams; the cache tells the shapes apart."""
    sender = pb_utils.ResponseSender()
    for array in (np.array([[[5]]], np.int32), np.array([[5]], np.int32), np.array([[5]], np.int64), np.array([[[5, 6]]], np.int32)):
        ResponsePort(sender).send({"output_ids": array})
        (tensor,) = sender.responses[-1].output_tensors
        assert (tensor.as_numpy().tolist(), tensor.as_numpy().dtype) == (array.tolist(), array.dtype)


@pytest.mark.parametrize("event", ["thinking_opened", "answer_opened", "round_ended", "injected"])
def test_every_event_is_kept(event):
    first, second = sent_tensors(*[OutputChunk(event=event, ids=(5,)) for _ in range(2)])
    assert first["event"] is second["event"]
