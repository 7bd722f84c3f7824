# SPDX-License-Identifier: Apache-2.0
"""Two real Tritons under a real mpirun: rank 0 with all it serves, rank 1 with the engine alone.

The embedded engine stands for TensorRT-LLM's under its name, so each rank is whole by itself; what is seen here is
that a server of two ranks starts, answers, and ends without a trace.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from budgetforce.processes import arguments, members
from s1_client import Client
from server.traces import left_of, shared_memory_of


@pytest.fixture
def flags(root, s1_tiny, tmp_path):
    """Of a launcher that takes the embedded engine for an engine of two ranks."""
    folder = tmp_path / "repository" / "tensorrt_llm"
    (folder / "1").mkdir(parents=True)
    source = root / "model_repository" / "embedded_llm"
    (folder / "config.pbtxt").write_text((source / "config.pbtxt").read_text().replace('name: "embedded_llm"', 'name: "tensorrt_llm"'))
    (folder / "1" / "model.py").write_text((source / "1" / "model.py").read_text())
    own = tmp_path / "own"  # s1 and the engine's config in repositories of their own, as in the container
    own.mkdir()
    (own / "s1").symlink_to(root / "model_repository" / "s1")
    engine = tmp_path / "engine"
    engine.mkdir()
    limits = s1_tiny.limits
    pretrained = {"vocab_size": limits.vocab_size, "mapping": {"world_size": 2}}
    config = {"pretrained_config": pretrained, "build_config": {"max_seq_len": limits.max_seq_len, "max_batch_size": 8}}
    (engine / "config.json").write_text(json.dumps(config))
    for rank in range(2):
        (engine / f"rank{rank}.engine").touch()
    ports = [f"--{name}-port=0" for name in ("http", "grpc", "metrics")]
    repositories = [f"--model-repository={folder}" for folder in (own, tmp_path / "repository")]
    where = [*repositories, f"--log={tmp_path / 'triton.log'}", f"--engine-dir={engine}"]
    return ["--engine=tensorrt_llm", "--skip-preflight", *where, *ports]


@pytest.fixture
def launch(flags, s1_tiny):
    running = []

    def start():
        model = {"S1_MODEL_DIR": str(s1_tiny.weights.parent), "S1_EMBEDDED_LIBRARY": "auto"}
        path = f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}"  # package openmpi's mpirun
        command = [sys.executable, "-m", "budgetforce.launcher", *flags, f"--tokenizer={s1_tiny.tokenizer}"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        env = {**os.environ, **model, "PATH": path}
        running.append(subprocess.Popen(command, env=env, start_new_session=True, **pipes))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def tritons_of(launcher: int) -> tuple[int, dict[int, int]]:
    """The session of a launcher's mpirun, and its ranks' processes."""
    (mpirun,) = (int(pid) for pid in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split())
    regions = {pid: [a for a in arguments(pid) if "shm-region-prefix-name" in a] for pid in members(mpirun) if pid != mpirun}
    return mpirun, {int(found[0].rstrip("_")[-1]): pid for pid, found in regions.items() if found}


def test_a_server_of_two_ranks_answers_and_stops_without_a_trace(launch):
    launcher = launch()
    ready = launcher.stdout.readline()
    assert ready.startswith("ready: gRPC ")
    with Client(ready.split()[2].rstrip(",")) as client:
        assert client.think("How many r in raspberry", max_thinking_tokens=8, max_tokens=2).result.usage.num_thinking_tokens == 8
    session, ranks = tritons_of(launcher.pid)
    assert set(ranks) == {0, 1}
    assert len(members(session)) == 6  # mpirun, two servers, and stubs: s1, the engine, and the other's engine
    shared = shared_memory_of(members(session))
    assert left_of(shared)
    launcher.terminate()
    _, errors = launcher.communicate(timeout=60)
    assert launcher.returncode == 0, errors
    assert members(session) == []
    assert left_of(shared) == []


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_killed_ends_the_other_and_the_launcher_with_an_error(launch, rank):
    launcher = launch()
    assert launcher.stdout.readline().startswith("ready: ")
    session, ranks = tritons_of(launcher.pid)
    shared = shared_memory_of(members(session))
    assert left_of(shared)
    os.kill(ranks[rank], signal.SIGKILL)
    _, errors = launcher.communicate(timeout=60)
    assert launcher.returncode not in (0, None)
    assert "ended" in errors
    assert members(session) == []
    assert left_of(shared) == []
