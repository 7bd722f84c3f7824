# SPDX-License-Identifier: Apache-2.0
"""Every mismatch in a finished build is found and reported."""

import json
import shutil

import pytest
from transformers import AutoTokenizer

from budgetforce.building.spec import EngineSpec
from budgetforce.building.verify import problems
from budgetforce.errors import ConfigError
from budgetforce.text.tokenizer import ChatTokenizer
from building.conftest import bench_in


@pytest.fixture(scope="module")
def built(tmp_path_factory, tiny_model, qwen):
    """A build by the stand-ins, whose config names its work folder /w."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        bench = bench_in(tmp_path_factory.mktemp("built"), tiny_model, monkeypatch, qwen)
        assert bench.run("all", "--engine-path", "/engine") == 0
        yield bench


@pytest.fixture
def copy(built, tmp_path):
    shutil.copytree(built.work, tmp_path / "work", ignore=shutil.ignore_patterns("checkpoint"))
    shutil.copy(built.config, tmp_path / "config.pbtxt")
    return tmp_path


def found(copy, engine_path="/engine", **changes):
    spec = EngineSpec(model="tiny", **changes)
    return "\n".join(problems(spec, copy / "work" / "engine", copy / "work" / "tokenizer", copy / "config.pbtxt", engine_path))


def test_a_correct_build_has_no_problems(copy):
    assert found(copy) == ""


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("version",), "1.2.0", "config.json: version: found '1.2.0', expected '1.2.1'"),
        (("pretrained_config", "architecture"), "LlamaForCausalLM", "expected 'Qwen2ForCausalLM'"),
        (("pretrained_config", "vocab_size"), 151936, "pretrained_config.vocab_size: found 151936, expected 152064"),
        (("pretrained_config", "num_hidden_layers"), 3, "pretrained_config.num_hidden_layers: found 3, expected 2"),
        (("pretrained_config", "mapping", "world_size"), 4, "mapping.world_size: found 4, expected 2"),
        (("pretrained_config", "quantization", "kv_cache_quant_algo"), "FP8", "kv_cache_quant_algo: found 'FP8', expected None"),
        (("build_config", "kv_cache_type"), "CONTINUOUS", "kv_cache_type: found 'CONTINUOUS', expected 'PAGED'"),
        (("build_config", "plugin_config", "use_paged_context_fmha"), False, "use_paged_context_fmha: found False, expected True"),
        (("build_config", "max_beam_width"), 4, "max_beam_width: found 4, expected 1"),
    ],
)
def test_a_wrong_value_in_the_engines_config_is_named(copy, keys, value, message):
    path = copy / "work" / "engine" / "config.json"
    config = json.loads(path.read_text())
    at = config
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    path.write_text(json.dumps(config))
    assert message in found(copy)


def test_comments_in_the_config_may_differ(copy):
    path = copy / "config.pbtxt"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    path.write_text("\n".join(["# Rendered by an earlier version.", *lines, ""]))
    assert found(copy) == ""


@pytest.mark.parametrize("written", ["PAGED", "paged", "KVCacheType.PAGED"])
def test_an_enum_may_be_written_in_any_way(copy, written):
    path = copy / "work" / "engine" / "config.json"
    path.write_text(path.read_text().replace('"PAGED"', f'"{written}"'))
    assert found(copy) == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tp": 4}, "tp: found 2, expected 4"),
        ({"variant": "fp8"}, "variant: found bf16, expected fp8"),
        ({"max_seq_len": 16384}, "max_seq_len: found 32768, expected 16384"),
        ({"kv_fraction": 0.8}, "parameter kv_cache_free_gpu_mem_fraction: found '0.9', expected '0.8': render it again"),
        ({"max_batch_size": 8}, "found 'max_batch_size: 32', expected 'max_batch_size: 8': render it again"),
        ({"preset": "qwen3"}, "preset 'qwen3'"),
    ],
)
def test_another_spec_is_reported(copy, changes, message):
    assert message in found(copy, **changes)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda work: (work / "engine" / "rank1.engine").unlink(), "rank1.engine: found no file"),
        (lambda work: (work / "engine" / "rank1.engine").write_bytes(b""), "rank1.engine: found 0 bytes"),
        (lambda work: (work / "engine" / "config.json").write_text("{"), "config.json cannot be read"),
        (lambda work: (work / "engine" / "manifest.json").unlink(), "manifest.json cannot be read"),
        (lambda work: (work / "tokenizer" / "tokenizer_config.json").write_text("{}"), "tokenizer: sha256: found"),
        (lambda work: (work / "tokenizer" / "config.json").unlink(), "config.json cannot be read"),
        (lambda work: (work.parent / "config.pbtxt").unlink(), "config.pbtxt cannot be read"),
        (lambda work: (work.parent / "config.pbtxt").write_text("max_batch_size: ${n}"), "parameter gpt_model_path: found None"),
        (lambda work: (work.parent / "config.pbtxt").write_bytes(b"\xff"), "config.pbtxt cannot be read"),
    ],
)
def test_missing_or_changed_files_are_reported(copy, harm, message):
    harm(copy / "work")
    assert message in found(copy)


def test_a_config_with_another_engine_path_is_reported(copy):
    assert "parameter gpt_model_path: found '/engine', expected '/other': render it again" in found(copy, engine_path="/other")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("enable_chunked_context", "enable_chunked"),
        ("decoupled: true", "decoupled: false"),
        ("max_queue_size: 4096", "max_queue_size: 5"),
        ('name: "streaming"', 'name: "steaming"'),
    ],
)
def test_an_edited_config_is_reported(copy, old, new):
    """Also in a line without a parameter."""
    path = copy / "config.pbtxt"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert "render it again" in found(copy)


def test_a_tokenizer_with_other_ids_is_reported(copy, s1_tiny, monkeypatch):
    """s1-tiny has the same control tokens with other ids. Not loaded by ``ChatTokenizer.load``, for which ``built`` has a stand-in."""
    other = ChatTokenizer(AutoTokenizer.from_pretrained(str(s1_tiny.tokenizer)))
    monkeypatch.setattr(ChatTokenizer, "load", lambda folder: other)
    (start,) = other.encode_marker("<|im_start|>")
    assert f"<|im_start|> is token {start}, expected 151644" in found(copy)


def test_a_tokenizer_that_cannot_be_loaded_is_one_problem_among_others(copy, monkeypatch):
    def load(folder):
        raise ConfigError(f"tokenizer: cannot load {folder}")

    monkeypatch.setattr(ChatTokenizer, "load", load)
    (copy / "work" / "engine" / "rank0.engine").unlink()
    problems = found(copy)
    assert "rank0.engine: found no file" in problems
    assert "tokenizer: cannot load" in problems
