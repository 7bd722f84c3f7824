# SPDX-License-Identifier: Apache-2.0
"""One real Triton for the whole server suite.

It serves ``s1`` over ``embedded_llm`` with ``s1-tiny`` as a user gets it, and beside it, from a repository made
for the tests: ``scripted_llm``, an engine that says what a test's script tells it to;
``s1_scripted``, the same model ``s1`` over that engine; ``s1_bls``, that over BLS, in three
processes; ``s1_small``, with room for two replies and one that waits, a log in JSON and a training record; and ``s1_lost``, over
an engine that is not loaded, where tenants need a secret. These have SmolLM2's tokenizer, model preset and context.
``toy_reward`` scores the steps of answers.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from training_record import write_record

from budgetforce.engine import model_files
from budgetforce.engine.packaged_models import SMOLLM2
from budgetforce.launcher.options import parse_options
from budgetforce.launcher.ports import choose_ports
from budgetforce.launcher.serving_env import serving_environment
from budgetforce.launcher.triton_server import TritonServer
from s1_client import Client

VOCAB_ROWS = 49152 + 8  # of the scripted engine: more than there are tokens
MAX_CONTEXT_TOKENS = 8192  # of SmolLM2, whose tokenizer it has
HERE = Path(__file__).resolve().parent


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("server")
            item.add_marker(pytest.mark.xdist_group("server"))  # all in one process: they share a Triton


@dataclass(frozen=True)
class Scripts:
    """Writes scripts for ``scripted_llm`` and reads what it noted."""

    folder: Path
    tokenizer: Any
    numbers: Iterator[int]

    def write(self, *calls: list[int], **settings: Any) -> Script:
        name = f"script-{next(self.numbers):03d}-"
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({"key": self.tokenizer.encode(name), "calls": calls, **settings}))
        return Script(question=name, log=path.with_suffix(".log"))


def complete_notes(log: Path) -> list[dict[str, Any]]:
    """Notes in a log that the engine may be writing: a reader can see the first part of a line whose one write has not returned."""
    whole, _, _ = (log.read_text() if log.exists() else "").rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


@dataclass(frozen=True)
class Script:
    """A prompt that makes the engine follow a script, and the notes that the engine makes."""

    question: str
    log: Path

    def notes(self, kind: str) -> list[dict[str, Any]]:
        return [note for note in complete_notes(self.log) if kind in note]


def copy_of_s1(root: Path, repository: Path, name: str, engine: str, *, num_instances: int = 1, **changes: str) -> None:
    """Model ``s1`` over another engine, with SmolLM2's tokenizer and preset, and with other values of some parameters."""
    folder = repository / name
    shutil.copytree(root / "model_repository" / "s1", folder, ignore=shutil.ignore_patterns("__pycache__"))
    config = folder / "config.pbtxt"
    text = config.read_text().replace('name: "s1"', f'name: "{name}"').replace("${S1_ENGINE_MODEL}", engine)
    changes = {
        "tokenizer_dir": str(model_files.prepare(SMOLLM2, root / ".s1" / "models").tokenizer),
        "preset": "smollm2",
        "max_context_tokens": str(MAX_CONTEXT_TOKENS),
        "vocab_rows": str(VOCAB_ROWS),
        "training_record": "",
        **changes,
    }
    for parameter, value in changes.items():
        text, number = re.subn(rf'(key: "{parameter}".*\n.*string_value: )"[^"]*"', rf'\g<1>"{value}"', text)
        assert number == 1
    config.write_text(text.replace("count: 1 ", f"count: {num_instances} "))


def make_scripted_llm(root: Path, repository: Path, scripts: Path) -> None:
    folder = repository / "scripted_llm"
    (folder / "1").mkdir(parents=True)
    shutil.copy(HERE / "scripted_llm" / "model.py", folder / "1")
    config = (root / "model_repository" / "embedded_llm" / "config.pbtxt").read_text()
    tensors = config[config.index("\ninput [") :]
    parameter = f'parameters {{ key: "scripts" value: {{ string_value: "{scripts}" }} }}'
    head = config[: config.index("\nparameters")].replace("embedded_llm", "scripted_llm")
    (folder / "config.pbtxt").write_text(f"{head}\n{parameter}\n{tensors}")


def add_toy_reward(repository: Path) -> None:
    folder = repository / "toy_reward"
    (folder / "1").mkdir(parents=True)
    shutil.copy(HERE / "toy_reward" / "model.py", folder / "1")
    shutil.copy(HERE / "toy_reward" / "config.pbtxt", folder)


def environment_of(root: Path, grpc_port: int) -> dict[str, str]:
    """What the model configs name, for the default model."""
    options = parse_options([f"--cache={root / '.s1/models'}"])
    return serving_environment(options, grpc_port, lambda _: None)


def scripted_server(root: Path, scripts: Path, repository: Path, log: Path) -> TritonServer:
    """A server of its own with ``s1_scripted``; not started."""
    make_scripted_llm(root, repository, scripts)
    copy_of_s1(root, repository, "s1_scripted", "scripted_llm")
    ports = choose_ports(http=0, grpc=0, metrics=0)
    models = ["scripted_llm", "s1_scripted"]
    return TritonServer(
        repositories=[repository], models=models, ports=ports, log=log, environment=environment_of(root, ports.grpc), deadline_s=120
    )


@pytest.fixture(scope="session")
def scripts_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scripts")


@pytest.fixture(scope="session")
def scripts(scripts_folder: Path, tokenizer: Any) -> Scripts:
    return Scripts(scripts_folder, tokenizer, itertools.count())


@pytest.fixture
def a(tokenizer: Any) -> int:
    """An id of ordinary text, for scripts."""
    return int(tokenizer.encode("a")[0])


@pytest.fixture(scope="session")
def tenant_secret() -> str:
    """What must come with a tenant's name to ``s1_lost``."""
    return "only-gateways"


@pytest.fixture(scope="session")
def triton(root: Path, scripts_folder: Path, tenant_secret: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = tmp_path_factory.mktemp("repository")
    make_scripted_llm(root, repository, scripts_folder)
    copy_of_s1(root, repository, "s1_scripted", "scripted_llm")
    secret_file = tmp_path_factory.mktemp("secret") / "tenants"
    secret_file.write_text(f"{tenant_secret}\n")
    copy_of_s1(root, repository, "s1_lost", "tensorrt_llm", tenant_secret_file=str(secret_file))
    copy_of_s1(root, repository, "s1_bls", "scripted_llm", num_instances=3, transport="bls")
    record = str(write_record(tmp_path_factory.mktemp("trained")))
    copy_of_s1(root, repository, "s1_small", "scripted_llm", max_replies="2", max_waiting="1", log_format="json", training_record=record)
    add_toy_reward(repository)
    ports = choose_ports(http=0, grpc=0, metrics=0)
    server = TritonServer(
        repositories=[root / "model_repository", repository],
        models=["s1", "embedded_llm", "scripted_llm", "s1_scripted", "s1_bls", "s1_lost", "s1_small", "toy_reward"],
        ports=ports,
        log=tmp_path_factory.mktemp("log") / "triton.log",
        environment=environment_of(root, ports.grpc),
        deadline_s=120,
    )
    with server:
        yield server
        assert server.process is not None
        assert server.process.poll() is None, f"Triton died during the tests\n{server.log_errors()}"
    text = server.log.read_text()
    assert not re.search("Traceback|Segmentation|core dumped", text), text[-3000:]


@pytest.fixture(scope="session")
def client(triton: TritonServer) -> Iterator[Client]:
    """A client of ``s1`` over ``s1-tiny``."""
    with Client(triton.grpc_url) as client:
        yield client


@pytest.fixture(scope="session")
def over_grpc(triton: TritonServer) -> Iterator[Client]:
    """A client of ``s1`` over the scripted engine."""
    with Client(triton.grpc_url, model="s1_scripted", max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def over_bls(triton: TritonServer) -> Iterator[Client]:
    """The same with transport bls."""
    with Client(triton.grpc_url, model="s1_bls", max_retries=0) as client:
        yield client


@pytest.fixture(params=["grpc", "bls"])
def scripted(request: pytest.FixtureRequest) -> Client:
    """Either: what must be the same with both transports."""
    return request.getfixturevalue(f"over_{request.param}")
