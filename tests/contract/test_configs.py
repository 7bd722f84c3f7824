# SPDX-License-Identifier: Apache-2.0
"""The model configs are the schema: the engines have the same tensors, client and server the same fields."""

import json
from dataclasses import fields

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from budgetforce.config import EmbeddedConfig, LibraryConfig, OrchestratorConfig
from budgetforce.errors import InvalidRequest
from budgetforce.launcher import serving_env
from budgetforce.serving.requests.request import COMMANDS, read_command, read_reply_request
from s1_client import _wire

WIRE_TYPES = {"TYPE_STRING": "BYTES", "TYPE_INT32": "INT32", "TYPE_FP32": "FP32", "TYPE_UINT64": "UINT64", "TYPE_BOOL": "BOOL"}


def read_config(root, model):
    text = (root / "model_repository" / model / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.fixture(scope="module")
def contract(root):
    return json.loads((root / "tests/contract/tensorrt_llm_contract.json").read_text())


CONFIGS = {"embedded_llm": EmbeddedConfig, "vllm_llm": LibraryConfig, "llmapi_llm": LibraryConfig}


@pytest.fixture(scope="module", params=CONFIGS)
def engine(request, root):
    return read_config(root, request.param)


@pytest.fixture(scope="module")
def s1(root):
    return read_config(root, "s1")


def test_an_engines_inputs_are_tensorrt_llms(engine, contract):
    ours = [
        {
            "name": tensor.name,
            "data_type": model_config_pb2.DataType.Name(tensor.data_type),
            "dims": list(tensor.dims),
            "optional": tensor.optional,
            "reshape": {"shape": list(tensor.reshape.shape)} if tensor.HasField("reshape") else None,
            "allow_ragged_batch": tensor.allow_ragged_batch,
        }
        for tensor in engine.input
    ]
    keys = ours[0].keys()
    assert ours == [{key: entry[key] for key in keys} for entry in contract["inputs"]]


def test_an_engines_outputs_are_tensorrt_llms(engine, contract):
    ours = [(tensor.name, model_config_pb2.DataType.Name(tensor.data_type), list(tensor.dims)) for tensor in engine.output]
    assert ours == [(entry["name"], entry["data_type"], entry["dims"]) for entry in contract["outputs"]]


@pytest.mark.parametrize("model", ["s1", *CONFIGS])
def test_the_models_are_decoupled_one_process_and_batch_one(root, model):
    config = read_config(root, model)
    assert config.name == model
    assert config.backend == "python"
    assert config.model_transaction_policy.decoupled
    assert [(group.count, group.kind) for group in config.instance_group] == [(1, model_config_pb2.ModelInstanceGroup.KIND_CPU)]
    assert config.max_batch_size == (0 if model == "s1" else 1)


def test_every_shape_of_s1_begins_with_a_one_that_triton_checks(s1):
    """Stock clients send a batch dimension of 1. As a dimension of the model's own Triton refuses it when it is 0: a request whose first
    tensor is empty in a batch of 0 it never answers.
    """
    assert {tuple(tensor.dims) for tensor in [*s1.input, *s1.output]} == {(1, 1), (1, -1)}


@pytest.mark.parametrize(("model", "kind"), [("s1", OrchestratorConfig), *CONFIGS.items()])
def test_the_parameters_are_those_that_the_code_knows(root, model, kind):
    assert set(read_config(root, model).parameters) == {field.name for field in fields(kind)}


@pytest.mark.parametrize("config", ["config.pbtxt", "configs/bls.pbtxt"])
def test_the_comment_on_engine_model_names_every_engine(root, config):
    (line,) = [line for line in (root / "model_repository/s1" / config).read_text().splitlines() if 'key: "engine_model"' in line]
    assert set(line.partition("#")[2].replace("|", " ").split()) == set(serving_env.ENGINES)


def test_the_config_for_bls_differs_in_the_transport_and_the_instances_alone(root, s1):
    text = (root / "model_repository/s1/configs/bls.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert (config.parameters["transport"].string_value, config.instance_group[0].count > 1) == ("bls", True)
    config.parameters["transport"].string_value, config.instance_group[0].count = "grpc", 1
    assert config == s1


VALUES = {"TYPE_STRING": b"never", "TYPE_INT32": 2, "TYPE_FP32": 0.5, "TYPE_UINT64": 3, "TYPE_BOOL": True}
WORDS = {
    "preset": b"s1-eval",
    "reasoning_effort": b"low",
    "thinking": b"off",
    "on_timeout": b"answer",
    "messages": b'[{"role": "user", "content": "hi"}]',
}


def test_no_input_of_s1_is_ignored(s1):
    """Each one, given alone with the prompt, makes another request than the prompt alone."""
    plain = read_reply_request({"text_input": [b"x"]})
    for tensor in s1.input:
        value = WORDS.get(tensor.name, VALUES[model_config_pb2.DataType.Name(tensor.data_type)])
        if tensor.name in COMMANDS:
            assert read_command({tensor.name: [value]}) == tensor.name
        elif tensor.name == "exclude_input_in_output":
            with pytest.raises(InvalidRequest, match=tensor.name):
                read_reply_request({"text_input": [b"x"], tensor.name: [False]})
        elif tensor.name == "messages":
            assert read_reply_request({tensor.name: [value]}) != plain
        else:
            assert read_reply_request({"text_input": [b"x"], tensor.name: [value]}) != plain, tensor.name


def test_the_client_sends_what_the_config_declares(s1):
    types = {tensor.name: WIRE_TYPES[model_config_pb2.DataType.Name(tensor.data_type)] for tensor in s1.input}
    assert {name: types[name] for name in _wire.OPTIONS} == _wire.OPTIONS
    assert set(types) - set(_wire.OPTIONS) == {"text_input", "messages", "stream", "exclude_input_in_output", *COMMANDS}


def test_names_of_the_stock_bls_model_keep_their_types(s1):
    """NVIDIA's tensorrt_llm_bls config.pbtxt (after the rename of random_seed to seed), with its batch dimension."""
    stock = {"text_input": "TYPE_STRING", "max_tokens": "TYPE_INT32", "bad_words": "TYPE_STRING", "stop_words": "TYPE_STRING"}
    stock |= {"top_k": "TYPE_INT32", "top_p": "TYPE_FP32", "temperature": "TYPE_FP32", "repetition_penalty": "TYPE_FP32"}
    stock |= {"presence_penalty": "TYPE_FP32", "frequency_penalty": "TYPE_FP32", "seed": "TYPE_UINT64", "stream": "TYPE_BOOL"}
    stock |= {"exclude_input_in_output": "TYPE_BOOL"}
    ours = {tensor.name: (model_config_pb2.DataType.Name(tensor.data_type), list(tensor.dims)) for tensor in s1.input}
    for name, kind in stock.items():
        assert ours[name] == (kind, [1, -1] if name.endswith("_words") else [1, 1])
    assert {output.name for output in s1.output} >= {"text_output"}
