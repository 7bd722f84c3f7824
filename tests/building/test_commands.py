# SPDX-License-Identifier: Apache-2.0
"""Every flag that is passed exists in the pinned tools and has an allowed value."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from budgetforce.building.commands import FLAGS, Tools, build_command, check_calibration, check_flag, convert_command
from budgetforce.building.spec import TENSOR_PARALLEL, VARIANTS, EngineSpec
from budgetforce.errors import ConfigError

MODEL, CHECKPOINT, ENGINE, CACHE = (Path("/w") / name for name in ("model", "checkpoint", "engine", "cache"))
TOOLS = Tools(python="python3")


def commands(spec):
    yield convert_command(spec, TOOLS, MODEL, CHECKPOINT)
    yield build_command(spec, TOOLS, CHECKPOINT, ENGINE, CACHE)


def parts(command):
    """(tool, {flag: value}) of a command line."""
    start = next(index for index, word in enumerate(command) if word.startswith("--"))
    return Path(command[start - 1]).name, dict(zip(command[start::2], command[start + 1 :: 2], strict=True))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("tp", TENSOR_PARALLEL)
def test_every_flag_of_every_command_is_in_the_list_with_a_value_of_it(variant, tp):
    """Compared with the file itself, without the commands' own check."""
    listed = json.loads(FLAGS.read_text())
    for command in commands(EngineSpec(model="owner/name", variant=variant, tp=tp)):
        tool, flags = parts(command)
        for flag, value in flags.items():
            allowed = listed[tool]["flags"][flag]
            fits = {"path": value.startswith("/"), "count": value.isdecimal(), "name": bool(value)}
            assert value in allowed if isinstance(allowed, list) else fits[allowed], (tool, flag, value)


def test_every_flag_of_the_list_is_used_and_every_tool_has_its_source():
    used = {variant: [parts(command) for command in commands(EngineSpec(model="owner/name", variant=variant))] for variant in VARIANTS}
    listed = json.loads(FLAGS.read_text())
    del listed["note"]
    for tool, entry in listed.items():
        assert "NVIDIA/TensorRT-LLM" in entry["source"]
        assert "@" in entry["source"]
        assert set(entry["flags"]) == {flag for calls in used.values() for name, flags in calls if name == tool for flag in flags}


def test_bf16_is_converted_and_the_others_are_quantised():
    names = {variant: parts(next(commands(EngineSpec(model="owner/name", variant=variant))))[0] for variant in VARIANTS}
    assert names == {"bf16": "convert_checkpoint.py", "fp8": "quantize.py", "int4-awq": "quantize.py"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_kv_cache_stays_bf16_and_can_be_reused(variant):
    """An FP8 KV cache degrades Qwen2.5; chunked prefill and reuse need paged context FMHA."""
    (_, convert), (_, build) = (parts(command) for command in commands(EngineSpec(model="owner/name", variant=variant)))
    assert "--kv_cache_dtype" not in convert
    assert (build["--use_paged_context_fmha"], build["--use_fp8_context_fmha"], build["--kv_cache_type"]) == ("enable", "disable", "paged")


def test_the_limits_of_the_spec_reach_the_tool():
    spec = EngineSpec(model="owner/name", tp=4, max_seq_len=16384, max_num_tokens=4096, max_batch_size=7, tokens_per_block=64)
    _, flags = parts(build_command(spec, TOOLS, CHECKPOINT, ENGINE, CACHE))
    limits = [flags[f"--{name}"] for name in ("workers", "max_seq_len", "max_num_tokens", "max_batch_size", "tokens_per_block")]
    assert limits == ["4", "16384", "4096", "7", "64"]


@pytest.mark.parametrize("path", ["/data/prompts/model", "/data/vila/model"])
def test_a_path_that_quantize_would_misread_is_refused(path):
    """It looks for names of models anywhere in the path."""
    with pytest.raises(ConfigError, match="takes /data/.* for another model"):
        convert_command(EngineSpec(model="owner/name", variant="fp8"), TOOLS, Path(path), CHECKPOINT)
    convert_command(EngineSpec(model="owner/name"), TOOLS, Path(path), CHECKPOINT)  # convert_checkpoint.py does not


@pytest.mark.parametrize("path", ["/data/cnn_dailymail", "/data/my_cnn_dailymail_texts/x", "/data/ScienceQA"])
def test_a_folder_of_texts_that_quantize_would_take_for_the_hubs_is_refused(path):
    """It looks for names of data sets anywhere in the path, and asks the hub."""
    with pytest.raises(ConfigError, match="quantize.py takes /data/.* for a data set of the hub"):
        convert_command(EngineSpec(model="owner/name", variant="fp8"), replace(TOOLS, calibration=path), MODEL, CHECKPOINT)
    texts = replace(TOOLS, calibration="/data/texts")
    assert "/data/texts" in convert_command(EngineSpec(model="owner/name", variant="fp8"), texts, MODEL, CHECKPOINT)


def test_a_data_set_that_quantize_does_not_know_is_refused():
    for known in ("cnn_dailymail", "abisee/cnn_dailymail", "pileval"):
        check_calibration(known)
    with pytest.raises(ConfigError, match="calibration: got 'texts', allowed: cnn_dailymail, pileval, or an existing folder"):
        check_calibration("texts")


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--paged_kv_cache", "enable", "trtllm-build has no --paged_kv_cache"),
        ("--gemm_plugin", "fp16", "--gemm_plugin: got 'fp16', allowed: auto, float16"),
        ("--workers", "0", "got '0', allowed: count"),
        ("--output_dir", "engine", "got 'engine', allowed: path"),
    ],
)
def test_another_flag_or_value_is_refused(flag, value, message):
    with pytest.raises(ConfigError, match=message):
        check_flag("trtllm-build", flag, value)
