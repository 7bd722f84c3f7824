# SPDX-License-Identifier: Apache-2.0
"""In which order the samples of tenants begin at the engine, through the whole orchestrator. (The policy alone: test_room.)"""

import asyncio
import re
import time
from concurrent.futures import Executor, Future

import pytest
from scripted_engine import ScriptedEngine

from budgetforce.engine.base import EngineDelta
from budgetforce.serving.incoming import IncomingRequest
from budgetforce.serving.request_work import MAX_BYTES_HERE, RequestWork
from budgetforce.serving.runtime import InlineExecutor
from fakes.orchestrators import orchestrator_over
from serving.test_runtime import ResponseWriter

END, EOS = 2, 0


class HeldEngine(ScriptedEngine):
    """A thought has one id and is held behind it until it is let go; ``begun`` holds the question of each, in their order."""

    def __init__(self, tokenizer):
        super().__init__()
        self.begun, self.running, self._prompt_lens = [], {}, {}
        self._tokenizer = tokenizer

    async def stream(self, call):
        question = re.findall("question ([A-E])", self._tokenizer.decode(call.input_ids))[0]
        if len(call.input_ids) != self._prompt_lens.setdefault(question, len(call.input_ids)):
            yield EngineDelta(ids=(EOS,), kv_reused_blocks=None)  # an answer
            return
        self.begun.append(question)
        held = asyncio.Event()
        self.running.setdefault(question, []).append(held)
        yield EngineDelta(ids=(self._tokenizer.encode("a")[0],), kv_reused_blocks=None)
        await held.wait()
        yield EngineDelta(ids=(END,), kv_reused_blocks=None)


class HeldWorkers(Executor):
    """Does a call only when it is let to; ``calls`` holds the prompt of each that was handed over, in their order."""

    def __init__(self):
        self.calls, self._waiting = [], []

    def submit(self, function, *values):
        self.calls.append(values[0]["text_input"][0].decode()[-1])
        future = Future()
        self._waiting.append((future, function, values))
        return future

    def do_one(self):
        future, function, values = self._waiting.pop(0)
        future.set_result(function(*values))


class Stage:
    """An orchestrator over a held engine, all in one event loop: after some turns of it everything waits for the engine or for room."""

    def __init__(self, tokenizer, workers=None, **limits):
        self.engine, self._tasks = HeldEngine(tokenizer), []
        self._orchestrator = orchestrator_over(self.engine, tokenizer, config=limits, work=RequestWork(workers or InlineExecutor()))

    @property
    def begun(self):
        return "".join(self.engine.begun)

    async def send(self, question, num_samples=1, tenant=None, num_more_bytes=0):
        """Send a request of ``tenant``, by default the question in small letters."""
        text = b" " * num_more_bytes + f"question {question}".encode()
        fields = {"text_input": [text], "num_ignore": [0], "num_samples": [num_samples], "temperature": [1.0]}
        incoming = IncomingRequest(
            request_id=f"{question} {len(self._tasks)}",
            inputs=fields,
            writer=ResponseWriter(),
            arrived=time.monotonic(),
            tenant=question.lower() if tenant is None else tenant,
        )
        self._tasks.append(asyncio.create_task(self._orchestrator.serve(incoming)))
        await self.settle()
        return incoming.writer

    async def end_one(self, question):
        self.engine.running[question].pop(0).set()
        await self.settle()

    async def end_all(self):
        while any(self.engine.running.values()):
            for question in list(self.engine.running):
                while self.engine.running[question]:
                    await self.end_one(question)
        await asyncio.gather(*self._tasks)

    def cancel(self):
        for task in self._tasks:
            task.cancel()

    async def settle(self):
        for _ in range(150):
            await asyncio.sleep(0)


@pytest.fixture
def play(tokenizer):
    """Run a scenario on a stage with eight places, and let everything end: every request gets its whole reply."""

    def run(scenario, **limits):
        async def whole():
            stage = Stage(tokenizer, **{"max_replies": 8, **limits})
            await scenario(stage)
            await stage.end_all()

        asyncio.run(whole())

    return run


def test_a_free_place_goes_to_the_tenant_with_the_fewest_running_samples(play):
    """A's second request has nothing running either, but A has."""

    async def scenario(stage):
        await stage.send("A", 8)
        await stage.send("B", 4)
        await stage.send("C", 4, tenant="a")
        assert stage.begun == "A" * 7 + "B"
        for _ in range(3):
            await stage.end_one("A")
        assert stage.begun[8:] == "BB"  # the first of the three places is the one that is kept
        for _ in range(2):
            await stage.end_one("A")
        assert stage.begun[10:] == "CC"  # each tenant runs three: now the request with the fewest

    play(scenario)


def test_without_tenants_only_the_requests_count(play):
    async def scenario(stage):
        await stage.send("A", 8, tenant="")
        await stage.send("B", 4, tenant="")
        await stage.send("C", 4, tenant="")
        for _ in range(4):
            await stage.end_one("A")
        assert stage.begun[8:] == "CBC"  # C has none, and may have the place that is kept; then the two take turns

    play(scenario)


def test_requests_of_a_tenant_are_first_come_first_served_and_tenants_take_turns(play):
    async def scenario(stage):
        for question in "AAAAAAAA":
            await stage.send(question)
        assert stage.begun == "A" * 7  # the last place is kept for a tenant without a running reply
        await stage.send("C", tenant="a")
        await stage.send("D", tenant="a")
        await stage.send("B")
        assert stage.begun == "A" * 7 + "B"
        await stage.send("E", 2, tenant="b")
        for _ in range(4):
            await stage.end_one("A")
        assert stage.begun[8:] == "EEA"  # one end is for the reserve; B runs one, A six; then A's oldest

    play(scenario)


def test_four_requests_of_64_samples_do_not_delay_the_first_sample_of_another_tenant(play):
    async def scenario(stage):
        for _ in range(4):
            await stage.send("A", 64)
        assert len(stage.begun) == 224
        await stage.send("B", 64)
        assert stage.begun[224] == "B"  # at once, and beside it only newcomers fit
        assert len(stage.begun) == 225
        for _ in range(21):
            await stage.end_one("A")
        assert stage.begun[225:] == "B" * 20

    play(scenario, max_replies=256)


def test_a_limit_of_a_tenant_leaves_places_free_for_others(play):
    async def scenario(stage):
        await stage.send("A", 8)
        assert stage.begun == "AAA"
        await stage.send("B", 8)
        assert stage.begun == "AAABBB"
        await stage.end_one("A")
        assert stage.begun == "AAABBBA"

    play(scenario, max_tenant_replies=3)


def test_a_tenant_with_too_many_waiting_requests_is_rejected_and_another_is_not(play):
    async def scenario(stage):
        for _ in range(3):
            await stage.send("A")
        (rejection,) = (await stage.send("A")).errors
        assert rejection.startswith("OVERLOADED: tenant 'a': 1 of at most 1 replies run and 2 of at most 2 requests wait; of all tenants")
        assert '"retryable": true' in rejection
        assert (await stage.send("B")).errors == []
        assert stage.begun == "AB"

    play(scenario, max_tenant_replies=1, max_tenant_waiting=2)


def test_tenants_take_turns_at_the_workers_too(tokenizer):
    """A flood of large prompts of one tenant, which take a second each to encode, does not hold up another's question."""

    async def scenario():
        workers = HeldWorkers()
        stage = Stage(tokenizer, workers)
        for question in "AAAAAA":
            await stage.send(question, num_more_bytes=MAX_BYTES_HERE)
        await stage.send("B", num_more_bytes=MAX_BYTES_HERE)
        assert workers.calls == ["A"] * 4  # as many as are handed to the only worker at a time
        workers.do_one()
        await stage.settle()
        assert workers.calls == ["A"] * 4 + ["B"]
        stage.cancel()

    asyncio.run(scenario())
