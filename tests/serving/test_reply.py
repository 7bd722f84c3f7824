# SPDX-License-Identifier: Apache-2.0
"""A request's samples run side by side into one sink, and end together."""

import asyncio

import pytest
from collecting_sink import CollectingSink
from scripted_engine import ScriptedEngine

from budgetforce.errors import EngineFailed, EngineUnavailable, InvalidRequest
from budgetforce.presets import Preset
from budgetforce.serving.planning.planner import Planner
from budgetforce.serving.replies.reply import Reply
from budgetforce.serving.requests.request import ReplyRequest

END, EOS = 2, 0


@pytest.fixture
def reply(tokenizer):
    def make(engine, *, num_samples=1, preset="smollm2", max_outage_s=0):
        request = ReplyRequest(
            messages=({"role": "user", "content": "hi"},),
            prompt_field="text_input",
            num_ignore=0,
            num_samples=num_samples,
            sampling={"temperature": 1.0, "seed": 7},
        )
        plan = Planner(tokenizer, Preset.load(preset), 1000).plan(request)
        return Reply("r", plan, engine, CollectingSink(), tokenizer, max_outage_s=max_outage_s)

    return make


@pytest.fixture
def word(tokenizer):
    return list(tokenizer.encode(" one two three"))


def test_a_sample_alone_ends_the_request(reply, word):
    engine = ScriptedEngine([END], [*word, EOS])
    whole = reply(engine)
    asyncio.run(whole.run())
    assert whole._sink.results[0]["request_id"] == "r"
    assert whole._sink.closed
    assert not whole._sink.settled


def test_samples_have_their_own_index_account_and_seeds(reply, word):
    engine = ScriptedEngine(*[[END], [*word, EOS]] * 3)
    whole = reply(engine, num_samples=3)
    asyncio.run(whole.run())
    assert sorted(whole._sink.results) == [0, 1, 2]
    assert {result["request_id"] for result in whole._sink.results.values()} == {"r"}
    assert len({call.sampling.seed for call in engine.calls}) == 6
    assert {chunk.index for chunk in whole._sink.chunks if chunk.event == "answer"} == {0, 1, 2}


def test_the_others_wait_for_the_first_samples_first_ids(reply, word):
    """So that they find its prompt in the KV cache."""

    class Slow(ScriptedEngine):
        async def stream(self, call):
            async for delta in super().stream(call):
                if not self.seen:
                    await asyncio.sleep(0.01)
                    self.seen = list(self.calls)
                yield delta

    engine = Slow(*[[word[0], END], [word[0], EOS]] * 2)
    engine.seen = []
    asyncio.run(reply(engine, num_samples=2).run())
    assert len(engine.seen) == 1
    assert len(engine.calls) == 4


def test_a_first_sample_without_ids_delays_no_other(reply, word):
    """Its engine may send its only id with the end."""
    engine = ScriptedEngine([END], [END], [EOS], [EOS])
    asyncio.run(reply(engine, num_samples=2).run())
    assert len(engine.calls) == 4


def test_a_sample_that_fails_ends_the_others_with_one_error(reply, word):
    engine = ScriptedEngine(word, word)
    engine.fail_with = EngineFailed("broke")
    whole = reply(engine, num_samples=2)
    with pytest.raises(EngineFailed, match="broke"):
        asyncio.run(whole.run())
    assert (whole._sink.settled, whole._sink.closed, engine.num_open) == (True, False, 0)


def interrupted(whole, engine, interrupt):
    """Run two samples whose first calls never end by themselves; ``interrupt(task)`` comes when both run."""
    engine.hanging = {0, 1}

    async def scenario():
        task = asyncio.ensure_future(whole.run())
        while engine.num_open < 2:
            await asyncio.sleep(0)
        interrupt(task)
        await task

    asyncio.run(scenario())


def test_cancelling_ends_all_samples(reply, word):
    engine = ScriptedEngine(word, word)
    whole = reply(engine, num_samples=2)
    with pytest.raises(asyncio.CancelledError):
        interrupted(whole, engine, lambda task: task.cancel())
    assert (whole._sink.settled, engine.num_open) == (True, 0)


def test_answer_now_is_for_all_samples(reply, word):
    engine = ScriptedEngine(word, word, [word[0], EOS], [word[0], EOS])
    whole = reply(engine, num_samples=2)
    interrupted(whole, engine, lambda _: whole.answer_now())
    assert [result["finish_reason"]["thinking"] for result in whole._sink.results.values()] == ["answer_now"] * 2


def test_answer_now_is_refused_where_there_is_nothing_to_close_a_thought_with(reply):
    with pytest.raises(InvalidRequest, match="s1-readme, which leaves the answer to the model"):
        reply(ScriptedEngine(), preset="s1-readme").answer_now()


def test_all_samples_wait_for_the_engine_when_one_has_ids_already(reply, word):
    """The second has no ids yet; its end would be the first one's."""
    engine = ScriptedEngine([word[0], END], [], [word[1], EOS], [word[1], END], [word[1], EOS])
    engine.fail_with, engine.failing = EngineUnavailable("gone"), {1}
    whole = reply(engine, num_samples=2, max_outage_s=5)
    asyncio.run(whole.run())
    assert sorted(whole._sink.results) == [0, 1]
