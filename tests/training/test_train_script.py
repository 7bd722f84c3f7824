# SPDX-License-Identifier: Apache-2.0
"""build/train.py: its environment, and the launchers that call it."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from budgetforce.errors import ConfigError
from budgetforce.training.eval_command import eval_command


@pytest.fixture
def script(root, monkeypatch, tmp_path):
    """The script as a module, with an environment elsewhere; steps of the set-up are recorded in ``steps`` and succeed."""
    monkeypatch.syspath_prepend(str(root / "build"))
    spec = importlib.util.spec_from_file_location("train_script", root / "build/train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.steps = []

    def step(title, command, **_):
        module.steps.append((title, command))
        (tmp_path / "train").mkdir(exist_ok=True)
        return True

    monkeypatch.setattr(module.local, "step", step)
    monkeypatch.setattr(module.local, "find_uv", lambda *_: "uv")
    monkeypatch.setattr(module, "cpu_options", lambda: ["--torch-backend=cpu"])
    for name, path in (("ENV", "train"), ("PYTHON", "train/bin/python"), ("STAMP", "train/installed")):
        monkeypatch.setattr(module, name, tmp_path / path)
    return module


def gpu(script, monkeypatch, found):
    monkeypatch.setattr(script.shutil, "which", lambda name: "/usr/bin/nvidia-smi" if found else None)


def test_help_is_its_result(root):
    done = subprocess.run([sys.executable, root / "build/train.py", "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "build/train.py plan --recipe s1-32b" in done.stdout


@pytest.mark.parametrize(("has_gpu", "options", "is_for_cpu"), [(False, [], True), (True, [], False), (False, ["--cuda"], False)])
def test_pytorch_is_for_cuda_where_there_is_a_driver(script, monkeypatch, has_gpu, options, is_for_cpu):
    gpu(script, monkeypatch, has_gpu)
    assert script.setup(options) == 0
    _, install = script.steps[1]
    assert ("--torch-backend=cpu" in install) is is_for_cpu
    assert install[install.index("--constraint") + 1] == "build/train.lock"


def test_an_environment_is_made_once_and_one_for_cuda_suits_every_machine(script, monkeypatch):
    gpu(script, monkeypatch, found=False)
    script.setup(["--cuda"])
    script.setup()
    assert len(script.steps) == 2
    script.STAMP.write_text("cpu of another lock")
    script.setup()
    script.setup()
    assert len(script.steps) == 4


def test_a_dry_run_is_followed_by_no_evaluation(script, monkeypatch):
    """It leaves no checkpoint to evaluate."""
    monkeypatch.setattr(script, "prepare", lambda _: None)
    monkeypatch.setattr(script.local, "become", lambda command: sys.exit(" ".join(command[2:])))
    monkeypatch.setattr(script, "evaluate", lambda _: pytest.fail("evaluated"))
    with pytest.raises(SystemExit, match=r"^sft --work w --dry-run$"):
        script.train(["sft", "--work", "w", "--eval", "--dry-run"])


def test_the_next_way_is_tried_when_an_install_fails(script, monkeypatch):
    gpu(script, monkeypatch, found=False)
    step = script.local.step
    monkeypatch.setattr(
        script.local, "step", lambda title, command, **options: step(title, command) and "--torch-backend=cpu" not in command
    )
    script.setup()
    assert [title for title, _ in script.steps] == [
        "Python environment",
        "PyTorch for CPU and TRL",
        "PyTorch with CUDA's libraries (5 GB) and TRL",
    ]


def test_the_lock_satisfies_the_extra(root):
    """And holds no build for one kind of machine: a constraint torch==2.13.0+cpu would exclude CUDA's."""
    text = (root / "build/train.lock").read_text()
    locked = dict(re.findall(r"^([a-z0-9_.-]+)==(\S+)$", text, re.M))
    project = tomllib.loads((root / "python_backend/pyproject.toml").read_text())["project"]
    for requirement in map(Requirement, [*project["optional-dependencies"]["train"], *project["dependencies"]]):
        assert requirement.specifier.contains(locked[requirement.name])
    assert "+" not in locked["torch"]


def torchrun_options(command):
    """What a launcher hands to torchrun, and the command line that torchrun runs in each process."""
    parser = argparse.ArgumentParser()
    for name in ("--nnodes", "--nproc-per-node", "--rdzv-backend", "--rdzv-id", "--rdzv-endpoint"):
        parser.add_argument(name, required=True)
    parser.add_argument("script", nargs=argparse.REMAINDER)
    return vars(parser.parse_args(command))


@pytest.fixture
def printed(tmp_path):
    """Runs a shell script in a folder where torchrun and SLURM's commands only print; returns what torchrun was given."""
    stubs = tmp_path / "bin"
    stubs.mkdir()
    torchrun = tmp_path / ".s1/train/bin/torchrun"
    torchrun.parent.mkdir(parents=True)
    for path, text in (
        (torchrun, 'printf "%s\\n" "$@"'),
        (stubs / "srun", 'shift; exec "$@"'),
        (stubs / "scontrol", "echo node1; echo node2"),
    ):
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def run(text, **variables):
        environment = {"PATH": f"{stubs}:{os.environ['PATH']}", **variables}
        done = subprocess.run(["bash", "-c", text], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, torchrun_options(done.stdout.splitlines()) if done.returncode == 0 else done.stderr

    return run


def test_slurm_starts_a_process_for_each_gpu_of_each_node(root, printed, tmp_path):
    text = (root / "build/slurm/train.sbatch").read_text()
    slurm = {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_NUM_NODES": "2"}
    slurm |= {"SLURM_GPUS_PER_NODE": "h100:8", "SLURM_JOB_ID": "7"}
    code, given = printed(text, **slurm, S1_DATA="set", S1_WORK="work")
    assert code == 0
    assert given == {
        "nnodes": "2",
        "nproc_per_node": "8",
        "rdzv_backend": "c10d",
        "rdzv_id": "7",
        "rdzv_endpoint": "node1:29500",
        "script": ["build/train.py", "sft", "--recipe", "s1-32b", "--data", "set", "--work", "work"],
    }
    code, said = printed(text, **slurm)
    assert code != 0
    assert "S1_DATA: the folder of the training set" in said


def test_skypilot_starts_the_same(root, printed):
    task = yaml.safe_load((root / "build/sky/train.yaml").read_text())
    sky = {"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NUM_NODES": "2", "SKYPILOT_NUM_GPUS_PER_NODE": "8", "SKYPILOT_TASK_ID": "t"}
    code, given = printed(task["run"], **sky, **task["envs"])
    assert code == 0
    assert (given["nnodes"], given["nproc_per_node"], given["rdzv_endpoint"]) == ("2", "8", "10.0.0.1:29500")
    assert given["script"][1:] == ["sft", "--recipe", "s1-32b", "--data", "/s1/set", "--work", "/s1/work"]


def test_eval_serves_the_checkpoint_and_writes_beside_it(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint/config.json").write_text("{}")
    command = eval_command(tmp_path, ["letters", "--num-ignore", "0,1"])
    serve, measure = command[: command.index("--")], command[command.index("--") + 2 :]
    assert serve[1:5] == ["-m", "budgetforce.launcher", "--model", str(tmp_path / "checkpoint")]
    assert measure == ["eval", "letters", "--num-ignore", "0,1", "--out", str(tmp_path / "eval")]


def test_eval_serves_from_any_folder(script, monkeypatch, tmp_path):
    """Paths on the command line are relative to the folder of the caller, the server's files to the project."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work/checkpoint").mkdir(parents=True)
    (tmp_path / "work/checkpoint/config.json").write_text("{}")
    monkeypatch.setattr(script, "prepare", lambda _: None)
    monkeypatch.setattr(script.local, "become", lambda command: sys.exit(" ".join(command[3:])))
    with pytest.raises(SystemExit, match=rf"^eval --root {script.local.ROOT} --work work q.jsonl$"):
        script.evaluate(["eval", "--work", "work", "q.jsonl"])
    command = eval_command(Path("work"), ["q.jsonl"], script.local.ROOT)
    assert command[command.index("--model-repository") + 1] == str(script.local.ROOT / "model_repository")
    assert command[command.index("--out") + 1] == str(tmp_path / "work/eval")


def test_eval_wants_a_checkpoint(tmp_path):
    with pytest.raises(ConfigError, match="holds no checkpoint: run sub-command sft first"):
        eval_command(tmp_path, [])
