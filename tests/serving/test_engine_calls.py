# SPDX-License-Identifier: Apache-2.0
"""The engine calls of a round, whenever the engine fails during them."""

import asyncio

import pytest
from scripted_engine import ScriptedEngine

from budgetforce.core import BudgetForcer, RoundEnded, Started, TokensSampled
from budgetforce.errors import EngineUnavailable
from budgetforce.presets import Preset
from budgetforce.serving.planning.planner import Planner
from budgetforce.serving.replies import engine_calls as calls_module
from budgetforce.serving.replies.engine_calls import EngineCalls
from budgetforce.serving.replies.result import RoundTrace
from budgetforce.serving.requests.request import ReplyRequest

END = 2


class Breaking(ScriptedEngine):
    """Says ``text``, from wherever the context is in it; breaks off behind so many ids of the calls with these numbers."""

    def __init__(self, text, cuts):
        super().__init__()
        self.text, self.cuts, self.start = text, cuts, None

    async def stream(self, call):
        self.start = len(call.input_ids) if self.start is None else self.start
        left = self.cuts.get(len(self.calls))
        self.enqueue(self.text[len(call.input_ids) - self.start :])
        async for delta in super().stream(call):
            if left == 0:
                raise EngineUnavailable("gone")
            yield delta
            left = None if left is None else left - 1
        if left is not None:
            raise EngineUnavailable("gone")


@pytest.fixture
def words(tokenizer):
    return list(tokenizer.encode(" one two three four"))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(calls_module, "RETRY_PERIOD_S", 0)


@pytest.fixture
def round_of(tokenizer):
    """Run the first round of a reply, or the second, which must not begin with a terminator (nothing is injected before it)."""

    def run(engine, *, second=False, max_outage_s=5.0):
        fields = {"messages": ({"role": "user", "content": "hi"},), "num_ignore": 3, "ignore_str": ("",) if second else ("Wait",)}
        request = ReplyRequest(prompt_field="text_input", **fields)
        plan = Planner(tokenizer, Preset.load("smollm2"), 1000).plan(request)
        forcer, calls, trace = BudgetForcer(plan.forcing), EngineCalls(engine=engine, plan=plan, max_outage_s=max_outage_s), RoundTrace()
        (*_, generate) = forcer.receive(Started())
        if second:
            forcer.receive(TokensSampled((*engine.text[:1], END)))
            (*_, generate) = forcer.receive(RoundEnded())
            calls.begun.set()

        async def collect():
            said = []

            def take(ids):
                said.extend(ids)
                forcer.receive(TokensSampled(ids))
                return True

            assert await calls.run_round(generate, forcer, trace, take)
            return said

        return asyncio.run(collect()), trace

    return run


@pytest.mark.parametrize("cut", range(6))
def test_a_call_that_breaks_off_is_continued_behind_the_ids_that_came(round_of, words, cut):
    """At every place: no id is lost, none comes twice, and nothing is asked when the end had come."""
    engine = Breaking([*words, END], cuts={0: cut, 1: 1} if cut else {})
    came, trace = round_of(engine)
    assert came == [*words, END]
    assert trace.num_outages == {0: 0, 5: 0, 4: 1}.get(cut, 2 if cut < 4 else 0)
    assert len(engine.calls) == trace.num_engine_calls == trace.num_outages + 1


OUTAGES = [({}, 1), ({0: 0}, 2), ({0: 1}, 1), ({1: 0}, 1), ({1: 2}, 1), ({0: 0, 1: 0, 2: 1, 3: 1}, 3)]


@pytest.mark.parametrize(("cuts", "num_protected"), OUTAGES)
def test_an_outage_in_a_round_that_must_not_begin_with_a_terminator(round_of, words, cuts, num_protected):
    """The first id stays protected however often it is asked for, and no other is."""
    engine = Breaking([*words, END], cuts)
    came, _ = round_of(engine, second=True)
    assert came == [*words, END]
    assert [bool(call.banned_ids) for call in engine.calls] == [True] * num_protected + [False] * (len(engine.calls) - num_protected)
    assert {call.max_new_tokens for call in engine.calls if call.banned_ids} == {1}


def test_before_the_first_id_an_outage_is_an_error(round_of, words):
    """The client loses nothing by sending the request again, here or to another server."""
    with pytest.raises(EngineUnavailable):
        round_of(Breaking([*words, END], cuts={0: 0}))


def test_an_outage_that_lasts_ends_the_reply(round_of, words):
    engine = Breaking([*words, END], cuts={0: 2})
    engine.ready = False
    with pytest.raises(EngineUnavailable, match="gone"):
        round_of(engine, max_outage_s=0.05)
    assert len(engine.calls) == 1


def test_an_engine_that_claims_to_be_ready_and_is_not_is_given_up(round_of, words):
    engine = Breaking([*words, END], cuts={0: 2} | dict.fromkeys(range(1, 1_000_000), 0))
    with pytest.raises(EngineUnavailable, match="gone"):
        round_of(engine, max_outage_s=0.05)
    assert len(engine.calls) > 2
