# SPDX-License-Identifier: Apache-2.0
"""Replies of ``/v1/chat/completions``: the server's replies as a body, and its events as chunks. No I/O.

In a stream each event of the server becomes one chunk. Thought and answer never share a delta, and each choice has its role first, its
``finish_reason`` once, and the server's account beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from s1_client._types import AnswerDelta, Done, Event, Injected, Reply, Result, ThinkingDelta
from s1_client.gateway.accounts import account, chat_usage, chat_usage_of, finish_reason, sample_account
from s1_client.gateway.chat_request import StreamOptions
from s1_client.gateway.errors import Refusal
from s1_client.gateway.order import Order
from s1_client.gateway.sse import DONE, compact, frame, quoted


def chat_body(replies: Sequence[Reply], order: Order, *, request_id: str, created: int, model: str, reasoning_field: str) -> dict[str, Any]:
    """Return the body of a reply that is not streamed."""
    results = [reply.result for reply in replies]
    return {
        "id": request_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [_choice(index, reply, order, reasoning_field) for index, reply in enumerate(replies)],
        "usage": chat_usage(results),
        "s1": account(results, order.dropped),
    }


def _choice(index: int, reply: Reply, order: Order, reasoning_field: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.answer, "refusal": None}  # OpenAI's type requires the key
    if order.is_shown:
        message[reasoning_field] = reply.thinking
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish_reason(reply.result)}


class ChatChunks:
    """Renders the events of a stream as chunks.

    Attributes of the class, which the completions API has otherwise:
        object_name: the kind of object that a chunk is.
        delta_opens, delta_closes: what stands around a text.
        answer_field: name of the answer's text.
        beside_thought: what stands beside the thought's text.
        nothing: a delta without a text.
    """

    object_name = "chat.completion.chunk"
    delta_opens, delta_closes = '"delta":{', "}"
    answer_field = "content"
    beside_thought = nothing = ""

    def __init__(
        self, order: Order, *, request_id: str, created: int, model: str, reasoning_field: str, options: StreamOptions | None
    ) -> None:
        self._order = order
        self._sends_usage = bool(options and options.include_usage)
        self._counts_always = bool(options and options.continuous_usage_stats)
        self._results: dict[int, Result] = {}
        self._num_ids = self._num_thinking_ids = 0
        names = f'"id":{quoted(request_id)},"object":"{self.object_name}","created":{created},"model":{quoted(model)}'
        self._head = f'{{{names},"choices":['
        self._opens = [f'{self._head}{{"index":{index},{self.delta_opens}' for index in range(order.num_samples)]
        self._closes = f'{self.delta_closes},"logprobs":null,"finish_reason":null}}]'
        self._end = ',"usage":null' if self._sends_usage else ""
        self._thought, self._answer = f'{self.beside_thought}"{reasoning_field}":', f'"{self.answer_field}":'

    def start(self) -> Iterator[bytes]:
        """Yield the first chunk of each choice: its role."""
        for opens in self._opens:
            yield self._chunk(f'{opens}"role":"assistant","content":""{self._closes}')

    def chunks(self, event: Event) -> Iterator[bytes]:
        """Yield the chunks of an event: one, or none if it shows nothing that the caller wants."""
        self._count(event)
        if isinstance(event, Done):
            yield self._last(event)
            return
        delta = self._delta(event)
        if delta or self._order.include_events:
            told = f',"s1":{compact(_without_text(event))}' if self._order.include_events else ""
            yield self._chunk(f"{self._opens[event.index]}{delta or self.nothing}{self._closes}{told}")

    def end(self) -> Iterator[bytes]:
        """Yield the end of a complete stream."""
        if self._sends_usage:
            usage = chat_usage(result for _, result in sorted(self._results.items()))
            yield frame(f'{self._head}],"usage":{compact(usage)}}}')
        yield DONE

    def failure(self, refusal: Refusal) -> Iterator[bytes]:
        """Yield the end of a stream that failed."""
        yield frame(compact(refusal.body()))
        yield DONE

    def _delta(self, event: Event) -> str:
        if not event.text:
            return ""
        if isinstance(event, AnswerDelta) or (isinstance(event, Injected) and event.phase == "answer"):
            return f"{self._answer}{quoted(event.text)}"
        is_thought = isinstance(event, ThinkingDelta | Injected)
        return f"{self._thought}{quoted(event.text)}" if is_thought and self._order.is_shown else ""

    def _last(self, event: Done) -> bytes:
        self._results[event.index] = event.result
        told: dict[str, Any] = {"index": event.index, **sample_account(event.result)}
        if self._order.dropped:
            told["dropped"] = list(self._order.dropped)
        reason = finish_reason(event.result)
        ends = f'{self.nothing}{self.delta_closes},"logprobs":null,"finish_reason":"{reason}"}}]'
        return self._chunk(f'{self._opens[event.index]}{ends},"s1":{compact(told)}')

    def _chunk(self, text: str) -> bytes:
        usage = f',"usage":{compact(self._usage_so_far())}' if self._counts_always else self._end
        return frame(f"{text}{usage}}}")

    def _usage_so_far(self) -> dict[str, Any]:
        """Return the usage as far as ids tell; the server reports the prompt's tokens with its first result."""
        prompt = next((result.usage.num_prompt_tokens for result in self._results.values()), 0)
        return chat_usage_of(prompt, self._num_ids, self._num_thinking_ids)

    def _count(self, event: Event) -> None:
        self._num_ids += len(event.ids)
        if isinstance(event, ThinkingDelta) or (isinstance(event, Injected) and event.phase == "thinking"):
            self._num_thinking_ids += len(event.ids)


def _without_text(event: Event) -> dict[str, Any]:
    """Return an event's attributes without its text, which is in the delta beside them."""
    return {name: value for name, value in event.to_dict().items() if name != "text"}
