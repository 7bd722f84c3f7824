# SPDX-License-Identifier: Apache-2.0
"""A build from a tiny model to Triton's config, with stand-ins for the tools, and recovery from every failure."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

import pytest
from training_record import write_record

from budgetforce.building import manifest, pipeline, planner, weights
from budgetforce.building.__main__ import main
from budgetforce.building.step_commands import HELP
from budgetforce.building.verify import config_parameters, read_config
from budgetforce.provenance import record_of
from server.waiting import wait_until

CONVERT, BUILD = "convert_checkpoint.py", "trtllm-build"
FAILURES = {
    "enospc": "No space left on device(?s:.*)the disk is full: free some",
    "crash": "ended with code 1 after",
    "killed": "was killed by SIGKILL",
    "missing": "ended without error and left no rank1",
    "void": "ended without error and left no rank1",
}


@pytest.fixture
def stderr(capfd):
    return lambda: capfd.readouterr().err


def test_the_tiny_model_with_nothing_but_the_tools_stood_in_for(bench, monkeypatch):
    """The other tests share a tokenizer that was loaded once."""
    monkeypatch.undo()
    for name, value in bench.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(bench.environment["PYTHONPATH"])
    assert bench.run("all") == 0
    assert bench.run("verify") == 0


def test_a_second_run_repeats_nothing(bench, stderr):
    assert bench.run("all") == 0
    assert bench.calls == [CONVERT, BUILD]
    assert bench.results == {"checkpoint", "engine", "tokenizer"}
    assert config_parameters(read_config(bench.config))["gpt_model_path"] == str(bench.work / "engine")
    assert "verify: " in stderr()
    assert bench.run("all") == 0
    assert bench.calls == [CONVERT, BUILD]
    assert "build: already done, " in stderr()


@pytest.fixture
def trained(bench, tmp_path, tiny_model):
    """A copy of the tiny model with a training record; and the record."""
    folder = tmp_path / "trained"
    shutil.copytree(tiny_model, folder, copy_function=os.link)
    write_record(folder)
    return folder, record_of(folder)


def test_the_training_record_of_a_model_is_in_its_plan_its_manifest_and_its_config(bench, trained, capfd):
    model, record = trained
    assert main(["plan", "--gpus", "2xH100", "--model", str(model)]) == 0
    assert f"\ntraining {record}\n" in capfd.readouterr().out
    assert bench.run("all", "--model", str(model)) == 0
    assert f"; training {record}\n" in capfd.readouterr().err
    assert manifest.read(bench.work / "engine").training == record
    assert config_parameters(read_config(bench.config))["engine_manifest"].endswith(f", training {record.id}")


def test_a_model_with_the_training_record_of_other_weights_is_not_converted(bench, trained, stderr):
    model, _ = trained
    write_record(model, weights_sha256="0" * 64)
    assert bench.run("all", "--model", str(model)) == 1
    assert "training.json: the weights have SHA-256" in stderr()
    assert CONVERT not in bench.calls


@pytest.mark.parametrize(("variant", "tp"), [("fp8", 1), ("int4-awq", 4), ("bf16", 1)])
def test_every_variant_and_number_of_gpus_is_built_as_specified(bench, monkeypatch, variant, tp):
    monkeypatch.setenv("STANDIN_GPUS", "4")
    assert bench.run("all", "--variant", variant, "--tp", str(tp)) == 0
    made = manifest.read(bench.work / "engine")
    assert (made.variant, made.tp, len(made.files)) == (variant, tp, tp)
    assert bench.calls == ["convert_checkpoint.py" if variant == "bf16" else "quantize.py", BUILD]


def test_single_steps_give_the_same_as_all(bench):
    for step in ("download", "convert", "build", "render", "verify"):
        assert bench.run(step) == 0
    assert bench.calls == [CONVERT, BUILD]


def test_a_step_without_its_input_says_what_to_run(bench, stderr):
    for step in ("convert", "build"):
        assert bench.run(step) == 1
        assert "run download first, or all" in stderr()
    assert bench.run("download") == 0
    assert bench.run("build") == 1
    assert "run convert first, or all" in stderr()
    assert bench.calls == []


def test_the_inputs_of_a_finished_engine_can_be_removed(bench):
    assert bench.run("all") == 0
    shutil.rmtree(bench.work / "checkpoint")
    assert bench.run("all") == 0
    assert bench.calls == [CONVERT, BUILD]


def test_another_limit_builds_again_and_another_variant_converts_again(bench):
    assert bench.run("all") == 0
    assert bench.run("all", "--max-batch-size", "8") == 0
    assert bench.calls == [CONVERT, BUILD, BUILD]
    assert "\nmax_batch_size: 8\n" in read_config(bench.config)
    assert bench.run("all", "--variant", "fp8") == 0
    assert bench.calls[3:] == ["quantize.py", BUILD]


def test_another_gpu_builds_again(bench, monkeypatch):
    assert bench.run("all") == 0
    monkeypatch.setenv("STANDIN_GPU", "NVIDIA A100-SXM4-80GB, 8.0")
    assert bench.run("all") == 0
    assert bench.calls == [CONVERT, BUILD, BUILD]
    assert manifest.read(bench.work / "engine").sm == "8.0"


@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize("stage", ["convert", "build"])
def test_a_tool_that_fails_leaves_nothing_and_the_next_run_continues_from_there(bench, stderr, stage, how):
    bench.fail(f"{stage} {how}")
    assert bench.run("all") == 1
    errors = stderr()
    assert re.search(f"BUILD: stage {stage}: ", errors)
    assert re.search(FAILURES[how], errors)
    done = {"tokenizer"} if stage == "convert" else {"tokenizer", "checkpoint"}
    assert bench.results == done
    assert not bench.config.exists()
    bench.fail("")
    assert bench.run("all") == 0
    assert bench.calls == ([CONVERT, CONVERT, BUILD] if stage == "convert" else [CONVERT, BUILD, BUILD])


def test_a_failed_rebuild_keeps_the_old_engine(bench):
    assert bench.run("all") == 0
    bench.fail("build enospc")
    assert bench.run("all", "--max-batch-size", "8") == 1
    assert manifest.read(bench.work / "engine").max_batch_size == 32
    assert bench.run("verify") == 0


@pytest.mark.parametrize("stage", ["convert", "build"])
def test_a_build_that_is_killed_continues_from_there(bench, stage):
    """SIGKILL to the pipeline while a tool runs: the next run removes the partial folder."""
    bench.fail(f"{stage} hang")
    command = [sys.executable, "-m", "budgetforce.building", *bench.options("all")]
    with subprocess.Popen(command, env={**os.environ, **bench.environment}, stderr=subprocess.DEVNULL) as process:
        partial = bench.work / ("checkpoint.partial" if stage == "convert" else "engine.partial") / "config.json"
        wait_until(partial.exists, seconds=60)
        process.kill()
    wait_until(lambda: not running(bench.folder), seconds=5)  # the tool ends with it
    assert partial.exists()
    bench.fail("")
    assert bench.run("all") == 0
    assert bench.calls == ([CONVERT, CONVERT, BUILD] if stage == "convert" else [CONVERT, BUILD, BUILD])
    assert not list(bench.work.glob("*.partial"))


def test_ctrl_c_ends_the_tool_and_leaves_nothing(bench):
    bench.fail("convert hang")
    command = [sys.executable, "-m", "budgetforce.building", *bench.options("all")]
    with subprocess.Popen(command, env={**os.environ, **bench.environment}, stderr=subprocess.PIPE, text=True) as process:
        wait_until((bench.work / "checkpoint.partial" / "config.json").exists, seconds=60)
        process.send_signal(signal.SIGINT)
        assert "Traceback" not in process.stderr.read()
        assert process.wait() == 130
    assert not running(bench.folder)
    assert bench.results == {"tokenizer"}


def running(folder):
    """Whether a stand-in works for a test's folder."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return any("toolchain" in line and str(folder) in line for line in listed.splitlines() if "budgetforce.building" not in line)


@pytest.mark.parametrize(
    ("setting", "value", "options", "message"),
    [
        ("STANDIN_GPUS", "1", (), "1 GPUs are visible, 2 are needed"),
        ("STANDIN_GPUS", "0", ("--variant", "fp8", "--tp", "1"), "0 GPUs are visible, 1 are needed"),
        ("CUDA_VISIBLE_DEVICES", "1", (), "1 GPUs are visible, 2 are needed"),
        ("STANDIN_GPU", "NVIDIA A100-SXM4-80GB, 8.0", ("--variant", "fp8"), "needs SM 8.9"),
        ("STANDIN_GPU", "NVIDIA B200, 10.0", ("--variant", "int4-awq"), "takes no INT4 weights on NVIDIA B200 (SM 10.0): use fp8 or bf16"),
    ],
)
def test_unsuitable_gpus_are_refused_before_any_tool_runs(bench, stderr, monkeypatch, setting, value, options, message):
    monkeypatch.setenv(setting, value)
    assert bench.run("all", *options) == 1
    assert message in stderr()
    assert bench.calls == []


@pytest.fixture
def no_requests(monkeypatch):
    """Fail at any request to the hub, which would download 131 GB."""
    monkeypatch.setattr(weights, "_hub_info", lambda model, revision: pytest.fail(f"the hub was asked for {model}"))


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        (
            "STANDIN_CUDA",
            "12.8",
            "driver 590.44.01 can run CUDA up to 12.8, the image needs 13; install driver 590.44.01 or newer; the minimum is 580",
        ),
        ("STANDIN_GPUS", "1", "1 GPUs are visible, 2 are needed"),
        ("PATH", "/usr/bin:/bin", "0 GPUs are visible, 2 are needed"),
    ],
)
def test_an_unsuitable_machine_is_refused_before_any_request_to_the_hub(bench, stderr, monkeypatch, no_requests, setting, value, message):
    monkeypatch.setenv(setting, value)
    assert bench.run("all", "--model", "simplescaling/s1-32B") == 1
    assert message in stderr()


def test_a_machine_without_tensorrt_llm_is_refused_before_any_request_to_the_hub(bench, stderr, monkeypatch, no_requests):
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "toolchain" not in path])
    assert bench.run("all", "--model", "simplescaling/s1-32B") == 1
    assert "TensorRT-LLM: found none, expected 1.2.1: build inside nvcr.io/nvidia/tritonserver:26.07" in stderr()


def test_gpus_that_the_engine_does_not_fit_are_refused_before_the_download(bench, stderr, monkeypatch):
    """For example 4 x 24 GB. The message has the plan's suggestions, and --skip-plan overrides it."""
    monkeypatch.setenv("STANDIN_MIB", "3000")
    assert bench.run("all") == 1
    errors = stderr()
    assert "BUILD: Does not fit: NVIDIA H100 80GB HBM3 has 2.9 GiB" in errors
    assert "--skip-plan builds it anyway." in errors
    assert not bench.calls
    assert not bench.results
    assert bench.run("all", "--skip-plan") == 0


def test_little_host_memory_is_a_warning(bench, stderr, monkeypatch):
    """The plan's figure for a host is an estimate, and a container may have swap."""
    monkeypatch.setattr(pipeline, "host_memory_bytes", lambda: 10**6)
    assert bench.run("all") == 0
    errors = stderr()
    assert "convert: needs 5 GB of host memory by the plan, this machine has 0" in errors
    assert errors.index("build: needs") < errors.index("tokenizer: ")


def test_weights_that_cannot_be_quantised_here_are_refused_before_the_download(bench, stderr, monkeypatch):
    monkeypatch.setattr(planner, "QUANTIZE_GPU_FACTOR", 1e6)
    assert bench.run("all", "--variant", "fp8") == 1
    assert re.search("BUILD: Quantising needs about .* 4 bytes a parameter; these GPUs have 171.0: quantise on others", stderr())
    assert not bench.calls
    assert not bench.results
    assert bench.run("all") == 0  # bf16 is only converted


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/nowhere/texts", "calibration: /nowhere/texts is not a folder"),
        ("my-texts", "calibration: got 'my-texts', allowed: cnn_dailymail, pileval, or an existing folder of texts"),
        ("/data/cnn_dailymail", "quantize.py takes /data/cnn_dailymail for a data set of the hub"),
    ],
)
def test_texts_that_cannot_be_calibrated_on_are_refused_before_the_download(bench, stderr, name, message):
    assert bench.run("all", "--variant", "fp8", "--calibration", name) == 1
    assert message in stderr()
    assert not bench.calls
    assert not bench.results


def test_verify_without_a_build_names_the_step_to_run(bench, stderr):
    assert bench.run("verify") == 1
    assert f"{bench.work / 'tokenizer'} does not exist: run download first, or all" in stderr()


@pytest.mark.parametrize("version", ["1.2.0", "1.0.3.2510", None])
def test_another_tensorrt_llm_is_refused_before_anything_is_done(bench, stderr, monkeypatch, tmp_path, version):
    """The version is put before the pinned one on the path."""
    site = tmp_path / "site"
    site.mkdir()
    if version:
        (site / "tensorrt_llm-1.dist-info").mkdir()
        (site / "tensorrt_llm-1.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tensorrt_llm\nVersion: {version}\n")
    monkeypatch.setattr(sys, "path", [str(site), *(path for path in sys.path if "toolchain" not in path)])
    assert bench.run("all") == 1
    assert f"TensorRT-LLM: found {version or 'none'}, expected 1.2.1: build inside nvcr.io/nvidia/tritonserver:26.07" in stderr()
    assert not bench.calls
    assert not bench.results


def test_a_local_version_suffix_is_accepted(bench, monkeypatch, tmp_path):
    site = tmp_path / "site" / "tensorrt_llm-1.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: tensorrt_llm\nVersion: 1.2.1+cu131\n")
    monkeypatch.syspath_prepend(str(site.parent))
    assert bench.run("download") == 0
    assert bench.run("convert") == 0


def test_a_missing_tool_names_the_image(bench, stderr, tmp_path):
    assert bench.run("all", "--examples", str(tmp_path)) == 1
    assert "convert_checkpoint.py ended with code 2" in stderr()
    assert bench.results == {"tokenizer"}


def test_a_disk_that_is_too_small_is_refused_before_the_tool(bench, stderr, monkeypatch):
    usage = shutil.disk_usage(bench.folder)._replace(free=1000)
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda _: usage)
    assert bench.run("all") == 1
    assert "BUILD: stage convert needs 0.0 GB of disk" in stderr()
    assert bench.calls == []


def test_a_folder_that_cannot_be_written_is_one_sentence(bench, stderr):
    bench.config.parent.parent.write_text("a file where the repository should be")
    assert bench.run("all") == 1
    assert "BUILD: stage render: [Errno 20] Not a directory" in stderr()


def test_a_dry_run_prints_the_exact_commands_and_changes_nothing(bench, capsys):
    assert bench.run("all", "--dry-run") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("#")]
    assert not bench.work.exists()
    assert bench.calls == []
    assert bench.run("all") == 0
    logged = [(bench.work / "logs" / f"{step}.log").read_text().splitlines()[0] for step in ("convert", "build")]
    assert [f"$ {line}" for line in lines] == logged
    assert [shlex.split(line)[-1] for line in lines] == ["2", "2"]


def test_the_readme_shows_the_true_commands_and_names_every_step(root, capsys):
    text = (root / "docs/gpu-engine.md").read_text()
    places = ["--work", "/data", "--model-repository", "/s1/model_repository", "--engine-path", "/engine"]
    assert main(["all", *places, "--dry-run"]) == 0
    shown = capsys.readouterr().out.replace(sys.executable, "python3")
    assert f"<!-- output of: all --dry-run -->\n```text\n{shown}```\n" in text
    assert re.findall(r"^\| `build/engine.py (\w+)` \|", text, re.M) == list(HELP)


def test_the_page_explains_messages_that_the_build_can_print(root):
    """Who searches the page for a message must find it. "…" stands for a value, as do SIGKILL and 1.2.1."""
    text = (root / "docs/gpu-engine.md").read_text()
    _, _, after = text.partition("### Build failures\n")
    messages = [
        message for row in re.findall(r"^\| (`.*?) \|", after.partition("\n### ")[0], re.M) for message in re.findall(r"`([^`]+)`", row)
    ]
    source = "".join(path.read_text() for path in sorted((root / "python_backend/src/budgetforce/building").glob("*.py")))
    parts = [part.strip() for message in messages for part in re.split(r"…|SIGKILL|1\.2\.1", message) if part.strip()]
    assert len(parts) > 15 and [part for part in parts if part not in source] == []


def test_the_engines_readme_has_every_parameter_that_is_set(bench, root):
    assert bench.run("all") == 0
    table = re.findall(r"^\| (`.*?) \|", (root / "model_repository/tensorrt_llm/README.md").read_text(), re.M)
    assert {name for row in table for name in re.findall(r"`(\w+)`", row)} == set(config_parameters(read_config(bench.config)))


def test_a_dry_run_of_an_engine_preset_sends_no_request(bench, capsys):
    assert bench.run("all", "--model", "simplescaling/s1-32B", "--dry-run") == 0
    assert "# download: simplescaling/s1-32B" in capsys.readouterr().out
    assert not bench.work.exists()


def test_the_server_may_see_the_engine_elsewhere(bench):
    assert bench.run("all", "--engine-path", "/engine") == 0
    assert config_parameters(read_config(bench.config))["gpt_model_path"] == "/engine"
    assert (bench.config.parent / "1").is_dir()


def test_a_live_server_is_checked_by_s1_doctor(bench, monkeypatch, tmp_path):
    doctor = tmp_path / "bin" / "s1"
    doctor.parent.mkdir()
    doctor.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\nexit 4\n')
    doctor.chmod(0o755)
    monkeypatch.setenv("PATH", f"{doctor.parent}{os.pathsep}{os.environ['PATH']}")
    assert bench.run("all") == 0
    assert bench.run("verify", "--live", "gpu:8001") == 4
    assert (tmp_path / "arguments").read_text() == "doctor --url gpu:8001\n"


def test_the_script_runs_the_same_commands(bench, root):
    command = [sys.executable, str(root / "build/engine.py"), *bench.options("all")]
    done = subprocess.run(command, env={**os.environ, **bench.environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert bench.calls == [CONVERT, BUILD]
    usage = subprocess.run([*command[:2], "--help"], capture_output=True, text=True, check=True).stdout
    assert usage.startswith("usage: build/engine.py ")


def test_the_stamps_record_durations(bench):
    assert bench.run("all") == 0
    for name in ("checkpoint", "engine", "tokenizer"):
        assert json.loads((bench.work / name / "stage.json").read_text())["seconds"] >= 0
