# SPDX-License-Identifier: Apache-2.0
"""Every JSON key that model ``s1`` sends, with its meaning: the list that tests compare server, client and documentation with.

``Annotated`` carries the meaning of a key, so that ``meanings(SampleResult)`` can be read by tests and pages. Units: tokens, unless
a key ends in ``_ms`` (milliseconds). Independent of Triton.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypedDict, get_type_hints


class FinishReason(TypedDict):
    """Key ``finish_reason`` of a result; the values are those of ``core.ThinkingEnd`` and ``core.AnswerEnd``."""

    thinking: Annotated[str | None, "why thinking ended"]
    answer: Annotated[str | None, "why the answer ended"]


class Usage(TypedDict):
    """Key ``usage`` of a result: the token account of a sample."""

    num_prompt_tokens: Annotated[int, "prompt: the rendered chat and, if thinking is forced, the marker that opens it"]
    num_output_ids: Annotated[int, "the whole reply behind the prompt: thinking, answer and everything that was injected"]
    num_thinking_tokens: Annotated[int, "thinking, sampled and injected, without consumed terminators"]
    num_thinking_sampled: Annotated[int, "of num_thinking_tokens: sampled by the model"]
    num_thinking_injected: Annotated[int, "of num_thinking_tokens: injected by the server (ignore strings, thinking prefix)"]
    num_grace_tokens: Annotated[int, "of num_thinking_sampled: beyond the budget, up to the end of a line or sentence"]
    num_answer_tokens: Annotated[int, "answer tokens sampled by the model"]
    num_answer_injected: Annotated[int, "injected to open the answer: markers, line break, answer prefix"]
    num_terminators: Annotated[int, "sampled terminators, consumed and never shown"]
    num_dropped: Annotated[int, "sampled and kept out of text and context: rows without a token, half characters at a cut, audit cuts"]
    num_redone: Annotated[int, "terminators sampled right behind an ignore string, thrown away and sampled again; in no other count"]
    num_ignored: Annotated[int, "refused ends of thinking"]


class RoundReport(TypedDict):
    """An entry of ``rounds`` in a result, and the output ``round`` of a streamed ``round_ended`` event."""

    phase: Annotated[str, "thinking or answer"]
    num_prompt_tokens: Annotated[int, "context that the round's first engine call began with"]
    num_sampled_tokens: Annotated[int, "tokens that the engine sampled, a consumed terminator and dropped tokens included"]
    num_dropped_tokens: Annotated[int, "of num_sampled_tokens: kept out of text and context"]
    num_redone: Annotated[int, "tokens that the engine sampled besides: a terminator at the round's start, thrown away and sampled again"]
    ended_by: Annotated[str | None, "why the round ended, a value of core.RoundEnd"]
    terminator_id: Annotated[int | None, "token id of the consumed terminator; null if none ended the round"]
    refused_for: Annotated[str | None, "why that terminator was refused: num_ignore or min_thinking_tokens; null if it was not"]
    injected_ids: Annotated[list[int], "token ids that the server injected behind the round"]
    num_engine_calls: Annotated[int, "engine calls of the round"]
    num_outages: Annotated[int, "engine calls that an outage cut"]
    kv_reused_blocks: Annotated[int | None, "KV cache blocks that the round's first engine call reused; null if the engine does not say"]
    gap_ms: Annotated[float, "time from the end of the previous round, or from admission, to the start of this one"]
    first_token_ms: Annotated[float | None, "time from the round's start to its first token; null without a token"]
    engine_ms: Annotated[float, "time from the round's start to its end"]


class Effective(TypedDict):
    """Key ``effective`` of a result: every parameter as it was applied, from the request, the preset or the context."""

    preset: Annotated[str, "model preset"]
    thinking: Annotated[str, "forced, free or off"]
    max_thinking_tokens: Annotated[int, "thinking budget"]
    reasoning_effort: Annotated[str | None, "word that chose the thinking budget; null if the request gave none"]
    min_thinking_tokens: Annotated[int, "ends of thinking before this many tokens are refused"]
    num_ignore: Annotated[int, "ends of thinking to refuse while the budget allows"]
    ignore_str: Annotated[Sequence[str], "ignore strings, used in turn"]
    grace_tokens: Annotated[int, "tokens that a cut of thinking may wait for the end of a line or sentence"]
    thinking_prefix: Annotated[str | None, "first words of a forced thought; null where the budget has no room for the preset's"]
    answer_prefix: Annotated[str, "answer prefix that applies, injected as answer_prefix_policy says"]
    answer_prefix_policy: Annotated[str, "auto (after a cut), always or never"]
    max_tokens: Annotated[int, "cap of the answer"]
    max_total_tokens: Annotated[int | None, "cap of thinking and answer together; null if the request gave none"]
    max_context_tokens: Annotated[int, "cap of prompt and reply together"]
    num_samples: Annotated[int, "samples of the request"]
    priority: Annotated[int, "priority of the request in the queue; higher values go first"]
    timeout_ms: Annotated[int | None, "deadline, from the request's arrival; null = none"]
    on_timeout: Annotated[str | None, "cancel or answer; null without a deadline"]
    num_masked_ids: Annotated[int, "rows of the model's embedding without a token, which are never sampled"]
    stop_words: Annotated[Sequence[str], "texts that end the answer"]
    temperature: Annotated[float, "answer: sampling temperature; 0 = greedy"]
    top_k: Annotated[int | None, "answer: top-k; 0 or null = off"]
    top_p: Annotated[float | None, "answer: top-p; null = the engine's default"]
    seed: Annotated[int | None, "answer: random seed, the server's if the request gave none; null when everything is greedy"]
    repetition_penalty: Annotated[float | None, "answer: null = the engine's default"]
    presence_penalty: Annotated[float | None, "answer: null = the engine's default"]
    frequency_penalty: Annotated[float | None, "answer: null = the engine's default"]
    bad_words: Annotated[Sequence[str], "answer: words that are never sampled"]
    thinking_temperature: Annotated[float, "the same for thinking"]
    thinking_top_k: Annotated[int | None, "the same for thinking"]
    thinking_top_p: Annotated[float | None, "the same for thinking"]
    thinking_seed: Annotated[int | None, "the same for thinking"]
    thinking_repetition_penalty: Annotated[float | None, "the same for thinking"]
    thinking_presence_penalty: Annotated[float | None, "the same for thinking"]
    thinking_frequency_penalty: Annotated[float | None, "the same for thinking"]
    thinking_bad_words: Annotated[Sequence[str], "the same for thinking"]
    engine_model: Annotated[str, "Triton model that generated the tokens"]


class Training(TypedDict):
    """Key ``training`` of a result: how the engine's model was trained; ``budgetforce.provenance`` reads it."""

    id: Annotated[str, "first 12 hexadecimal digits of the SHA-256 of the model's training.json"]
    name: Annotated[str, "name of the training"]
    base_model: Annotated[str | None, "model that was trained further, with its commit; null = trained from random weights"]
    dataset: Annotated[str, "name of the data set"]
    dataset_sha256: Annotated[str, "SHA-256 of the data set's data.parquet"]
    recipe_sha256: Annotated[str, "SHA-256 of the training recipe"]


class SampleResult(TypedDict):
    """Output ``result`` with a sample's last response."""

    request_id: Annotated[str, "the client's name for the request, or an id that the server made up"]
    index: Annotated[int, "which of the request's samples, from 0"]
    finish_reason: Annotated[FinishReason, "why each phase ended"]
    stop_word: Annotated[str | None, "the stop word that ended the answer; null if none did"]
    usage: Annotated[Usage, "token account"]
    effective: Annotated[Effective, "parameters as they were applied"]
    training: Annotated[Training | None, "how the engine's model was trained; null if it has no training record"]
    rounds: Annotated[list[RoundReport], "the rounds in order"]
    engine_time_to_first_token_ms: Annotated[float | None, "first_token_ms of the first round that has a token"]
    total_ms: Annotated[float, "time from the request's admission to the sample's result"]


class CommandResult(TypedDict):
    """Output ``result`` of a request with ``answer_now`` or ``cancel``."""

    request_id: Annotated[str, "the client's name for the running request that obeyed"]
    num_requests: Annotated[int, "running requests that obeyed, always 1"]


class SampleProgress(TypedDict):
    """An entry of ``so_far`` in the second line of an error message."""

    index: Annotated[int, "which of the request's samples, from 0"]
    num_rounds: Annotated[int, "rounds begun"]
    usage: Annotated[Usage, "token account so far"]


def meanings(schema: type) -> dict[str, str]:
    """Return the keys of a class above, in order, with their meanings."""
    hints: Mapping[str, Any] = get_type_hints(schema, include_extras=True)
    return {key: hint.__metadata__[0] for key, hint in hints.items()}
