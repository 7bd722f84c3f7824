# SPDX-License-Identifier: Apache-2.0
"""The settings of a protocol, and what each asks of a question. Knows no server and no results.

    budget      thinking is cut at a budget; so many of its ends are refused with a string
    tokens      the question says for up to how many tokens to think      (token-conditional control)
    steps       the question says for up to how many steps to think       (step-conditional control)
    class       the question asks for long or for short thinking          (class-conditional control)
    rejection   asked again until the thought ends by itself within a budget, so many times at most
    rebase      a tree of steps is searched, which a reward model guides; nothing is thought, and no limit asked for

The kinds and the words for tokens and steps are those of "s1: Simple test-time scaling", sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from s1_client import Prompt
from s1_client.evaluation._seeds import shift_seeds
from s1_client.evaluation._tasks import VARIED, Question

NO_LIMIT = -1
REBASE = "rebase"
ASKED = ("budget", "tokens", "steps", "class", "rejection")  # kinds whose slots are a request each
TOKENS_PER_STEP = 100  # a step's share of the limit when Control is told: the paper's proxy
LONG = "Take much time to think. Where you believe that you are done, go over your work again until nothing is left to doubt."
SHORT = "Think only briefly. Do not go over your work more than is needed."
_ATTEMPTS_APART = 100_003  # in seeds: more than anybody repeats
OWN = VARIED  # options that only a setting may say


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A point of the protocol.

    Attributes:
        name: tells it from all others.
        kind: see above.
        curve: settings with the same one are points of one curve.
        limit: what the thinking is asked to keep to: a budget, tokens, steps; -1 = nothing.
        options: of its requests; of a rebase, the fields of its ``Search`` that are not left to that.
        suffix: behind the question, after an empty line.
    """

    name: str
    kind: str
    curve: str
    limit: int = NO_LIMIT
    options: Mapping[str, Any] = field(default_factory=dict)
    suffix: str = ""

    def prompt(self, question: Question) -> Prompt:
        """The question as this setting asks it: of a chat, the last message is."""
        if not self.suffix:
            return question.prompt
        if isinstance(question.prompt, str):
            return f"{question.prompt}\n\n{self.suffix}"
        *before, last = question.prompt
        return [*before, {**last, "content": f"{last['content']}\n\n{self.suffix}"}]

    @property
    def most_tokens(self) -> float | None:
        """What the mean of the thinking should stay within, in tokens; None = nothing was asked."""
        if self.limit == NO_LIMIT:
            return None
        return self.limit * (TOKENS_PER_STEP if self.kind == "steps" else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What is swept.

    Attributes:
        budgets, ignores, ignore_strs: budget forcing at every combination; no string = the preset's own.
        token_limits, step_limits: told in the question.
        is_capped: token limits once more, kept by force as well.
        told_budget: of what is only told; a bound for models that do not listen.
        class_prompts: name -> what stands behind the question, e.g. "long" and "short".
        rejection_budgets: kept by asking again.
        widths: of trees.
        search: what else is not left to ``Search``, by its field.
    """

    budgets: Sequence[int] = ()
    ignores: Sequence[int] = (0,)
    ignore_strs: Sequence[str] = ()
    token_limits: Sequence[int] = ()
    step_limits: Sequence[int] = ()
    is_capped: bool = False
    told_budget: int = NO_LIMIT
    class_prompts: Mapping[str, str] = field(default_factory=dict)
    rejection_budgets: Sequence[int] = ()
    widths: Sequence[int] = ()
    search: Mapping[str, int] = field(default_factory=dict)

    def with_what_was(self, before: Mapping[str, Any]) -> Protocol:
        """What is asked here and what was asked before (``asdict``), so that a run can grow; ascending, "context" last."""
        old = Protocol(**before)
        numbers = ("budgets", "ignores", "token_limits", "step_limits", "rejection_budgets", "widths")
        merged = {name: sorted({*getattr(old, name), *getattr(self, name)}, key=_with_context_last) for name in numbers}
        return Protocol(
            **merged,
            ignore_strs=tuple(dict.fromkeys([*old.ignore_strs, *self.ignore_strs])),
            is_capped=self.is_capped or old.is_capped,
            told_budget=self.told_budget,
            class_prompts={**old.class_prompts, **self.class_prompts},
            search=self.search if self.widths else old.search,
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    def settings(self) -> list[Setting]:
        """All of them, each once."""
        return [*self._forced(), *self._told(), *self._classes(), *self._rejecting(), *self._searching()]

    def _forced(self) -> Iterator[Setting]:
        for number in self.ignores:
            for string in self.ignore_strs if number and self.ignore_strs else (None,):
                options: dict[str, Any] = {"num_ignore": number} | ({} if string is None else {"ignore_str": string})
                refused = f"{number} refused{'' if string is None else f' by {string!r}'}" if number else "none refused"
                curve = refused if len(self.budgets) > 1 else "budget forcing" + ("" if string is None else f" by {string!r}")
                for budget in self.budgets:
                    name = f"budget {limit_name(budget)}" + (f" + {refused}" if number else "")
                    yield _setting(name, "budget", curve, budget, budget, options=options)

    def _told(self) -> Iterator[Setting]:
        for limit in self.token_limits:
            suffix = f"Think for up to {limit} tokens."
            yield _setting(f"told {limit} tokens", "tokens", "told tokens", limit, self.told_budget, suffix)
            if self.is_capped:
                yield _setting(f"told {limit} tokens + cap", "tokens", "told tokens + cap", limit, limit, suffix)
        for limit in self.step_limits:
            yield _setting(f"told {limit} steps", "steps", "told steps", limit, self.told_budget, f"Think for up to {limit} steps.")

    def _classes(self) -> Iterator[Setting]:
        for name, suffix in self.class_prompts.items():
            yield _setting(f"told to think {name}", "class", "told how long", NO_LIMIT, self.told_budget, suffix)

    def _rejecting(self) -> Iterator[Setting]:
        for budget in self.rejection_budgets:
            yield _setting(f"rejection {budget}", "rejection", "rejection sampling", budget, budget)

    def _searching(self) -> Iterator[Setting]:
        for width in self.widths:
            yield Setting(name=f"rebase {width}", kind=REBASE, curve="REBASE", options={"width": width, **self.search})


def _setting(
    name: str, kind: str, curve: str, limit: int, budget: int, suffix: str = "", options: Mapping[str, Any] = MappingProxyType({})
) -> Setting:
    common = {"max_thinking_tokens": budget, "num_ignore": 0}
    return Setting(name=name, kind=kind, curve=curve, limit=limit, options={**common, **options}, suffix=suffix)


def _with_context_last(limit: int) -> float:
    return float("inf") if limit == NO_LIMIT else limit


def limit_name(limit: int) -> str:
    """As it is shown: -1 is what the context allows."""
    return "context" if limit == NO_LIMIT else str(limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A place for one reply: the n-th repeat of a question at a setting; ``attempt`` counts rejected ones before it."""

    question: Question
    setting: Setting
    repeat: int
    attempt: int = 0

    @property
    def key(self) -> str:
        """Its id in results."""
        attempt = f"/t{self.attempt}" if self.setting.kind == "rejection" else ""
        return f"{self.question.id}/{self.setting.name}/r{self.repeat}{attempt}"

    @property
    def meta(self) -> dict[str, Any]:
        """What its result tells of it."""
        return {"question": self.question.id, "setting": self.setting.name, "repeat": self.repeat, "attempt": self.attempt}

    def options(self, common: Mapping[str, Any]) -> dict[str, Any]:
        """Of its request: the setting's count before the question's, and those before the ``common`` ones.

        Each repeat and attempt has a seed of its own, or they would be equal.
        """
        merged = {**common, **self.question.options, **self.setting.options}
        return shift_seeds(merged, self.repeat + _ATTEMPTS_APART * self.attempt)


def slots(questions: Sequence[Question], settings: Sequence[Setting], num_repeats: int) -> Iterator[Slot]:
    """Question by question: one prompt's settings come together, which engines that keep prefixes like."""
    for question in questions:
        for repeat in range(num_repeats):
            for setting in settings:
                yield Slot(question=question, setting=setting, repeat=repeat)


def is_accepted(kind: str, thinking_end: str) -> bool:
    """Whether a reply is what its setting wanted: of rejection sampling, one whose thought ended by itself."""
    return kind != "rejection" or thinking_end == "natural"
