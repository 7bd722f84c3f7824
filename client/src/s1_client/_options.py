# SPDX-License-Identifier: Apache-2.0
"""Types of a request: its prompt and its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

Prompt = str | Sequence[Mapping[str, str]]


class Options(TypedDict, total=False):
    """The optional fields of a request, by name. The server decides on a field that is missing or None.

    They are the rows of ``s1_client._fields``; the documentation of the request fields defines each.

        options: Options = {"max_thinking_tokens": 2000, "num_ignore": 1, "ignore_str": ["Wait", "Hmm"]}
        client.think("How many r in raspberry?", **options)
    """

    max_thinking_tokens: int | None
    reasoning_effort: str | None
    min_thinking_tokens: int | None
    num_ignore: int | None
    ignore_str: str | Sequence[str] | None
    grace_tokens: int | None
    thinking: str | None
    preset: str | None
    max_tokens: int | None
    max_total_tokens: int | None
    answer_prefix: str | None
    answer_prefix_policy: str | None
    stop_words: str | Sequence[str] | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    seed: int | None
    repetition_penalty: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    bad_words: str | Sequence[str] | None
    num_samples: int | None
    thinking_temperature: float | None
    thinking_top_k: int | None
    thinking_top_p: float | None
    thinking_seed: int | None
    thinking_repetition_penalty: float | None
    thinking_presence_penalty: float | None
    thinking_frequency_penalty: float | None
    thinking_bad_words: str | Sequence[str] | None
    timeout_ms: int | None
    on_timeout: str | None
    priority: int | None


class CallOptions(Options, total=False):
    """Options of a call: the fields of its request, and limits for this call alone.

    Attributes:
        deadline_s: seconds for the whole call, with retries and waiting; None = the client's.
        max_retries: number of retries; None = the client's.
        tenant: whose request it is; None = the client's.
    """

    deadline_s: float | None
    max_retries: int | None
    tenant: str | None
