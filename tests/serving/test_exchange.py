# SPDX-License-Identifier: Apache-2.0
"""One request from start to end with an engine that follows a script."""

import asyncio
import json

import pytest
from scripted_engine import ScriptedEngine

from budgetforce.engine.base import Sampling
from budgetforce.errors import EngineFailed, InvalidRequest
from budgetforce.presets import Preset
from budgetforce.serving.exchange import Exchange, ReplyText, call_seed
from budgetforce.serving.planning import Planner
from budgetforce.serving.request import ReplyRequest

END, EOS = 2, 0


class Sink:
    """Keeps what it is given."""

    def __init__(self):
        self.pieces, self.result, self.settled = [], None, False

    def put(self, piece):
        self.pieces.append(piece)

    async def close(self, result):
        self.result = json.loads(result)

    async def settle(self):
        self.settled = True


@pytest.fixture
def exchange(tokenizer):
    def make(engine, **changes):
        request = ReplyRequest(messages=({"role": "user", "content": "hi"},), prompt_field="text_input", **{"num_ignore": 0, **changes})
        plan = Planner(tokenizer, Preset.load("smollm2"), 1000).plan(request)
        return Exchange("r", plan, engine, Sink(), ReplyText(tokenizer.token_bytes, plan.stop_words))

    return make


def run(exchange):
    return asyncio.run(exchange.run())


@pytest.fixture
def word(tokenizer):
    return list(tokenizer.encode(" one two three"))


def test_a_round_that_must_not_begin_with_a_terminator_is_two_calls(exchange, word):
    """One id with the terminators banned, then the rest, each named after the request."""
    engine = ScriptedEngine([*word, END], [END, word[0]], [word[1], END], [EOS])
    run(exchange(engine, num_ignore=1))
    first, banned, rest, answer = engine.calls
    assert [call.request_id for call in engine.calls] == ["r-0", "r-1", "r-2", "r-3"]
    assert (banned.max_new_tokens, banned.banned_ids) == (1, banned.stop_ids)
    assert rest.input_ids == (*banned.input_ids, word[0])
    assert not (first.banned_ids or rest.banned_ids or answer.banned_ids)


def test_a_budget_of_one_more_id_needs_no_second_call(exchange, word, tokenizer):
    prefix = len(tokenizer.encode("I need to figure out"))
    engine = ScriptedEngine([word[0], END], [word[1]], [EOS])
    run(exchange(engine, num_ignore=1, max_thinking_tokens=prefix + 3))
    assert [call.max_new_tokens for call in engine.calls[:2]] == [3, 1]
    assert len(engine.calls) == 3


def test_the_result_accounts_for_every_round(exchange, word):
    engine = ScriptedEngine([*word, END], [*word, EOS], kv_reused_blocks=4)
    one = exchange(engine)
    run(one)
    result = one.sink.result
    assert result["finish_reason"] == {"thinking": "natural", "answer": "stop"}
    assert [(r["phase"], r["num_sampled_tokens"], r["terminator_id"], r["kv_reused_blocks"]) for r in result["rounds"]] == [
        ("thinking", len(word) + 1, END, 4),
        ("answer", len(word) + 1, EOS, 4),
    ]
    assert result["usage"]["num_answer_tokens"] == len(word)
    assert result["effective"]["num_ignore"] == 0


def test_a_stop_word_closes_the_engines_call(exchange, tokenizer):
    ids = tokenizer.encode(" yes STOP and much more")
    engine = ScriptedEngine([END], ids)
    one = exchange(engine, stop_words=("STOP",))
    run(one)
    assert engine.num_open == 0
    assert "".join(piece.answer for piece in one.sink.pieces) == "Final Answer: yes "
    assert one.sink.result["stop_word"] == "STOP"


def test_text_held_back_for_a_stop_word_that_never_came_is_shown_at_the_end(exchange, tokenizer):
    engine = ScriptedEngine([END], [*tokenizer.encode(" ST"), EOS])
    one = exchange(engine, stop_words=("STOP",))
    run(one)
    assert "".join(piece.answer for piece in one.sink.pieces).endswith(" ST")


@pytest.mark.parametrize("error", [EngineFailed("broke"), InvalidRequest("bad_words_list", 1, "none")])
def test_an_engines_error_reaches_the_caller_after_the_sink_is_settled(exchange, word, error):
    engine = ScriptedEngine(word)
    engine.fail_with = error
    one = exchange(engine)
    with pytest.raises(type(error)):
        run(one)
    assert one.sink.settled
    assert one.sink.result is None


def test_a_broken_contract_is_the_engines_failure(exchange, word):
    one = exchange(ScriptedEngine(word))
    with pytest.raises(EngineFailed, match="without a terminator"):
        run(one)
    assert one.sink.settled


def test_cancelling_closes_the_engines_call_and_settles_the_sink(exchange, word):
    engine = ScriptedEngine(word)
    engine.hang = True
    one = exchange(engine)

    async def scenario():
        task = asyncio.ensure_future(one.run())
        while len(one.sink.pieces) < 2:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert engine.num_open == 0
    assert one.sink.settled


def test_every_call_of_a_request_has_its_own_seed_and_equal_requests_repeat():
    seeds = [call_seed(7, index) for index in range(50)]
    assert len(set(seeds)) == 50
    assert seeds == [call_seed(7, index) for index in range(50)]
    assert call_seed(None, 0) is None
    assert all(0 <= seed < 2**64 for seed in seeds)


def test_the_engine_is_sampled_as_asked(exchange, word):
    engine = ScriptedEngine([*word, END], [EOS])
    run(exchange(engine, temperature=0.5, top_p=0.9, seed=3))
    sampling = engine.calls[0].sampling
    assert sampling == Sampling(temperature=0.5, top_p=0.9, seed=call_seed(3, 0))
