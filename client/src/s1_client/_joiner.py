# SPDX-License-Identifier: Apache-2.0
"""Joins events into replies. No connection, no thread, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from s1_client._errors import ServerFailed
from s1_client._types import AnswerDelta, Done, Event, Injected, Partial, Reply, Result, ThinkingDelta


@dataclass(slots=True)
class _Sample:
    thinking: list[str] = field(default_factory=list)
    answer_prefix: list[str] = field(default_factory=list)
    answer: list[str] = field(default_factory=list)
    result: Result | None = None

    def add(self, event: Event) -> None:
        match event:
            case ThinkingDelta(text=text):
                self.thinking.append(text)
            case AnswerDelta(text=text):
                self.answer.append(text)
            case Injected(text=text, phase="thinking"):
                self.thinking.append(text)
            case Injected(text=text):
                (self.answer if self.answer else self.answer_prefix).append(text)
            case Done(result=result):
                self.result = result


class Joiner:
    """Collects the events of a request, whose samples may be interleaved."""

    def __init__(self) -> None:
        self._samples: dict[int, _Sample] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no event was added yet."""
        return not self._samples

    @property
    def num_results(self) -> int:
        """The number of samples whose result has come."""
        return sum(sample.result is not None for sample in self._samples.values())

    def add(self, event: Event) -> None:
        """Add the next event to its sample."""
        self._samples.setdefault(event.index, _Sample()).add(event)

    def partials(self) -> tuple[Partial, ...]:
        """Return the texts received so far, in the order of the samples."""
        return tuple(
            Partial(thinking="".join(sample.thinking), answer="".join(sample.answer_prefix + sample.answer), index=index)
            for index, sample in sorted(self._samples.items())
        )

    def replies(self) -> tuple[Reply, ...]:
        """Return the whole replies, in the order of the samples. Raises ServerFailed if a sample has no result."""
        if not self._samples or any(sample.result is None for sample in self._samples.values()):
            raise ServerFailed("the stream ended without a result")
        return tuple(
            Reply(
                thinking=partial.thinking,
                answer=partial.answer,
                answer_prefix="".join(self._samples[partial.index].answer_prefix),
                result=result,
                index=partial.index,
            )
            for partial in self.partials()
            if (result := self._samples[partial.index].result) is not None
        )
