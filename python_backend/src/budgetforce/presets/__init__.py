# SPDX-License-Identifier: Apache-2.0
"""What is special about a model, as data: one TOML file a model, nothing hard-coded elsewhere."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from budgetforce.errors import ConfigError
from budgetforce.text.tokenizer import ChatTokenizer

PrefixPolicy = Literal["auto", "always", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingPreset:
    """How a model's thinking is opened, ended and extended; ``max_tokens`` -1 = what the context allows."""

    start: str
    prefix: str
    max_tokens: int
    num_ignore: int
    ignore_str: str
    terminators: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPreset:
    """How a model's answer is opened; ``max_tokens`` -1 = what the context has left, never less than ``reserve_tokens``."""

    start: str
    cut_start: str
    prefix: str
    prefix_policy: PrefixPolicy
    max_tokens: int
    reserve_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One model's file."""

    name: str
    description: str
    thinking: ThinkingPreset
    answer: AnswerPreset

    @classmethod
    @cache
    def load(cls, name: str) -> Preset:
        """Read a shipped preset. Raises ConfigError naming the known ones, or what is wrong in the file."""
        if name not in names():
            raise ConfigError(f"preset '{name}' is unknown; known: {', '.join(names())}")
        return cls.parse(name, (resources.files(__package__) / f"{name}.toml").read_text())

    @classmethod
    def parse(cls, name: str, toml: str) -> Preset:
        """Build a preset from a file's text. Raises ConfigError for missing or unknown keys."""
        try:
            data: dict[str, Any] = tomllib.loads(toml)
            thinking, answer = data.pop("thinking"), data.pop("answer")
            thinking["terminators"] = tuple(thinking["terminators"])
            return cls(name=name, thinking=ThinkingPreset(**thinking), answer=AnswerPreset(**answer), **data)
        except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
            raise ConfigError(f"preset '{name}': {error}") from error

    def terminator_ids(self, tokenizer: ChatTokenizer) -> frozenset[int]:
        """The ids that end a phase. Raises ConfigError for one that is not a single token of the model."""
        ids = [tokenizer.encode_marker(text) for text in self.thinking.terminators]
        for text, encoded in zip(self.thinking.terminators, ids, strict=True):
            if len(encoded) != 1:
                raise ConfigError(f"preset '{self.name}': terminator {text!r} is {len(encoded)} tokens in this model, not 1")
        return frozenset(encoded[0] for encoded in ids)


def names() -> list[str]:
    """The shipped presets, sorted."""
    files = resources.files(__package__).iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))
