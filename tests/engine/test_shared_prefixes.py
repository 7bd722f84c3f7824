# SPDX-License-Identifier: Apache-2.0
"""A call samples the same ids alone and beside others, whatever prefix they share: KV never leaks between calls."""

import random

import pytest
from copying_model import OFFSET, next_ids, write_gguf

from budgetforce.engine.cpu.embedded import EmbeddedEngine
from budgetforce.engine.cpu.openvino_pipeline import BLOCK_SIZE, OpenVinoPipeline
from budgetforce.engine.token_engine import TokenCall
from engine.shared_prefixes import RandomCalls, random_ids, run


def openvino(weights):
    return OpenVinoPipeline(weights, num_kv_blocks=2000)


def llamacpp(weights):
    module = pytest.importorskip("budgetforce.engine.cpu.llamacpp_pipeline")
    return module.LlamaCppPipeline(weights, num_kv_tokens=8192, num_slots=4, num_threads=1)


@pytest.fixture(scope="module")
def copying(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("copying"))


@pytest.fixture(scope="module", params=[openvino, llamacpp])
def engine(request, copying):
    weights, limits = copying
    pipeline = request.param(weights)
    return EmbeddedEngine(lambda: pipeline, limits)


@pytest.fixture(scope="module")
def openvino_engine(copying):
    weights, limits = copying
    return EmbeddedEngine(lambda: openvino(weights), limits)


def test_the_copying_model_samples_the_expected_ids(engine):
    prompts = [random_ids(random.Random(n), n) for n in (OFFSET + 1, 333)]
    assert run(engine, *prompts) == [next_ids(prompt, OFFSET + 5) for prompt in prompts]


def test_calls_with_shared_prefixes_sample_the_same_ids_as_alone(engine):
    """Random shared prefixes, divergences, lengths, start times and cancels."""
    calls = RandomCalls(engine, random.Random(1))
    calls.run(num_calls := 100 if isinstance(engine._pipeline, OpenVinoPipeline) else 20)
    assert (calls.num_over, calls.wrong) == (num_calls, [])


@pytest.mark.parametrize("num_sampled", [0, 12], ids=["a prompt", "a reply"])
@pytest.mark.parametrize("delay", [0, 1], ids=["at once", "a step apart"])
def test_two_continuations_of_an_end_inside_a_block_do_not_corrupt_each_other(openvino_engine, num_sampled, delay):
    """Nor the blocks that the cache keeps. A step apart, it happened to a prompt that filled the shared block exactly."""
    engine, draw = openvino_engine, random.Random(num_sampled + delay)
    prompt = random_ids(draw, 2 * BLOCK_SIZE + 9 - num_sampled)
    (said,) = run(engine, prompt, num_ids=num_sampled + 1)
    stem = (*prompt, *said[:num_sampled])
    pair = [stem + random_ids(draw, 3 * BLOCK_SIZE - len(stem)) for _ in range(2)]
    expected = [next_ids(one, OFFSET + 5) for one in pair]
    keys = {}
    for one in pair:
        keys[engine.submit(TokenCall(input_ids=one, max_new_tokens=OFFSET + 5))[0]] = []
        for _ in range(delay):
            for progress in engine.step():
                keys[progress.key] += progress.ids
    while engine.has_work():
        for progress in engine.step():
            keys[progress.key] += progress.ids
    assert list(keys.values()) == expected
    assert [run(engine, one)[0] for one in pair] == expected


def test_reuse_is_not_over_reported_when_a_small_pool_fills_for_the_first_time(copying):
    """Blocks never found again are evicted first, though they are the newest. With one id a step, the steps count the computed ids."""
    weights, limits = copying
    pipeline = OpenVinoPipeline(weights, num_kv_blocks=40, max_num_batched_tokens=1)
    engine, draw = EmbeddedEngine(lambda: pipeline, limits), random.Random(1)
    hot, warm, young, last = (random_ids(draw, num_blocks * BLOCK_SIZE + 3) for num_blocks in (15, 14, 7, 8))
    reported, reused = [], []
    for prompt in (hot, hot, warm, warm, young, last, young):
        _, usage = engine.submit(TokenCall(input_ids=prompt, max_new_tokens=1))
        num_steps = 0
        while engine.has_work():
            engine.step()
            num_steps += 1
        reported.append(usage.num_reused_blocks)
        reused.append((len(prompt) - num_steps) // BLOCK_SIZE)
    assert reused == [0, 15, 0, 14, 0, 0, 0]
    assert all(told <= true for told, true in zip(reported, reused, strict=True)), (reported, reused)
    assert reported[:4] == [0, 15, 0, 14]
