# SPDX-License-Identifier: Apache-2.0
"""Turns a checked request and its model preset into a plan of token ids. Independent of Triton.

Budget algebra: context >= prompt + thinking + grace + closing + answer, where *closing* is the most that opening the answer can
inject. The answer's reserve is subtracted first; the rest bounds thinking. A value of the request is applied or refused, never
changed; a preset's value shrinks to fit the context.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from budgetforce.core import BudgetRule, ForcingPlan, Phase, ThinkingMode
from budgetforce.engine.base import Sampling
from budgetforce.engine.call_limits import NO_LIMITS, CallLimits
from budgetforce.errors import ConfigError, InvalidRequest
from budgetforce.presets import Preset
from budgetforce.provenance import TrainingRecord
from budgetforce.serving.planning.call_bounds import check_call_bounds
from budgetforce.serving.planning.context_refusals import budget_too_large, check_prefix_fits, too_long
from budgetforce.serving.planning.contradictions import refuse_fields_without_effect, refuse_recounted_penalties
from budgetforce.serving.planning.defaults import answer_room, default_budget, prefix_policy, sampling_fields, value_or_default
from budgetforce.serving.planning.effective import effective_report
from budgetforce.serving.planning.plan import ReplyPlan
from budgetforce.serving.planning.total import refuse_parts_beyond_total, thinking_room
from budgetforce.serving.requests.request import ReplyRequest, field_of
from budgetforce.text.stop_words import StopWords
from budgetforce.text.tokenizer import ChatTokenizer


class Planner:
    """Plans requests for a model. Safe to use from several threads."""

    def __init__(
        self,
        tokenizer: ChatTokenizer,
        default_preset: Preset,
        max_context_tokens: int,
        vocab_rows: int = 0,
        call_limits: CallLimits = NO_LIMITS,
        engine_model: str = "",
        training: TrainingRecord | None = None,
    ) -> None:
        """``vocab_rows``: rows of the model's embedding, at least as many as it has tokens. ``call_limits``: the engine's.
        ``engine_model``: its name, for ``effective``. ``training``: how its model was trained, for the result.

        Raises ConfigError if a terminator of the preset is not a single token of this model.
        """
        self._tokenizer = tokenizer
        self._default_preset = default_preset
        self._max_context_tokens = max_context_tokens
        self._call_limits = call_limits
        self._engine_model = engine_model
        self._training = training
        self._masked_ids = frozenset(range(len(tokenizer.token_bytes), vocab_rows))
        self._encode_marker = lru_cache(maxsize=256)(tokenizer.encode_marker)  # every request encodes the preset's few strings
        default_preset.terminator_ids(self._encode_marker)

    def plan(self, request: ReplyRequest) -> ReplyPlan:
        """Return the plan of ``request``. Raises InvalidRequest if it does not fit the model, the engine or the context."""
        preset = self._preset(request)
        refuse_fields_without_effect(request, preset)
        refuse_parts_beyond_total(request)
        forcing = self._forcing_plan(request, preset)
        sampling = self._sampling(request, preset)
        always_banned = self._masked_ids | forcing.thinking_terminators | forcing.answer_terminators
        check_call_bounds(self._call_limits, request, sampling, always_banned)
        refuse_recounted_penalties(request, forcing, sampling[Phase.THINKING])
        _refuse_equal_samples(request, forcing, sampling)
        effective = effective_report(
            request, preset, forcing, sampling, num_masked_ids=len(self._masked_ids), engine_model=self._engine_model
        )
        return ReplyPlan(
            forcing=forcing,
            sampling=sampling,
            thinking_fields=frozenset(request.thinking_sampling),
            masked_ids=self._masked_ids,
            stop_words=StopWords(request.stop_words),
            thinking_stop_words=StopWords(_thinking_stop_words(preset, forcing)),
            num_samples=request.num_samples,
            priority=request.priority,
            num_answer_tokens=answer_room(request, preset.answer, forcing.max_context_tokens)[1],
            effective=effective,
            training=self._training,
        )

    def _preset(self, request: ReplyRequest) -> Preset:
        if request.preset is None:
            return self._default_preset
        preset = Preset.load(request.preset)
        try:
            preset.terminator_ids(self._encode_marker)
        except ConfigError as error:
            raise InvalidRequest("preset", preset.name, f"a preset that fits the served model ({error})") from error
        return preset

    def _forcing_plan(self, request: ReplyRequest, preset: Preset) -> ForcingPlan:
        encode, tokenizer = self._encode_marker, self._tokenizer
        thinking, answer = preset.thinking, preset.answer
        rule, forced = BudgetRule(thinking.budget_rule), request.thinking is ThinkingMode.FORCED
        chat, start = self._encode_chat(request, preset), encode(thinking.start) if forced else ()
        policy = prefix_policy(request, answer)
        prefix = "" if policy == "never" else value_or_default(request.answer_prefix, answer.prefix)
        thinking_terminators, answer_terminators = preset.terminator_ids(encode)
        unbounded = ForcingPlan(
            mode=request.thinking,
            budget_rule=rule,
            prompt_ids=chat + start,
            thinking_terminators=thinking_terminators,
            answer_terminators=answer_terminators,
            max_thinking_tokens=0,
            num_ignore=value_or_default(request.num_ignore, thinking.num_ignore),
            ignore_ids=tuple(self._encode_text("ignore_str", text) for text in value_or_default(request.ignore_str, thinking.ignore_str)),
            grace_tokens=value_or_default(request.grace_tokens, 0),
            boundary_ids=tokenizer.boundary_bearing if request.grace_tokens else frozenset(),
            max_answer_tokens=1,
            max_context_tokens=1 << 40,  # more than any field allows
            answer_ids=encode(answer.off_start if request.thinking is ThinkingMode.OFF else answer.start),
            cut_answer_ids=encode(answer.cut_start),
            thinking_prefix_ids=tokenizer.encode(thinking.prefix),
            answer_prefix_ids=self._encode_text("answer_prefix", prefix),
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
        """Return the ids of the rendered chat.

        Encoding a huge prompt takes seconds. So a prompt that is too long by its number of words or bytes is refused without encoding.
        """
        context = min(self._max_context_tokens, preset.context_tokens)
        num_tokens = self._tokenizer.fewest_tokens([message["content"] for message in request.messages])
        if num_tokens > context:
            allowed = f"fewer: the context holds {context} tokens"
            raise InvalidRequest(request.prompt_field, f"at least {num_tokens} tokens", allowed)
        return self._tokenizer.encode_chat(request.messages)

    def _encode_text(self, field: str, text: str) -> tuple[int, ...]:
        """Return the ids of a text that must not contain a control token."""
        if controls := self._tokenizer.controls_in(text):
            raise InvalidRequest(field, text, f"text without {controls[0]}, which is a control token of this model")
        return self._tokenizer.encode(text)

    def _bounded(self, plan: ForcingPlan, request: ReplyRequest, preset: Preset) -> ForcingPlan:
        """Return ``plan`` with the budgets that fit the context together."""
        context = min(self._max_context_tokens, preset.context_tokens)
        max_answer, reserve = answer_room(request, preset.answer, context)
        room_in_total = thinking_room(request, reserve)
        check_prefix_fits(request, plan, preset.answer)
        num_fixed = plan.longest_before_answer
        room = context - num_fixed - reserve
        if room < 0:
            raise too_long(request, plan, context, reserve)
        plan = replace(plan, max_answer_tokens=max_answer, max_context_tokens=context)
        if plan.mode is not ThinkingMode.FORCED:
            return plan
        requested, floor = request.max_thinking_tokens, value_or_default(request.min_thinking_tokens, 0)
        if requested is not None and requested > room:
            raise budget_too_large(requested, room=room, context=context, num_fixed=num_fixed, reserve=reserve)
        if room_in_total is not None:
            plan, room = replace(plan, max_total_tokens=request.max_total_tokens), min(room, room_in_total)
        cap = value_or_default(requested, default_budget(request, preset.thinking))
        budget = room if cap == -1 else min(cap, room)
        if floor > budget:
            allowed = f"0 to {budget}, the budget that max_thinking_tokens, max_total_tokens and the context leave"
            raise InvalidRequest("min_thinking_tokens", floor, allowed)
        return replace(plan, max_thinking_tokens=budget, min_thinking_tokens=floor)

    def _sampling(self, request: ReplyRequest, preset: Preset) -> dict[Phase, Sampling]:
        answer, thinking = (sampling_fields(request, preset, phase) for phase in (Phase.ANSWER, Phase.THINKING))
        if "seed" not in answer and any(fields.get("temperature", 0) for fields in (answer, thinking)):
            answer["seed"] = secrets.randbits(63)
        thinking.setdefault("seed", answer.get("seed"))
        field = field_of("bad_words", Phase.THINKING, request.thinking_sampling)
        return {Phase.THINKING: self._engine_sampling(thinking, field), Phase.ANSWER: self._engine_sampling(answer, "bad_words")}

    def _engine_sampling(self, fields: Mapping[str, Any], bad_words_field: str) -> Sampling:
        bad_words = tuple(self._encode_text(bad_words_field, word) for word in fields.get("bad_words", ()))
        return Sampling(**{**fields, "temperature": fields.get("temperature", 0.0), "bad_words": bad_words})


def _refuse_equal_samples(request: ReplyRequest, forcing: ForcingPlan, sampling: Mapping[Phase, Sampling]) -> None:
    phases = Phase if forcing.mode is ThinkingMode.FREE or forcing.max_thinking_tokens else (Phase.ANSWER,)
    if request.num_samples > 1 and not any(sampling[phase].temperature for phase in phases):
        raise InvalidRequest("num_samples", request.num_samples, "1 at temperature 0, where all samples would be equal")


def _thinking_stop_words(preset: Preset, forcing: ForcingPlan) -> tuple[str, ...]:
    refuses_ends = forcing.num_ignore or forcing.min_thinking_tokens
    return preset.thinking.terminators if preset.thinking.stop_strings and not refuses_ends else ()
