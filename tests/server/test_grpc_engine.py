# SPDX-License-Identifier: Apache-2.0
"""Engine calls over gRPC to a real server: how they end when nobody wants them any more, and when nothing comes."""

import asyncio
import time
from functools import partial

import pytest

from budgetforce.engine import triton_grpc
from budgetforce.engine.base import EngineCall
from budgetforce.engine.endpoint import Endpoint
from budgetforce.engine.triton_grpc import GrpcEngine
from budgetforce.errors import EngineFailed, EngineUnavailable
from s1_client import ThinkingDelta, _connection
from server import waiting

wait_until = partial(waiting.wait_until, seconds=15)

END = 2


@pytest.fixture
def call(tokenizer):
    """A call that a script answers."""

    def make(script, **changes):
        ids = tokenizer.encode(script.question)
        return EngineCall(request_id="direct-0", input_ids=ids, max_new_tokens=500, stop_ids=frozenset({END}), **changes)

    return make


@pytest.fixture
def run(triton):
    """Run a scenario with an engine."""

    def go(scenario, *, max_silence_s=60.0, model="scripted_llm"):
        async def wrapped():
            engine = GrpcEngine(Endpoint(address=triton.grpc_url), model, max_silence_s)
            try:
                return await asyncio.wait_for(scenario(engine), 30)
            finally:
                await engine.close()

        return asyncio.run(wrapped())

    return go


def into(said):
    """Return a function that takes all ids of a call."""

    def take(delta):
        said.append(delta.ids)
        return True

    return take


async def leave_after_first(engine, call):
    await engine.run(call, lambda _: False)
    while engine._ending:
        await asyncio.sleep(0.01)


def test_a_call_that_is_left_is_told_to_stop_where_a_cancel_may_crash_the_server(run, call, scripts, a):
    script = scripts.write([a] * 400, delay_ms=5)
    run(lambda engine: leave_after_first(engine, call(script)))
    (stopped,) = script.notes("stopped")
    assert stopped["said"] < 400


def test_a_call_that_is_left_is_cancelled_where_that_is_safe(run, call, scripts, a, monkeypatch):
    """Here by hand: this one is silent when it is left, which any server bears."""
    monkeypatch.setattr(triton_grpc, "_CANCELS_SAFELY", (2, 0))
    script = scripts.write([a] * 400, stall_after=1)

    async def scenario(engine):
        said = []
        running = asyncio.create_task(engine.run(call(script), into(said)))
        while not said:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.wait([running])

    run(scenario)
    wait_until(lambda: script.notes("cancelled"))
    assert not script.notes("stopped")


def test_a_client_cancels_where_that_is_safe(over_grpc, scripts, a, monkeypatch):
    monkeypatch.setattr(_connection, "CANCELS_SAFELY", (2, 0))
    script = scripts.write([a] * 400, stall_after=1)
    stream = over_grpc.stream(script.question, max_thinking_tokens=400)
    while not isinstance(next(stream), ThinkingDelta):
        pass
    time.sleep(0.1)
    stream.close()
    wait_until(lambda: script.notes("stopped") or script.notes("cancelled"))


def test_the_first_ids_come_at_once_and_later_ones_together_while_nobody_is_ready(run, call, scripts, a):
    """And the end of the call is the end of the wait: the next call must not be late."""
    script = scripts.write([*[a] * 50, END])

    async def scenario(engine):
        said, never = [], asyncio.get_running_loop().create_future
        async with asyncio.timeout(20):
            await engine.run(call(script, ready=never), into(said))
        return said

    deltas = run(scenario)
    assert [i for ids in deltas for i in ids] == [*[a] * 50, END]
    assert len(deltas) <= 2


def test_ids_that_came_are_delivered_when_the_consumer_becomes_ready(run, call, scripts, a):
    script = scripts.write([a] * 400, stall_after=3)

    async def scenario(engine):
        waiters = []

        def ready():
            waiters.append(asyncio.get_running_loop().create_future())
            return waiters[-1]

        said = []
        running = asyncio.create_task(engine.run(call(script, ready=ready), into(said)))
        async with asyncio.timeout(20):
            while sum(map(len, said)) < 3:
                await asyncio.sleep(0.01)
                if waiters and not waiters[-1].done():
                    waiters[-1].set_result(None)
        running.cancel()
        await asyncio.wait([running])
        return said, waiters

    said, waiters = run(scenario)
    assert [i for ids in said for i in ids] == [a] * 3
    assert all(waiter.done() for waiter in waiters)


def test_a_call_that_says_nothing_is_given_up(run, call, scripts, a, monkeypatch):
    monkeypatch.setattr(triton_grpc, "_SWEEP_S", 0.05)
    script = scripts.write([a] * 5, stall_after=2)

    async def scenario(engine):
        said = []
        with pytest.raises(EngineUnavailable, match=r"has sent no ids for 0\.3 s"):
            await engine.run(call(script), into(said))
        return [i for ids in said for i in ids]

    assert run(scenario, max_silence_s=0.3) == [a, a]
    wait_until(lambda: script.notes("stopped") or script.notes("cancelled"))


def test_readiness_is_the_models(run):
    assert run(lambda engine: engine.is_ready())
    assert not run(lambda engine: engine.is_ready(), model="nobody")


def test_an_error_of_the_engine_comes_behind_the_ids_before_it(run, call, scripts, a):
    async def scenario(engine):
        said = []
        with pytest.raises(EngineFailed, match="scripted failure"):
            await engine.run(call(scripts.write([a] * 9, error_after=4)), into(said))
        return [i for ids in said for i in ids]

    assert run(scenario) == [a] * 4
