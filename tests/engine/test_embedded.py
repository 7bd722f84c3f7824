# SPDX-License-Identifier: Apache-2.0
"""The CPU engine keeps TensorRT-LLM's rules, whatever pipeline computes."""

import pytest
from scripted_pipeline import ScriptedPipeline

from budgetforce.engine.base import Sampling
from budgetforce.engine.cpu.embedded import EmbeddedEngine
from budgetforce.engine.token_engine import ModelLimits, TokenCall
from budgetforce.errors import InvalidRequest

LIMITS = ModelLimits(vocab_size=100, max_seq_len=50)


def call(ids=(1, 2, 3), **changes):
    return TokenCall(**{"input_ids": tuple(ids), "max_new_tokens": 5, **changes})


def engine_that_says(*ids, **settings):
    return EmbeddedEngine(lambda: ScriptedPipeline(lambda _: list(ids), **settings), LIMITS)


def run(engine, *calls):
    """Step until all calls are over; return the ids of each."""
    keys = {engine.submit(one)[0]: index for index, one in enumerate(calls)}
    said, over = {index: [] for index in keys.values()}, set()
    while len(over) < len(calls):
        for progress in engine.step():
            assert progress.error is None
            said[keys[progress.key]] += progress.ids
            if progress.finished:
                over.add(progress.key)
    return [said[index] for index in range(len(calls))]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, [10, 11, 12, 13, 14]),
        ({"stop_words": ((12,),)}, [10, 11, 12]),  # a stop word is returned
        ({"end_id": 12}, [10, 11]),  # an end id is not
        ({"stop_words": ((11, 12), (14,))}, [10, 11, 12]),
        ({"stop_words": ((3, 10),)}, [10]),  # it may begin inside the prompt
        ({"end_id": 10, "min_tokens": 1}, [11, 12, 13, 14, 15]),
        ({"sampling": Sampling(bad_words=((11,), (13,)))}, [10, 12, 14, 15, 16]),
        ({"max_new_tokens": 1}, [10]),
        ({"min_tokens": 3}, [10, 11, 12, 13, 14]),  # without an end id it keeps nothing off
    ],
)
def test_a_call_ends_as_tensorrt_llm_would_end_it(changes, said):
    assert run(engine_that_says(*range(10, 30)), call(**changes)) == [said]


def test_calls_run_concurrently():
    """Continuous batching: every step computes all of them."""
    engine = engine_that_says(*range(10, 30))
    assert run(engine, call(), call(max_new_tokens=2)) == [[10, 11, 12, 13, 14], [10, 11]]
    assert engine._pipeline.computed[0] == [0, 1]


def test_a_call_that_is_over_is_not_computed_again():
    engine = engine_that_says(*range(10, 30))
    run(engine, call(stop_words=((10,),)), call())
    assert engine._pipeline.computed[1:] == [[1]] * 4


def test_a_cancelled_call_is_not_computed_again_and_returns_no_more_ids():
    engine = engine_that_says(*range(10, 30))
    key, _ = engine.submit(call())
    engine.step()
    engine.cancel(key)
    assert engine.step() == []
    assert engine._pipeline.computed == [[key], []]
    engine.cancel(key)  # again: nothing


def test_a_call_cancelled_in_prefill_is_computed_up_to_its_first_id_and_returns_no_ids():
    """Until then it holds its blocks in the cache."""
    prefill: list[int] = []
    engine = engine_that_says(*range(10, 30), num_blocks=5)
    pipeline = engine._pipeline
    sample = pipeline.step
    pipeline.step = lambda: sample() if prefill else {}
    (key, _), (behind, _) = engine.submit(call()), engine.submit(call())
    engine.step()
    engine.cancel(key)
    assert engine.step() == []
    assert list(pipeline._running) == [key]
    prefill.append(1)
    assert engine.step() == []
    assert list(pipeline._running) == []
    assert [progress.key for progress in engine.step()] == [behind]


def test_a_pipeline_that_breaks_reports_no_cancelled_calls():
    engine = engine_that_says(*range(10, 30))
    engine._pipeline.step = dict
    (key, _), (other, _) = engine.submit(call()), engine.submit(call())
    engine.step()
    engine.cancel(key)
    del engine._pipeline.step
    engine._pipeline.broken = True
    assert [progress.key for progress in engine.step()] == [other]


def test_calls_wait_in_order_until_their_maximum_length_fits_the_cache():
    """No running call is ever evicted for another: 3 + 5 ids are 2 blocks, and a block for copy on write."""
    engine = engine_that_says(*range(10, 30), num_blocks=6)
    assert len(run(engine, *[call() for _ in range(3)])) == 3
    assert engine._pipeline.computed[0] == [0, 1]


def test_a_call_that_the_pipeline_holds_back_waits_and_keeps_its_place():
    """Others start meanwhile. The pipeline sees the calls in order, so it knows which calls they would overtake."""
    engine = engine_that_says(*range(10, 30))
    engine._pipeline.held_back = {(4, 5), (6,)}
    first, behind, second = (engine.submit(call(ids))[0] for ids in ((4, 5), (1, 2), (6,)))
    assert [progress.key for progress in engine.step()] == [behind]
    assert engine._pipeline.offered == [first, behind, second]
    engine._pipeline.held_back.clear()
    assert [progress.key for progress in engine.step()] == [behind, first, second]


def test_a_waiting_call_can_be_cancelled():
    engine = engine_that_says(*range(10, 30), num_blocks=3)
    engine.submit(call())
    key, _ = engine.submit(call())
    engine.step()
    engine.cancel(key)
    while engine.has_work():
        engine.step()
    assert all(key not in computed for computed in engine._pipeline.computed)


def test_usage_counts_reused_and_occupied_blocks():
    """The continuation finds the ids that the first call computed, in full blocks of 4."""
    engine = engine_that_says(*range(10, 30))
    _, first = engine.submit(call())
    while engine.has_work():
        engine.step()
    _, second = engine.submit(call([1, 2, 3, 10, 11, 12, 13, 14, 99]))
    while engine.has_work():
        engine.step()
    assert (first.num_reused_blocks, first.num_total_blocks) == (0, 2)
    assert (second.num_reused_blocks, second.num_total_blocks) == (1, 4)  # the 8th id's KV was never computed


def test_the_pipelines_own_count_of_reuse_is_used():
    """In full blocks; our own lower bound is for pipelines without a count."""
    engine = engine_that_says(*range(10, 30))
    engine._pipeline.reused_ids = 7
    _, usage = engine.submit(call())
    engine.step()
    assert usage.num_reused_blocks == 1


def test_a_broken_pipeline_ends_its_calls_and_is_replaced():
    """Running and waiting calls, each with the error's first line; the next call runs."""
    engine = engine_that_says(*range(10, 30), num_blocks=3)
    keys = [engine.submit(call())[0] for _ in range(2)]
    engine.step()
    engine._pipeline.broken = True
    ended = engine.step()
    assert [(progress.key, str(progress.error)) for progress in ended] == [(key, "ENGINE_FAILED: the pipeline broke") for key in keys]
    assert run(engine, call(max_new_tokens=1)) == [[10]]


def test_a_pipeline_that_breaks_in_another_way_and_without_words_is_replaced_too(monkeypatch):
    engine = engine_that_says(*range(10, 30))

    def fail():
        raise MemoryError

    monkeypatch.setattr(engine._pipeline, "step", fail)
    engine.submit(call())
    (ended,) = engine.step()
    assert str(ended.error) == "ENGINE_FAILED: MemoryError"
    assert not engine.has_work()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"input_ids": (1, 100)}, "input_ids"),
        ({"sampling": Sampling(bad_words=((1,),)), "min_tokens": 1, "end_id": 2}, "min_tokens"),
        ({"sampling": Sampling(bad_words=((1,), (2**30,)))}, "bad_words_list"),
        ({"min_tokens": 1, "end_id": 100}, "end_id"),
    ],
)
def test_unsupported_values_are_refused_by_name(changes, field):
    """Before the pipeline sees them: bad ids would break it for all calls."""
    with pytest.raises(InvalidRequest) as refused:
        engine_that_says(10).submit(call(**changes))
    assert field == refused.value.field


def test_a_call_longer_than_the_whole_cache_is_refused_not_queued_for_ever():
    engine = engine_that_says(10, num_blocks=3)
    with pytest.raises(InvalidRequest, match=r"at most \d+, the rest of a KV cache of 12 tokens behind this prompt") as refused:
        engine.submit(call(max_new_tokens=20))
    most = int(refused.value.allowed.split()[2].rstrip(","))
    engine.submit(call(max_new_tokens=most))
    with pytest.raises(InvalidRequest):
        engine.submit(call(max_new_tokens=most + 1))
