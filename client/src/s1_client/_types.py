# SPDX-License-Identifier: Apache-2.0
"""The events of a stream, and the reply that they add up to.

All counts are tokens, all ids are token ids, and ``index`` numbers the samples of a request from 0.
"""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

Known = TypeVar("Known", "Usage", "Round", "TrainingRecord")


class _Event:
    """The base of all events. Each also has ``text`` and ``ids``, which may be empty."""

    __slots__ = ()
    kind: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the event's attributes as JSON can hold them; ``event`` is its name on the wire."""
        return {"event": self.kind, **asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingOpened(_Event):
    """The model opened its thinking by itself (``thinking="free"``); ``ids`` are those of the marker."""

    kind: ClassVar[str] = "thinking_opened"
    text: ClassVar[str] = ""
    ids: tuple[int, ...]
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingDelta(_Event):
    """A further part of the model's thinking, as sampled."""

    kind: ClassVar[str] = "thinking"
    text: str
    ids: tuple[int, ...]
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected(_Event):
    """Text that the server injected: in phase "thinking" the ignore string or a first prefix, in phase "answer" its prefix."""

    kind: ClassVar[str] = "injected"
    phase: str
    text: str
    ids: tuple[int, ...]
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerOpened(_Event):
    """Thinking is over; ``ids`` are those of the marker that opens the answer."""

    kind: ClassVar[str] = "answer_opened"
    text: ClassVar[str] = ""
    ids: tuple[int, ...]
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerDelta(_Event):
    """A further part of the answer, as sampled."""

    kind: ClassVar[str] = "answer"
    text: str
    ids: tuple[int, ...]
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """A sample's token counts.

    Attributes:
        num_prompt_tokens: ids of the prompt, with the marker that opens the thinking.
        num_output_ids: all ids of the reply, sampled and injected, without terminators and dropped ids.
        num_thinking_tokens: the thinking, sampled and injected, without terminators and markers.
        num_thinking_sampled: those of the thinking that the model sampled.
        num_thinking_injected: those of the thinking that the server injected.
        num_grace_tokens: those of the thinking beyond the budget, within ``grace_tokens``.
        num_answer_tokens: sampled tokens of the answer.
        num_answer_injected: ids injected for the answer: its marker and its prefix.
        num_terminators: terminators that were sampled; they are not part of either text.
        num_dropped: sampled ids that became neither text nor context: ids without a token, half characters at a cut.
        num_redone: terminators sampled right behind an ignore string, thrown away and sampled again; in no other count.
        num_ignored: refused ends of thinking. The only count that is not of tokens.
    """

    num_prompt_tokens: int
    num_output_ids: int
    num_thinking_tokens: int
    num_thinking_sampled: int
    num_thinking_injected: int
    num_grace_tokens: int
    num_answer_tokens: int
    num_answer_injected: int
    num_terminators: int
    num_dropped: int
    num_redone: int = 0
    num_ignored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A round: a span of a phase, made by one to three engine calls.

    Attributes:
        phase: "thinking" or "answer".
        num_prompt_tokens: context that the round's first engine call began with.
        num_sampled_tokens: tokens that the engine sampled, the terminator included.
        num_dropped_tokens: those of them that became neither text nor context.
        num_redone: tokens sampled besides: a terminator at the round's start, thrown away and sampled again.
        ended_by: "terminator", "budget", "boundary", "grace", "length", "marker", "stop_word", "answer_now" or "deadline".
        terminator_id: the id that ended the round; None if it ended otherwise.
        refused_for: "num_ignore" or "min_thinking_tokens" if the end was refused; None if it was not.
        injected_ids: ids that the server put behind the round.
        num_engine_calls: requests to the engine model.
        num_outages: number of times that the engine was lost during the round, and came back.
        kv_reused_blocks: KV-cache blocks that the first engine call reused; None if the engine does not report them.
        gap_ms: milliseconds from the end of the previous round (of the first: from the start of the reply) to the start of this one.
        first_token_ms: milliseconds from the start of the round to its first token; None if there was none.
        engine_ms: milliseconds from the start of the round's first engine call to the end of its last.
    """

    phase: str
    num_prompt_tokens: int
    num_sampled_tokens: int
    num_dropped_tokens: int
    num_redone: int = 0
    ended_by: str
    terminator_id: int | None
    refused_for: str | None
    injected_ids: list[int]
    num_engine_calls: int
    num_outages: int
    kv_reused_blocks: int | None
    gap_ms: float
    first_token_ms: float | None
    engine_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundEnded(_Event):
    """A round is over. Ids injected behind it are in ``round.injected_ids`` already, and follow as an event of their own."""

    kind: ClassVar[str] = "round_ended"
    text: ClassVar[str] = ""
    ids: ClassVar[tuple[int, ...]] = ()
    round: Round
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """How the model that generated a reply was trained.

    Attributes:
        id: first 12 hexadecimal digits of the SHA-256 of the model's training.json.
        name: name of the training.
        base_model: model that was trained further, with its commit; None = trained from random weights.
        dataset: name of the data set.
        dataset_sha256: SHA-256 of the data set's data.parquet.
        recipe_sha256: SHA-256 of the training recipe.
    """

    id: str
    name: str
    base_model: str | None
    dataset: str
    dataset_sha256: str
    recipe_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The server's report on a sample.

    Attributes:
        request_id: the request's name, as the server's log has it.
        thinking_end: "natural"; cut by "budget", "answer_now", "deadline" or "length"; no thinking: "skipped", "off" or "absent".
        answer_end: "stop" or "stop_word"; cut by "length" or "deadline"; no answer: "empty" or "missing".
        usage: token counts.
        rounds: the trace, in order.
        effective: every request field as it was applied, and ``EFFECTIVE_ONLY`` of ``s1_client._fields``.
        total_ms: milliseconds on the server from the request's admission to the sample's last token.
        stop_word: the stop word that ended the answer; None if none did.
        engine_time_to_first_token_ms: milliseconds from the start of the first round with a token to that token; None without any.
        training: how the engine's model was trained; None if the model has no training record.
    """

    request_id: str
    thinking_end: str
    answer_end: str
    usage: Usage
    rounds: tuple[Round, ...]
    effective: dict[str, Any]
    total_ms: float
    stop_word: str | None = None
    engine_time_to_first_token_ms: float | None = None
    training: TrainingRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(_Event):
    """The last event of a sample, with the server's report on it."""

    kind: ClassVar[str] = "done"
    text: ClassVar[str] = ""
    ids: ClassVar[tuple[int, ...]] = ()
    result: Result
    index: int = 0


Event = ThinkingOpened | ThinkingDelta | Injected | AnswerOpened | AnswerDelta | RoundEnded | Done


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """The texts of a sample as far as they were received, injected text included."""

    thinking: str = ""
    answer: str = ""
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole reply, of a single sample.

        reply = client.think("How many r in raspberry?")
        print(reply.answer, reply.usage.num_thinking_tokens, reply.thinking_end)

    Attributes:
        thinking, answer: the texts, injected text included.
        result: the server's report on the sample.
        answer_prefix: text that the server injected in front of the answer, such as "Final Answer:"; "" if none.
        num_attempts: attempts that the request took, retries included; 2 = it was retried once.
    """

    thinking: str
    answer: str
    result: Result
    index: int = 0
    answer_prefix: str = ""
    num_attempts: int = 1

    @property
    def answer_text(self) -> str:
        """The answer without its injected prefix and the white space behind that.

        Chat history takes this text: a model that sees the prefix in its earlier answers writes it again by itself.
        """
        return self.answer.removeprefix(self.answer_prefix).lstrip() if self.answer_prefix else self.answer

    @property
    def usage(self) -> Usage:
        """Token counts of the reply."""
        return self.result.usage

    @property
    def trace(self) -> tuple[Round, ...]:
        """The rounds of the reply, in order."""
        return self.result.rounds

    @property
    def thinking_end(self) -> str:
        """Reason why the thinking ended, as in ``Result``."""
        return self.result.thinking_end

    @property
    def answer_end(self) -> str:
        """Reason why the answer ended, as in ``Result``."""
        return self.result.answer_end

    @property
    def stop_word(self) -> str | None:
        """The stop word that ended the answer; None if none did."""
        return self.result.stop_word

    @property
    def request_id(self) -> str:
        """The request's name, as the server's log has it."""
        return self.result.request_id

    def to_dict(self) -> dict[str, Any]:
        """Return the reply's attributes as JSON can hold them, and ``answer_text``."""
        return {**asdict(self), "answer_text": self.answer_text}


def known(kind: type[Known], data: dict[str, Any]) -> Known:
    """Return ``kind`` made of the keys that this client knows; a newer server may send more of them, an older one none with a default."""
    return kind(**{field.name: data[field.name] for field in fields(kind) if field.name in data or field.default is MISSING})


def result_of(data: dict[str, Any]) -> Result:
    """Return the Result in the JSON of a ``result`` tensor; keys of a newer server are left out."""
    return Result(
        request_id=data["request_id"],
        thinking_end=data["finish_reason"]["thinking"],
        answer_end=data["finish_reason"]["answer"],
        usage=known(Usage, data["usage"]),
        rounds=tuple(known(Round, entry) for entry in data["rounds"]),
        effective=data["effective"],
        total_ms=data["total_ms"],
        stop_word=data["stop_word"],
        engine_time_to_first_token_ms=data["engine_time_to_first_token_ms"],
        training=known(TrainingRecord, data["training"]) if data.get("training") else None,  # an older server sends no such key
    )
