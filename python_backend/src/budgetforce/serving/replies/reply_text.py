# SPDX-License-Identifier: Apache-2.0
"""Turns the ids of a sample into chunks of text. Independent of Triton."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from budgetforce.core import Emit, Phase
from budgetforce.serving.replies.sinks import OutputChunk
from budgetforce.serving.result_schema import RoundReport, SampleResult
from budgetforce.text.detokenizer import StreamDecoder
from budgetforce.text.stop_words import StopWordFilter, StopWords

_EVENTS = {phase: phase.value for phase in Phase}  # an enum's ``value`` is computed by Python code at each access


class ReplyText:
    """Decodes the ids of a sample, thinking and answer apart, and looks for stop words.

    A stop word of the answer may begin in its injected prefix. Prefix text that is held back for that and released later is shown as
    injected, in a chunk without ids: they were sent with the rest of the prefix. Stop words of thinking, which only an audit preset
    has, are looked for in sampled text alone, as the authors' programs do.
    """

    def __init__(self, token_bytes: Sequence[bytes], stop_words: Mapping[Phase, StopWords], index: int = 0) -> None:
        self._decoders = {phase: StreamDecoder(token_bytes) for phase in Phase}
        self._stop_words = {phase: StopWordFilter(words) for phase, words in stop_words.items()}
        self._num_held_injected = 0  # characters of the prefix that are held back, in front of sampled ones
        self._index = index

    def stop_word(self, phase: Phase) -> str | None:
        """Return the stop word that ended ``phase``, None if none did."""
        return self._stop_words[phase].found

    def chunks(self, emit: Emit) -> list[OutputChunk]:
        """Return the chunks of ``emit``. The first marker of the answer ends the thinking text."""
        if emit.hidden and emit.phase is Phase.THINKING:
            return [self._chunk("thinking_opened", ids=emit.ids)]
        if emit.hidden:
            return [*self.flush(Phase.THINKING), self._chunk("answer_opened", ids=emit.ids)]
        text = self._decoders[emit.phase].feed(emit.ids)
        if not emit.injected:
            return self._sampled(emit.phase, self._stop_words[emit.phase].feed(text), emit.ids)
        if emit.phase is Phase.ANSWER:
            text = self._stop_words[Phase.ANSWER].feed(text, is_injected=True)
            self._num_held_injected = self._stop_words[Phase.ANSWER].num_held
        return [self._text_chunk("injected", emit.phase, text, emit.ids)]

    def flush(self, phase: Phase) -> list[OutputChunk]:
        """Return the chunks of text that is still held back when ``phase`` is over."""
        text = self._stop_words[phase].feed(self._decoders[phase].flush()) + self._stop_words[phase].flush()
        return self._sampled(phase, text) if text else []

    def round_ended(self, report: RoundReport) -> OutputChunk:
        """Return the chunk that reports a round."""
        return self._chunk("round_ended", round=json.dumps(report))

    def done(self, result: SampleResult) -> list[OutputChunk]:
        """Return the last chunks: text that is still held back, and the result."""
        return [*self.flush(Phase.THINKING), *self.flush(Phase.ANSWER), self._chunk("done", result=json.dumps(result))]

    def _sampled(self, phase: Phase, text: str, ids: tuple[int, ...] = ()) -> list[OutputChunk]:
        """Return the chunks of sampled text, whose first characters may be prefix text that was held back."""
        chunks: list[OutputChunk] = []
        if self._num_held_injected and phase is Phase.ANSWER and text:
            released, text = text[: self._num_held_injected], text[self._num_held_injected :]
            self._num_held_injected -= len(released)
            chunks.append(self._text_chunk("injected", phase, released))
        if text or ids:
            chunks.append(self._text_chunk(_EVENTS[phase], phase, text, ids))
        return chunks

    def _text_chunk(self, event: str, phase: Phase, text: str, ids: tuple[int, ...] = ()) -> OutputChunk:
        if phase is Phase.THINKING:
            return OutputChunk(event=event, index=self._index, thinking=text, ids=ids)
        return OutputChunk(event=event, index=self._index, answer=text, ids=ids)

    def _chunk(self, event: str, **parts: Any) -> OutputChunk:
        return OutputChunk(event=event, index=self._index, **parts)
