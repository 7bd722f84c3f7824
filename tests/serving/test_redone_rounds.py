# SPDX-License-Identifier: Apache-2.0
"""A round behind a refused end: a call without a ban on terminators, made again with the ban if it begins with one."""

import asyncio
import itertools
import json

import pytest
from collecting_sink import CollectingSink
from context_engine import ContextEngine, ContextModel
from scripted_engine import ScriptedEngine

from budgetforce.core import Phase
from budgetforce.errors import EngineFailed, EngineUnavailable
from budgetforce.presets import Preset
from budgetforce.serving.planning.planner import Planner
from budgetforce.serving.replies import engine_calls as calls_module
from budgetforce.serving.replies.deadline import NEVER
from budgetforce.serving.replies.engine_calls import EngineCalls, call_seed
from budgetforce.serving.replies.sample_runner import SampleRunner
from budgetforce.serving.requests.request import ReplyRequest

END, EOS = 2, 0


@pytest.fixture
def word(tokenizer):
    return list(tokenizer.encode(" one two three"))


@pytest.fixture
def sample(tokenizer):
    """Make a sample of an engine; its chunks are in ``sample.sink.chunks``."""

    def make(engine, *, deadline=NEVER, max_outage_s=0, **fields):
        request = ReplyRequest(messages=({"role": "user", "content": "hi"},), prompt_field="text_input", **{"num_ignore": 1, **fields})
        plan = Planner(tokenizer, Preset.load("smollm2"), 1000).plan(request)
        calls = EngineCalls(engine=engine, plan=plan, max_outage_s=max_outage_s)
        return SampleRunner(request_id="r", plan=plan, calls=calls, tokenizer=tokenizer, sink=CollectingSink(), deadline=deadline)

    return make


def run(sample):
    """Run a sample; return its result and the ids that it sent."""
    asyncio.run(sample.run())
    return json.loads(sample.sink.chunks[-1].result), sent_ids(sample)


def sent_ids(sample):
    return [token_id for chunk in sample.sink.chunks for token_id in chunk.ids]


def shown_ids(sample):
    """Return the ids that the engine sampled and the client got; markers may hold the ids of terminators."""
    return [token_id for chunk in sample.sink.chunks if chunk.event in ("thinking", "answer") for token_id in chunk.ids]


def first_ends(word, *, then=()):
    """The calls of a reply whose model wants to end again right behind "Wait": the third bans that."""
    return ScriptedEngine([word[0], END], [END], [END, word[1]], [word[2], END], [word[0], EOS], *then)


def test_a_call_that_does_not_begin_with_a_terminator_is_the_only_one(sample, word):
    engine = ScriptedEngine([*word, END], [word[0], END], [EOS])
    result, _ = run(sample(engine))
    assert [entry["num_engine_calls"] for entry in result["rounds"]] == [1, 1, 1]
    assert not any(call.banned_ids or call.min_tokens for call in engine.calls)
    assert (result["usage"]["num_redone"], result["usage"]["num_ignored"]) == (0, 1)


def test_a_call_that_begins_with_a_terminator_is_made_again_with_the_ban(sample, word, tokenizer):
    """It is in the account of its round, in no other count, and neither its id nor an event of it is sent."""
    engine = first_ends(word)
    runner = sample(engine)
    result, _ = run(runner)
    _, free, banned, rest, _ = engine.calls
    assert free.input_ids == banned.input_ids
    assert (banned.max_new_tokens, banned.banned_ids) == (1, banned.stop_ids)
    assert rest.input_ids == (*banned.input_ids, word[1])
    assert rest.max_new_tokens == free.max_new_tokens - 1
    usage, rounds = result["usage"], result["rounds"]
    assert [entry["num_engine_calls"] for entry in rounds] == [1, 3, 1]
    assert [(entry["num_redone"], entry["num_sampled_tokens"]) for entry in rounds] == [(0, 2), (1, 3), (0, 2)]
    assert (usage["num_redone"], usage["num_terminators"], usage["num_ignored"]) == (1, 3, 1)
    assert shown_ids(runner) == [word[0], word[1], word[2], word[0]]
    assert [json.loads(chunk.round) for chunk in runner.sink.chunks if chunk.round is not None] == rounds
    prefix = len(tokenizer.encode("I need to figure out"))
    assert usage["num_thinking_tokens"] == prefix + 1 + len(tokenizer.encode("Wait")) + 2


def test_the_budget_of_a_redone_round_is_what_the_first_call_had(sample, word, tokenizer):
    """A budget of one more id: the id with the ban is the last."""
    prefix = len(tokenizer.encode("I need to figure out"))
    engine = ScriptedEngine([word[0], END], [END], [word[1]], [EOS])
    result, _ = run(sample(engine, max_thinking_tokens=prefix + 3))
    assert [call.max_new_tokens for call in engine.calls[:3]] == [3, 1, 1]
    assert (result["finish_reason"]["thinking"], result["usage"]["num_redone"]) == ("budget", 1)


def test_a_redone_call_has_a_seed_of_its_own_and_equal_requests_repeat(sample, word):
    """With the same seed it would be no second draw."""
    runs = []
    for _ in range(2):
        engine = first_ends(word)
        run(sample(engine, sampling={"temperature": 1.0, "seed": 7}))
        runs.append([call.sampling.seed for call in engine.calls])
    assert runs == [[call_seed(7, 0, number) for number in range(5)]] * 2
    assert len(set(runs[0])) == 5


def test_where_nothing_is_injected_the_terminator_is_banned_at_once(sample, word):
    """The model would sample it again: one id with the terminators banned, then the rest."""
    engine = ScriptedEngine([word[0], END], [word[1]], [word[2], END], [EOS])
    result, _ = run(sample(engine, ignore_str=("",)))
    assert [bool(call.banned_ids) for call in engine.calls] == [False, True, False, False]
    assert (result["rounds"][1]["num_engine_calls"], result["usage"]["num_redone"]) == (2, 0)


@pytest.mark.parametrize("fields", [{}, {"ignore_str": ("",)}])
def test_an_engine_that_keeps_min_tokens_needs_one_call_and_throws_nothing_away(sample, word, fields):
    engine = ScriptedEngine([word[0], END], [END, word[1], word[2], END], [word[0], EOS])
    engine.keeps_min_tokens = True
    result, _ = run(sample(engine, **fields))
    assert [call.min_tokens for call in engine.calls] == [0, 1, 0]
    assert not any(call.banned_ids for call in engine.calls)
    assert [entry["num_engine_calls"] for entry in result["rounds"]] == [1, 1, 1]
    assert (result["usage"]["num_redone"], result["rounds"][1]["num_sampled_tokens"]) == (0, 3)


def test_at_temperature_zero_every_way_to_keep_a_terminator_off_gives_the_same_ids(sample, word):
    """The model's next id depends on its whole context: one that differs makes all that follow differ."""
    num_redone = 0
    for budget, num_ignore, floor, salt in itertools.product((12, 20), (1, 3), (0, 9), range(12)):
        fields = {"max_thinking_tokens": budget, "num_ignore": num_ignore, "min_thinking_tokens": floor, "max_tokens": 5}
        ways = []
        for keeps_min_tokens in (False, True):
            engine = ContextEngine(ContextModel([*word, END, END, EOS], salt), keeps_min_tokens=keeps_min_tokens)
            result, sent = run(sample(engine, **fields))
            num_redone += result["usage"].pop("num_redone")
            ways.append((sent, result["usage"], result["finish_reason"]))
        assert ways[0] == ways[1]
    assert num_redone > 50


# --- cuts and failures during the call that is thrown away, and during the call that replaces it --------------


def hang(word, number):
    """An engine that says nothing more in call ``number`` of a redone reply; then it answers."""
    scripts = [[word[0], END], [END], [word[1]], [word[2]]]
    engine = ScriptedEngine(*scripts[: number + 1], [word[0], EOS])
    engine.hanging = {number}
    return engine


async def until(is_so):
    async with asyncio.timeout(5):
        while not is_so():
            await asyncio.sleep(0)


@pytest.mark.parametrize(("hanging", "num_shown"), [(1, 0), (2, 1), (3, 2)])
def test_answer_now_cuts_a_round_that_is_redone_at_any_moment(sample, word, hanging, num_shown):
    """Behind the terminator that is thrown away, behind the id with the ban, and behind the rest."""
    engine = hang(word, hanging)
    runner = sample(engine)

    async def scenario():
        task = asyncio.ensure_future(runner.run())
        await until(lambda: len(engine.calls) == hanging + 1)
        for _ in range(5):
            await asyncio.sleep(0)  # its ids are taken
        runner.answer_now()
        await task

    asyncio.run(scenario())
    result = json.loads(runner.sink.chunks[-1].result)
    assert (result["finish_reason"], engine.num_open) == ({"thinking": "answer_now", "answer": "stop"}, 0)
    cut = result["rounds"][1]
    assert (cut["ended_by"], cut["num_redone"], cut["num_sampled_tokens"]) == ("answer_now", 1, num_shown)
    assert END not in shown_ids(runner)


class UpAfterRedoing:
    """A deadline whose time for thinking is up when a terminator has been thrown away."""

    answers = True

    def is_up(self, phase, *_):
        return phase is Phase.THINKING and self.sample.so_far()["usage"]["num_redone"] == 1


@pytest.mark.parametrize("hanging", [1, 2])
def test_the_deadline_cuts_a_round_that_is_redone(sample, word, hanging):
    """And the answer comes, with the account of what was thrown away."""
    deadline = UpAfterRedoing()
    deadline.sample = runner = sample(hang(word, hanging), deadline=deadline)
    result, _ = run(runner)
    assert result["finish_reason"] == {"thinking": "deadline", "answer": "stop"}
    assert result["usage"]["num_redone"] == 1


@pytest.mark.parametrize("hanging", [1, 2])
def test_a_request_cancelled_while_a_round_is_redone_closes_its_call_and_sends_nothing_more(sample, word, hanging):
    engine = hang(word, hanging)
    runner = sample(engine)

    async def scenario():
        task = asyncio.ensure_future(runner.run())
        await until(lambda: len(engine.calls) == hanging + 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert engine.num_open == 0
    assert END not in shown_ids(runner)
    assert runner.so_far()["usage"]["num_terminators"] == 1


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_an_engine_that_fails_while_a_round_is_redone_ends_the_sample_with_its_words(sample, word, failing):
    engine = first_ends(word)
    engine.fail_with, engine.failing = EngineFailed("out of memory"), {failing}
    runner = sample(engine)
    with pytest.raises(EngineFailed, match="out of memory"):
        asyncio.run(runner.run())
    assert END not in shown_ids(runner)
    assert runner.so_far()["usage"]["num_redone"] == 1


class Breaking(ScriptedEngine):
    """A redone reply of which call ``number`` breaks off behind ``num_ids`` ids, and is then made again."""

    def __init__(self, scripts, number, num_ids):
        super().__init__(*scripts[: number + 1], scripts[number][num_ids:], *scripts[number + 1 :])
        self.number, self.num_left = number, num_ids

    async def stream(self, call):
        breaks, left = len(self.calls) == self.number, self.num_left
        async for delta in super().stream(call):
            if breaks and not left:
                raise EngineUnavailable("gone")
            yield delta
            left -= 1


@pytest.mark.parametrize(("number", "num_ids"), [(1, 0), (2, 0), (3, 0), (3, 1)])
def test_an_outage_while_a_round_is_redone_loses_and_repeats_no_id(sample, word, monkeypatch, number, num_ids):
    """Before the terminator that is thrown away, before the id with the ban, and in the rest."""
    monkeypatch.setattr(calls_module, "RETRY_PERIOD_S", 0)
    scripts = [[word[0], END], [END], [word[1]], [word[2], word[0], END], [word[0], EOS]]
    expected = run(sample(ScriptedEngine(*scripts)))
    result, sent = run(sample(Breaking(scripts, number, num_ids), max_outage_s=5))
    assert sent == expected[1]
    assert result["usage"] == expected[0]["usage"]
    assert [entry["num_outages"] for entry in result["rounds"]] == [0, 1, 0]
    assert result["rounds"][1]["num_engine_calls"] == 4
