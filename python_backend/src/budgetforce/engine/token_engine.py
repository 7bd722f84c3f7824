# SPDX-License-Identifier: Apache-2.0
"""What an engine is to the shell that puts NVIDIA's tensors around it: calls in, progress out.

Knows no Triton and no library. An engine keeps TensorRT-LLM's ending rules (see
engine/tensors.py): ``end_id`` ends a call and is not returned; a stop word ends it and is
returned; it may begin inside the prompt. ``min_tokens`` keeps off ``end_id`` alone.
``bad_words`` are never sampled. ``EndDetector`` is those rules; libraries stop by other ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from budgetforce.engine.base import Sampling
from budgetforce.errors import BudgetForceError, InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """What the loaded model can take: ``vocab_size`` rows, ``max_seq_len`` ids in and out together."""

    vocab_size: int
    max_seq_len: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCall:
    """One call, as the tensors say it; an engine validates it when it is submitted.

    Attributes:
        end_id: ends the call without being returned.
        stop_words: id sequences that end the call and are returned.
        min_tokens: ids to sample before ``end_id`` may come.
    """

    input_ids: tuple[int, ...]
    max_new_tokens: int
    end_id: int | None = None
    stop_words: tuple[tuple[int, ...], ...] = ()
    min_tokens: int = 0
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def is_sampled(self) -> bool:
        """As in TensorRT-LLM: greedy unless top-k > 1 or a top-p asks for sampling."""
        if self.sampling.top_k == 1 or self.sampling.temperature == 0:
            return False
        return bool(self.sampling.top_k) or self.sampling.top_p is not None

    @property
    def banned_ids(self) -> frozenset[int]:
        """The bad words; all are of one id, see ``validate``."""
        return frozenset(word[0] for word in self.sampling.bad_words)

    @property
    def masked_ids(self) -> frozenset[int]:
        """For a library with one mask: what to keep off for the first ``num_masked_steps`` ids."""
        return self.banned_ids or (frozenset((self.end_id,)) if self.min_tokens and self.end_id is not None else frozenset())

    @property
    def num_masked_steps(self) -> int:
        if self.sampling.bad_words:
            return self.max_new_tokens
        return min(self.min_tokens, self.max_new_tokens) if self.masked_ids else 0

    @property
    def single_stop_ids(self) -> frozenset[int]:
        """Ids that end the call by themselves: a library may stop there of its own accord."""
        singles = {word[0] for word in self.stop_words if len(word) == 1}
        return frozenset(singles if self.end_id is None else singles | {self.end_id})


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What came of a call: new ids, and whether and why it is over."""

    key: int
    ids: tuple[int, ...] = ()
    finished: bool = False
    error: BudgetForceError | None = None


@dataclass(slots=True, kw_only=True)
class KvUsage:
    """KV blocks of a call, of the engine's own size: found in the cache, and all that it occupied."""

    num_reused_blocks: int = 0
    num_total_blocks: int = 0


class TokenEngine(Protocol):
    """Many calls at once. One thread owns an engine: it submits, cancels and steps.

    Attributes:
        computes_in_step: ``step`` computes, here and on this machine's cores; else it only hands over what has come.
    """

    computes_in_step: bool

    def submit(self, call: TokenCall) -> tuple[int, KvUsage]:
        """Queue a call; its key, and its KV usage, which is filled in as the call runs.

        Raises InvalidRequest naming the tensor that cannot be honoured, or EngineUnavailable.
        """
        ...

    def cancel(self, key: int) -> None:
        """Stop a call; nothing more comes of it. Unknown keys are calls that are over."""
        ...

    def has_work(self) -> bool:
        """Whether ``step`` has anything to do or to tell."""
        ...

    def step(self) -> list[Progress]:
        """What has come since the last step. Never raises: what breaks is told to the calls that it ends."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class EndDetector:
    """Watches the ids of one call for its end.

    Attributes:
        num_sampled: ids that were taken and count.
    """

    def __init__(self, call: TokenCall) -> None:
        self._call = call
        self._sampled: list[int] = []
        # Apart from the others: there may be thousands of one id.
        self._stop_ids = frozenset(word[0] for word in call.stop_words if len(word) == 1)
        self._stop_sequences = tuple(word for word in call.stop_words if len(word) > 1)

    @property
    def num_sampled(self) -> int:
        return len(self._sampled)

    @property
    def context_len(self) -> int:
        """Ids of the prompt and those that were sampled."""
        return len(self._call.input_ids) + len(self._sampled)

    def computed_ids(self) -> tuple[int, ...]:
        """Ids whose KV was computed: all but the last."""
        return (*self._call.input_ids, *self._sampled)[:-1]

    def take(self, ids: Iterable[int]) -> tuple[tuple[int, ...], bool]:
        """Of newly sampled ids those that count, and whether the call is over behind them."""
        kept: list[int] = []
        for token_id in ids:
            if token_id == self._call.end_id:
                return tuple(kept), True
            kept.append(token_id)
            self._sampled.append(token_id)
            if self._is_at_end():
                return tuple(kept), True
        return tuple(kept), False

    def _is_at_end(self) -> bool:
        if len(self._sampled) >= self._call.max_new_tokens or self._sampled[-1] in self._stop_ids:
            return True
        return any(self._tail(len(word)) == word for word in self._stop_sequences)

    def _tail(self, length: int) -> tuple[int, ...]:
        if length <= len(self._sampled):
            return tuple(self._sampled[-length:])
        return (*self._call.input_ids, *self._sampled)[-length:]


def validate(call: TokenCall, limits: ModelLimits) -> None:
    """Raise InvalidRequest for what no engine of ours can honour. Libraries accept ids outside the vocabulary, and break."""
    num_ids = len(call.input_ids)
    if not 1 <= num_ids < limits.max_seq_len:
        raise InvalidRequest("input_ids", f"{num_ids} ids", f"1 to {limits.max_seq_len - 1} ids")
    outside = [token_id for token_id in call.input_ids if not 0 <= token_id < limits.vocab_size]
    if outside:
        raise InvalidRequest("input_ids", outside[:5], f"ids from 0 to {limits.vocab_size - 1}")
    room = limits.max_seq_len - num_ids
    if not 1 <= call.max_new_tokens <= room:
        raise InvalidRequest("request_output_len", call.max_new_tokens, f"1 to {room} behind a prompt of {num_ids} ids")
    if any(len(word) != 1 for word in call.sampling.bad_words):
        raise InvalidRequest("bad_words_list", call.sampling.bad_words, "words of one id each (this engine cannot ban sequences)")
