# SPDX-License-Identifier: Apache-2.0
"""From a checked request and a model's preset to a plan of ids, and what was decided on the way.

Budget algebra: context >= prompt + thinking + grace + closing + answer, where *closing* is what
opening the answer can add. The answer's room is taken off first; what is left bounds the
thinking. A value that was asked for is kept or refused, never changed; a default gives way to
the context.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

from budgetforce.core import BudgetRule, ForcingPlan, Phase, ThinkingMode
from budgetforce.engine.base import Sampling
from budgetforce.engine.call_limits import NO_LIMITS, CallLimits
from budgetforce.errors import ConfigError, InvalidRequest
from budgetforce.presets import AnswerPreset, Preset
from budgetforce.serving.planning.call_bounds import check_call_bounds
from budgetforce.serving.planning.contradictions import (
    prefix_policy,
    refuse_fields_without_effect,
    refuse_recounted_penalties,
    value_or_default,
)
from budgetforce.serving.requests.request import ReplyRequest, field_of
from budgetforce.text.stop_words import StopWords
from budgetforce.text.tokenizer import ChatTokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyPlan:
    """A request, ready to run.

    Attributes:
        forcing: for the core.
        sampling: for the engine, by phase; the seed is the request's.
        thinking_fields: names in it that the request gave for the thinking alone.
        masked_ids: rows of the embedding without a token, kept off in every engine call.
        stop_words: end the answer.
        thinking_stop_words: end the thought, in an audit preset.
        num_samples: replies to make.
        priority: goes before lower ones when it has to wait.
        num_answer_tokens: room that is kept free for the answer.
        effective: every parameter as it is applied, for the reply's result.
    """

    forcing: ForcingPlan
    sampling: Mapping[Phase, Sampling]
    thinking_fields: frozenset[str]
    masked_ids: frozenset[int]
    stop_words: StopWords
    thinking_stop_words: StopWords
    num_samples: int
    priority: int
    num_answer_tokens: int
    effective: dict[str, Any]

    @property
    def max_kv_tokens(self) -> int:
        """The most tokens that all samples together can come to hold in the KV cache."""
        prompt, forcing = len(self.forcing.prompt_ids), self.forcing
        longest = min(forcing.longest_before_answer + forcing.max_answer_tokens, forcing.max_context_tokens)
        return prompt + self.num_samples * (longest - prompt)

    def stop_words_of(self, phase: Phase) -> StopWords:
        """Texts that end the phase."""
        return self.thinking_stop_words if phase is Phase.THINKING else self.stop_words


class Planner:
    """Plans requests for one model. Safe to use from several threads."""

    def __init__(
        self,
        tokenizer: ChatTokenizer,
        default_preset: Preset,
        max_context_tokens: int,
        vocab_rows: int = 0,
        call_limits: CallLimits = NO_LIMITS,
    ) -> None:
        """``vocab_rows``: rows of the model's embedding, as many as tokens or more. ``call_limits``: the engine's.

        Raises ConfigError if the preset's terminators are no single tokens of this model.
        """
        self._tokenizer = tokenizer
        self._default_preset = default_preset
        self._max_context_tokens = max_context_tokens
        self._call_limits = call_limits
        self._masked_ids = frozenset(range(len(tokenizer.token_bytes), vocab_rows))
        self._encode_marker = lru_cache(maxsize=256)(tokenizer.encode_marker)  # a preset's few strings, in every request
        default_preset.terminator_ids(tokenizer)

    def plan(self, request: ReplyRequest) -> ReplyPlan:
        """Raises InvalidRequest if the request does not fit the model or its context."""
        preset = self._preset(request)
        refuse_fields_without_effect(request, preset)
        forcing = self._forcing_plan(request, preset)
        sampling = self._sampling(request, preset)
        always_banned = self._masked_ids | forcing.thinking_terminators | forcing.answer_terminators
        check_call_bounds(self._call_limits, request, sampling, always_banned)
        refuse_recounted_penalties(request, forcing, sampling[Phase.THINKING])
        phases = Phase if forcing.mode is ThinkingMode.FREE or forcing.max_thinking_tokens else (Phase.ANSWER,)
        if request.num_samples > 1 and not any(sampling[phase].temperature for phase in phases):
            raise InvalidRequest("num_samples", request.num_samples, "1 at temperature 0, where all samples would be equal")
        return ReplyPlan(
            forcing=forcing,
            sampling=sampling,
            thinking_fields=frozenset(request.thinking_sampling),
            masked_ids=self._masked_ids,
            stop_words=StopWords(request.stop_words),
            thinking_stop_words=StopWords(_thinking_stop_words(preset, forcing)),
            num_samples=request.num_samples,
            priority=request.priority,
            num_answer_tokens=_answer_room(request, preset.answer, forcing.max_context_tokens)[1],
            effective=self._effective(request, preset, forcing, sampling),
        )

    def _preset(self, request: ReplyRequest) -> Preset:
        if request.preset is None:
            return self._default_preset
        preset = Preset.load(request.preset)
        try:
            preset.terminator_ids(self._tokenizer)
        except ConfigError as error:
            raise InvalidRequest("preset", preset.name, f"one that fits the served model ({error})") from error
        return preset

    def _forcing_plan(self, request: ReplyRequest, preset: Preset) -> ForcingPlan:
        encode, tokenizer = self._encode_marker, self._tokenizer
        thinking, answer = preset.thinking, preset.answer
        rule, forced = BudgetRule(thinking.budget_rule), request.thinking is ThinkingMode.FORCED
        chat, start = self._encode_chat(request, preset), encode(thinking.start) if forced else ()
        policy = prefix_policy(request, answer)
        thinking_terminators, answer_terminators = preset.terminator_ids(tokenizer)
        unbounded = ForcingPlan(
            mode=request.thinking,
            budget_rule=rule,
            prompt_ids=chat + start,
            thinking_terminators=thinking_terminators,
            answer_terminators=answer_terminators,
            max_thinking_tokens=0,
            num_ignore=value_or_default(request.num_ignore, thinking.num_ignore),
            ignore_ids=tuple(self._plain("ignore_str", text) for text in value_or_default(request.ignore_str, thinking.ignore_str)),
            grace_tokens=value_or_default(request.grace_tokens, 0),
            boundary_ids=tokenizer.boundary_bearing if request.grace_tokens else frozenset(),
            max_answer_tokens=1,
            max_context_tokens=1 << 40,  # more than any field can ask for
            answer_ids=encode(answer.off_start if request.thinking is ThinkingMode.OFF else answer.start),
            cut_answer_ids=encode(answer.cut_start),
            thinking_prefix_ids=tokenizer.encode(thinking.prefix),
            answer_prefix_ids=()
            if policy == "never"
            else self._plain("answer_prefix", value_or_default(request.answer_prefix, answer.prefix)),
            prefix_after_natural_end=policy == "always",
            line_break_ids=encode("\n") if answer.cut_start else (),
            line_break_bearing=tokenizer.line_break_bearing,
            fragments=tokenizer.fragments if rule is BudgetRule.EXACT else {},
            num_token_ids=len(tokenizer.token_bytes),
            thinking_marker_ids=encode(thinking.marker),
            answer_marker_ids=encode(answer.marker),
            leave_answer_to_model=answer.left_to_model,
            reencode_from=len(chat) if thinking.seam == "text" and forced else None,
        )
        return self._bounded(unbounded, request, preset)

    def _encode_chat(self, request: ReplyRequest, preset: Preset) -> tuple[int, ...]:
        """The chat's ids. What is too long by the count of its words or bytes is refused without encoding it: that may take seconds."""
        context = min(self._max_context_tokens, preset.context_tokens)
        num_tokens = self._tokenizer.fewest_tokens([message["content"] for message in request.messages])
        if num_tokens > context:
            allowed = f"fewer: the context holds {context} tokens"
            raise InvalidRequest(request.prompt_field, f"at least {num_tokens} tokens", allowed)
        return self._tokenizer.encode_chat(request.messages)

    def _plain(self, field: str, text: str) -> tuple[int, ...]:
        """The ids of a text that must hold no control token."""
        if self._tokenizer.controls_in(text):
            raise InvalidRequest(
                field, text, f"text without {self._tokenizer.controls_in(text)[0]}, which is a control token of this model"
            )
        return self._tokenizer.encode(text)

    def _bounded(self, plan: ForcingPlan, request: ReplyRequest, preset: Preset) -> ForcingPlan:
        """The plan with its budgets, which must fit the context together."""
        context = min(self._max_context_tokens, preset.context_tokens)
        max_answer, reserve = _answer_room(request, preset.answer, context)
        _check_prefix(request, plan, preset.answer)
        fixed = plan.longest_before_answer
        room = context - fixed - reserve
        if room < 0:
            raise _too_long(request, plan, context, reserve)
        plan = replace(plan, max_answer_tokens=max_answer, max_context_tokens=context)
        if plan.mode is not ThinkingMode.FORCED:
            return plan
        asked, floor = request.max_thinking_tokens, value_or_default(request.min_thinking_tokens, 0)
        if asked is not None and asked > room:
            allowed = f"-1 to {room}: the context holds {context} tokens, {fixed} are prompt and markers, {reserve} the answer's"
            raise InvalidRequest("max_thinking_tokens", asked, allowed)
        wanted = value_or_default(asked, preset.thinking.max_tokens)
        budget = room if wanted == -1 else min(wanted, room)
        if floor > budget:
            raise InvalidRequest("min_thinking_tokens", floor, f"0 to {budget}, the budget that max_thinking_tokens and the context leave")
        return replace(plan, max_thinking_tokens=budget, min_thinking_tokens=floor)

    def _sampling(self, request: ReplyRequest, preset: Preset) -> dict[Phase, Sampling]:
        answer = {**preset.sampling, **request.sampling}
        thinking = {**answer, **request.thinking_sampling}
        if "seed" not in answer and any(given.get("temperature", 0) for given in (answer, thinking)):
            answer["seed"] = secrets.randbits(63)
        thinking.setdefault("seed", answer.get("seed"))
        field = field_of("bad_words", Phase.THINKING, request.thinking_sampling)
        return {Phase.THINKING: self._engine_sampling(thinking, field), Phase.ANSWER: self._engine_sampling(answer, "bad_words")}

    def _engine_sampling(self, given: Mapping[str, Any], bad_words_field: str) -> Sampling:
        bad_words = tuple(self._plain(bad_words_field, word) for word in given.get("bad_words", ()))
        return Sampling(**{**given, "temperature": given.get("temperature", 0.0), "bad_words": bad_words})

    def _effective(self, request: ReplyRequest, preset: Preset, forcing: ForcingPlan, sampling: Mapping[Phase, Sampling]) -> dict[str, Any]:
        by_phase = {phase: asdict(one) | {"bad_words": _bad_words(request, preset, phase)} for phase, one in sampling.items()}
        return {
            "preset": preset.name,
            "thinking": request.thinking,
            "max_thinking_tokens": forcing.max_thinking_tokens,
            "min_thinking_tokens": forcing.min_thinking_tokens,
            "num_ignore": forcing.num_ignore,
            "ignore_str": value_or_default(request.ignore_str, preset.thinking.ignore_str),
            "grace_tokens": forcing.grace_tokens,
            "thinking_prefix": _thinking_prefix(preset, forcing),
            "answer_prefix": value_or_default(request.answer_prefix, preset.answer.prefix),
            "answer_prefix_policy": prefix_policy(request, preset.answer),
            "max_tokens": min(forcing.max_answer_tokens, forcing.max_context_tokens),
            "max_context_tokens": forcing.max_context_tokens,
            "num_samples": request.num_samples,
            "priority": request.priority,
            "timeout_ms": request.timeout_ms,
            "on_timeout": request.on_timeout or (None if request.timeout_ms is None else "cancel"),
            "num_masked_ids": len(self._masked_ids),
            "stop_words": request.stop_words,
            **by_phase[Phase.ANSWER],
            **{f"thinking_{name}": value for name, value in by_phase[Phase.THINKING].items()},
        }


def _thinking_prefix(preset: Preset, forcing: ForcingPlan) -> str | None:
    """Return the first words of the thought, if one is forced; None where the preset has some that the budget does not hold."""
    if forcing.mode is not ThinkingMode.FORCED or not forcing.max_thinking_tokens:
        return ""
    return preset.thinking.prefix if forcing.holds_thinking_prefix else None


def _bad_words(request: ReplyRequest, preset: Preset, phase: Phase) -> Any:
    given = {**preset.sampling, **request.sampling, **(request.thinking_sampling if phase is Phase.THINKING else {})}
    return given.get("bad_words", ())


def _thinking_stop_words(preset: Preset, forcing: ForcingPlan) -> tuple[str, ...]:
    refuses = forcing.num_ignore or forcing.min_thinking_tokens
    return preset.thinking.terminators if preset.thinking.stop_strings and not refuses else ()


def _check_prefix(request: ReplyRequest, plan: ForcingPlan, answer: AnswerPreset) -> None:
    """Behind a thought it is a lead-in; without one it may be a whole answer so far, and the context bounds it."""
    num_ids = len(plan.answer_prefix_ids)
    if request.thinking is not ThinkingMode.OFF and request.answer_prefix is not None and num_ids > answer.reserve_tokens:
        allowed = f"at most {answer.reserve_tokens} tokens, the room that is reserved for an answer"
        raise InvalidRequest("answer_prefix", f"{num_ids} tokens", allowed)


def _too_long(request: ReplyRequest, plan: ForcingPlan, context: int, reserve: int) -> InvalidRequest:
    """The refusal of parts that do not fit together, laid at the door of the one that can give way."""
    others = plan.longest_before_answer - plan.grace_tokens
    most_grace = context - others - reserve
    if request.grace_tokens and most_grace >= 0:
        return InvalidRequest("grace_tokens", request.grace_tokens, f"0 to {most_grace} in a context of {context} tokens")
    if request.max_tokens is not None and context - others >= 1:
        return InvalidRequest(
            "max_tokens", request.max_tokens, f"1 to {context - others} behind this prompt in a context of {context} tokens"
        )
    most_prefix = context - reserve - (others - len(plan.answer_prefix_ids))
    if request.answer_prefix and most_prefix >= 0:
        allowed = f"at most {most_prefix} tokens behind this prompt in a context of {context} tokens"
        return InvalidRequest("answer_prefix", f"{len(plan.answer_prefix_ids)} tokens", allowed)
    if request.num_ignore and plan.budget_rule is BudgetRule.SAMPLED:
        allowed = f"fewer: their strings may come to {plan.num_uncounted_tokens} tokens in a context of {context}"
        return InvalidRequest("num_ignore", request.num_ignore, allowed)
    most_prompt = max(0, context - others + len(plan.prompt_ids) - reserve)
    allowed = f"at most {most_prompt} tokens: the context holds {context}, {reserve} are the answer's"
    return InvalidRequest(request.prompt_field, f"{len(plan.prompt_ids)} tokens", allowed)


def _answer_room(request: ReplyRequest, answer: AnswerPreset, context: int) -> tuple[int, int]:
    """(cap of the answer, tokens kept free for it)."""
    if request.max_tokens is not None:
        return request.max_tokens, request.max_tokens
    return (context if answer.max_tokens == -1 else answer.max_tokens), answer.reserve_tokens
