# SPDX-License-Identifier: Apache-2.0
"""A sample from start to end with an engine that follows a script."""

import asyncio
import json
import time
from dataclasses import replace

import pytest
from collecting_sink import CollectingSink
from scripted_engine import ScriptedEngine

from budgetforce.core import Phase, ThinkingMode
from budgetforce.engine.base import Sampling
from budgetforce.errors import EngineFailed, InvalidRequest
from budgetforce.presets import Preset
from budgetforce.serving.planning.engine_refusals import name_request_field
from budgetforce.serving.planning.planner import Planner
from budgetforce.serving.replies.deadline import NEVER, Deadline
from budgetforce.serving.replies.engine_calls import EngineCalls, call_seed
from budgetforce.serving.replies.sample_runner import SampleRunner
from budgetforce.serving.replies.sinks import merge
from budgetforce.serving.requests.request import ReplyRequest

END, EOS = 2, 0


class Collected:
    """A sample runner and the chunks that it put."""

    def __init__(self, engine, plan, *, index=0, max_outage_s=0, **settings):
        sink = CollectingSink()
        self.chunks = sink.chunks
        calls = EngineCalls(engine=engine, plan=plan, index=index, max_outage_s=max_outage_s)
        self.runner = SampleRunner(plan=plan, calls=calls, sink=sink, index=index, **settings)

    @property
    def result(self):
        return json.loads(self.chunks[-1].result)

    @property
    def answer(self):
        return "".join(chunk.answer for chunk in self.chunks)


@pytest.fixture
def collect(tokenizer):
    def make(engine, *, vocab_rows=0, index=0, deadline=NEVER, max_outage_s=0, **changes):
        request = ReplyRequest(messages=({"role": "user", "content": "hi"},), prompt_field="text_input", **{"num_ignore": 0, **changes})
        plan = Planner(tokenizer, Preset.load("smollm2"), 1000, vocab_rows).plan(request)
        settings = {"request_id": "r", "tokenizer": tokenizer, "deadline": deadline}
        return Collected(engine, plan, index=index, max_outage_s=max_outage_s, **settings)

    return make


def run(collected):
    return asyncio.run(collected.runner.run())


@pytest.fixture
def word(tokenizer):
    return list(tokenizer.encode(" one two three"))


def test_every_round_is_an_engine_call_that_continues_the_ids_before(collect, word, tokenizer):
    """Also behind a refused end; the calls are numbered."""
    engine = ScriptedEngine([*word, END], [word[1], END], [EOS])
    run(collect(engine, num_ignore=1))
    first, second, _ = engine.calls
    assert [call.request_id.rpartition("-")[2] for call in engine.calls] == ["0", "1", "2"]
    assert second.input_ids == (*first.input_ids, *word, *tokenizer.encode("Wait"))
    assert not any(call.banned_ids for call in engine.calls)


def test_the_result_accounts_for_every_round(collect, word):
    engine = ScriptedEngine([*word, END], [*word, EOS], kv_reused_blocks=4)
    collected = collect(engine)
    run(collected)
    result = collected.result
    assert result["finish_reason"] == {"thinking": "natural", "answer": "stop"}
    assert [(r["phase"], r["num_sampled_tokens"], r["terminator_id"], r["kv_reused_blocks"]) for r in result["rounds"]] == [
        ("thinking", len(word) + 1, END, 4),
        ("answer", len(word) + 1, EOS, 4),
    ]
    assert result["usage"]["num_answer_tokens"] == len(word)
    assert result["usage"]["num_output_ids"] == sum(len(chunk.ids) for chunk in collected.chunks)
    assert (result["index"], result["effective"]["num_ignore"]) == (0, 0)


def test_a_stop_word_closes_the_engines_call(collect, tokenizer):
    ids = tokenizer.encode(" yes STOP and much more")
    engine = ScriptedEngine([END], ids)
    collected = collect(engine, stop_words=("STOP",))
    run(collected)
    assert engine.num_open == 0
    assert collected.answer == "Final Answer: yes "
    assert collected.result["stop_word"] == "STOP"


def test_text_held_back_for_a_stop_word_that_never_came_is_shown_at_the_end(collect, tokenizer):
    engine = ScriptedEngine([END], [*tokenizer.encode(" ST"), EOS])
    collected = collect(engine, stop_words=("STOP",))
    run(collected)
    assert collected.answer.endswith(" ST")


@pytest.mark.parametrize("burst", [1, 9])
@pytest.mark.parametrize(
    ("said", "stop_words", "answer", "found"),
    [
        (" The end", ("Final Answer: The",), "", "Final Answer: The"),
        (" The end", ("Answer: The", "zzz"), "Final ", "Answer: The"),
        (" The end", (": The e", " The end"), "Final Answer", ": The e"),
        (" A the", ("Answer: The",), "Final Answer: A the", None),
        (" Th", ("Answer: The",), "Final Answer: Th", None),
        ("", ("Answer: The",), "Final Answer:", None),
    ],
)
def test_a_stop_word_may_begin_in_the_injected_prefix(collect, tokenizer, burst, said, stop_words, answer, found):
    """It is not shown; text that turns out not to be a stop word is shown as injected."""
    engine = ScriptedEngine([END], [*tokenizer.encode(said), EOS], burst=burst)
    collected = collect(engine, stop_words=stop_words)
    run(collected)
    assert (collected.answer, collected.result["stop_word"]) == (answer, found)
    injected = "".join(chunk.answer for chunk in collected.chunks if chunk.event == "injected")
    assert injected == answer[: len("Final Answer:")]
    assert [chunk.event for chunk in collected.chunks].count("round_ended") == len(collected.result["rounds"])
    assert collected.chunks[-1].event == "done"
    assert collected.result["usage"]["num_output_ids"] == sum(len(chunk.ids) for chunk in collected.chunks)


@pytest.mark.parametrize(
    ("prefix", "said", "answer", "found"),
    [
        ("one\ntwo\n", " three\nfour", "one\ntwo\n three", "\n"),
        ("one\ntwo\n", "\nfour", "one\ntwo\n", "\n"),
        ("one\ntwo", " three", "one\ntwo three", None),
        ("the EN", "D of", "the ", "END"),
        ("the END", " of", "the END of", None),
    ],
)
def test_of_an_answer_that_is_continued_only_a_stop_word_that_ends_behind_it_counts(collect, tokenizer, prefix, said, answer, found):
    """As where a search asks for the next line of an answer of several."""
    engine = ScriptedEngine([*tokenizer.encode(said), EOS])
    collected = collect(engine, thinking=ThinkingMode.OFF, num_ignore=None, answer_prefix=prefix, stop_words=("\n", "END"))
    run(collected)
    assert (collected.answer, collected.result["stop_word"]) == (answer, found)


@pytest.mark.parametrize(
    ("tensor", "options", "field", "value"),
    [
        ("bad_words_list", {"sampling": {"bad_words": ("a", "b c", "d e")}}, "bad_words", "b c"),
        ("bad_words_list", {"thinking_sampling": {"bad_words": ("b c",)}}, "thinking_bad_words", "b c"),
        ("runtime_top_k", {"sampling": {"top_k": 7, "temperature": 1.0}}, "top_k", 7),
        ("temperature", {"thinking_sampling": {"temperature": 7.0}}, "thinking_temperature", 7),
        ("input_ids", {}, "input_ids", 7),
    ],
)
def test_what_the_engine_refuses_is_the_callers_field(collect, word, tensor, options, field, value):
    engine = ScriptedEngine(word)
    engine.fail_with = InvalidRequest(tensor, 7, "less")
    with pytest.raises(InvalidRequest) as refused:
        run(collect(engine, **options))
    assert (refused.value.field, refused.value.value, refused.value.allowed) == (field, value, "less")


def test_bad_words_of_a_preset_that_the_engine_refuses_are_named(tokenizer):
    preset = replace(Preset.load("smollm2"), sampling={"bad_words": ("a", "b c")})
    request = ReplyRequest(messages=({"role": "user", "content": "hi"},), prompt_field="text_input", num_ignore=0)
    plan = Planner(tokenizer, preset, 1000).plan(request)
    assert (plan.effective["bad_words"], plan.effective["thinking_bad_words"]) == (("a", "b c"), ("a", "b c"))
    refused = name_request_field(InvalidRequest("bad_words_list", 7, "a single id each"), plan, Phase.THINKING)
    assert (refused.field, refused.value, refused.allowed) == ("bad_words", "b c", "a single token each")


def test_an_engines_error_reaches_the_caller(collect, word):
    engine = ScriptedEngine(word)
    engine.fail_with = InvalidRequest("bad_words_list", 1, "none")
    collected = collect(engine)
    with pytest.raises(InvalidRequest):
        run(collected)
    assert all(chunk.result is None for chunk in collected.chunks)


def test_a_broken_contract_is_the_engines_failure(collect, word):
    collected = collect(ScriptedEngine(word))
    with pytest.raises(EngineFailed, match="without a terminator"):
        run(collected)


async def until(happened):
    while not happened():
        await asyncio.sleep(0)


def test_cancelling_closes_the_engines_call(collect, word):
    engine = ScriptedEngine(word)
    engine.hanging = {0}
    collected = collect(engine)

    async def scenario():
        task = asyncio.ensure_future(collected.runner.run())
        await until(lambda: len(collected.chunks) >= 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert engine.num_open == 0


def hurried(collected, moment):
    """Run to the end; answer_now comes at ``moment``."""

    async def scenario():
        task = asyncio.ensure_future(collected.runner.run())
        await until(moment)
        collected.runner.answer_now()
        await task

    asyncio.run(scenario())
    return collected.result


def test_answer_now_closes_the_thinking_call_and_answers(collect, word):
    engine = ScriptedEngine(word, [word[0], EOS])
    engine.hanging = {0}
    collected = collect(engine)
    result = hurried(collected, lambda: any(chunk.event == "thinking" for chunk in collected.chunks))
    assert result["finish_reason"] == {"thinking": "answer_now", "answer": "stop"}
    assert (result["rounds"][0]["ended_by"], engine.num_open) == ("answer_now", 0)


def test_answer_now_before_the_first_call_makes_none_for_thinking(collect, word):
    engine = ScriptedEngine([word[0], EOS])
    collected = collect(engine)
    result = hurried(collected, lambda: True)
    assert result["finish_reason"]["thinking"] == "answer_now"
    assert len(engine.calls) == 1


def test_answer_now_leaves_an_answer_alone(collect, word):
    engine = ScriptedEngine([*word, END], [*word, EOS])
    collected = collect(engine)
    result = hurried(collected, lambda: any(chunk.event == "answer" for chunk in collected.chunks))
    assert result["finish_reason"] == {"thinking": "natural", "answer": "stop"}
    assert result["usage"]["num_answer_tokens"] == len(word)


class Lingering(ScriptedEngine):
    """Its call ends a while after its last id."""

    async def stream(self, call):
        async for delta in super().stream(call):
            yield delta
        await asyncio.sleep(0.05)


def test_answer_now_between_a_rounds_last_id_and_its_end_changes_nothing(collect, tokenizer):
    """The model has opened its answer by itself: there is nothing to close, and the round's end stands."""
    think, answer = tokenizer.encode_marker("<|im_start|>think"), tokenizer.encode_marker("<|im_start|>answer")
    (a,) = tokenizer.encode("a")
    collected = collect(Lingering(think[:1], think[1:], [a, answer[0]], answer[1:], [a, END]), thinking=ThinkingMode.FREE, num_ignore=None)
    result = hurried(collected, lambda: any(chunk.event == "answer_opened" for chunk in collected.chunks))
    assert result["finish_reason"] == {"thinking": "natural", "answer": "stop"}


def test_answer_now_twice_is_the_same_as_once(collect, word):
    engine = ScriptedEngine(word, [word[0], EOS])
    engine.hanging = {0}
    collected = collect(engine)

    async def scenario():
        task = asyncio.ensure_future(collected.runner.run())
        await until(lambda: any(chunk.event == "thinking" for chunk in collected.chunks))
        for _ in range(4):
            collected.runner.answer_now()
            await asyncio.sleep(0)
        await task

    asyncio.run(scenario())
    assert collected.result["finish_reason"] == {"thinking": "answer_now", "answer": "stop"}


class SlowToLeave(ScriptedEngine):
    """Its call goes on for a while when its consumer wants no more."""

    async def run(self, call, take):
        def take_and_note(delta):
            self.is_refused = not take(delta)
            return not self.is_refused

        await super().run(call, take_and_note)
        if self.is_refused:
            await asyncio.Event().wait()


def test_a_deadline_that_comes_between_a_stop_word_and_the_end_of_its_call_changes_nothing(collect, tokenizer):
    engine = SlowToLeave([END], tokenizer.encode(" yes STOP and much more"))
    deadline = Deadline.after(time.monotonic(), 200, "answer")
    collected = collect(engine, stop_words=("STOP",), deadline=deadline)
    run(collected)
    assert (collected.result["finish_reason"]["answer"], collected.result["stop_word"]) == ("stop_word", "STOP")


@pytest.mark.parametrize("burst", [1, 3, 50])
def test_where_a_stop_word_ends_the_answer_does_not_depend_on_bursts(collect, tokenizer, burst):
    ids = tokenizer.encode(" yes STOP and much more")
    collected = collect(ScriptedEngine([END], ids, burst=burst), stop_words=("STOP",))
    run(collected)
    assert collected.result["usage"]["num_answer_tokens"] == len(tokenizer.encode(" yes STOP"))


def test_calls_of_requests_with_the_same_id_have_different_names(collect, word):
    engine = ScriptedEngine([END], [*word, EOS], [END], [*word, EOS])
    for _ in range(2):
        run(collect(engine))
    assert len({call.request_id for call in engine.calls}) == 4


def test_every_call_of_a_request_has_its_own_seed_and_equal_requests_repeat():
    seeds = [call_seed(7, sample, call) for sample in range(5) for call in range(10)]
    assert len(set(seeds)) == 50
    assert seeds == [call_seed(7, sample, call) for sample in range(5) for call in range(10)]


def test_without_a_seed_no_call_has_one(collect, word):
    """Or equal requests would repeat although nobody asked for it."""
    engine = ScriptedEngine([*word, END], [EOS])
    run(collect(engine))
    assert [call.sampling.seed for call in engine.calls] == [None, None]


def test_call_seeds_fit_into_int64():
    """vLLM and TensorRT-LLM's LLM API keep them so, unchecked; the caller's own seed may have all 64 bits."""
    seeds = [call_seed(seed, 0, call) for seed in (0, 7, 2**64 - 1) for call in range(1000)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62


def test_each_phase_has_its_sampling_parameters(collect, word):
    engine = ScriptedEngine([*word, END], [EOS])
    collected = collect(engine, sampling={"temperature": 0.5, "top_p": 0.9, "seed": 3}, thinking_sampling={"temperature": 1.0})
    run(collected)
    thinking, answer = (call.sampling for call in engine.calls)
    assert thinking == Sampling(temperature=1.0, top_p=0.9, seed=call_seed(3, 0, 0))
    assert answer == Sampling(temperature=0.5, top_p=0.9, seed=call_seed(3, 0, 1))
    assert (collected.result["effective"]["temperature"], collected.result["effective"]["thinking_temperature"]) == (0.5, 1.0)


def test_rows_without_a_token_are_masked_in_every_call_and_dropped_if_they_come_all_the_same(collect, word, tokenizer):
    """The answer goes on without those that came."""
    num_tokens = len(tokenizer.token_bytes)
    phantoms = frozenset(range(num_tokens, num_tokens + 8))
    engine = ScriptedEngine([word[0], END], [END], [num_tokens + 100], [*word, num_tokens + 100, END], [EOS])
    collected = collect(engine, vocab_rows=num_tokens + 8, num_ignore=1)
    run(collected)
    first, free, banned, rest, answer = engine.calls
    assert [call.banned_ids for call in engine.calls] == [phantoms, phantoms, phantoms | first.stop_ids, phantoms, phantoms]
    assert rest.input_ids == banned.input_ids == free.input_ids
    assert num_tokens + 100 not in answer.input_ids
    assert collected.result["usage"]["num_dropped"] == 2
    assert collected.result["effective"]["num_masked_ids"] == 8
    assert num_tokens + 100 not in [token_id for chunk in collected.chunks for token_id in chunk.ids]


def test_each_rounds_report_follows_its_text(collect, word):
    """Before what is put in behind it; all of them together are the result's trace."""
    a = word[0]
    collected = collect(ScriptedEngine([a, END], [a, a, END], [a, EOS]), num_ignore=1)
    run(collected)
    think = ["injected", "thinking", "round_ended"]
    answer = ["answer_opened", "injected", "answer", "round_ended", "done"]
    assert [chunk.event for chunk in merge(collected.chunks)] == [*think, *think, *answer]
    assert [json.loads(chunk.round) for chunk in collected.chunks if chunk.round is not None] == collected.result["rounds"]


def test_text_that_was_held_back_comes_before_its_rounds_report(collect, tokenizer):
    """Here the text that might have become a stop word."""
    collected = collect(ScriptedEngine([END], [*tokenizer.encode("x ab"), EOS]), stop_words=("abc",))
    run(collected)
    *_, text, ended, done = collected.chunks
    assert (text.answer[-2:], ended.event, done.event) == ("ab", "round_ended", "done")


def test_grace_stops_at_the_end_of_a_sentence(collect, tokenizer):
    """The engine itself gets the ids that end a sentence."""
    prefix = list(tokenizer.encode("I need to figure out"))
    script = list(tokenizer.encode(" one two three. four five"))
    engine = ScriptedEngine(script[:2], script[2:], [EOS])
    collected = collect(engine, max_thinking_tokens=len(prefix) + 2, grace_tokens=8)
    run(collected)
    assert "".join(chunk.thinking for chunk in collected.chunks) == "I need to figure out one two three."
    assert (collected.result["usage"]["num_grace_tokens"], collected.result["rounds"][1]["ended_by"]) == (2, "boundary")


def test_a_free_model_is_reported_as_it_goes(collect, tokenizer):
    think, answer = tokenizer.encode_marker("<|im_start|>think"), tokenizer.encode_marker("<|im_start|>answer")
    (a,) = tokenizer.encode("a")
    engine = ScriptedEngine(think[:1], think[1:], [a, answer[0]], answer[1:], [a, END])
    collected = collect(engine, thinking=ThinkingMode.FREE, num_ignore=None)
    run(collected)
    shown = [chunk.event for chunk in collected.chunks if chunk.event != "round_ended"]
    assert shown == ["thinking_opened", "thinking", "answer_opened", "answer", "done"]
    assert collected.result["finish_reason"] == {"thinking": "natural", "answer": "stop"}


def test_thinking_off_asks_for_the_answer_alone(collect, word):
    engine = ScriptedEngine([*word, END])
    collected = collect(engine, thinking=ThinkingMode.OFF, num_ignore=None)
    run(collected)
    assert len(engine.calls) == 1
    assert collected.result["finish_reason"] == {"thinking": "off", "answer": "stop"}
    assert not any(chunk.thinking for chunk in collected.chunks)
