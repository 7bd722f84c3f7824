# SPDX-License-Identifier: Apache-2.0
"""The specs of engines, the engine presets, and shapes of models."""

import json
from dataclasses import asdict

import pytest

from budgetforce.building.spec import PRESETS, QWEN2_5_32B, EngineSpec, ModelShape
from budgetforce.errors import ConfigError


@pytest.mark.parametrize("name", [path.stem for path in PRESETS.glob("*.toml")])
def test_every_engine_preset_is_a_spec_for_two_gpus_and_long_thoughts(name):
    spec = EngineSpec.load(name)
    assert (spec.tp, spec.max_seq_len, spec.variant, spec.preset) == (2, 32768, "bf16", "s1")


def test_given_values_override_the_preset():
    assert EngineSpec.load("s1-32b", tp=4, variant=None).tp == 4


@pytest.mark.parametrize("change", [{"variant": "fp4"}, {"tp": 3}, {"max_seq_len": 0}, {"kv_fraction": 1.0}])
def test_what_cannot_be_built_is_refused_by_name(change):
    (name,) = change
    with pytest.raises(ConfigError, match=f"{name}: got .*allowed: "):
        EngineSpec(model="x", **change)
    with pytest.raises(ConfigError, match="engine preset: got 's2'"):
        EngineSpec.load("s2")


def test_qwen_has_as_many_parameters_as_its_makers_say():
    assert QWEN2_5_32B.num_parameters == 32_763_876_352
    assert QWEN2_5_32B.head_size == 128


def test_a_shape_is_read_from_config_json(tmp_path):
    config = {"architectures": ["Qwen2ForCausalLM"], "torch_dtype": "bfloat16", **asdict(QWEN2_5_32B)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert ModelShape.read(tmp_path) == QWEN2_5_32B


@pytest.mark.parametrize(
    ("config", "message"),
    [(None, "cannot be read"), ("{", "cannot be read"), ('{"architectures": ["LlamaForCausalLM"]}', "allowed: Qwen2ForCausalLM"),
     ('{"architectures": ["Qwen2ForCausalLM"]}', "lacks hidden_size")],
)  # fmt: skip
def test_another_architecture_is_refused(tmp_path, config, message):
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(ConfigError, match=message):
        ModelShape.read(tmp_path)
