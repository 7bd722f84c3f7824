# SPDX-License-Identifier: Apache-2.0
"""The launcher's command line and the engines' environment, without a server. (With a server: tests/server/test_lifecycle.py.)"""

import argparse
import json
import re
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest

from budgetforce.building import render
from budgetforce.config import OrchestratorConfig
from budgetforce.errors import ConfigError
from budgetforce.launcher import command, serving_env
from budgetforce.launcher.options import parse_options
from budgetforce.launcher.security import Security
from budgetforce.launcher.serving_env import ENGINES, LIBRARY_ENGINES, engine_limits, serving_environment
from budgetforce.launcher.triton_server import Ports


@pytest.mark.parametrize(
    ("flags", "grpc", "http"),
    [
        ([], "127.0.0.1", "127.0.0.1"),
        (["--host=0.0.0.0"], "0.0.0.0", "0.0.0.0"),
        (["--host=0.0.0.0", "--tls-cert=x"], "0.0.0.0", "127.0.0.1"),
        (["--host=0.0.0.0", "--tls-cert=x", "--http-host=0.0.0.0"], "0.0.0.0", "0.0.0.0"),
        (["--host=0.0.0.0", "--http-host=127.0.0.1"], "0.0.0.0", "127.0.0.1"),
    ],
)
def test_http_and_metrics_stay_on_this_machine_if_grpc_has_tls(flags, grpc, http):
    ports = command._ports_of(parse_options(flags))
    assert ports.listening() == {"http": (http, 8000), "grpc": (grpc, 8001), "metrics": (http, 8002)}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_help_says_what_each_engine_loads(engine, capsys):
    with pytest.raises(SystemExit):
        parse_options(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    option = "--engine-dir" if engine == "tensorrt_llm" else "--model"
    described = re.search(rf"{option} [A-Z_]+ (.*?) --", text)[1]
    assert engine in described
    assert ("Hugging Face folder (required)" in described) == (engine != "tensorrt_llm")


@pytest.mark.parametrize("name", ["http", "grpc", "metrics"])
@pytest.mark.parametrize("value", ["-1", "65536", "99999", "x", "8001.0", ""])
def test_an_invalid_port_is_refused_by_the_options_name(name, value, capsys):
    with pytest.raises(SystemExit):
        parse_options([f"--{name}-port={value}"])
    assert f"--{name}-port: got {value}, allowed: a number from 1 to 65535" in capsys.readouterr().err


QUESTION = 's1 ask "How many r in raspberry"'


@pytest.mark.parametrize(("environment", "variables"), [
    ({"S1_URL": "127.0.0.1:8001"}, ""),
    ({"S1_URL": "127.0.0.1:9001", "S1_SECRET": "s1-secret=hush"}, "S1_URL=127.0.0.1:9001 S1_SECRET=... "),
    ({"S1_URL": "grpcs://h:8001", "S1_CA_FILE": "/a b.pem"}, "S1_URL=grpcs://h:8001 S1_CA_FILE='/a b.pem' "),
])  # fmt: skip
def test_a_ready_server_prints_how_to_get_and_use_the_client(tmp_path, monkeypatch, environment, variables):
    """In an environment with the client, and in a container without it."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    clone = "pip install './client[cli]' in a clone of this project (Python 3.11 or later)"
    assert command._client_hint(environment) == f"ask it: {clone}; {variables}{QUESTION}"
    (tmp_path / "bin").mkdir()
    for name in ("s1", "activate"):
        (tmp_path / "bin" / name).touch()
    assert command._client_hint(environment) == f"ask it: . {tmp_path}/bin/activate; {variables}{QUESTION}"


INTERRUPTED = """
import signal, subprocess, sys
from pathlib import Path
from budgetforce.launcher import command, triton_files

class Popen(subprocess.Popen):
    def __init__(self, _command, **settings):
        super().__init__(["sleep", "600"], **settings)
        started.append(self)
        signal.raise_signal(signal.SIGTERM)  # the process runs, and nobody holds it yet

started = []
command.subprocess.Popen = Popen
triton_files.find = lambda: triton_files.Triton(binary="sleep")
signal.signal(signal.SIGTERM, command._interrupt)
ports = command.Ports(http=1, grpc=2, metrics=3)
try:
    with command.TritonServer(repositories=[], models=[], ports=ports, log=Path(sys.argv[1])):
        pass
except command._Interrupted:
    print([process.poll() for process in started])
"""


def test_an_interrupt_while_triton_starts_leaves_no_process(tmp_path):
    """In a separate process: OpenVINO leaves a broken signal stack behind in the tests'."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, str(tmp_path / "log")], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"[-{signal.SIGINT.value}]\n", done.stderr


def options(**changes):
    """Return the launcher's options at their defaults, with some changes."""
    return argparse.Namespace(**{**vars(parse_options(["--engine=tensorrt_llm"])), **changes})


def test_the_gpu_engine_is_one_setting_and_its_context_is_the_engines(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_config": {"vocab_size": 152064}, "build_config": {"max_seq_len": 32768}}))
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
    with pytest.raises(ConfigError, match="max_seq_len"):
        engine_limits(tmp_path)


def test_the_embedded_model_brings_its_own_context_and_preset(root):
    environment = serving_environment(options(engine="embedded_llm", cache=root / ".s1/models"), 8001, lambda _: None)
    assert environment["S1_MAX_CONTEXT_TOKENS"] == "8192"
    assert environment["S1_VOCAB_ROWS"] == "49152"
    assert environment["S1_PRESET"] == "smollm2"


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
    assert (environment["S1_TENSOR_PARALLEL"], environment["S1_MEMORY_FRACTION"]) == ("2", "0.8")


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
        assert f"${{S1_MAX_REPLIES:-{defaults.max_replies}}}" in text  # a plain tritonserver sets none
        assert (f"${{S1_MAX_WAITING:-{defaults.max_waiting}}}" in text) == config.startswith("s1/")
    known = {field.name: field.default for field in fields(OrchestratorConfig)}
    assert (defaults.max_replies, defaults.max_waiting) == (known["max_replies"], known["max_waiting"])


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
    ],
)
def test_an_admission_limit_that_is_not_allowed_is_refused_before_triton_starts(hf_folder, changes, message):
    with pytest.raises(ConfigError, match=message):
        serving_environment(options(engine="vllm_llm", model=str(hf_folder), **changes), 8001, lambda _: None)


def test_the_queue_of_a_rendered_engine_holds_the_calls_of_all_replies():
    assert render.MAX_QUEUE_SIZE >= 2 * serving_env.MOST_REPLIES


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
        ("qwen3", "preset 'qwen3': terminator '</think>' is 3 tokens in this model, not 1"),
    ],
)
def test_a_model_preset_that_does_not_fit_the_model_is_refused_before_triton_starts(root, preset, message):
    with pytest.raises(ConfigError, match=message):
        serving_environment(options(engine="embedded_llm", cache=root / ".s1/models", preset=preset), 8001, lambda _: None)


@pytest.fixture
def own_signals():
    """Restore signal handlers after the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("own_signals")
def test_an_engine_that_has_not_been_built_is_refused_before_triton_starts(root, capsys):
    code = command.main(["--engine=tensorrt_llm", f"--model-repository={root / 'model_repository'}"])
    assert code == 1
    assert "tensorrt_llm has no config.pbtxt" in capsys.readouterr().err


@pytest.mark.usefixtures("own_signals")
def test_a_reason_not_to_start_is_a_sentence_and_exit_code_1(capsys, tmp_path):
    code = command.main([f"--log={tmp_path / 'log'}", f"--cache={tmp_path}", "--model=/nowhere", "--http-port=0", "--grpc-port=0"])
    assert code == 1
    assert "model '/nowhere'" in capsys.readouterr().err


def test_a_process_of_the_server_that_died_ends_the_launcher_with_a_reason_and_exit_code_1(capsys):
    """Then the container is restarted. Triton itself still runs at that moment."""
    died = "the process of model 's1' (instance s1_0_0, pid 7) died, and Triton does not restart it"
    ports = Ports(host="127.0.0.1", http=8000, grpc=8001, metrics=8002)
    urls = {"grpc_url": "g", "http_url": "h"}
    server = SimpleNamespace(ports=ports, security=Security(), wait=lambda: died, process=SimpleNamespace(returncode=None), **urls)
    assert command._serve_until_ended(server) == 1
    assert died in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["-1", "inf", "soon"])
def test_an_invalid_drain_time_is_refused(capsys, seconds):
    with pytest.raises(SystemExit):
        command.main([f"--drain-s={seconds}"])
    assert "--drain-s" in capsys.readouterr().err
