# SPDX-License-Identifier: Apache-2.0
"""The engine for CPUs that OpenVINO cannot use, with s1-tiny."""

import functools
import random

import pytest
from padded_model import prepare_padded

from budgetforce.engine.base import Sampling
from budgetforce.engine.cpu.embedded import EmbeddedEngine
from budgetforce.engine.token_engine import TokenCall

pytest.importorskip("xllamacpp")

from budgetforce.engine.cpu import llamacpp_pipeline
from budgetforce.engine.cpu.llamacpp_pipeline import CHUNK

# On a machine whose cores have other work, threads that wait for each other take minutes for what one does in seconds.
LlamaCppPipeline = functools.partial(llamacpp_pipeline.LlamaCppPipeline, num_threads=1)

NUM_BYTES = 256  # ids below it are single bytes
NUM_ROWS = 1024
THREE_IDS_OF_ONE_CHARACTER = (179, 227, 139)  # 艾, in SmolLM2's vocabulary


@pytest.fixture(scope="module")
def pipeline(s1_tiny):
    return LlamaCppPipeline(s1_tiny.weights, num_kv_tokens=4096, num_slots=4)


@pytest.fixture
def engine(pipeline, s1_tiny):
    return EmbeddedEngine(lambda: pipeline, s1_tiny.limits)


@pytest.fixture(scope="module")
def terminators(tiny_tokenizer):
    """The control tokens, each as a stop word."""
    return tuple((token_id,) for token_id in tiny_tokenizer.encode_marker("<|endoftext|><|im_start|><|im_end|>"))


def prompt(seed, length=40):
    return tuple(random.Random(seed).randrange(NUM_BYTES) for _ in range(length))


def run(engine, *calls):
    said = {engine.submit(call)[0]: [] for call in calls}
    while engine.has_work():
        for progress in engine.step():
            assert progress.error is None
            said[progress.key] += progress.ids
    return list(said.values())


def run_alone(engine, *calls):
    return [run(engine, call)[0] for call in calls]


def call(ids, **changes):
    return TokenCall(**{"input_ids": tuple(ids), "max_new_tokens": 12, **changes})


@pytest.fixture
def short_question(tiny_tokenizer):
    """A question behind which a thought has been opened, which ends by itself."""
    chat = tiny_tokenizer.encode_chat([{"role": "user", "content": "How many r in raspberry"}])
    return (*chat, *tiny_tokenizer.encode_marker("<|im_start|>think\n"))


def test_calls_of_different_lengths_each_get_their_number_of_ids(engine):
    """More calls than slots: finished calls free theirs."""
    assert [len(ids) for ids in run(engine, *(call(prompt(n), max_new_tokens=n) for n in range(1, 12)))] == list(range(1, 12))


def test_a_terminator_ends_a_call_and_is_returned(engine, short_question, terminators):
    (said,) = run(engine, call(short_question, max_new_tokens=200, stop_words=terminators))
    assert (said[-1],) in terminators
    assert not any((token_id,) in terminators for token_id in said[:-1])


def test_nothing_else_ends_a_call(engine, short_question, terminators):
    """Without stop words the call runs on past the model's own end, which is one of its ids."""
    (said,) = run(engine, call(short_question, max_new_tokens=60))
    assert len(said) == 60
    assert any((token_id,) in terminators for token_id in said[:-1])


def test_banned_terminators_do_not_come(engine, short_question, terminators):
    """The first id of a continuation after a refused end; without the ban it is a terminator again."""
    (said,) = run(engine, call(short_question, max_new_tokens=200, stop_words=terminators))
    context = (*short_question, *said[:-1])
    free, banned = run_alone(
        engine,
        call(context, max_new_tokens=1, stop_words=terminators),
        call(context, max_new_tokens=1, stop_words=terminators, sampling=Sampling(bad_words=terminators)),
    )
    assert (free[0],) in terminators
    assert (banned[0],) not in terminators


def test_as_many_ids_as_qwen_has_phantoms_are_kept_off_for_a_whole_call(tmp_path, short_question, terminators):
    """399, among them all ids that the model would sample."""
    files = prepare_padded(tmp_path, NUM_ROWS)
    pipeline = LlamaCppPipeline(files.weights, num_kv_tokens=1024, num_slots=1)
    engine = EmbeddedEngine(lambda: pipeline, files.limits)
    (free,) = run(engine, call(short_question, max_new_tokens=40))
    mask = [*dict.fromkeys(i for i in (*free, *range(NUM_ROWS - 399, NUM_ROWS)) if (i,) not in terminators)][:399]
    bad_words = tuple((token_id,) for token_id in mask)
    (masked,) = run(engine, call(short_question, max_new_tokens=40, stop_words=terminators, sampling=Sampling(bad_words=bad_words)))
    assert len(mask) == 399 and set(free) & set(mask)
    assert not set(masked) & set(mask)


def test_the_end_id_is_suppressed_for_min_tokens_and_no_longer(engine, short_question):
    """Any id can be the end: it ends the call at its first place, unless ``min_tokens`` reaches beyond that."""
    run(engine, call(short_question))
    (said,) = run(engine, call(short_question))
    for num in [num for num in range(8) if said[num] not in said[:num]]:
        as_said, held = run_alone(engine, *(call(short_question, end_id=said[num], min_tokens=num + more) for more in (0, 1)))
        assert as_said == said[:num]
        assert held[:num] == said[:num]
        assert len(held) > num


def test_ids_that_are_parts_of_a_character_are_all_returned(smollm2):
    """Also those after which the text ends within a character. SmolLM2 repeats a prompt that repeats itself."""
    pipeline = LlamaCppPipeline(smollm2.weights, num_kv_tokens=512, num_slots=1)
    engine = EmbeddedEngine(lambda: pipeline, smollm2.limits)
    assert run(engine, call(THREE_IDS_OF_ONE_CHARACTER * 10, max_new_tokens=8)) == [[179, 227, 139, 179, 227, 139, 179, 227]]


def test_equal_seeds_repeat_and_other_seeds_differ(engine):
    run(engine, call(prompt(0)))  # from here on the prompt is in the cache, which shows in the last bits
    sampling = [Sampling(temperature=1.0, top_p=1.0, seed=seed) for seed in (1, 1, 2)]
    first, again, other = run_alone(engine, *(call(prompt(0), sampling=one) for one in sampling))
    assert first == again != other


def test_without_top_k_and_top_p_the_temperature_is_not_used(engine):
    run(engine, call(prompt(0)))
    greedy, hot, first_of_all = run_alone(
        engine,
        call(prompt(0)),
        call(prompt(0), sampling=Sampling(temperature=5.0, seed=3)),
        call(prompt(0), sampling=Sampling(temperature=5.0, top_k=1, seed=3)),
    )
    assert greedy == hot == first_of_all


def test_penalties_change_the_sampled_ids(engine, short_question):
    """With a presence penalty this high no id is sampled twice, nor an id of the prompt."""
    (said,) = run(engine, call(short_question, max_new_tokens=30, sampling=Sampling(presence_penalty=1000.0)))
    assert len({*short_question, *said}) == len(set(short_question)) + len(said)


def test_a_cancelled_call_returns_no_more_ids_and_frees_its_slot(engine):
    """In prefill as well as in decode."""
    for length in (4 * CHUNK, 40):
        key, _ = engine.submit(call(prompt(1, length), max_new_tokens=1000))
        while length == 40 and not engine.step():
            pass
        engine.step()
        engine.cancel(key)
        while engine.has_work():
            assert engine.step() == []
    assert len(run(engine, *(call(prompt(n)) for n in range(4)))) == 4


def test_a_long_prompt_is_computed_as_a_whole(engine):
    """In chunks, of which only the last leads to ids: a second call finds all ids but the last in the cache."""
    ids = prompt(6, 2 * CHUNK + 50)
    in_pieces, again = run_alone(engine, call(ids, max_new_tokens=4), call(ids, max_new_tokens=4))
    assert len(in_pieces) == len(again) == 4


def test_a_continuation_finds_all_computed_ids(engine, pipeline):
    """By the server's own count, and a new prompt finds nothing."""
    ids = prompt(2, 100)
    said, fresh = run(engine, call(ids), call(prompt(3, 50)))
    for context, least in (((*ids, *said, 33), len(ids) + len(said) - 1), ((*prompt(4, 20), *fresh), 0)):
        key, _ = engine.submit(call(context))
        while not engine.step():
            pass
        assert least <= pipeline.num_reused_ids(key) <= (len(context) - 2 if least else 0)
        engine.cancel(key)


def test_the_fitting_slot_is_reused_beside_a_far_longer_one(s1_tiny):
    """A long context that begins with the same prompt does not hide the short one: greedy answers then depend on neither."""
    pipeline = LlamaCppPipeline(s1_tiny.weights, num_kv_tokens=2048, num_slots=3)
    engine = EmbeddedEngine(lambda: pipeline, s1_tiny.limits)
    ids = prompt(7)
    run_alone(engine, call(ids, max_new_tokens=200), call(ids))
    for _ in range(3):
        key, _ = engine.submit(call(ids))
        while not engine.step():
            pass
        assert pipeline.num_reused_ids(key) == len(ids) - 1
        while engine.has_work():
            engine.step()


class Recording:
    """Wraps a server; records its responses and how many ids each slot may hold."""

    def __init__(self, server):
        self.answers, self.slots = [], {}
        self._server = server

    def handle_completions(self, request):
        self.slots[request["id_slot"]] = len(request["prompt"]) + request["n_predict"]
        answer = self._server.handle_completions(request)
        self.answers.append(answer)
        return answer


def test_a_full_cache_evicts_only_unused_contexts(s1_tiny):
    """Finished contexts make room for running ones: each prompt is computed once, then id by id."""
    pipeline = LlamaCppPipeline(s1_tiny.weights, num_kv_tokens=512, num_slots=8)
    pipeline._server = server = Recording(pipeline._server)
    engine = EmbeddedEngine(lambda: pipeline, s1_tiny.limits)
    said = run(engine, *(call(prompt(n, 60), max_new_tokens=10 + n) for n in range(12)))
    assert [len(ids) for ids in said] == [10 + n for n in range(12)]
    assert sum(server.slots.values()) <= 512 + 2 * 8
    computed = [answer["timings"]["prompt_n"] for answer in server.answers if "__verbose" in answer]
    assert [num for num in computed if num > 1] == [60] * 12


def test_ids_that_the_server_refuses_end_all_calls_with_an_error(s1_tiny):
    """``EmbeddedEngine`` refuses such a call; if it did not, the pipeline would fail and be built anew."""
    built = []

    def build():
        built.append(LlamaCppPipeline(s1_tiny.weights, num_kv_tokens=1024, num_slots=1))
        return built[-1]

    engine = EmbeddedEngine(build, s1_tiny.limits)
    key, _ = engine.submit(call(prompt(0)))
    engine._waiting[0][1].call = call((s1_tiny.limits.vocab_size,))
    progress = [one for _ in range(2) if engine.has_work() for one in engine.step()]
    assert [(one.key, one.finished) for one in progress] == [(key, True)]
    assert "invalid tokens" in str(progress[0].error)
    assert len(built) == 2
    assert len(run(engine, call(prompt(0)))[0]) == 12


def test_a_file_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(RuntimeError):
        LlamaCppPipeline(tmp_path / "none.gguf", num_kv_tokens=1024)
