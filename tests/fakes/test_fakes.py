# SPDX-License-Identifier: Apache-2.0
"""The fakes keep the rules of the originals."""

import asyncio
from importlib import metadata

import pytest
import triton_python_backend_utils as pb_utils
from context_engine import ContextEngine, ContextModel, ScriptModel
from scripted_engine import ScriptedEngine, scripted_ids

from budgetforce.engine.base import EngineCall


def call(**changes):
    return EngineCall(**{"request_id": "r", "input_ids": (1,), "max_new_tokens": 3, "stop_ids": frozenset({9}), **changes})


@pytest.mark.parametrize(
    ("script", "banned", "said"),
    [((5, 6, 7, 8), (), (5, 6, 7)), ((5, 9, 6), (), (5, 9)), ((9, 5), (9,), (5,)), ((), (), ())],
)
def test_a_script_is_cut_as_an_engine_would_cut_it(script, banned, said):
    """At the length and after a stop id; banned ids never appear."""
    assert said == scripted_ids(script, call(banned_ids=frozenset(banned)))


def test_a_closed_stream_is_counted_as_closed():
    """Tests of cancelling rely on it."""

    async def scenario():
        engine = ScriptedEngine((5, 6))
        stream = engine.stream(call())
        await anext(stream)
        assert engine.num_open == 1
        await stream.aclose()
        assert engine.num_open == 0

    asyncio.run(scenario())


def test_the_sender_refuses_what_crashes_a_server():
    """A send after the final one, and a query for cancellation after it."""
    sender = pb_utils.ResponseSender()
    sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
    with pytest.raises(RuntimeError, match="closed"):
        sender.send()
    with pytest.raises(AssertionError, match="crashes"):
        sender.is_cancelled()


def test_a_context_model_samples_equal_ids_only_after_equal_contexts():
    """And never a banned id; the engine returns the ids of the model."""
    model, again = ContextModel(range(50), salt=1), ContextModel(range(50), salt=1)
    contexts = [tuple(range(n)) for n in range(40)]
    assert [model.next_id(c) for c in contexts] == [again.next_id(c) for c in contexts]
    assert len({model.next_id(c) for c in contexts}) > 10
    assert model.next_id((1,), banned=frozenset(range(1, 50))) == 0
    ids, finish = model.generate([1, 2], 30, 0, {7, 8, 9})
    assert finish == ("stop" if ids[-1] in {7, 8, 9} else "length")

    async def stream():
        one = call(input_ids=(1, 2), max_new_tokens=30, stop_ids=frozenset({7, 8, 9}))
        return [i async for delta in ContextEngine(again).stream(one) for i in delta.ids]

    assert asyncio.run(stream()) == ids


def test_a_script_model_samples_its_script_whatever_the_context():
    """Banned ids are replaced, and the last id repeats."""
    model = ScriptModel([1, 2], then=3, instead=4)
    assert [model.next_id(()), model.next_id((9,), banned=frozenset({2})), model.next_id(()), model.next_id(())] == [1, 4, 3, 3]


def test_the_header_bears_a_machine_without_an_engine_of_its_own(request, root, monkeypatch):
    """From such a machine a server elsewhere is tested against the contract."""
    header = request.config.pluginmanager.get_plugin(str(root / "tests/conftest.py")).pytest_report_header

    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    assert "openvino-genai not installed" in header()
