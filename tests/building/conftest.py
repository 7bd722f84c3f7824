# SPDX-License-Identifier: Apache-2.0
"""Fixtures: stand-ins for the image's tools, a tiny model, and a build with both."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from transformers import PreTrainedTokenizerFast

from budgetforce.building.__main__ import main
from budgetforce.text.tokenizer import ChatTokenizer

TOOLCHAIN = Path(__file__).with_name("toolchain")
PYTHON3 = str(Path(sys.base_prefix) / "bin")  # for the stand-ins: pyenv's python3 is a script that takes eight times as long to start
TINY = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "torch_dtype": "float32",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": True,
    "rms_norm_eps": 1e-6,
}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, qwen_as_published: PreTrainedTokenizerFast) -> Path:
    """A Qwen2 of random numbers with Qwen2.5's tokenizer, its weights in two files."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    qwen_as_published.save_pretrained(str(folder))
    (folder / "config.json").write_text(json.dumps(TINY))
    shards = {"model-00001-of-00002.safetensors": _embedding(), "model-00002-of-00002.safetensors": _layers()}
    for name, tensors in shards.items():
        save_file(tensors, str(folder / name))
    index = {name: shard for shard, tensors in shards.items() for name in tensors}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return folder


def _embedding() -> dict[str, np.ndarray]:
    return {"model.embed_tokens.weight": np.random.default_rng(1).standard_normal((TINY["vocab_size"], 16)).astype(np.float32)}


def _layers() -> dict[str, np.ndarray]:
    random = np.random.default_rng(2)
    tensors = {"model.norm.weight": np.ones(16, np.float32)}
    for layer in range(TINY["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        for name in ("q", "k", "v", "o"):
            tensors[f"{at}.self_attn.{name}_proj.weight"] = random.standard_normal((16, 16)).astype(np.float32)
        for name in ("q", "k", "v"):
            tensors[f"{at}.self_attn.{name}_proj.bias"] = np.zeros(16, np.float32)
        for name, shape in (("gate", (32, 16)), ("up", (32, 16)), ("down", (16, 32))):
            tensors[f"{at}.mlp.{name}_proj.weight"] = random.standard_normal(shape).astype(np.float32)
        tensors |= {f"{at}.{name}_layernorm.weight": np.ones(16, np.float32) for name in ("input", "post_attention")}
    return tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A work folder and the stand-ins, with a record of their calls."""

    folder: Path
    model: Path
    environment: dict[str, str]

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def config(self) -> Path:
        return self.folder / "repository" / "tensorrt_llm" / "config.pbtxt"

    def options(self, step: str, *more: str) -> list[str]:
        places = [
            "--work",
            str(self.work),
            "--model-repository",
            str(self.folder / "repository"),
            "--examples",
            str(TOOLCHAIN / "examples"),
        ]
        return [step, *places, *(() if "--model" in more else ("--model", str(self.model))), *more]

    def run(self, step: str, *more: str) -> int:
        return main(self.options(step, *more))

    def fail(self, how: str) -> None:
        """Let the next calls of a tool fail: "convert enospc"; "" = none."""
        (self.folder / "fail").write_text(how)

    @property
    def calls(self) -> list[str]:
        """The tools that were called, in order."""
        path = self.folder / "calls.jsonl"
        return [json.loads(line)[0] for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def results(self) -> set[str]:
        """The results in the work folder that have their final names."""
        return {path.name for path in self.work.iterdir() if path.is_dir()} - {"logs"}


def environment_for(folder: Path) -> dict[str, str]:
    """Environment of a process that uses the stand-ins."""
    path = os.pathsep.join([str(TOOLCHAIN / "bin"), PYTHON3, os.environ["PATH"]])
    return {"PATH": path, "STANDIN": str(folder), "PYTHONPATH": str(TOOLCHAIN / "site")}


def bench_in(folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: ChatTokenizer) -> Bench:
    """Let this process use the stand-ins; the tokenizer, which takes seconds, is loaded once."""
    environment = environment_for(folder)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.syspath_prepend(str(TOOLCHAIN / "site"))
    monkeypatch.setattr(ChatTokenizer, "load", lambda folder: tokenizer)
    return Bench(folder=folder, model=model, environment=environment)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return environment_for(tmp_path)


@pytest.fixture
def bench(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, qwen: ChatTokenizer) -> Bench:
    return bench_in(tmp_path, tiny_model, monkeypatch, qwen)
