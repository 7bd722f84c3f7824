# SPDX-License-Identifier: Apache-2.0
"""vLLM and TensorRT-LLM's LLM API as engines: both keep TensorRT-LLM's rules, over stand-ins for the libraries.

(Real ones: tests/server/test_engine_contract.py.)
"""

import asyncio
import json
import os
import threading
import time

import library_script as script
import pytest
import tensorrt_llm

from budgetforce.config import LibraryConfig
from budgetforce.engine import async_engine
from budgetforce.engine.async_engine import AsyncEngine
from budgetforce.engine.base import Sampling
from budgetforce.engine.call_limits import limits_of
from budgetforce.engine.llmapi_engine import LlmApiSource, sampling_params
from budgetforce.engine.token_engine import ModelLimits, TokenCall
from budgetforce.engine.vllm_engine import VllmSource
from budgetforce.errors import ConfigError, EngineUnavailable, InvalidRequest

SOURCES = {"vllm": VllmSource, "tensorrt_llm": LlmApiSource}


def call(ids=(1, 2, 3), **changes):
    return TokenCall(**{"input_ids": tuple(ids), "max_new_tokens": 5, **changes})


class Steps:
    """An engine and its owner, which waits until there is progress."""

    def __init__(self, source, folder):
        (folder / "config.json").write_text(json.dumps({"vocab_size": 100, "max_position_embeddings": 50}))
        config = LibraryConfig(model_dir=str(folder), max_seq_len=50, block_size=4)
        self.woken = threading.Event()
        self.lines = []
        self.engine = AsyncEngine(lambda: source.start(config), self.woken.set, self.lines.append)

    def step(self):
        while not self.engine.has_work():
            assert self.woken.wait(5), "nothing came"
            self.woken.clear()
        return self.engine.step()

    def run(self, *calls):
        """Step until all calls are over; return the ids and the usage of each."""
        submitted = [self.engine.submit(one) for one in calls]
        said, over = {key: [] for key, _ in submitted}, set()
        while len(over) < len(calls):
            for progress in self.step():
                if progress.error is not None:
                    raise progress.error
                said[progress.key] += progress.ids
                over |= {progress.key} if progress.finished else set()
        return [said[key] for key, _ in submitted], [usage for _, usage in submitted]

    def until(self, happened):
        deadline = time.monotonic() + 5
        while not happened():
            assert time.monotonic() < deadline
            time.sleep(0.001)


@pytest.fixture(params=SOURCES)
def steps(request, tmp_path):
    script.reset(*range(10, 60))
    steps = Steps(SOURCES[request.param], tmp_path)
    yield steps
    steps.engine.close()


@pytest.fixture
def vllm_steps(tmp_path):
    script.reset(*range(10, 60))
    steps = Steps(VllmSource, tmp_path)
    yield steps
    steps.engine.close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, [10, 11, 12, 13, 14]),
        ({"stop_words": ((12,),)}, [10, 11, 12]),
        ({"end_id": 12}, [10, 11]),
        ({"end_id": 10}, []),
        ({"end_id": 12, "stop_words": ((11,),)}, [10, 11]),
        ({"stop_words": ((11, 12), (14,))}, [10, 11, 12]),
        ({"stop_words": ((3, 10),)}, [10]),
        ({"stop_words": ((14,),)}, [10, 11, 12, 13, 14]),
        ({"end_id": 10, "min_tokens": 1}, [11, 12, 13, 14, 15]),
        ({"end_id": 13, "min_tokens": 2, "stop_words": ((11,),)}, [10, 11]),  # min_tokens keeps off no stop word
        ({"end_id": 12, "min_tokens": 9}, [10, 11, 13, 14, 15]),
        ({"min_tokens": 3}, [10, 11, 12, 13, 14]),
        ({"sampling": Sampling(bad_words=((11,), (13,)))}, [10, 12, 14, 15, 16]),
        ({"max_new_tokens": 1, "sampling": Sampling(bad_words=((10,),)), "stop_words": ((10,),)}, [11]),
        ({"stop_words": ((500,),), "sampling": Sampling(bad_words=((600,),))}, [10, 11, 12, 13, 14]),  # rows that there are not
    ],
)
def test_a_call_ends_as_tensorrt_llm_would_end_it(steps, changes, said):
    assert steps.run(call(**changes))[0] == [said]
    steps.until(lambda: not script.running)


def test_calls_run_concurrently(steps):
    said, _ = steps.run(call(), call(max_new_tokens=2), call(stop_words=((10,),)))
    assert said == [[10, 11, 12, 13, 14], [10, 11], [10]]


def test_a_cancelled_call_is_closed_and_returns_no_more_ids(steps):
    script.reset(10, 11)
    key, _ = steps.engine.submit(call())
    steps.step()
    steps.engine.cancel(key)
    steps.until(lambda: script.left and not script.running)
    assert steps.run(call(max_new_tokens=1))[0] == [[10]]
    steps.engine.cancel(key)  # again: nothing


def test_a_call_that_is_cancelled_at_once_never_reaches_the_library(steps):
    is_cancelled = threading.Event()
    steps.engine._loop.call_soon_threadsafe(is_cancelled.wait, 5)  # else the library may have it before it is cancelled
    key, _ = steps.engine.submit(call())
    steps.engine.cancel(key)
    is_cancelled.set()
    assert steps.run(call(max_new_tokens=1))[0] == [[10]]
    steps.until(lambda: not script.running)
    assert f"call-{key}" not in script.left


def test_reuse_of_the_librarys_cache_is_reported_in_blocks(steps):
    script.num_cached = 11
    _, (usage,) = steps.run(call(range(1, 14)))
    assert (usage.num_reused_blocks, usage.num_total_blocks) == (2, 5)  # of 4 ids: 8 found, 18 occupied


def test_a_call_that_breaks_fails_alone_with_one_line(steps):
    script.broken = True
    with pytest.raises(Exception, match="^ENGINE_FAILED: the call broke$"):
        steps.run(call())
    script.broken = False
    assert steps.run(call())[0] == [[10, 11, 12, 13, 14]]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"input_ids": (1, 100)}, "input_ids"),
        ({"max_new_tokens": 48}, "request_output_len"),
        ({"sampling": Sampling(bad_words=((1, 2),))}, "bad_words_list"),
    ],
)
def test_values_that_would_kill_a_library_or_be_cut_are_refused_by_name(steps, changes, field):
    with pytest.raises(InvalidRequest) as refused:
        steps.engine.submit(call(**changes))
    assert refused.value.field == field
    assert not script.running


@pytest.mark.parametrize("temperature", [0.001, 2.5])
def test_a_temperature_that_vllm_would_change_is_refused(vllm_steps, temperature):
    sampled = Sampling(temperature=temperature, top_p=0.9)
    with pytest.raises(InvalidRequest, match="0.01 to 2.0"):
        vllm_steps.engine.submit(call(sampling=sampled))
    assert vllm_steps.run(call(sampling=Sampling(temperature=temperature)))  # greedy: there it is nothing


SEED = 2**63 - 1
SAMPLING = Sampling(temperature=0.5, top_k=7, top_p=0.8, seed=SEED, repetition_penalty=1.1, presence_penalty=0.2, frequency_penalty=-0.3)


def test_sampling_parameters_for_vllm(vllm_steps):
    vllm_steps.run(call(sampling=SAMPLING), call())
    sampled, greedy = vllm_steps.engine._source._engine.params
    assert (sampled.temperature, sampled.top_k, sampled.top_p, sampled.seed) == (0.5, 7, 0.8, SEED)
    assert (sampled.repetition_penalty, sampled.presence_penalty, sampled.frequency_penalty) == (1.1, 0.2, -0.3)
    assert (greedy.temperature, greedy.top_k, greedy.top_p, greedy.seed) == (0.0, 0, 1.0, None)


def test_sampling_parameters_for_the_llm_api():
    sampled, greedy = sampling_params(call(sampling=SAMPLING)), sampling_params(call())
    assert (sampled.temperature, sampled.top_k, sampled.top_p, sampled.seed) == (0.5, 7, 0.8, SEED)
    assert (sampled.repetition_penalty, sampled.presence_penalty, sampled.frequency_penalty) == (1.1, 0.2, -0.3)
    assert (greedy.temperature, greedy.top_k, greedy.top_p) == (None, None, None)
    assert sampling_params(call(sampling=Sampling(top_p=1.0))).temperature == 1.0  # without one it would be greedy


def test_a_seed_that_is_no_int64_is_refused(steps):
    """In either library it would crash more than its own call."""
    with pytest.raises(InvalidRequest, match=f"seed.*allowed: 0 to {SEED}"):
        steps.engine.submit(call(sampling=Sampling(top_p=0.9, seed=SEED + 1)))
    assert not script.running
    assert steps.run(call(sampling=Sampling(top_p=0.9, seed=SEED)))[0] == [[10, 11, 12, 13, 14]]


def test_as_many_banned_ids_as_vllm_takes_and_no_more(vllm_steps, monkeypatch):
    """Another id would crash its engine with all calls. Ids outside the vocabulary are not sent, and do not count."""
    source = vllm_steps.engine._source
    big = ModelLimits(vocab_size=3000, max_seq_len=50)
    monkeypatch.setattr(source, "limits", big)
    monkeypatch.setattr(source._engine.model_config, "get_vocab_size", lambda: 3000)

    def banning(number):
        return call(sampling=Sampling(bad_words=tuple((token_id,) for token_id in (*range(100, 100 + number), 5000))))

    assert vllm_steps.run(banning(1024))[0] == [[10, 11, 12, 13, 14]]
    with pytest.raises(InvalidRequest, match="bad_words_list.*1025 ids.*allowed: at most 1024"):
        vllm_steps.engine.submit(banning(1025))
    assert vllm_steps.run(call())[0] == [[10, 11, 12, 13, 14]]


def test_min_tokens_without_an_end_id_keep_stop_words_off_the_first_ids_of_vllm(vllm_steps):
    """As ``EngineCall.min_tokens`` promises; ``call_limits`` says so by the model's name."""
    assert limits_of("vllm_llm").keeps_min_tokens
    stops = ((10,), (12,))
    assert vllm_steps.run(call(stop_words=stops, min_tokens=1), call(stop_words=stops))[0] == [[11, 12], [10]]


def test_as_many_stop_words_with_min_tokens_as_vllm_takes_and_no_more(vllm_steps, monkeypatch):
    source = vllm_steps.engine._source
    monkeypatch.setattr(source, "limits", ModelLimits(vocab_size=3000, max_seq_len=50))
    monkeypatch.setattr(source._engine.model_config, "get_vocab_size", lambda: 3000)

    def stopping(number, **changes):
        return call(stop_words=tuple((token_id,) for token_id in range(100, 100 + number)), **changes)

    assert vllm_steps.run(stopping(128, min_tokens=1), stopping(129))[0] == [[10, 11, 12, 13, 14]] * 2
    many = call(stop_words=tuple((token_id,) for token_id in (12, *range(100, 300))))
    assert vllm_steps.run(many)[0] == [[10, 11, 12]]  # more than the library takes: the shell ends the call
    with pytest.raises(InvalidRequest, match="stop_words_list.*129 ids.*allowed: at most 128 with min_tokens"):
        vllm_steps.engine.submit(stopping(129, min_tokens=1))


def test_as_many_sequences_as_s1_runs_replies_fit_into_a_library(steps):
    source = steps.engine._source
    if isinstance(source, VllmSource):
        assert source._engine.args.max_num_seqs == 256
        assert source._engine.usage_context.value == "OPENAI_API_SERVER"  # the prefill of a step is its server's
    else:
        assert source._llm.arguments["max_batch_size"] == 256


@pytest.mark.parametrize("load_format", ["auto", "dummy"])
@pytest.mark.parametrize("library", SOURCES)
def test_a_library_may_load_random_weights(tmp_path, library, load_format):
    """Of the model's shape, to measure a machine with."""
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 100, "max_position_embeddings": 50}))
    source = asyncio.run(SOURCES[library].start(LibraryConfig(model_dir=str(tmp_path), max_seq_len=50, load_format=load_format)))
    used = source._engine.args.load_format if library == "vllm" else source._llm.arguments["load_format"].name.lower()
    assert used == load_format


@pytest.mark.parametrize("chosen", [None, "forkserver"])
def test_vllm_spawns_its_processes_unless_the_operator_says_otherwise(monkeypatch, tmp_path, chosen):
    """A fork of Triton's process would have its locks and its CUDA state, but none of its threads."""
    name = "VLLM_WORKER_MULTIPROC_METHOD"
    monkeypatch.setenv(name, chosen or "")
    if chosen is None:
        monkeypatch.delenv(name)
    script.reset(10)
    Steps(VllmSource, tmp_path).engine.close()
    assert os.environ[name] == (chosen or "spawn")


def test_an_engine_that_dies_is_restarted_and_its_calls_may_be_retried(vllm_steps):
    """All running calls, and calls that arrive before the restart is done."""
    back = threading.Event()
    script.reset(10, 11)
    keys = {vllm_steps.engine.submit(call())[0] for _ in range(3)}
    vllm_steps.until(lambda: len(script.running) == 3)
    start = vllm_steps.engine._start

    async def held():
        await asyncio.to_thread(back.wait, 5)
        return await start()

    vllm_steps.engine._start = held
    script.died, errors = True, {}
    while len(errors) < len(keys):
        errors |= {one.key: type(one.error) for one in vllm_steps.step() if one.finished}
    assert errors == dict.fromkeys(keys, EngineUnavailable)
    with pytest.raises(EngineUnavailable, match="being restarted"):
        vllm_steps.engine.submit(call())
    back.set()
    vllm_steps.until(lambda: vllm_steps.engine._source is not None)
    assert vllm_steps.run(call(max_new_tokens=2))[0] == [[10, 11]]
    assert ["has died" in line for line in vllm_steps.lines] == [True]


def test_a_failed_restart_is_retried(vllm_steps, monkeypatch):
    monkeypatch.setattr(async_engine, "RESTART_PAUSE_S", 0.01)
    start, failures = vllm_steps.engine._start, [MemoryError("no room"), OSError("no device")]

    async def fail_at_first():
        if failures:
            raise failures.pop()
        return await start()

    vllm_steps.engine._start = fail_at_first
    script.died = True
    with pytest.raises(EngineUnavailable):
        vllm_steps.run(call())
    vllm_steps.until(lambda: vllm_steps.engine._source is not None)
    assert [line for line in vllm_steps.lines if "cannot be restarted" in line] == [
        "the engine cannot be restarted: ENGINE_FAILED: no device",
        "the engine cannot be restarted: ENGINE_FAILED: no room",
    ]
    assert vllm_steps.run(call(max_new_tokens=1))[0] == [[10]]


def test_a_dead_library_that_cannot_be_released_is_replaced_nevertheless(vllm_steps, monkeypatch):
    def fail(_=None):
        script.died = False
        raise OSError("no such process")

    monkeypatch.setattr(vllm_steps.engine._source, "close", fail)
    script.died = True
    with pytest.raises(EngineUnavailable):
        vllm_steps.run(call())
    vllm_steps.until(lambda: vllm_steps.engine._source is not None)
    assert any("no such process" in line for line in vllm_steps.lines)
    assert vllm_steps.run(call(max_new_tokens=1))[0] == [[10]]


def test_closing_ends_the_calls_and_the_library(tmp_path):
    script.reset(10)
    steps = Steps(VllmSource, tmp_path)
    steps.engine.submit(call())
    steps.step()
    library = steps.engine._source._engine
    steps.engine.close()
    assert script.left == ["call-0"]
    assert library.shut_down


def test_a_library_that_does_not_start_says_why_and_leaves_no_thread():
    async def start():
        raise ConfigError("no such folder")

    before = threading.active_count()
    with pytest.raises(ConfigError, match="no such folder"):
        AsyncEngine(start, lambda: None, print)
    assert threading.active_count() == before


@pytest.mark.parametrize(("version", "is_refused"), [("1.2.1", True), ("1.3.0rc25", True), ("1.3.0rc26", False), ("1.3.0", False)])
def test_a_tensorrt_llm_that_ignores_parameters_is_refused(monkeypatch, tmp_path, version, is_refused):
    monkeypatch.setattr(tensorrt_llm, "__version__", version)
    if is_refused:
        with pytest.raises(ConfigError, match="ignores bad words"):
            Steps(LlmApiSource, tmp_path)
    else:
        Steps(LlmApiSource, tmp_path).engine.close()
