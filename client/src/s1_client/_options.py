# SPDX-License-Identifier: Apache-2.0
"""What a request can ask for, beside its prompt. The README's table of fields says what each means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

Prompt = str | Sequence[Mapping[str, str]]


class Options(TypedDict, total=False):
    """Options of a request. One that is None, or not there, is left to the server.

    Attributes:
        max_thinking_tokens: hard cap of the thinking; -1 = what the context allows, 0 = answer at once.
        min_thinking_tokens: ends of thinking before it are refused.
        num_ignore: how many ends of thinking to refuse.
        ignore_str: put in place of refused ends, in turn.
        grace_tokens: how long a cut may wait for the end of a sentence.
        thinking: "forced", "free" or "off".
        max_tokens: cap of the answer.
        timeout_ms: for all of it, on the server's clock; default: what is left of the client's ``deadline_s``.
        on_timeout: "cancel", or "answer": think shorter to answer in time.
    """

    preset: str | None
    thinking: str | None
    max_thinking_tokens: int | None
    min_thinking_tokens: int | None
    num_ignore: int | None
    ignore_str: str | Sequence[str] | None
    grace_tokens: int | None
    answer_prefix: str | None
    answer_prefix_policy: str | None
    max_tokens: int | None
    stop_words: str | Sequence[str] | None
    num_samples: int | None
    priority: int | None
    timeout_ms: int | None
    on_timeout: str | None
    bad_words: str | Sequence[str] | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    seed: int | None
    repetition_penalty: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    thinking_bad_words: str | Sequence[str] | None
    thinking_temperature: float | None
    thinking_top_k: int | None
    thinking_top_p: float | None
    thinking_seed: int | None
    thinking_repetition_penalty: float | None
    thinking_presence_penalty: float | None
    thinking_frequency_penalty: float | None


class CallOptions(Options, total=False):
    """Options of a call: those of its request, and the client's own for this call alone.

    Attributes:
        deadline_s: how long it may take in all, retries and waiting included; None = the client's.
        max_retries: how often it is sent again; None = the client's.
    """

    deadline_s: float | None
    max_retries: int | None
