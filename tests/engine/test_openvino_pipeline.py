# SPDX-License-Identifier: Apache-2.0
"""OpenVINO with s1-tiny: ending rules, and reuse that is reported truthfully."""

import os
import random
import subprocess
import sys

import pytest
from padded_model import prepare_padded

from budgetforce.engine.base import Sampling
from budgetforce.engine.cpu.embedded import EmbeddedEngine
from budgetforce.engine.cpu.openvino_pipeline import OpenVinoPipeline
from budgetforce.engine.token_engine import TokenCall

NUM_BYTES = 256  # ids below it are single bytes
NUM_ROWS = 1024


def engine_over(files):
    return EmbeddedEngine(lambda: OpenVinoPipeline(files.weights, num_kv_blocks=400), files.limits)


@pytest.fixture(scope="module")
def engine(s1_tiny):
    return engine_over(s1_tiny)


@pytest.fixture(scope="module")
def terminators(tiny_tokenizer):
    """The control tokens, each as a stop word."""
    return tuple((token_id,) for token_id in tiny_tokenizer.encode_marker("<|endoftext|><|im_start|><|im_end|>"))


@pytest.fixture(scope="module")
def question(tiny_tokenizer):
    """A question behind which a thought has been opened, which ends by itself."""
    chat = tiny_tokenizer.encode_chat([{"role": "user", "content": "How many r in raspberry"}])
    return (*chat, *tiny_tokenizer.encode_marker("<|im_start|>think\n"))


def prompt(seed, length=40):
    return tuple(random.Random(seed).randrange(NUM_BYTES) for _ in range(length))


def run(engine, *calls):
    submitted = [engine.submit(call) for call in calls]
    said = {key: [] for key, _ in submitted}
    num_steps = 0
    while engine.has_work():
        num_steps += 1
        for progress in engine.step():
            assert progress.error is None
            said[progress.key] += progress.ids
    return [(said[key], usage) for key, usage in submitted], num_steps


def call(ids, **changes):
    return TokenCall(**{"input_ids": tuple(ids), "max_new_tokens": 12, **changes})


def test_calls_of_different_lengths_each_get_their_number_of_ids(engine):
    results, _ = run(engine, *(call(prompt(n), max_new_tokens=n) for n in (1, 5, 20)))
    assert [len(ids) for ids, _ in results] == [1, 5, 20]


def test_a_terminator_ends_a_call_and_is_returned(engine, question, terminators):
    ((said, _),), _ = run(engine, call(question, max_new_tokens=200, stop_words=terminators))
    assert (said[-1],) in terminators
    assert len(said) > 1 and not any((token_id,) in terminators for token_id in said[:-1])


def test_banned_terminators_do_not_come(engine, question, terminators):
    """The first id of a continuation after a refused end; without the ban it is a terminator again."""
    ((said, _),), _ = run(engine, call(question, max_new_tokens=200, stop_words=terminators))
    context = (*question, *said[:-1])
    ((free, _), (banned, _)), _ = run(
        engine,
        call(context, max_new_tokens=1, stop_words=terminators),
        call(context, max_new_tokens=1, stop_words=terminators, sampling=Sampling(bad_words=terminators)),
    )
    assert (free[0],) in terminators
    assert (banned[0],) not in terminators


def test_as_many_ids_as_qwen_has_phantoms_are_kept_off_for_a_whole_call(tmp_path, question, terminators):
    """399, among them all ids that the model would sample; a terminator still ends the call."""
    engine = engine_over(prepare_padded(tmp_path, NUM_ROWS))
    ((free, _),), _ = run(engine, call(question, max_new_tokens=80))
    mask = [*dict.fromkeys(i for i in (*free, *range(NUM_ROWS - 399, NUM_ROWS)) if (i,) not in terminators)][:399]
    bad_words = tuple((token_id,) for token_id in mask)
    ((masked, _),), _ = run(engine, call(question, max_new_tokens=80, stop_words=terminators, sampling=Sampling(bad_words=bad_words)))
    assert len(mask) == 399 and set(free) & set(mask)
    assert not set(masked) & set(mask)
    assert len(masked) == 80 or (masked[-1],) in terminators


def test_nothing_else_ends_a_call(engine, question):
    """Without stop words the call runs on past the model's own end."""
    ((said, _),), _ = run(engine, call(question, max_new_tokens=60))
    assert len(said) == 60


def test_equal_seeds_repeat_and_other_seeds_differ(engine):
    sampling = [Sampling(temperature=1.0, top_p=1.0, seed=seed) for seed in (1, 1, 2)]
    results, _ = run(engine, *(call(prompt(0), sampling=one) for one in sampling))
    first, again, other = [ids for ids, _ in results]
    assert first == again != other


def test_a_cancelled_call_stops_within_a_step(engine):
    key, _ = engine.submit(call(prompt(1), max_new_tokens=1000))
    engine.step()
    engine.cancel(key)
    assert engine.step() == []
    assert not engine.has_work()


def test_a_continuation_recomputes_only_what_is_new(engine):
    """At most a block and the appended ids, by the engine's own report."""
    ids = prompt(2, 100)
    ((said, _),), _ = run(engine, call(ids, max_new_tokens=60))
    ((_, usage),), _ = run(engine, call((*ids, *said, 33)))
    assert len(ids) + len(said) + 1 - usage.num_reused_blocks * 32 <= 32 + 1


def test_the_reported_reuse_equals_the_blocks_that_were_not_computed(s1_tiny):
    """Ground truth: a pipeline that computes one id a step needs as many steps for a prompt as it computes ids.

    The report is in full blocks, the engine also reuses a part of the last one: so the truth
    lies between the report and one block more.
    """
    pipeline = OpenVinoPipeline(s1_tiny.weights, num_kv_blocks=400, max_num_batched_tokens=1)
    engine = EmbeddedEngine(lambda: pipeline, s1_tiny.limits)
    base = prompt(3, 70)
    ((said, _),), _ = run(engine, call(base, max_new_tokens=10))
    continuation = (*base, *said, 33)
    for ids in (continuation, base, (*base[:40], *prompt(4, 20)), prompt(5, 33), base[:64], base[:65]):
        ((_, usage),), num_computed = run(engine, call(ids, max_new_tokens=1))
        num_reused = len(ids) - num_computed
        assert usage.num_reused_blocks * 32 <= num_reused < (usage.num_reused_blocks + 1) * 32 + 1


def test_importing_the_engine_sends_no_telemetry_and_leaves_no_file(tmp_path):
    """OpenVINO's telemetry would write a client id into the home folder on import."""
    command = [sys.executable, "-c", "import budgetforce.engine.cpu.openvino_pipeline"]
    subprocess.run(command, check=True, env={**os.environ, "HOME": str(tmp_path)})
    assert list(tmp_path.rglob("*")) == []


def test_calls_cancelled_in_prefill_leave_no_wrong_blocks(engine, s1_tiny):
    """Dropped at once, they would leave uncomputed blocks in the prefix cache: later calls would compute NaNs, which sample id 0."""
    draw, beginning = random.Random(0), prompt(77)
    prompts = [beginning + prompt(number, draw.choice((5, 20, 100, 400))) for number in range(12)]
    live = []
    for ids in prompts:
        live.append(engine.submit(call(ids, max_new_tokens=draw.choice((1, 16, 30))))[0])
        if draw.random() < 0.5:
            engine.step()
    while live:
        over = {progress.key for progress in engine.step() if progress.finished}
        live = [key for key in live if key not in over]
        if live and draw.random() < 0.5:
            engine.cancel(live.pop(draw.randrange(len(live))))
    after, anew = (run(one, *(call(ids, max_new_tokens=4) for ids in prompts))[0] for one in (engine, engine_over(s1_tiny)))
    assert [0 in said for said, _ in after] == [0 in said for said, _ in anew]
