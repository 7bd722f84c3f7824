# SPDX-License-Identifier: Apache-2.0
"""The interface of an engine to the shell that wraps NVIDIA's tensors around it: calls in, progress out.

Independent of Triton and of any library. An engine keeps TensorRT-LLM's ending rules (see
engine/tensors.py): ``end_id`` ends a call and is not returned; a stop word ends a call and is
returned, and may begin inside the prompt. ``min_tokens`` suppresses only ``end_id``. ``bad_words``
are never sampled. ``EndDetector`` implements these rules, because the libraries' own rules differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from budgetforce.engine.base import Sampling
from budgetforce.errors import BudgetForceError, InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """Limits of the loaded model: ``vocab_size`` rows; ``max_seq_len`` ids of prompt and output together."""

    vocab_size: int
    max_seq_len: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCall:
    """A call, as read from the tensors; an engine validates it on submission.

    Attributes:
        input_ids: the prompt.
        max_new_tokens: maximum number of ids to sample.
        end_id: id that ends the call and is not returned.
        stop_words: id sequences that end the call and are returned.
        min_tokens: number of ids before ``end_id`` may be sampled.
    """

    input_ids: tuple[int, ...]
    max_new_tokens: int
    end_id: int | None = None
    stop_words: tuple[tuple[int, ...], ...] = ()
    min_tokens: int = 0
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def is_sampled(self) -> bool:
        """Return whether to sample. As in TensorRT-LLM, a call is greedy unless it has a top-k > 1 or a top-p."""
        if self.sampling.top_k == 1 or self.sampling.temperature == 0:
            return False
        return bool(self.sampling.top_k) or self.sampling.top_p is not None

    @property
    def banned_ids(self) -> frozenset[int]:
        """Return the ids of the bad words; each word has a single id, see ``validate``."""
        return frozenset(word[0] for word in self.sampling.bad_words)

    @property
    def masked_ids(self) -> frozenset[int]:
        """Return the ids to suppress in the first ``num_masked_steps`` ids, for a library with a single mask."""
        return self.banned_ids or (frozenset((self.end_id,)) if self.min_tokens and self.end_id is not None else frozenset())

    @property
    def num_masked_steps(self) -> int:
        if self.sampling.bad_words:
            return self.max_new_tokens
        return min(self.min_tokens, self.max_new_tokens) if self.masked_ids else 0

    @property
    def single_stop_ids(self) -> frozenset[int]:
        """Return the ids that each end the call alone; a library may stop at them by itself."""
        singles = {word[0] for word in self.stop_words if len(word) == 1}
        return frozenset(singles if self.end_id is None else singles | {self.end_id})


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """New ids of a call, whether it has finished, and its error if it failed."""

    key: int
    ids: tuple[int, ...] = ()
    finished: bool = False
    error: BudgetForceError | None = None


@dataclass(slots=True, kw_only=True)
class KvUsage:
    """KV blocks of a call, in blocks of the engine's size: reused from the cache, and occupied in total."""

    num_reused_blocks: int = 0
    num_total_blocks: int = 0


class TokenEngine(Protocol):
    """Runs many calls concurrently. A single thread owns an engine: it submits, cancels and steps.

    Attributes:
        computes_in_step: whether ``step`` computes on this machine's cores; otherwise it only returns progress.
    """

    computes_in_step: bool

    def submit(self, call: TokenCall) -> tuple[int, KvUsage]:
        """Queue a call; return its key and its KV usage, which is updated while the call runs.

        Raises InvalidRequest that names the unsupported tensor, or EngineUnavailable.
        """
        ...

    def cancel(self, key: int) -> None:
        """Stop a call; no more progress is returned for it. Unknown keys belong to finished calls and are ignored."""
        ...

    def has_work(self) -> bool:
        """Return whether ``step`` has work to do or progress to return."""
        ...

    def step(self) -> list[Progress]:
        """Return the progress since the last step. Never raises: a failure is returned as the error of the calls that it ends."""
        ...

    def close(self) -> None:
        """Stop the engine and release the model."""
        ...


class EndDetector:
    """Applies TensorRT-LLM's ending rules to the ids of a call."""

    def __init__(self, call: TokenCall) -> None:
        self._call = call
        self._sampled: list[int] = []
        # A set for speed: there may be thousands of stop words of a single id.
        self._stop_ids = frozenset(word[0] for word in call.stop_words if len(word) == 1)
        self._stop_sequences = tuple(word for word in call.stop_words if len(word) > 1)

    @property
    def num_sampled(self) -> int:
        """Return the number of sampled ids up to the end."""
        return len(self._sampled)

    @property
    def context_len(self) -> int:
        """Return the number of ids in the prompt and sampled so far."""
        return len(self._call.input_ids) + len(self._sampled)

    def computed_ids(self) -> tuple[int, ...]:
        """Return the ids whose KV was computed: all but the last."""
        return (*self._call.input_ids, *self._sampled)[:-1]

    def take(self, ids: Iterable[int]) -> tuple[tuple[int, ...], bool]:
        """Return the newly sampled ids up to the end of the call, and whether they end it."""
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
    """Raise InvalidRequest for a call that no engine can run. Libraries accept ids outside the vocabulary, then crash."""
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
        raise InvalidRequest("bad_words_list", call.sampling.bad_words, "words of a single id each (this engine cannot ban sequences)")
