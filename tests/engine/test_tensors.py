# SPDX-License-Identifier: Apache-2.0
"""Calls become the tensors of tensorrt_llm's contract."""

import json

import numpy as np
import pytest

from budgetforce.engine.base import EngineCall, EngineDelta, Sampling
from budgetforce.engine.tensors import call_tensors, read_delta, read_word_list, word_list

NUMPY_TYPES = {"TYPE_INT32": np.int32, "TYPE_FP32": np.float32, "TYPE_UINT64": np.uint64, "TYPE_BOOL": np.bool_}
EVERYTHING = Sampling(
    temperature=0.7,
    top_k=5,
    top_p=0.9,
    seed=2**64 - 1,
    repetition_penalty=1.1,
    presence_penalty=0.1,
    frequency_penalty=0.2,
    bad_words=((7, 8),),
)


def call(**changes):
    return EngineCall(**{"request_id": "r", "input_ids": (5, 6, 7), "max_new_tokens": 9, "stop_ids": frozenset({2, 1}), **changes})


@pytest.fixture(scope="module")
def contract(root):
    return json.loads((root / "tests/contract/tensorrt_llm_contract.json").read_text())


def test_word_lists_are_encoded_as_the_contracts_examples(contract):
    for example in contract["word_list_encoding"]["examples"]:
        assert example["tensor"] == word_list(example["stop"]).tolist()
        assert example["stop"] == [list(word) for word in read_word_list(np.array(example["tensor"]))]


@pytest.mark.parametrize("rows", [[[1, 2], [2, 1]], [[1, 2], [3, -1]], [[1, 2], [0, 2]]])
def test_word_lists_with_ends_that_do_not_rise_or_lie_outside_are_refused(rows):
    with pytest.raises(ValueError, match="rising"):
        read_word_list(np.array([rows]))


def test_every_tensor_has_the_contracts_type_and_shape(contract):
    inputs = {entry["name"]: entry for entry in contract["inputs"]}
    tensors = call_tensors(call(sampling=EVERYTHING, banned_ids=frozenset({1}), min_tokens=1))
    for name, array in tensors.items():
        shape = inputs[name]["wire_shape_batch1"]
        assert array.dtype == NUMPY_TYPES[inputs[name]["data_type"]]
        assert array.ndim == len(shape)
        assert all(wanted in ("N", got) for wanted, got in zip(shape, array.shape, strict=True))


def test_terminators_are_stop_words_and_end_id_stays_unset():
    """An end id would not be returned, and the terminator that ended the round would be unknown."""
    tensors = call_tensors(call())
    assert "end_id" not in tensors
    assert read_word_list(tensors["stop_words_list"]) == ((1,), (2,))


def test_min_tokens_are_sent_only_where_a_call_has_them():
    assert call_tensors(call(min_tokens=2))["min_tokens"].tolist() == [[2]]
    assert "min_tokens" not in call_tensors(call())


def test_a_mask_of_qwens_phantom_rows_is_a_list_of_399_words():
    """[1, 2, 399]: the ids, and the ends 1 to 399."""
    rows = call_tensors(call(banned_ids=frozenset(range(151665, 152064))))["bad_words_list"]
    assert rows.shape == (1, 2, 399)
    assert (rows[0, 0, 0], rows[0, 0, -1], rows[0, 1, 0], rows[0, 1, -1]) == (151665, 152063, 1, 399)


def test_banned_ids_join_the_bad_words():
    tensors = call_tensors(call(sampling=EVERYTHING, banned_ids=frozenset({3})))
    assert read_word_list(tensors["bad_words_list"]) == ((7, 8), (3,))


def test_temperature_zero_is_top_k_one():
    """The engine has no temperature 0."""
    tensors = call_tensors(call(sampling=Sampling(temperature=0.0, top_p=0.5)))
    assert tensors["runtime_top_k"].tolist() == [[1]]
    assert not {"temperature", "runtime_top_p"} & set(tensors)


def test_a_temperature_alone_turns_sampling_on():
    """With neither top-k nor top-p the engine would be greedy."""
    assert call_tensors(call(sampling=Sampling(temperature=0.5)))["runtime_top_p"].tolist() == [[1.0]]
    assert "runtime_top_p" not in call_tensors(call(sampling=Sampling(temperature=0.5, top_k=3)))


def test_a_delta_is_as_long_as_its_sequence_length_says():
    """Ids after it are padding; an empty delta is allowed."""
    outputs = {"output_ids": np.array([[[4, 5, -1]]]), "sequence_length": np.array([[2]])}
    assert read_delta(outputs) == EngineDelta(ids=(4, 5))
    empty = {"output_ids": np.zeros((1, 1, 0), np.int32), "sequence_length": np.array([[0]]), "kv_cache_reused_blocks": np.array([[3]])}
    assert read_delta(empty) == EngineDelta(ids=(), kv_reused_blocks=3)
