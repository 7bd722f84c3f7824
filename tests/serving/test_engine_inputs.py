# SPDX-License-Identifier: Apache-2.0
"""Every input of the contract is honoured, neutral or refused: none is ignored."""

import json

import numpy as np
import pytest

from budgetforce.engine.base import EngineCall, Sampling
from budgetforce.engine.tensors import call_tensors
from budgetforce.errors import InvalidRequest
from budgetforce.serving.engine_inputs import read_engine_request

KINDS = {"TYPE_INT32": np.int32, "TYPE_FP32": np.float32, "TYPE_FP16": np.float16, "TYPE_UINT64": np.uint64, "TYPE_INT64": np.int64}
KINDS |= {"TYPE_BOOL": np.bool_, "TYPE_UINT8": np.uint8, "TYPE_STRING": np.object_}
REQUIRED = {"input_ids": np.array([[1, 2, 3]]), "input_lengths": np.array([[3]]), "request_output_len": np.array([[4]])}
ACCEPTED = {
    *("end_id", "pad_id", "stop_words_list", "bad_words_list", "temperature", "runtime_top_k", "runtime_top_p", "seed", "min_tokens"),
    *("repetition_penalty", "presence_penalty", "frequency_penalty"),
    *("return_perf_metrics", "return_num_input_tokens", "return_num_output_tokens", "exclude_input_in_output", "stop", "streaming"),
}


def test_the_orchestrators_tensors_are_read_back():
    """One side writes the tensors, the other reads them: they agree."""
    sampling = Sampling(temperature=0.5, top_k=4, top_p=0.5, seed=9, bad_words=((7,),))
    call = EngineCall(request_id="r", input_ids=(1, 2), max_new_tokens=5, stop_ids=frozenset({8, 9}), sampling=sampling)
    request = read_engine_request("r", call_tensors(call))
    assert request.call.input_ids == (1, 2)
    assert request.call.max_new_tokens == 5
    assert request.call.stop_words == ((8,), (9,))
    assert request.call.sampling == sampling
    assert request.streaming
    assert request.return_perf_metrics


def test_every_other_input_of_the_contract_is_refused_by_name(root):
    contract = json.loads((root / "tests/contract/tensorrt_llm_contract.json").read_text())
    for entry in contract["inputs"]:
        name = entry["name"]
        if name in REQUIRED or name in ACCEPTED:
            continue
        value = np.full(
            [1] * len(entry["wire_shape_batch1"]), b"x" if entry["data_type"] == "TYPE_STRING" else 3, KINDS[entry["data_type"]]
        )
        if entry["data_type"] == "TYPE_BOOL":
            value[:] = True
        with pytest.raises(InvalidRequest) as refused:
            read_engine_request("", REQUIRED | {name: value})
        assert refused.value.field == name


def test_the_prompt_is_as_long_as_its_length_says():
    request = read_engine_request("", REQUIRED | {"input_lengths": np.array([[2]])})
    assert request.call.input_ids == (1, 2)


def test_a_stop_request_needs_no_prompt():
    assert read_engine_request("id", {"stop": np.array([[True]])}).stop


def test_a_negative_end_id_means_none():
    assert read_engine_request("", REQUIRED | {"end_id": np.array([[-1]])}).call.end_id is None
