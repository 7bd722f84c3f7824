# SPDX-License-Identifier: Apache-2.0
"""How the messages of an engine call become deltas, whenever they come. The calls over a real server: tests/server/test_grpc_engine.py."""

import asyncio
import itertools
import struct

import pytest
from tritonclient.grpc import service_pb2

from budgetforce.engine import triton_grpc
from budgetforce.engine.base import EngineCall, EngineDelta
from budgetforce.engine.endpoint import Endpoint
from budgetforce.engine.triton_grpc import GrpcEngine
from budgetforce.errors import EngineFailed, EngineUnavailable

IDS = (5, 6, 7, 8)


def message(*ids, length=None, reused=None, error=""):
    """A message as Triton sends it; with neither ids nor length, the empty one at a stream's end."""
    sent = service_pb2.ModelStreamInferResponse(error_message=error)
    sent.infer_response.model_name = "engine"
    tensors = {"sequence_length": [len(ids) if length is None else length], "output_ids": [*ids, 0]} if ids or length is not None else {}
    for name, values in (tensors | ({} if reused is None else {"kv_cache_reused_blocks": [reused]})).items():
        sent.infer_response.outputs.add(name=name, datatype="INT32", shape=(1, 1, len(values)))
        sent.infer_response.raw_output_contents.append(struct.pack(f"{len(values)}i", *values))
    return sent.SerializeToString()


class Calls:
    """In the place of ``GrpcCalls``: the test sends the messages."""

    def __init__(self, _endpoint):
        self.started = []

    def start(self, method, request, on_message, headers=()):
        self.started.append(call := Call(on_message))
        return call

    def close(self):
        pass


class Call:
    def __init__(self, on_message):
        self.send = on_message
        self.ended = asyncio.get_running_loop().create_future()

    def cancel(self):
        self.ended.cancel()


@pytest.fixture
def run(monkeypatch):
    """Run ``scenario(call, running)`` beside an engine call; return the deltas that ``take`` got, and the call's error."""
    monkeypatch.setattr(triton_grpc, "GrpcCalls", Calls)
    monkeypatch.setattr(triton_grpc, "_STOP_PATIENCE_S", 0)

    def go(scenario, *, take=lambda _: True, ready=None):
        deltas = []

        def taking(delta):
            deltas.append(delta)
            return take(delta)

        async def beside():
            engine = GrpcEngine(Endpoint(address="engine:1"), "engine", 60)
            call = EngineCall(request_id="r", input_ids=(1,), max_new_tokens=9, stop_ids=frozenset({2}), ready=ready)
            running = asyncio.create_task(engine.run(call, taking))
            await asyncio.sleep(0)
            await scenario(engine._calls.started[0], running)
            await asyncio.wait([running])
            await engine.close()
            return None if running.cancelled() else running.exception()

        return deltas, asyncio.run(beside())

    return go


def end(call):
    call.ended.set_result(None)


async def passes(number=4):
    for _ in range(number):
        await asyncio.sleep(0)


def ids_of(deltas):
    return [i for delta in deltas for i in delta.ids]


BOOLEANS = list(itertools.product([False, True], repeat=len(IDS)))


@pytest.mark.parametrize("cuts", BOOLEANS)
def test_ids_arrive_in_order_and_once_however_messages_and_passes_divide_them(run, cuts):
    """Messages of one pass are delivered together."""
    ends = [end for end, is_cut in enumerate(cuts[:-1], 1) if is_cut] + [len(IDS)]
    groups = [IDS[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    for pauses in BOOLEANS:

        async def scenario(call, _, pauses=pauses):
            for ids, pause in zip(groups, pauses, strict=False):
                call.send(message(*ids))
                if pause:
                    await passes()
            end(call)

        deltas, error = run(scenario)
        assert (ids_of(deltas), error) == (list(IDS), None)
        assert len(deltas) == sum(pauses[: len(groups) - 1]) + 1


@pytest.mark.parametrize("turn_comes", ["at once", "later", "never", "not needed"])
def test_later_ids_wait_for_a_turn_and_no_longer_than_the_stream(run, turn_comes):
    turns = []

    def ready():
        if turn_comes == "not needed":
            return None
        turns.append(asyncio.get_running_loop().create_future())
        if turn_comes == "at once":
            turns[-1].set_result(None)
        return turns[-1]

    async def scenario(call, _):
        for token_id in IDS:
            call.send(message(token_id))
            await passes()
        if turn_comes == "later":
            turns[-1].set_result(None)
            await passes()
        end(call)

    deltas, error = run(scenario, ready=ready)
    assert (ids_of(deltas), error) == (list(IDS), None)
    assert [delta.ids for delta in deltas] == ([(5,), (6,), (7,), (8,)] if turn_comes in ("at once", "not needed") else [(5,), (6, 7, 8)])
    assert all(turn.done() for turn in turns)


def test_a_cancelled_call_takes_nothing_more_and_waits_for_no_turn(run):
    turns = []

    def ready():
        turns.append(asyncio.get_running_loop().create_future())
        return turns[-1]

    async def scenario(call, running):
        for token_id in IDS[:2]:
            call.send(message(token_id))
            await passes()
        running.cancel()
        await passes()
        call.send(message(IDS[2]))
        await passes()

    deltas, _ = run(scenario, ready=ready)
    assert [delta.ids for delta in deltas] == [(5,)]
    assert [turn.cancelled() for turn in turns] == [True]


def test_a_consumer_that_wants_no_more_gets_no_more(run):
    async def scenario(call, running):
        for token_id in IDS:
            call.send(message(token_id))
            await passes()
        assert running.done()

    deltas, error = run(scenario, take=lambda delta: delta.ids != (6,))
    assert (ids_of(deltas), error) == ([5, 6], None)


def test_an_error_behind_the_last_ids_that_were_wanted_is_none_of_the_consumers(run):
    """The consumer has found a stop word: its reply is whole, whatever the engine says afterwards."""

    async def scenario(call, _):
        call.send(message(5))
        call.send(message(6, error="scripted"))
        end(call)

    deltas, error = run(scenario, take=lambda _: False)
    assert (ids_of(deltas), error) == ([5, 6], None)


def test_an_error_of_the_consumer_ends_the_call(run):
    def take(_):
        raise ZeroDivisionError

    async def scenario(call, _):
        call.send(message(5))

    _, error = run(scenario, take=take)
    assert isinstance(error, ZeroDivisionError)


@pytest.mark.parametrize("pause", [False, True])
def test_reused_blocks_and_the_engines_error_are_found_behind_ids(run, pause):
    async def scenario(call, _):
        call.send(message(5, reused=3))
        call.send(message())
        if pause:
            await passes()
        call.send(message(6, error="scripted"))
        end(call)

    deltas, error = run(scenario)
    assert deltas[0].kv_reused_blocks == deltas[-1].kv_reused_blocks == 3
    assert ids_of(deltas) == [5, 6]
    assert isinstance(error, EngineUnavailable | EngineFailed)


@pytest.mark.parametrize("broken", [message(5, length=3), message(5, length=-1)])
def test_a_message_that_breaks_the_contract_fails_the_call(run, broken):
    async def scenario(call, _):
        call.send(message(5))
        await passes()
        call.send(broken)

    deltas, error = run(scenario)
    assert deltas == [EngineDelta(ids=(5,))]
    assert isinstance(error, EngineFailed)
    assert "sequence_length" in str(error)


def test_a_stopped_call_of_an_old_triton_gets_seconds_to_end(monkeypatch):
    """On a busy machine its engine needs them. A call that is cancelled during its last response keeps the model from being unloaded."""
    monkeypatch.setattr(triton_grpc, "GrpcCalls", Calls)

    async def scenario():
        loop, passed_s = asyncio.get_running_loop(), 0.0
        clock = loop.time
        monkeypatch.setattr(loop, "time", lambda: clock() + passed_s)
        engine = GrpcEngine(Endpoint(address="engine:1"), "engine", 60)
        engine._cancels_safely = False
        abandoned = EngineCall(request_id="r", input_ids=(1,), max_new_tokens=9, stop_ids=frozenset({2}))
        running = asyncio.create_task(engine.run(abandoned, bool))
        await passes()
        running.cancel()
        await passes()
        call, stop = engine._calls.started
        end(stop)
        passed_s = 4.0
        await passes()
        was_cancelled = call.ended.cancelled()
        passed_s = 6.0
        await passes()
        assert (was_cancelled, call.ended.cancelled()) == (False, True)
        await engine.close()

    asyncio.run(scenario())
