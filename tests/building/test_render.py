# SPDX-License-Identifier: Apache-2.0
"""The rendered config is NVIDIA's, tensor by tensor and parameter by parameter, with nothing unfilled."""

import json

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from budgetforce.building.render import MANIFEST_PARAMETER, MAX_QUEUE_SIZE, SCHEMA, engine_parameters, render_config
from budgetforce.building.spec import EngineSpec
from budgetforce.errors import ConfigError

SPEC = EngineSpec(model="owner/name", kv_fraction=0.85, max_batch_size=16)
PARAMETERS = engine_parameters(SPEC, "/engine")


def parse(text):
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.fixture(scope="module")
def contract(root):
    return json.loads((root / "tests/contract/tensorrt_llm_contract.json").read_text())


@pytest.fixture(scope="module")
def config():
    return parse(render_config(SPEC, PARAMETERS, 'one line, "quoted" \\ é'))


def as_contract(tensor):
    return {
        "name": tensor.name,
        "data_type": model_config_pb2.DataType.Name(tensor.data_type),
        "dims": list(tensor.dims),
        "optional": tensor.optional,
        "reshape": {"shape": list(tensor.reshape.shape)} if tensor.HasField("reshape") else None,
        "allow_ragged_batch": tensor.allow_ragged_batch,
    }


def test_the_inputs_are_the_contracts(config, contract):
    ours = [as_contract(tensor) for tensor in config.input]
    assert len(ours) == 62
    assert ours == [{key: entry[key] for key in ours[0]} for entry in contract["inputs"]]


def test_the_outputs_are_the_contracts(config, contract):
    ours = [(tensor.name, model_config_pb2.DataType.Name(tensor.data_type), list(tensor.dims)) for tensor in config.output]
    assert len(ours) == 21
    assert ours == [(entry["name"], entry["data_type"], entry["dims"]) for entry in contract["outputs"]]


def test_the_tensors_are_those_of_the_cpu_engine(config, root):
    embedded = parse((root / "model_repository/embedded_llm/config.pbtxt").read_text())
    assert list(config.input) == list(embedded.input)
    assert list(config.output) == list(embedded.output)


def test_the_schema_knows_the_contracts_parameters_and_no_others(contract):
    keys = [parameter["key"] for parameter in json.loads(SCHEMA.read_text())["parameters"]]
    assert len(keys) == 46
    assert keys == [parameter["key"] for parameter in contract["parameters"]] == list(PARAMETERS)


def test_what_the_contract_fixes_or_allows_is_what_is_written(config, contract):
    for parameter in contract["parameters"]:
        written = config.parameters[parameter["key"]].string_value if parameter["key"] in config.parameters else ""
        if "fixed_value" in parameter:
            assert written == parameter["fixed_value"]
        if written and "allowed" in parameter:
            assert written in parameter["allowed"]


def test_what_budget_forcing_needs_is_on(config):
    values = {key: parameter.string_value for key, parameter in config.parameters.items()}
    needed = {"enable_chunked_context": "true", "enable_kv_cache_reuse": "true", "max_beam_width": "1", "gpt_model_path": "/engine"}
    needed |= {"gpt_model_type": "inflight_fused_batching", "kv_cache_free_gpu_mem_fraction": "0.85", "cancellation_check_period_ms": "50"}
    assert needed.items() <= values.items()
    assert config.model_transaction_policy.decoupled
    assert (config.name, config.backend, config.max_batch_size) == ("tensorrt_llm", "tensorrtllm", 16)
    assert config.dynamic_batching.default_queue_policy.max_queue_size == MAX_QUEUE_SIZE


def test_the_backend_finds_what_it_does_not_load_without(config):
    """The backend reads these three without a default (model_instance_state.cc, getGuidedDecodingConfigFromParams); empty is off."""
    names = ("tokenizer_dir", "xgrammar_tokenizer_info_path", "guided_decoding_backend")
    assert [config.parameters[name].string_value for name in names] == ["", "", ""]
    assert all(name in config.parameters for name in names)


def test_any_text_survives_in_the_manifests_line(config):
    assert config.parameters[MANIFEST_PARAMETER].string_value == 'one line, "quoted" \\ é'


def without(key):
    return {name: value for name, value in PARAMETERS.items() if name != key}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (without("sink_token_length"), "parameter 'sink_token_length' is missing"),
        (PARAMETERS | {"kv_cache_fraction": 0.9}, "parameter 'kv_cache_fraction' is unknown"),
        (PARAMETERS | {"gpt_model_path": None}, "parameter 'gpt_model_path' must have a value"),
        (PARAMETERS | {"max_beam_width": "1"}, "'max_beam_width': got '1', allowed: int"),
        (PARAMETERS | {"max_beam_width": True}, "allowed: int"),
        (PARAMETERS | {"max_beam_width": -1}, "allowed: int"),
        (PARAMETERS | {"enable_kv_cache_reuse": "true"}, "'enable_kv_cache_reuse': got 'true', allowed: bool"),
        (PARAMETERS | {"kv_cache_free_gpu_mem_fraction": 1.5}, "got 1.5, allowed: fraction"),
        (PARAMETERS | {"gpu_device_ids": "0;1,"}, "allowed: ints"),
        (PARAMETERS | {"lora_prefetch_dir": ""}, "allowed: text"),
        (PARAMETERS | {"batch_scheduler_policy": "static"}, "allowed: guaranteed_no_evict, max_utilization"),
        (PARAMETERS | {"gpt_model_path": "${engine_dir}"}, "an unfilled placeholder: .*engine_dir"),
    ],
)
def test_a_parameter_that_is_missing_unknown_or_of_the_wrong_kind_is_refused(parameters, message):
    with pytest.raises(ConfigError, match=message):
        render_config(SPEC, parameters, "x")


def test_every_kind_can_be_written():
    more = {"gpu_device_ids": "0,1", "cuda_graph_mode": False, "gpu_weights_percent": 1.0, "num_nodes": 2, "tokenizer_dir": "/t"}
    config = parse(render_config(SPEC, PARAMETERS | more, "x"))
    assert [config.parameters[key].string_value for key in more] == ["0,1", "false", "1.0", "2", "/t"]
