# SPDX-License-Identifier: Apache-2.0
"""The launcher's command without a server. (With a server: tests/server/test_lifecycle.py.)"""

import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from budgetforce.launcher import command
from budgetforce.launcher.options import parse_options
from budgetforce.launcher.ports import Ports
from budgetforce.launcher.security import Security
from budgetforce.launcher.triton_server import StartFailed


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
def test_a_folder_without_model_s1_is_no_reason_to_build_an_engine(capsys, tmp_path):
    code = command.main([f"--model-repository={tmp_path}"])
    assert code == 1
    assert f"{tmp_path}/s1 has no config.pbtxt: run it in the project's folder" in capsys.readouterr().err


@pytest.mark.usefixtures("own_signals")
def test_a_reason_not_to_start_is_a_sentence_and_exit_code_1(capsys, tmp_path):
    code = command.main([f"--log={tmp_path / 'log'}", f"--cache={tmp_path}", "--model=/nowhere", "--http-port=0", "--grpc-port=0"])
    assert code == 1
    assert "model '/nowhere'" in capsys.readouterr().err


@pytest.mark.usefixtures("own_signals")
def test_the_options_of_tracing_reach_triton_and_s1(root, monkeypatch):
    seen = {}

    class Server:
        def __init__(self, **settings):
            seen.update(settings)
            raise StartFailed("that is all")

    monkeypatch.setattr(command, "TritonServer", Server)
    url = "http://127.0.0.1:4318/v1/traces"
    files = [f"--model-repository={root / 'model_repository'}", f"--cache={root / '.s1/models'}"]
    assert command.main([*files, "--http-port=0", "--grpc-port=0", "--metrics-port=0", f"--trace-url={url}", "--trace-rate=0.5"]) == 1
    assert f"--trace-config=opentelemetry,url={url}" in seen["extra_flags"]
    assert seen["environment"].items() >= {"S1_TRACE_URL": url, "S1_TRACE_RATE": "0.500000000"}.items()


def test_a_process_of_the_server_that_died_ends_the_launcher_with_a_reason_and_exit_code_1(capsys):
    """Then the container is restarted. Triton itself still runs at that moment."""
    died = "the process of model 's1' (instance s1_0_0, pid 7) died, and Triton does not restart it"
    ports = Ports(host="127.0.0.1", http=8000, grpc=8001, metrics=8002)
    urls = {"grpc_url": "g", "http_url": "h"}
    server = SimpleNamespace(ports=ports, security=Security(), wait=lambda: died, process=SimpleNamespace(returncode=None), **urls)
    assert command._serve_until_ended(server, "what the model can do") == 1
    printed = capsys.readouterr()
    assert died in printed.err
    assert printed.out.splitlines()[-1] == "what the model can do"
