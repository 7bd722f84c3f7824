# SPDX-License-Identifier: Apache-2.0
"""The account of a reply: OpenAI's usage and finish reasons, and all that the server reports, under ``s1``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Literal

from s1_client._types import Result

FinishReason = Literal["stop", "length"]
_CUT = ("length", "deadline")


def finish_reason(result: Result) -> FinishReason:
    """Return why a sample ended, in OpenAI's words: "length" if the answer was cut, or the thought before any answer."""
    is_cut_in_thought = result.answer_end in ("missing", "empty") and result.thinking_end in _CUT
    return "length" if result.answer_end in _CUT or is_cut_in_thought else "stop"


def token_counts(results: Iterable[Result]) -> tuple[int, int, int]:
    """Return the tokens of (prompt, reply, thinking): the prompt's once, the others summed over all samples.

    The reply's are all ids that took context, sampled and injected.
    """
    usages = [result.usage for result in results]
    prompt = usages[0].num_prompt_tokens if usages else 0
    return prompt, sum(usage.num_output_ids for usage in usages), sum(usage.num_thinking_tokens for usage in usages)


def chat_usage(results: Iterable[Result]) -> dict[str, Any]:
    """Return ``usage`` of the chat and completions APIs."""
    return chat_usage_of(*token_counts(results))


def chat_usage_of(prompt: int, reply: int, thinking: int) -> dict[str, Any]:
    """Return ``usage`` of the chat and completions APIs for three token counts."""
    details = {"reasoning_tokens": thinking}
    return {"prompt_tokens": prompt, "completion_tokens": reply, "total_tokens": prompt + reply, "completion_tokens_details": details}


def responses_usage(results: Iterable[Result]) -> dict[str, Any]:
    """Return ``usage`` of the Responses API. Its type requires the counts of cached tokens; an engine that reports none has 0."""
    prompt, reply, thinking = token_counts(results)
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": reply,
        "output_tokens_details": {"reasoning_tokens": thinking},
        "total_tokens": prompt + reply,
    }


def sample_account(result: Result) -> dict[str, Any]:
    """Return the server's report on a sample."""
    return {
        "request_id": result.request_id,
        "finish_reason": {"thinking": result.thinking_end, "answer": result.answer_end},
        "stop_word": result.stop_word,
        "usage": asdict(result.usage),
        "rounds": [asdict(entry) for entry in result.rounds],
        "effective": result.effective,
        "total_ms": result.total_ms,
        "engine_time_to_first_token_ms": result.engine_time_to_first_token_ms,
        "training": None if result.training is None else asdict(result.training),
    }


def account(results: Sequence[Result], dropped: Sequence[str]) -> dict[str, Any]:
    """Return ``s1`` of a reply: the report on its sample; of several samples their reports as ``samples``, in order."""
    told = {"dropped": list(dropped)} if dropped else {}
    if len(results) == 1:
        return {**sample_account(results[0]), **told}
    samples = [{"index": index, **sample_account(result)} for index, result in enumerate(results)]
    return {"request_id": results[0].request_id, "samples": samples, **told}
