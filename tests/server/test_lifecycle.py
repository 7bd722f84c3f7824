# SPDX-License-Identifier: Apache-2.0
"""The launcher owns what it starts: ready or a reason, and nothing left behind, however it ends."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from budgetforce.launcher import triton_server
from budgetforce.launcher.ports import choose_ports
from budgetforce.launcher.triton_server import StartFailed, TritonServer
from server.traces import left_of, shared_memory_of

BROKEN_MODEL = "raise RuntimeError('weights are missing')\n"
CONFIG = """
name: "%s" backend: "python" max_batch_size: 0
input [ { name: "x" data_type: TYPE_INT32 dims: [ 1 ] } ]
output [ { name: "y" data_type: TYPE_INT32 dims: [ 1 ] } ]
"""
TRIVIAL_MODEL = "class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"
SLOW_MODEL = "import time\ntime.sleep(60)\n"

LAUNCH = "S1_TEST_LAUNCH"  # in the environment of all that a test's launcher starts
TRITON_PROGRAMS = ("tritonserver", "triton_python_backend_stub")


def make_repository(folder: Path, source: str, name: str = "m") -> Path:
    (folder / name / "1").mkdir(parents=True)
    (folder / name / "config.pbtxt").write_text(CONFIG % name)
    (folder / name / "1" / "model.py").write_text(source)
    return folder


def server(folder: Path, source: str, **settings) -> TritonServer:
    repository = make_repository(folder / "repository", source)
    ports = choose_ports(http=0, grpc=0, metrics=0)
    return TritonServer(repositories=[repository], models=["m"], ports=ports, log=folder / "log" / "triton.log", **settings)


def processes_of(session: int) -> list[str]:
    """Command lines of the living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((stat.parent / "cmdline").read_text())
        except (OSError, ProcessLookupError):
            continue
    return found


def test_a_server_that_lost_a_race_for_its_ports_is_not_taken_for_the_one_that_won(tmp_path, monkeypatch):
    """Between the look at the ports and the start of Triton another server may take them, and answer that it is ready."""
    monkeypatch.setattr(triton_server, "why_unusable", lambda _: None)
    with server(tmp_path / "winner", TRIVIAL_MODEL) as winner:
        loser = server(tmp_path / "loser", TRIVIAL_MODEL)
        loser.ports = winner.ports
        with pytest.raises(StartFailed, match="while starting"), loser:
            pass


def test_a_server_is_ready_inside_the_block_and_gone_after_it(tmp_path):
    with server(tmp_path, TRIVIAL_MODEL) as running:
        session = running.process.pid
        assert len(processes_of(session)) >= 2  # the server and a stub
        assert list(Path("/dev/shm").glob(f"{running._prefix}*"))
    assert processes_of(session) == []
    assert not list(Path("/dev/shm").glob(f"{running._prefix}*"))


def test_a_server_that_does_not_come_up_says_why_in_the_logs_own_words(tmp_path):
    failing = server(tmp_path, BROKEN_MODEL)
    with pytest.raises(StartFailed, match="weights are missing"), failing:
        pass
    assert failing.process is None
    assert not list(Path("/dev/shm").glob(f"{failing._prefix}*"))


def test_a_server_that_takes_too_long_is_given_up(tmp_path):
    """The stub that still loads is ended with it."""
    slow = server(tmp_path, SLOW_MODEL, deadline_s=2)
    with pytest.raises(StartFailed, match="not ready after 2 s"), slow:
        pass
    assert not list(Path("/dev/shm").glob(f"{slow._prefix}*"))


def test_a_crashed_stub_leaves_nothing_behind(tmp_path):
    """SIGKILL to server and stubs alike; the launcher still cleans up."""
    with server(tmp_path, TRIVIAL_MODEL) as running:
        os.killpg(running.process.pid, signal.SIGKILL)
    assert not list(Path("/dev/shm").glob(f"{running._prefix}*"))


@pytest.fixture
def launch(root, tmp_path):
    """Start the launcher as a user does, with a command to run."""
    running = []

    def start(*command):
        flags = [f"--{name}-port=0" for name in ("http", "grpc", "metrics")]
        flags += [f"--log={tmp_path / 'triton.log'}", f"--cache={root / '.s1' / 'models'}"]
        arguments = [sys.executable, "-m", "budgetforce.launcher", *flags, "--", *command]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        env = {**os.environ, LAUNCH: str(tmp_path)}
        running.append(subprocess.Popen(arguments, cwd=root, env=env, start_new_session=True, **pipes))
        return running[-1]

    yield start
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with its command, which has our end of the pipes
        process.communicate()


@pytest.fixture
def triton_processes(tmp_path):
    """Find the processes of Triton that this test's launcher has started; other launchers may run beside it."""
    mark = f"{LAUNCH}={tmp_path}".encode()

    def find() -> set[int]:
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                program = Path((process / "cmdline").read_text().split("\0")[0]).name
                if program in TRITON_PROGRAMS and mark in (process / "environ").read_bytes().split(b"\0"):
                    found.add(int(process.name))
        return found

    return find


def test_the_commands_exit_code_is_the_launchers_and_it_finds_the_server(launch, triton_processes):
    process = launch(sys.executable, "-c", "import os, sys; print(os.environ['S1_URL']); sys.exit(7)")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 7
    assert out.startswith("127.0.0.1:")
    assert triton_processes() == set()


def check_that_it_stops_on(send, launch, triton_processes):
    process = launch("sh", "-c", "echo up; exec sleep 600")
    assert process.stdout.readline() == "up\n"
    shared = shared_memory_of(triton_processes())
    assert left_of(shared)
    send(process.pid)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert triton_processes() == set()
    assert left_of(shared) == []


def test_ctrl_c_ends_the_command_and_then_the_server(launch, triton_processes):
    """A terminal sends it to both; the command decides, the server stops after it."""
    check_that_it_stops_on(lambda pid: os.killpg(pid, signal.SIGINT), launch, triton_processes)


def test_sigterm_stops_everything(launch, triton_processes):
    """As a supervisor stops a container: it goes to the launcher alone."""
    check_that_it_stops_on(lambda pid: os.kill(pid, signal.SIGTERM), launch, triton_processes)


def test_ctrl_c_while_it_still_starts_stops_everything(launch, triton_processes):
    process = launch("true")
    while not triton_processes():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert triton_processes() == set()
