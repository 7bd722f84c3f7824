# SPDX-License-Identifier: Apache-2.0
"""Engine calls over BLS: one at a time, stopped when abandoned, always read to their end. (In a server: tests/server.)"""

import asyncio

import numpy as np
import pytest
import triton_python_backend_utils as pb_utils

from budgetforce.engine import triton_bls
from budgetforce.engine.base import EngineCall
from budgetforce.engine.triton_bls import BlsEngine
from budgetforce.errors import EngineFailed, EngineUnavailable, InvalidRequest

CALL = EngineCall(request_id="r-0", input_ids=(1, 2), max_new_tokens=9, stop_ids=frozenset({3}))


class Response:
    def __init__(self, *ids, error=None):
        self._error = error
        arrays = {"output_ids": np.array([[ids]], np.int32), "sequence_length": np.array([[len(ids)]], np.int32)}
        self._tensors = [pb_utils.Tensor(name, array) for name, array in arrays.items()] if ids else []

    def has_error(self):
        return self._error is not None

    def error(self):
        return self._error

    def output_tensors(self):
        return self._tensors


class Responses:
    """The result of ``exec``: an iterator, which Triton 24.10 cannot cancel."""

    def __init__(self, responses):
        self._left = list(responses)
        self.is_drained = False

    def __iter__(self):
        return self

    def __next__(self):
        if not self._left:
            self.is_drained = True
            raise StopIteration
        return self._left.pop(0)


class CancellableResponses(Responses):
    """Since 25.04."""

    cancelled = False

    def cancel(self):
        self.cancelled = True


@pytest.fixture
def triton(monkeypatch):
    """A server with an engine that returns the contents of ``answers``."""

    class Triton:
        answers, requests, given, kind = [], [], [], Responses

    class InferenceRequest:
        def __init__(self, model_name, request_id, inputs, requested_output_names):
            self.model_name, self.request_id = model_name, request_id
            self.inputs = {tensor.name(): tensor.as_numpy() for tensor in inputs}

        def exec(self, decoupled=False):
            assert decoupled
            if self.model_name != "engine":
                raise pb_utils.TritonModelException("not ready")
            server.requests.append(self)
            server.given.append(server.kind([] if "stop" in self.inputs else server.answers))
            return server.given[-1]

    server = Triton()
    server.requests, server.given = [], []
    monkeypatch.setattr(pb_utils, "InferenceRequest", InferenceRequest)
    return server


def take(engine, num=100):
    """Return the ids of a call of which only ``num`` deltas are taken."""

    deltas = []

    def take(delta):
        deltas.append(delta)
        return len(deltas) < num

    asyncio.run(engine.run(CALL, take))
    return [token_id for delta in deltas for token_id in delta.ids]


def test_only_ids_are_a_sign_of_life(triton):
    """Triton answers for a dead process with an error, and with an empty end."""
    engine = BlsEngine("engine")
    triton.answers = [Response(), Response(error=pb_utils.TritonError("Stub process is not healthy."))]
    with pytest.raises(EngineUnavailable, match="engine 'engine': Stub process is not healthy."):
        take(engine)
    assert engine.last_ids_at == 0.0
    triton.answers = [Response(5)]
    take(engine)
    assert engine.last_ids_at > 0.0


def test_a_call_is_read_to_its_end(triton):
    triton.answers = [Response(5), Response(6, 7), Response()]
    assert take(BlsEngine("engine")) == [5, 6, 7]
    assert triton.given[0].is_drained
    assert (triton.requests[0].request_id, triton.requests[0].inputs["input_ids"].tolist()) == ("r-0", [[1, 2]])


def test_an_abandoned_call_is_stopped_by_its_request_id_and_drained(triton):
    triton.answers = [Response(n) for n in range(1, 50)]
    assert take(BlsEngine("engine"), 2) == [1, 2]
    _, stop = triton.requests
    assert (stop.request_id, stop.inputs["stop"].tolist()) == ("r-0", [[True]])
    assert all(given.is_drained for given in triton.given)


def test_a_call_that_can_be_cancelled_is_cancelled_and_drained(triton):
    triton.kind, triton.answers = CancellableResponses, [Response(n) for n in range(1, 50)]
    assert take(BlsEngine("engine"), 2) == [1, 2]
    assert len(triton.requests) == 1
    assert (triton.given[0].cancelled, triton.given[0].is_drained) == (True, True)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("it broke\nat line 7", EngineFailed),
        (str(InvalidRequest("seed", 1, "nothing")), InvalidRequest),
        (str(EngineUnavailable("it starts again")), EngineUnavailable),
    ],
)
def test_an_error_is_reported_in_a_line_and_the_rest_is_read(triton, message, kind):
    triton.answers = [Response(5), Response(error=pb_utils.TritonError(message)), Response(6)]
    with pytest.raises(kind) as failed:
        take(BlsEngine("engine"))
    assert "line 7" not in str(failed.value)
    assert triton.given[0].is_drained


def test_an_engine_that_is_not_loaded_is_unavailable(triton):
    with pytest.raises(EngineUnavailable, match="'lost': not ready"):
        take(BlsEngine("lost"))


def test_finished_calls_are_kept_for_a_while(triton, monkeypatch):
    """Until Triton 24.11 a process may crash when the server drops the last reference to a finished call."""
    now = [0.0]
    monkeypatch.setattr(triton_bls.time, "monotonic", lambda: now[0])
    engine = BlsEngine("engine")
    for _ in range(5):
        take(engine)
        now[0] += 1.0
    assert [at for at, _ in engine._finished] == [1.0, 2.0, 3.0, 4.0]


def test_two_samples_make_their_calls_one_after_the_other(triton):
    """No second call is opened while one is being read."""
    triton.answers = [Response(5), Response(6)]

    async def both():
        engine = BlsEngine("engine")

        def take(_):
            assert [given.is_drained for given in triton.given[:-1]] == [True] * (len(triton.given) - 1)
            return True

        await asyncio.gather(engine.run(CALL, take), engine.run(CALL, take))

    asyncio.run(both())
    assert len(triton.given) == 2
