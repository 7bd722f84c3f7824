# SPDX-License-Identifier: Apache-2.0
"""Model presets: a model's markers, strings and defaults, in a TOML file for each; nothing is hard-coded elsewhere.

``s1-eval`` and ``s1-readme`` serve audits: they count and cut s1's output as the authors' evaluation
code and their README do. Their files list the differences from ``s1``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

from budgetforce.errors import ConfigError

PrefixPolicy = Literal["auto", "always", "never"]
BudgetRuleName = Literal["exact", "per_round", "sampled"]
Seam = Literal["ids", "text"]
PREFIX_POLICIES: tuple[str, ...] = get_args(PrefixPolicy)
EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "max")  # as OpenAI's API names them


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingPreset:
    """Settings that open, end and extend a model's thought.

    Attributes:
        start: text appended to the prompt to force a thought.
        marker: text with which the model itself opens a thought.
        prefix: first words of the thought, shown as injected.
        max_tokens: default thinking budget in tokens; -1 = as much as the context allows.
        num_ignore: default number of refused ends.
        ignore_str: ignore strings, used in turn in place of refused ends.
        terminators: texts of single tokens that end the thought.
        budget_rule: which tokens count against the budget, see ``budgetforce.core.budget``.
        efforts: thinking budgets in tokens by the word that a request may give instead; -1 = as much as the context allows.
        stop_strings: whether the terminators' texts, spelt with other tokens, also end a round that refuses no ends.
        seam: "ids" = injected strings are appended as ids; "text" = the whole text is encoded anew.
    """

    start: str
    marker: str
    max_tokens: int
    num_ignore: int
    ignore_str: tuple[str, ...]
    terminators: tuple[str, ...]
    prefix: str = ""
    budget_rule: BudgetRuleName = "exact"
    seam: Seam = "ids"
    stop_strings: bool = False
    efforts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPreset:
    """Settings that open and end a model's answer.

    Attributes:
        start: text that opens the answer after a natural end.
        cut_start: text that opens the answer after a cut.
        off_start: text that opens the answer if thinking is off.
        marker: text with which the model itself opens the answer.
        prefix: first words of the answer, shown as injected.
        prefix_policy: "auto" = only after a cut, "always" or "never".
        terminators: texts of single tokens that end the answer.
        max_tokens: default cap of the answer in tokens; -1 = the rest of the context, never less than ``reserve_tokens``.
        reserve_tokens: tokens of the context kept free for the answer, whatever the thinking budget.
        left_to_model: inject nothing after the thought; the model opens the answer itself.
    """

    start: str
    cut_start: str
    off_start: str
    marker: str
    prefix: str
    prefix_policy: PrefixPolicy
    terminators: tuple[str, ...]
    max_tokens: int
    reserve_tokens: int
    left_to_model: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A model preset, as read from its file.

    Attributes:
        context_tokens: the context that the model was trained for, prompt and reply together.
        sampling: defaults of the request's sampling fields.
    """

    name: str
    description: str
    context_tokens: int
    thinking: ThinkingPreset
    answer: AnswerPreset
    sampling: dict[str, Any] = field(default_factory=dict)

    @classmethod
    @cache
    def load(cls, name: str) -> Preset:
        """Read a shipped preset. Raises ConfigError that lists the known presets, or names the mistake in the file."""
        if name not in names():
            raise ConfigError(f"preset '{name}' is unknown; known: {', '.join(names())}")
        return cls.parse(name, (resources.files(__package__) / f"{name}.toml").read_text())

    @classmethod
    def parse(cls, name: str, toml: str) -> Preset:
        """Build a preset from a file's text. Raises ConfigError for missing or unknown keys."""
        try:
            data: dict[str, Any] = tomllib.loads(toml)
            thinking, answer = data.pop("thinking"), data.pop("answer")
            preset = cls(name=name, thinking=ThinkingPreset(**_frozen(thinking)), answer=AnswerPreset(**_frozen(answer)), **data)
        except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
            raise ConfigError(f"preset '{name}': {error}") from error
        for key, allowed in _ALLOWED.items():
            word = getattr(preset.answer if key == "prefix_policy" else preset.thinking, key)
            if word not in allowed:
                raise ConfigError(f"preset '{name}': {key} is {word!r}, allowed: {', '.join(allowed)}")
        if preset.thinking.efforts and tuple(preset.thinking.efforts) != EFFORTS:
            found, known = ", ".join(preset.thinking.efforts), ", ".join(EFFORTS)
            raise ConfigError(f"preset '{name}': efforts are {found}, allowed: {known}, in this order")
        return preset

    def terminator_ids(self, encode_marker: Callable[[str], tuple[int, ...]]) -> tuple[frozenset[int], frozenset[int]]:
        """Return the ids that end (thinking, the answer).

        ``encode_marker`` is that of a ``ChatTokenizer``, or a cache of it.

        Raises ConfigError for a terminator that is not a single token of the model.
        """

        def ids_of(texts: tuple[str, ...]) -> frozenset[int]:
            return frozenset(self._single_id(text, encode_marker(text)) for text in texts)

        return ids_of(self.thinking.terminators), ids_of(self.answer.terminators)

    def _single_id(self, text: str, ids: tuple[int, ...]) -> int:
        if len(ids) != 1:
            raise ConfigError(f"preset '{self.name}': terminator {text!r} is {len(ids)} tokens in this model, not 1")
        return ids[0]


_ALLOWED = {"budget_rule": get_args(BudgetRuleName), "seam": get_args(Seam), "prefix_policy": PREFIX_POLICIES}


def _frozen(table: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def names() -> list[str]:
    """Return the names of the shipped presets, sorted."""
    return list(_shipped())


@cache
def _shipped() -> tuple[str, ...]:
    files = resources.files(__package__).iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))
