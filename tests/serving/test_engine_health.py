# SPDX-License-Identifier: Apache-2.0
"""Health checks of the engine, and the period of cancel checks."""

import asyncio
import time

import pytest
from scripted_engine import ScriptedEngine

from budgetforce.errors import EngineUnavailable
from budgetforce.serving.engine_health import EngineHealthMonitor, cancel_check_period_s


def test_cancels_are_checked_every_tenth_to_quarter_of_a_second():
    assert [cancel_check_period_s(num) for num in (0, 1, 8, 16, 1000)] == [0.1, 0.1, 0.1, 0.2, 0.25]


def watched(engine, until):
    """Run a monitor until a condition holds; return whether the engine is ready then."""

    async def scenario():
        watch = EngineHealthMonitor(engine, 0.02)
        watching = asyncio.create_task(watch.run())
        async with asyncio.timeout(5):
            while not until(watch):
                await asyncio.sleep(0)
        watching.cancel()
        return watch.engine_is_ready

    return asyncio.run(scenario())


def test_an_engine_that_answers_the_canary_is_ready():
    """The canary asks for a single token."""
    engine = ScriptedEngine(*[[5]] * 100)
    assert watched(engine, lambda _: len(engine.calls) >= 2)
    assert {call.max_new_tokens for call in engine.calls} == {1}
    assert engine.calls[0].request_id != engine.calls[1].request_id


def test_an_engine_that_sends_tokens_gets_no_canary():
    engine = ScriptedEngine()
    engine.last_ids_at = time.monotonic() + 3600
    assert watched(engine, lambda watch: time.monotonic() > engine.last_ids_at - 3599.9)
    assert engine.calls == []


@pytest.mark.parametrize("fault", ["fails", "hangs", "says nothing"])
def test_an_engine_that_does_not_answer_is_not_ready_until_it_does(fault):
    engine = ScriptedEngine(*[[5]] * 100) if fault != "says nothing" else ScriptedEngine(())
    engine.fail_with = EngineUnavailable("gone") if fault == "fails" else None
    engine.hanging = {0} if fault == "hangs" else set()
    engine.failing = {0}
    assert not watched(engine, lambda watch: not watch.engine_is_ready)
    assert engine.given_up == {"fails": [False], "hangs": [True], "says nothing": []}[fault]
    engine.enqueue(*[[5]] * 100)
    assert watched(engine, lambda watch: len(engine.calls) > 2 and watch.engine_is_ready)
