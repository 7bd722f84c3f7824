# SPDX-License-Identifier: Apache-2.0
"""One real Triton for the whole server suite.

It serves ``s1`` over ``embedded_llm`` as a user gets it, and beside it, from a repository made
for the tests: ``scripted_llm``, an engine that says what a test's script tells it to;
``s1_scripted``, the same model ``s1`` over that engine; ``s1_small``, that with room for two
replies and one that waits; and ``s1_lost``, over an engine that is not loaded.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from budgetforce.launcher import TritonServer, choose_ports
from budgetforce.serving_env import serving_environment
from s1_client import Client

VOCAB_ROWS = 49152 + 8  # of the scripted engine: more than there are tokens
HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("server")


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


@dataclass(frozen=True)
class Script:
    """A prompt that makes the engine follow a script, and the notes that the engine makes."""

    question: str
    log: Path

    def notes(self, kind: str) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [entry for entry in map(json.loads, lines) if kind in entry]


def copy_of_s1(root: Path, repository: Path, name: str, engine: str, *changes: tuple[str, str]) -> None:
    """Model ``s1`` over another engine, with other values of some parameters."""
    folder = repository / name
    shutil.copytree(root / "model_repository" / "s1", folder, ignore=shutil.ignore_patterns("__pycache__"))
    config = folder / "config.pbtxt"
    text = config.read_text().replace('name: "s1"', f'name: "{name}"').replace("${S1_ENGINE_MODEL}", engine)
    for old, new in changes:
        assert text.count(f'"{old}"') == 1
        text = text.replace(f'"{old}"', f'"{new}"')
    config.write_text(text.replace("${S1_VOCAB_ROWS}", str(VOCAB_ROWS)) if engine == "scripted_llm" else text)


def make_scripted_llm(root: Path, repository: Path, scripts: Path) -> None:
    folder = repository / "scripted_llm"
    (folder / "1").mkdir(parents=True)
    shutil.copy(HERE / "scripted_llm" / "model.py", folder / "1")
    config = (root / "model_repository" / "embedded_llm" / "config.pbtxt").read_text()
    tensors = config[config.index("\ninput [") :]
    parameter = f'parameters {{ key: "scripts" value: {{ string_value: "{scripts}" }} }}'
    head = config[: config.index("\nparameters")].replace("embedded_llm", "scripted_llm")
    (folder / "config.pbtxt").write_text(f"{head}\n{parameter}\n{tensors}")


@pytest.fixture(scope="session")
def scripts_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scripts")


@pytest.fixture(scope="session")
def scripts(scripts_folder: Path, tokenizer: Any) -> Scripts:
    return Scripts(scripts_folder, tokenizer, itertools.count())


@pytest.fixture(scope="session")
def triton(root: Path, smollm2: Any, scripts_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = tmp_path_factory.mktemp("repository")
    make_scripted_llm(root, repository, scripts_folder)
    copy_of_s1(root, repository, "s1_scripted", "scripted_llm")
    copy_of_s1(root, repository, "s1_lost", "tensorrt_llm")
    copy_of_s1(root, repository, "s1_small", "scripted_llm", ("256", "2"), ("1024", "1"))
    ports = choose_ports(http=0, grpc=0, metrics=0)
    options = argparse.Namespace(engine="embedded_llm", model="smollm2", cache=root / ".s1" / "models", preset=None, library="auto")
    server = TritonServer(
        repositories=[root / "model_repository", repository],
        models=["s1", "embedded_llm", "scripted_llm", "s1_scripted", "s1_lost", "s1_small"],
        ports=ports,
        log=tmp_path_factory.mktemp("log") / "triton.log",
        environment=serving_environment(options, ports.grpc, lambda _: None),
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
    """A client of ``s1`` over the real small model."""
    with Client(triton.grpc_url) as client:
        yield client


@pytest.fixture(scope="session")
def scripted(triton: TritonServer) -> Iterator[Client]:
    """A client of ``s1`` over the scripted engine."""
    with Client(triton.grpc_url, model="s1_scripted") as client:
        yield client
