# SPDX-License-Identifier: Apache-2.0
"""What a reply consists of. All counts are tokens; ``index`` is the sample that an event belongs to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

Known = TypeVar("Known", "Usage", "Round")


class _Event:
    """What all events have, beside ``text`` and ``ids``, which may be empty."""

    __slots__ = ()
    kind: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON can hold it; ``event`` is its name on the wire."""
        return {"event": self.kind, **asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingOpened(_Event):
    """The model opened a thought by itself; ``ids`` is its marker."""

    kind: ClassVar[str] = "thinking_opened"
    text: ClassVar[str] = ""
    ids: tuple[int, ...]
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingDelta(_Event):
    """More of the model's thinking."""

    kind: ClassVar[str] = "thinking"
    text: str
    ids: tuple[int, ...]
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected(_Event):
    """Text that the server put in: the ignore string while "thinking", the prefix of an "answer"."""

    kind: ClassVar[str] = "injected"
    phase: str
    text: str
    ids: tuple[int, ...]
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerOpened(_Event):
    """Thinking is over; ``ids`` is the marker that opens the answer."""

    kind: ClassVar[str] = "answer_opened"
    text: ClassVar[str] = ""
    ids: tuple[int, ...]
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerDelta(_Event):
    """More of the answer."""

    kind: ClassVar[str] = "answer"
    text: str
    ids: tuple[int, ...]
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Where the tokens went. Thinking = sampled + injected, without consumed terminators.

    Attributes:
        num_output_ids: all that was put behind the prompt.
        num_grace_tokens: of the thinking, those beyond the budget.
        num_dropped: sampled, but neither text nor context: ids that are no tokens, half characters at a cut.
        num_ignored: ends of thinking that were refused.
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
    num_ignored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of the loop.

    Attributes:
        ended_by: "terminator", "budget", "boundary", "grace", "length", "marker", "stop_word", "answer_now" or "deadline".
        refused_for: "num_ignore" or "min_thinking_tokens", if the terminator was refused.
        injected_ids: what the server put behind the round.
        num_outages: how often the engine went away and came back.
        kv_reused_blocks: KV blocks of the prompt that were not computed again.
        gap_ms: from the end of the round before to the first engine call of this one.
    """

    phase: str
    num_prompt_tokens: int
    num_sampled_tokens: int
    num_dropped_tokens: int
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
    """A round is over; what is put in behind it comes next, and is in ``round.injected_ids`` already."""

    kind: ClassVar[str] = "round_ended"
    text: ClassVar[str] = ""
    ids: ClassVar[tuple[int, ...]] = ()
    round: Round
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The server's account of a reply.

    Attributes:
        thinking_end: "natural"; cut by "budget", "answer_now", "deadline" or "length"; none: "skipped", "off" or "absent".
        answer_end: "stop" or "stop_word"; cut by "length" or "deadline"; none: "empty" or "missing".
        effective: every parameter as it was applied.
        total_ms: from the start of the reply to its last token, on the server.
    """

    request_id: str
    thinking_end: str
    answer_end: str
    usage: Usage
    rounds: tuple[Round, ...]
    effective: dict[str, Any]
    total_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(_Event):
    """The last event of a sample."""

    kind: ClassVar[str] = "done"
    text: ClassVar[str] = ""
    ids: ClassVar[tuple[int, ...]] = ()
    result: Result
    index: int = 0


Event = ThinkingOpened | ThinkingDelta | Injected | AnswerOpened | AnswerDelta | RoundEnded | Done


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """What has come of a sample. ``thinking`` and ``answer`` hold injected text where it stood."""

    thinking: str = ""
    answer: str = ""
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole reply. ``thinking`` and ``answer`` hold injected text where it stood.

    Attributes:
        answer_prefix: what the server injected in front of the answer, as "Final Answer:"; "" if nothing.
    """

    thinking: str
    answer: str
    result: Result
    index: int = 0
    answer_prefix: str = ""

    @property
    def answer_text(self) -> str:
        """The answer as the model wrote it: without the injected prefix, and without white space between the two. The one for
        the next turns of a chat, where a model that sees the prefix in its earlier answers writes it once more by itself.
        """
        return self.answer.removeprefix(self.answer_prefix).lstrip() if self.answer_prefix else self.answer

    @property
    def usage(self) -> Usage:
        """Where the tokens went."""
        return self.result.usage

    @property
    def trace(self) -> tuple[Round, ...]:
        """The rounds of the loop, in order."""
        return self.result.rounds

    @property
    def thinking_end(self) -> str:
        """Why thinking ended, see ``Result``."""
        return self.result.thinking_end

    @property
    def answer_end(self) -> str:
        """Why the answer ended, see ``Result``."""
        return self.result.answer_end

    @property
    def request_id(self) -> str:
        """The request's name, for the server's log."""
        return self.result.request_id

    def to_dict(self) -> dict[str, Any]:
        """The reply as JSON can hold it, with ``answer_text``."""
        return {**asdict(self), "answer_text": self.answer_text}


def known(kind: type[Known], data: dict[str, Any]) -> Known:
    """The fields of ``kind`` out of what a server said, which may know more of them."""
    return kind(**{field.name: data[field.name] for field in fields(kind)})


def result_of(data: dict[str, Any]) -> Result:
    """A Result out of the JSON of the ``result`` tensor; keys of a newer server are left out."""
    return Result(
        request_id=data["request_id"],
        thinking_end=data["finish_reason"]["thinking"],
        answer_end=data["finish_reason"]["answer"],
        usage=known(Usage, data["usage"]),
        rounds=tuple(known(Round, entry) for entry in data["rounds"]),
        effective=data["effective"],
        total_ms=data["total_ms"],
    )
