# SPDX-License-Identifier: Apache-2.0
"""The settings of an evaluation's protocol and the requests that each setting makes. Knows no server and no results.

    budget      a thinking budget; a number of ends of the thinking may be refused with an ignore string
    tokens      the prompt says for up to how many tokens to think        (token-conditional control)
    steps       the prompt says for up to how many steps to think         (step-conditional control)
    class       the prompt calls for long or for short thinking           (class-conditional control)
    rejection   the request is repeated until the thinking ends by itself within a budget, up to a number of attempts
    sampled     several samples at a temperature, without a budget and without a refused end, for a majority vote
    rebase      tree search over steps of the answer, guided by a reward model; no thinking and no limit

The kinds and the wording for tokens and steps are those of "s1: Simple test-time scaling", sections 3 and 4.
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
SAMPLED = "sampled"
SINGLE_REQUEST_KINDS = ("budget", "tokens", "steps", "class", "rejection", SAMPLED)  # each slot is one request
TOKENS_PER_STEP = 100  # converts a step limit to tokens for Control, the paper's proxy
LONG = "Take much time to think. Where you believe that you are done, go over your work again until nothing is left to doubt."
SHORT = "Think only briefly. Do not go over your work more than is needed."
_SEED_STRIDE = 100_003  # between attempts: larger than any number of repeats
OWN = VARIED  # options that only a setting may set


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One point of a protocol: how every question is requested.

    Attributes:
        name: unique within the protocol.
        kind: one of the kinds that the module's docstring lists.
        curve: the name of the curve that this setting is a point of.
        limit: the limit of the thinking, in tokens (budget, tokens, rejection) or in steps; -1 = no limit.
        options: request options; for ``rebase``, the fields of ``Search`` that differ from its defaults.
        suffix: text appended to the prompt after an empty line.
        num_samples: samples of each question; None = as many as the evaluation has repeats.
    """

    name: str
    kind: str
    curve: str
    limit: int = NO_LIMIT
    options: Mapping[str, Any] = field(default_factory=dict)
    suffix: str = ""
    num_samples: int | None = None

    def prompt(self, question: Question) -> Prompt:
        """Return the question's prompt with the suffix; in a chat the last message gets it."""
        if not self.suffix:
            return question.prompt
        if isinstance(question.prompt, str):
            return f"{question.prompt}\n\n{self.suffix}"
        *before, last = question.prompt
        return [*before, {**last, "content": f"{last['content']}\n\n{self.suffix}"}]

    @property
    def num_ignore(self) -> int:
        """The number of ends of the thinking to refuse."""
        return int(self.options.get("num_ignore", 0))

    @property
    def max_mean_tokens(self) -> float | None:
        """The limit of the mean thinking length in tokens, for Control; None without a limit."""
        if self.limit == NO_LIMIT:
            return None
        return self.limit * (TOKENS_PER_STEP if self.kind == "steps" else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The settings that an evaluation runs through.

    Attributes:
        budgets, ignores, ignore_strs: budget forcing with every combination of thinking budget, number of refused ends
            and ignore string; without strings the preset's.
        ignore_at: the budgets at which ends are refused; empty = all.
        token_limits, step_limits: limits stated in the prompt.
        is_capped: repeat each token limit with a thinking budget of the same size.
        prompted_cap: thinking budget of settings whose limit is only stated in the prompt; it bounds models that ignore
            the prompt. -1 = the context.
        class_prompts: name ("long", "short") -> text appended to the prompt.
        rejection_budgets: thinking budgets of rejection sampling.
        widths: widths of the tree searches.
        search: further fields of ``Search``, by name.
        num_votes, vote_temperatures: samples of each question for majority votes, and the temperatures at which they are drawn.
    """

    budgets: Sequence[int] = ()
    ignores: Sequence[int] = (0,)
    ignore_strs: Sequence[str] = ()
    token_limits: Sequence[int] = ()
    step_limits: Sequence[int] = ()
    is_capped: bool = False
    prompted_cap: int = NO_LIMIT
    class_prompts: Mapping[str, str] = field(default_factory=dict)
    rejection_budgets: Sequence[int] = ()
    widths: Sequence[int] = ()
    search: Mapping[str, int] = field(default_factory=dict)
    ignore_at: Sequence[int] = ()
    num_votes: int = 0
    vote_temperatures: Sequence[float] = ()

    def merged_with(self, before: Mapping[str, Any]) -> Protocol:
        """Return this protocol extended by an earlier one (as ``to_dict`` returns it), so that a run can grow.

        Numbers are sorted in ascending order, -1 ("context") last.
        """
        old = Protocol(**before)
        numbers = ("budgets", "ignores", "token_limits", "step_limits", "rejection_budgets", "widths")
        merged = {name: sorted({*getattr(old, name), *getattr(self, name)}, key=_with_context_last) for name in numbers}
        return Protocol(
            **merged,
            ignore_strs=tuple(dict.fromkeys([*old.ignore_strs, *self.ignore_strs])),
            is_capped=self.is_capped or old.is_capped,
            prompted_cap=self.prompted_cap,
            class_prompts={**old.class_prompts, **self.class_prompts},
            search=self.search if self.widths else old.search,
            ignore_at=sorted({*old.ignore_at, *self.ignore_at}, key=_with_context_last) if old.ignore_at and self.ignore_at else (),
            num_votes=max(old.num_votes, self.num_votes),
            vote_temperatures=sorted({*old.vote_temperatures, *self.vote_temperatures}),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON-compatible values."""
        return asdict(self)

    def settings(self) -> list[Setting]:
        """Return every setting of the protocol once."""
        return [*self._budgets(), *self._prompted_limits(), *self._class_prompts(), *self._rejections(), *self._votes(), *self._searches()]

    def _budgets(self) -> Iterator[Setting]:
        for number in self.ignores:
            for string in self.ignore_strs if number and self.ignore_strs else (None,):
                options: dict[str, Any] = {"num_ignore": number} | ({} if string is None else {"ignore_str": string})
                refused = f"{number} refused{'' if string is None else f' by {string!r}'}" if number else "none refused"
                curve = refused if len(self.budgets) > 1 else "budget forcing" + ("" if string is None else f" by {string!r}")
                for budget in self.ignore_at if number and self.ignore_at else self.budgets:
                    name = f"budget {limit_name(budget)}" + (f" + {refused}" if number else "")
                    yield _setting(name, "budget", curve, budget, budget, options=options)

    def _prompted_limits(self) -> Iterator[Setting]:
        for limit in self.token_limits:
            suffix = f"Think for up to {limit} tokens."
            yield _setting(f"prompted {limit} tokens", "tokens", "prompted tokens", limit, self.prompted_cap, suffix)
            if self.is_capped:
                yield _setting(f"prompted {limit} tokens + cap", "tokens", "prompted tokens + cap", limit, limit, suffix)
        for limit in self.step_limits:
            suffix = f"Think for up to {limit} steps."
            yield _setting(f"prompted {limit} steps", "steps", "prompted steps", limit, self.prompted_cap, suffix)

    def _class_prompts(self) -> Iterator[Setting]:
        for name, suffix in self.class_prompts.items():
            yield _setting(f"prompted to think {name}", "class", "class prompts", NO_LIMIT, self.prompted_cap, suffix)

    def _rejections(self) -> Iterator[Setting]:
        for budget in self.rejection_budgets:
            yield _setting(f"rejection {budget}", "rejection", "rejection sampling", budget, budget)

    def _votes(self) -> Iterator[Setting]:
        for temperature in self.vote_temperatures:
            options = {"max_thinking_tokens": NO_LIMIT, "num_ignore": 0, "temperature": temperature, "thinking_temperature": temperature}
            name = f"sampled at temperature {temperature:g}"
            yield Setting(name=name, kind=SAMPLED, curve=name, options=options, num_samples=self.num_votes)

    def _searches(self) -> Iterator[Setting]:
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
    """Return a thinking budget as text; -1 is "context", all that the context allows."""
    return "context" if limit == NO_LIMIT else str(limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The n-th repeat of a question at a setting; ``attempt`` is the number of rejected attempts before it."""

    question: Question
    setting: Setting
    repeat: int
    attempt: int = 0

    @property
    def key(self) -> str:
        """The id of the slot's line in the results."""
        attempt = f"/t{self.attempt}" if self.setting.kind == "rejection" else ""
        return f"{self.question.id}/{self.setting.name}/r{self.repeat}{attempt}"

    @property
    def meta(self) -> dict[str, Any]:
        """The ``meta`` object of the slot's line in the results."""
        return {"question": self.question.id, "setting": self.setting.name, "repeat": self.repeat, "attempt": self.attempt}

    def options(self, common: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of the slot's request, with seeds shifted so that no repeat or attempt equals another.

        The setting's options take precedence over the question's, and these over the ``common`` ones.
        """
        merged = {**common, **self.question.options, **self.setting.options}
        return shift_seeds(merged, self.repeat + _SEED_STRIDE * self.attempt)


def slots(questions: Sequence[Question], settings: Sequence[Setting], num_repeats: int) -> Iterator[Slot]:
    """Yield every slot, question by question: requests with the same prompt follow each other, so engines can reuse its prefix."""
    numbers = [setting.num_samples or num_repeats for setting in settings]
    for question in questions:
        for repeat in range(max(numbers, default=0)):
            for setting, number in zip(settings, numbers, strict=True):
                if repeat < number:
                    yield Slot(question=question, setting=setting, repeat=repeat)


def is_accepted(kind: str, thinking_end: str) -> bool:
    """Return whether a reply counts; under rejection sampling only if its thinking ended by itself."""
    return kind != "rejection" or thinking_end == "natural"
