# SPDX-License-Identifier: Apache-2.0
"""``embedded_llm`` by itself through the real server: NVIDIA's tensors, NVIDIA's rules."""

import numpy as np
import pytest
import tritonclient.grpc as tritonclient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

TERMINATORS = [[[0, 1, 2], [1, 2, 3]]]


@pytest.fixture(scope="module")
def infer(triton):
    """Send tensors with the stock client; all outputs of all responses, and the error message if one came."""
    client = tritonclient.InferenceServerClient(triton.grpc_url)

    def send(request_id="", **tensors):
        outputs, errors = [], []

        def take(result, error):
            if error is not None:
                errors.append(str(error))
            else:
                names = [output.name for output in result.get_response().outputs]
                outputs.append({name: result.as_numpy(name) for name in names})

        inputs = []
        for name, array in tensors.items():
            inputs.append(tritonclient.InferInput(name, array.shape, np_to_triton_dtype(array.dtype)))
            inputs[-1].set_data_from_numpy(array)
        client.start_stream(take)
        client.async_stream_infer("embedded_llm", inputs, request_id=request_id)
        client.stop_stream()
        return outputs, (errors or [None])[0]

    yield send
    client.close()


@pytest.fixture(scope="module")
def prompt(tokenizer):
    return tokenizer.encode_chat([{"role": "user", "content": "Say hi."}])


def scalars(**values):
    kinds = {bool: np.bool_, int: np.int32, float: np.float32}
    return {name: np.array([[value]], kinds[type(value)]) for name, value in values.items()}


def call(prompt, num_tokens, **values):
    ids = {"input_ids": np.array([prompt], np.int32)}
    return ids | scalars(input_lengths=len(prompt), request_output_len=num_tokens, **values)


def joined(outputs):
    return [i for output in outputs for i in output["output_ids"].reshape(-1).tolist()]


def test_streaming_sends_deltas_without_the_prompt(infer, prompt):
    outputs, error = infer(**call(prompt, 12, streaming=True))
    assert error is None
    assert len(joined(outputs)) == 12
    assert sum(output["sequence_length"].item() for output in outputs) == 12
    assert all(output["output_ids"].shape[:2] == (1, 1) for output in outputs)


@pytest.mark.parametrize(("exclude", "num_ids"), [(True, 5), (False, None)])
def test_not_streaming_sends_one_response_with_or_without_the_prompt(infer, prompt, exclude, num_ids):
    outputs, _ = infer(**call(prompt, 5, streaming=False, exclude_input_in_output=exclude))
    assert len(outputs) == 1
    assert len(joined(outputs)) == (num_ids or len(prompt) + 5)


def test_a_stop_word_is_returned_and_an_end_id_is_not(infer, prompt):
    """The two ways to end; the same greedy reply ends one id earlier with ``end_id``."""
    stopped, _ = infer(**call(prompt, 200, streaming=True), stop_words_list=np.array(TERMINATORS, np.int32))
    said = joined(stopped)
    assert said[-1] in (0, 1, 2)
    ended, _ = infer(**call(prompt, 200, streaming=True, end_id=said[-1]))
    assert said[-1] not in joined(ended)


def test_perf_metrics_tell_the_reuse_of_the_kv_cache(infer, prompt):
    """The same prompt again finds its full blocks."""
    long_prompt = prompt * 4
    infer(**call(long_prompt, 4, streaming=True))
    outputs, _ = infer(**call(long_prompt, 4, streaming=True, return_perf_metrics=True))
    metrics = {name: value.item() for name, value in outputs[-1].items() if name.startswith("kv_") or name.endswith("_ns")}
    assert metrics["kv_cache_reused_blocks"] == (len(long_prompt) - 1) // 32
    assert metrics["kv_cache_alloc_total_blocks"] == metrics["kv_cache_reused_blocks"] + metrics["kv_cache_alloc_new_blocks"]
    assert metrics["arrival_time_ns"] <= metrics["first_token_time_ns"] <= metrics["last_token_time_ns"]


def test_token_counts_are_returned_when_asked_for(infer, prompt):
    outputs, _ = infer(**call(prompt, 3, streaming=False, return_num_input_tokens=True, return_num_output_tokens=True))
    assert (outputs[0]["num_input_tokens"].item(), outputs[0]["num_output_tokens"].item()) == (len(prompt), 3)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (scalars(beam_width=2), "beam_width"),
        (scalars(num_return_sequences=2), "num_return_sequences"),
        (scalars(return_log_probs=True), "return_log_probs"),
        (scalars(len_penalty=1.0), "len_penalty"),
        ({"embedding_bias": np.zeros((1, 8), np.float32)}, "embedding_bias"),
        (scalars(temperature=-1.0), "temperature"),
        (scalars(runtime_top_p=float("nan")), "runtime_top_p"),
        (scalars(request_output_len=0), "request_output_len"),
        (scalars(request_output_len=10_000), "request_output_len"),
        (scalars(input_lengths=999), "input_lengths"),
        ({"input_ids": np.full((1, 3), 49152, np.int32), **scalars(input_lengths=3)}, "input_ids"),
        ({"input_ids": np.ones((1, 9000), np.int32), **scalars(input_lengths=9000)}, "input_ids"),
        ({"stop_words_list": np.array([[[1, 2], [2, 1]]], np.int32)}, "stop_words_list"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(infer, prompt, changes, field):
    outputs, error = infer(**{**call(prompt, 4, streaming=True), **changes})
    assert not outputs
    assert f"INVALID_ARGUMENT: field '{field}'" in error


def test_values_that_ask_for_nothing_are_accepted(infer, prompt):
    _, error = infer(**call(prompt, 2, streaming=True, beam_width=1, num_return_sequences=1, return_log_probs=False))
    assert error is None


def test_a_stop_request_ends_the_running_request_of_the_same_id(triton, prompt):
    """Both are answered by an empty final response."""
    from queue import Queue

    responses = Queue()
    with tritonclient.InferenceServerClient(triton.grpc_url) as client:
        client.start_stream(lambda result, error: responses.put((result, error)))

        def send(**values):
            inputs = []
            for name, array in call(prompt, 5000, **values).items():
                inputs.append(tritonclient.InferInput(name, array.shape, np_to_triton_dtype(array.dtype)))
                inputs[-1].set_data_from_numpy(array)
            client.async_stream_infer("embedded_llm", inputs, request_id="same", enable_empty_final_response=True)

        send(streaming=True)
        result, error = responses.get(timeout=30)
        assert error is None
        send(stop=True)
        finals, num_ids = 0, len(joined([{"output_ids": result.as_numpy("output_ids")}]))
        while finals < 2:
            result, error = responses.get(timeout=30)
            assert error is None
            num_ids += result.as_numpy("output_ids").size if result.as_numpy("output_ids") is not None else 0
            finals += result.get_response().parameters["triton_final_response"].bool_param
        assert num_ids < 5000


def test_unary_calls_are_refused_by_triton(triton, prompt):
    """A decoupled model answers over a stream."""
    with tritonclient.InferenceServerClient(triton.grpc_url) as client:
        array = np.array([prompt], np.int32)
        tensor = tritonclient.InferInput("input_ids", array.shape, "INT32")
        tensor.set_data_from_numpy(array)
        with pytest.raises(InferenceServerException):
            client.infer("embedded_llm", [tensor])
