# SPDX-License-Identifier: Apache-2.0
"""From a checked request and a model's preset to a plan of ids, and what was decided on the way.

Budget algebra: context >= prompt + thinking + closing + answer, where *closing* is what opening
the answer can add. The answer's room is taken off first; what is left bounds the thinking. A
value that was asked for is kept or refused, never changed; a default gives way to the context.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, replace
from typing import Any

from budgetforce.core import ForcingPlan
from budgetforce.engine.base import Sampling
from budgetforce.errors import ConfigError, InvalidRequest
from budgetforce.presets import AnswerPreset, Preset
from budgetforce.serving.request import ReplyRequest
from budgetforce.text.tokenizer import ChatTokenizer

_GREEDY = 0.0  # the authors evaluate at temperature 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyPlan:
    """A request, ready to run.

    Attributes:
        forcing: for the core.
        sampling: for the engine; its seed is the request's.
        stop_words: end the answer.
        effective: every parameter as it is applied, for the reply's result.
    """

    forcing: ForcingPlan
    sampling: Sampling
    stop_words: tuple[str, ...]
    effective: dict[str, Any]


class Planner:
    """Plans requests for one model. Safe to use from several threads."""

    def __init__(self, tokenizer: ChatTokenizer, default_preset: Preset, max_context_tokens: int) -> None:
        """Raises ConfigError if the preset's terminators are no single tokens of this model."""
        self._tokenizer = tokenizer
        self._default_preset = default_preset
        self._max_context_tokens = max_context_tokens
        default_preset.terminator_ids(tokenizer)

    def plan(self, request: ReplyRequest) -> ReplyPlan:
        """Raises InvalidRequest if the request does not fit the model or its context."""
        preset = self._preset(request)
        forcing = self._forcing_plan(request, preset)
        sampling = self._sampling(request)
        effective = {
            "preset": preset.name,
            "max_thinking_tokens": forcing.max_thinking_tokens,
            "num_ignore": forcing.num_ignore,
            "ignore_str": _first(request.ignore_str, preset.thinking.ignore_str),
            "max_tokens": min(forcing.max_answer_tokens, forcing.max_context_tokens),
            "max_context_tokens": forcing.max_context_tokens,
            "stop_words": request.stop_words,
            **asdict(sampling),
            "bad_words": request.bad_words,
        }
        return ReplyPlan(forcing=forcing, sampling=sampling, stop_words=request.stop_words, effective=effective)

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
        encode = self._tokenizer.encode_marker
        thinking, answer = preset.thinking, preset.answer
        num_ignore = _first(request.num_ignore, thinking.num_ignore)
        unbounded = ForcingPlan(
            prompt_ids=self._tokenizer.encode_chat(request.messages) + encode(thinking.start),
            terminators=preset.terminator_ids(self._tokenizer),
            max_thinking_tokens=0,
            num_ignore=num_ignore,
            ignore_ids=self._tokenizer.encode(_first(request.ignore_str, thinking.ignore_str)),
            max_answer_tokens=1,
            max_context_tokens=1 << 31,
            answer_ids=encode(answer.start),
            cut_answer_ids=encode(answer.cut_start),
            thinking_prefix_ids=self._tokenizer.encode(thinking.prefix),
            answer_prefix_ids=() if answer.prefix_policy == "never" else self._tokenizer.encode(answer.prefix),
            prefix_after_natural_end=answer.prefix_policy == "always",
            line_break_ids=encode("\n"),
            line_break_bearing=self._tokenizer.line_break_bearing,
        )
        return self._bounded(unbounded, request, preset)

    def _bounded(self, plan: ForcingPlan, request: ReplyRequest, preset: Preset) -> ForcingPlan:
        """The plan with its budgets, which must fit the context together."""
        context = self._max_context_tokens
        max_answer, reserve = _answer_room(request, preset.answer, context)
        fixed = len(plan.prompt_ids) + plan.num_closing_tokens
        room = context - fixed - reserve
        if room < 0:
            raise _too_long(request, plan, context, reserve)
        asked = request.max_thinking_tokens
        if asked is not None and asked > room:
            allowed = f"-1 to {room}: the context holds {context} tokens, {fixed} are prompt and markers, {reserve} the answer's"
            raise InvalidRequest("max_thinking_tokens", asked, allowed)
        wanted = _first(asked, preset.thinking.max_tokens)
        budget = room if wanted == -1 else min(wanted, room)
        return replace(plan, max_thinking_tokens=budget, max_answer_tokens=max_answer, max_context_tokens=context)

    def _sampling(self, request: ReplyRequest) -> Sampling:
        temperature = _first(request.temperature, _GREEDY)
        seed = request.seed if request.seed is not None or temperature == 0 else secrets.randbits(63)
        return Sampling(
            temperature=temperature,
            top_k=request.top_k,
            top_p=request.top_p,
            seed=seed,
            repetition_penalty=request.repetition_penalty,
            presence_penalty=request.presence_penalty,
            frequency_penalty=request.frequency_penalty,
            bad_words=tuple(self._tokenizer.encode(word) for word in request.bad_words),
        )


def _too_long(request: ReplyRequest, plan: ForcingPlan, context: int, reserve: int) -> InvalidRequest:
    """The refusal of a prompt and an answer that do not fit together, laid at the door of the one that can give way."""
    most = context - len(plan.prompt_ids) - plan.num_closing_tokens
    if request.max_tokens is not None and most >= 1:
        return InvalidRequest("max_tokens", request.max_tokens, f"1 to {most} behind this prompt in a context of {context} tokens")
    allowed = f"at most {most + len(plan.prompt_ids) - reserve} tokens: the context holds {context}, {reserve} are the answer's"
    return InvalidRequest(request.prompt_field, f"{len(plan.prompt_ids)} tokens", allowed)


def _answer_room(request: ReplyRequest, answer: AnswerPreset, context: int) -> tuple[int, int]:
    """(cap of the answer, tokens kept free for it)."""
    if request.max_tokens is not None:
        return request.max_tokens, request.max_tokens
    return (context if answer.max_tokens == -1 else answer.max_tokens), answer.reserve_tokens


def _first(given: Any, default: Any) -> Any:
    return default if given is None else given
