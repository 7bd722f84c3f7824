# SPDX-License-Identifier: Apache-2.0
"""The variables that the launcher sets for each engine, and what it refuses before Triton starts."""

import argparse
import json
from dataclasses import fields
from pathlib import Path

import pytest
from built_engine import build
from training_record import write_record

from budgetforce.building import render
from budgetforce.config import OrchestratorConfig
from budgetforce.engine import model_files
from budgetforce.errors import ConfigError
from budgetforce.launcher import admission
from budgetforce.launcher.engine_config import engine_limits
from budgetforce.launcher.options import parse_options
from budgetforce.launcher.serving_env import LIBRARY_ENGINES, serving_environment
from budgetforce.provenance import load_record, record_of


def options(**changes):
    """Return the launcher's options at their defaults, with some changes."""
    return argparse.Namespace(**{**vars(parse_options(["--engine=tensorrt_llm"])), **changes})


def write_engine(folder):
    """Write the config of an engine that decodes 32 sequences concurrently."""
    built = {"max_seq_len": 32768, "max_batch_size": 32}
    (folder / "config.json").write_text(json.dumps({"pretrained_config": {"vocab_size": 152064}, "build_config": built}))


@pytest.mark.parametrize(("given", "found"), [(None, "32"), (128, "128")])
def test_by_default_no_more_replies_run_than_the_engine_decodes(tmp_path, given, found):
    """Further calls would wait in the engine's own queue, where priorities and tenants do not count."""
    write_engine(tmp_path)
    chosen = options(engine_dir=tmp_path, tokenizer=tmp_path, max_replies=given)
    assert serving_environment(chosen, 8001, lambda _: None)["S1_MAX_REPLIES"] == found


def test_a_tenants_limit_is_held_against_the_engines_batch_size(tmp_path):
    write_engine(tmp_path)
    with pytest.raises(ConfigError, match="--max-tenant-replies: got 33, allowed: 0 to 32"):
        serving_environment(options(engine_dir=tmp_path, tokenizer=tmp_path, max_tenant_replies=33), 8001, lambda _: None)


def test_the_gpu_engine_is_one_setting_and_its_context_is_the_engines(tmp_path):
    write_engine(tmp_path)
    environment = serving_environment(options(engine_dir=tmp_path, tokenizer=tmp_path), 8001, lambda _: None)
    assert environment["S1_ENGINE_MODEL"] == "tensorrt_llm"
    assert environment["S1_MAX_CONTEXT_TOKENS"] == "32768"
    assert environment["S1_VOCAB_ROWS"] == "152064"
    assert environment["S1_PRESET"] == "s1"
    assert environment["S1_ENGINE_URL"] == "127.0.0.1:8001"


@pytest.mark.parametrize("missing", ["--tokenizer", "--engine-dir"])
def test_the_gpu_engine_needs_its_folders(tmp_path, missing):
    given = {"engine_dir": tmp_path} if missing == "--tokenizer" else {"tokenizer": tmp_path}
    with pytest.raises(ConfigError, match=missing):
        serving_environment(options(**given), 8001, lambda _: None)


@pytest.mark.parametrize("text", ["{}", "no json", '{"build_config": {}}'])
def test_an_engine_folder_without_a_length_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json does not name (pretrained_config\.vocab_size|build_config\.max_seq_len): "):
        engine_limits(tmp_path)


@pytest.mark.parametrize(("model", "context", "preset"), [("s1-tiny", "2048", "s1"), ("smollm2", "8192", "smollm2")])
def test_an_embedded_model_brings_its_own_context_and_preset(root, model, context, preset):
    environment = serving_environment(options(engine="embedded_llm", model=model, cache=root / ".s1/models"), 8001, lambda _: None)
    prepared = model_files.prepare(model, root / ".s1/models")
    assert environment["S1_MAX_CONTEXT_TOKENS"] == context
    assert environment["S1_VOCAB_ROWS"] == str(prepared.limits.vocab_size)
    assert environment["S1_PRESET"] == preset
    assert environment["S1_MODEL_DIR"] == str(prepared.weights.parent)


def test_the_default_model_is_s1_tiny():
    assert options(engine="embedded_llm").model == "s1-tiny"


@pytest.fixture
def hf_folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 152064, "max_position_embeddings": 32768}))
    (tmp_path / "model.safetensors").write_bytes(bytes(8))
    return tmp_path


@pytest.mark.parametrize("engine", LIBRARY_ENGINES)
def test_an_engine_over_a_library_is_one_setting_and_takes_a_hugging_face_folder(hf_folder, engine):
    chosen = options(engine=engine, model=str(hf_folder), tp=2, memory_fraction=0.8, max_seq_len=16384)
    environment = serving_environment(chosen, 8001, lambda _: None)
    assert (environment["S1_ENGINE_MODEL"], environment["S1_PRESET"]) == (engine, "s1")
    assert environment["S1_MODEL_DIR"] == environment["S1_TOKENIZER_DIR"] == str(hf_folder)
    assert (environment["S1_MAX_CONTEXT_TOKENS"], environment["S1_VOCAB_ROWS"]) == ("16384", "152064")
    assert (environment["S1_TENSOR_PARALLEL"], environment["S1_MEMORY_FRACTION"], environment["S1_LOAD_FORMAT"]) == ("2", "0.8", "auto")


@pytest.mark.parametrize("engine", LIBRARY_ENGINES)
def test_random_weights_need_no_file_of_weights_and_have_no_training_record(hf_folder, engine):
    (hf_folder / "model.safetensors").unlink()
    write_record(hf_folder)
    lines = []
    environment = serving_environment(options(engine=engine, model=str(hf_folder), weights="dummy"), 8001, lines.append)
    assert (environment["S1_LOAD_FORMAT"], environment["S1_TRAINING_RECORD"]) == ("dummy", "")
    assert lines == ["the weights are random: replies are nonsense"]
    with pytest.raises(ConfigError, match="holds no weights"):
        serving_environment(options(engine=engine, model=str(hf_folder)), 8001, lambda _: None)


@pytest.mark.parametrize("engine", ["embedded_llm", "tensorrt_llm"])
def test_an_engine_that_cannot_have_random_weights_refuses_them(engine):
    with pytest.raises(ConfigError, match=f"--weights: got 'dummy', allowed for engine '{engine}': files"):
        serving_environment(options(engine=engine, weights="dummy"), 8001, lambda _: None)


@pytest.mark.parametrize("engine", LIBRARY_ENGINES)
def test_the_training_record_beside_the_weights_reaches_the_model(hf_folder, engine):
    chosen = options(engine=engine, model=str(hf_folder))
    assert serving_environment(chosen, 8001, lambda _: None)["S1_TRAINING_RECORD"] == ""
    path = write_record(hf_folder)
    assert serving_environment(chosen, 8001, lambda _: None)["S1_TRAINING_RECORD"] == str(path)
    write_record(hf_folder, name=None)
    with pytest.raises(ConfigError, match=r"training.json: key 'name': missing"):
        serving_environment(chosen, 8001, lambda _: None)


def test_the_training_record_in_an_engines_manifest_reaches_the_model(hf_folder, tmp_path):
    write_record(hf_folder)
    for training, is_known in ((record_of(hf_folder), True), (None, False)):
        engine, tokenizer = build(tmp_path / f"built-{is_known}", training=training)
        path = serving_environment(options(engine_dir=engine, tokenizer=tokenizer), 8001, lambda _: None)["S1_TRAINING_RECORD"]
        assert path == (str(engine / "manifest.json") if is_known else "")
        assert not is_known or load_record(Path(path)) == training


def test_a_librarys_context_is_the_models_own_unless_it_is_set(hf_folder):
    environment = serving_environment(options(engine="vllm_llm", model=str(hf_folder), tokenizer=Path("/elsewhere")), 8001, lambda _: None)
    assert environment["S1_MAX_CONTEXT_TOKENS"] == "32768"
    assert environment["S1_TOKENIZER_DIR"] == "/elsewhere"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_seq_len": 40_000}, "--max-seq-len: got 40000, allowed: 2 to 32768"),
        ({"model": "smollm2"}, "engine 'vllm_llm' needs --model, a Hugging Face folder \\(got 'smollm2'\\)"),
    ],
)
def test_a_model_that_a_library_cannot_load_is_refused_before_triton_starts(hf_folder, changes, message):
    with pytest.raises(ConfigError, match=message):
        serving_environment(options(**{"engine": "vllm_llm", "model": str(hf_folder), **changes}), 8001, lambda _: None)


def test_admission_limits_reach_every_model_that_names_them(root, hf_folder):
    """The launcher's defaults equal the code's defaults for a config without them."""
    chosen = options(engine="vllm_llm", model=str(hf_folder), max_replies=32, max_waiting=0)
    environment = serving_environment(chosen, 8001, lambda _: None)
    assert (environment["S1_MAX_REPLIES"], environment["S1_MAX_WAITING"]) == ("32", "0")
    defaults = parse_options([])
    for config in ("s1/config.pbtxt", "s1/configs/bls.pbtxt", "vllm_llm/config.pbtxt", "llmapi_llm/config.pbtxt"):
        text = (root / "model_repository" / config).read_text()
        assert f"${{S1_MAX_REPLIES:-{admission.MAX_REPLIES}}}" in text  # a plain tritonserver sets none
        assert (f"${{S1_MAX_WAITING:-{defaults.max_waiting}}}" in text) == config.startswith("s1/")
    known = {field.name: field.default for field in fields(OrchestratorConfig)}
    assert (admission.MAX_REPLIES, defaults.max_waiting) == (known["max_replies"], known["max_waiting"])


@pytest.mark.parametrize("name", ["max_kv_tokens", "max_tenant_replies", "max_tenant_waiting"])
def test_the_limits_that_are_off_by_default_reach_s1(root, hf_folder, name):
    chosen = options(engine="vllm_llm", model=str(hf_folder), **{name: 7})
    assert serving_environment(chosen, 8001, lambda _: None)[f"S1_{name.upper()}"] == "7"
    for config in ("config.pbtxt", "configs/bls.pbtxt"):
        text = (root / "model_repository/s1" / config).read_text()
        assert f'key: "{name}"' in text and f"${{S1_{name.upper()}:-{getattr(parse_options([]), name)}}}" in text


def test_the_secret_for_tenants_is_read_before_triton_starts(hf_folder, tmp_path):
    secret = tmp_path / "secret"
    chosen = options(engine="vllm_llm", model=str(hf_folder), tenant_secret_file=secret)
    with pytest.raises(ConfigError, match="secret cannot be read"):
        serving_environment(chosen, 8001, lambda _: None)
    secret.write_text("only-gateways\n")
    assert serving_environment(chosen, 8001, lambda _: None)["S1_TENANT_SECRET_FILE"] == str(secret)


@pytest.mark.parametrize(("name", "value"), [("log_level", "debug"), ("log_format", "json"), ("log_prompts", "on")])
def test_the_log_options_reach_the_model_and_have_its_defaults(root, hf_folder, name, value):
    variable, default = f"S1_{name.upper()}", {field.name: field.default for field in fields(OrchestratorConfig)}[name]
    chosen = options(engine="vllm_llm", model=str(hf_folder), **{name: value})
    assert serving_environment(chosen, 8001, lambda _: None)[variable] == value
    assert getattr(parse_options([]), name) == default
    for config in ("config.pbtxt", "configs/bls.pbtxt"):
        assert f"${{{variable}:-{default}}}" in (root / "model_repository/s1" / config).read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_replies": 0}, "--max-replies: got 0, allowed: 1 to 2048"),
        ({"max_replies": 2049}, "--max-replies: got 2049, allowed: 1 to 2048"),
        ({"max_waiting": -1}, "--max-waiting: got -1, allowed: 0 to 1000000"),
        ({"max_kv_tokens": -1}, "--max-kv-tokens: got -1, allowed: 0 to 1000000000"),
        ({"max_replies": 32, "max_tenant_replies": 33}, "--max-tenant-replies: got 33, allowed: 0 to 32"),
        ({"max_waiting": 8, "max_tenant_waiting": 9}, "--max-tenant-waiting: got 9, allowed: 0 to 8"),
        ({"max_tenant_replies": 4, "transport": "bls"}, "--max-tenant-replies: got 4, allowed with --transport bls: 0 to 0"),
    ],
)
def test_an_admission_limit_that_is_not_allowed_is_refused_before_triton_starts(hf_folder, changes, message):
    with pytest.raises(ConfigError, match=message):
        serving_environment(options(engine="vllm_llm", model=str(hf_folder), **changes), 8001, lambda _: None)


def test_the_queue_of_a_rendered_engine_holds_the_calls_of_all_replies():
    assert render.MAX_QUEUE_SIZE >= 2 * admission.MOST_REPLIES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no weights"),
        (b"", "model.safetensors is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "model.safetensors is only a Git LFS pointer"),
    ],
)
def test_a_folder_without_real_weights_is_refused(hf_folder, content, message):
    (hf_folder / "model.safetensors").unlink()
    if content is not None:
        (hf_folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        serving_environment(options(engine="vllm_llm", model=str(hf_folder)), 8001, lambda _: None)


@pytest.mark.parametrize(
    ("preset", "message"),
    [
        ("nope", "preset 'nope' is unknown; known: qwen3, s1"),
        ("qwen3", "preset 'qwen3': terminator '</think>' is 8 tokens in this model, not 1"),
    ],
)
def test_a_model_preset_that_does_not_fit_the_model_is_refused_before_triton_starts(root, preset, message):
    with pytest.raises(ConfigError, match=message):
        serving_environment(options(engine="embedded_llm", cache=root / ".s1/models", preset=preset), 8001, lambda _: None)
