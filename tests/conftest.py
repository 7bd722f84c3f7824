# SPDX-License-Identifier: Apache-2.0
"""What all tests share: the versions under test in the header, and the prepared small models."""

from __future__ import annotations

import os
import signal
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

# gRPC would start threads in a forked child, which abort when subprocess closes their files before the program starts: 2 of 150
# children of a process with a channel died. Read when gRPC is imported.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

from budgetforce.engine import model_files
from budgetforce.engine.packaged_models import SMOLLM2
from budgetforce.text.tokenizer import ChatTokenizer
from reference import qwen25

ROOT = Path(__file__).resolve().parent.parent


@pytest.hookimpl(optionalhook=True)  # there is a hook of this name only where pytest-xdist is installed
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return what ``--dist=loadgroup`` is here; None for other ways to share tests out."""
    from distribution import ByFile

    config.option.loadscopereorder = False  # by number of tests, which tells nothing about their time
    return ByFile(config, log) if config.getoption("dist") == "loadgroup" else None


@pytest.hookimpl(trylast=True)  # behind the hook that makes all tests of the server a group
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # a process of pytest-xdist
        from distribution import longest_first

        longest_first(items)


def pytest_configure() -> None:
    """A shell's background job has Ctrl-C ignored, which the processes that tests start would inherit."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("engines")
    group.addoption("--engine-url", help="host:port of a running Triton whose engine model is to be held to the contract")
    group.addoption("--engine-model", default="tensorrt_llm", help="that model's name (default: %(default)s)")


def pytest_report_header() -> str:
    names = ("nvidia-pytriton", "openvino-genai", "transformers", "tritonclient", "protobuf", "numpy")
    return "under test: " + ", ".join(f"{name} {_version(name)}" for name in names)


def _version(name: str) -> str:
    """A machine from which another server is tested has no engine of its own."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def s1_tiny() -> model_files.ModelFiles:
    """The embedded engine's default model, prepared where the launcher keeps it."""
    return model_files.prepare(model_files.DEFAULT_SOURCE, ROOT / ".s1" / "models")


@pytest.fixture(scope="session")
def tiny_tokenizer(s1_tiny: model_files.ModelFiles) -> ChatTokenizer:
    """Its tokenizer: single letters and digits, and a few words."""
    return ChatTokenizer.load(s1_tiny.tokenizer)


@pytest.fixture(scope="session")
def smollm2() -> model_files.ModelFiles:
    """A model with a vocabulary for general text, from a GGUF file. Its weights are run only where a test is about such a model."""
    return model_files.prepare(SMOLLM2, ROOT / ".s1" / "models")


@pytest.fixture(scope="session")
def tokenizer(smollm2: model_files.ModelFiles) -> ChatTokenizer:
    """Its tokenizer, of 49,152 tokens: the vocabulary of the tests that need no model, or a scripted one."""
    return ChatTokenizer.load(smollm2.tokenizer)


@pytest.fixture(scope="session")
def qwen_as_published() -> PreTrainedTokenizerFast:
    """Qwen2.5's tokenizer, which is s1's, as transformers has it."""
    return qwen25.load()


@pytest.fixture(scope="session")
def qwen(qwen_as_published: PreTrainedTokenizerFast) -> ChatTokenizer:
    """The same as we use it."""
    return ChatTokenizer(qwen_as_published)
