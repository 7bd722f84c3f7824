# SPDX-License-Identifier: Apache-2.0
"""Replies of ``/v1/messages``: content blocks, and the typed events of a stream. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from s1_client._types import AnswerDelta, Done, Event, Injected, Reply, Result, ThinkingDelta
from s1_client.gateway.accounts import account, finish_reason, token_counts
from s1_client.gateway.errors import Refusal
from s1_client.gateway.order import Order
from s1_client.gateway.sse import compact, frame, quoted

_ERROR_TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


def error_body(refusal: Refusal) -> dict[str, Any]:
    """Return an error in Anthropic's shape. It also has OpenAI's keys."""
    kind = _ERROR_TYPES.get(refusal.status, "api_error" if refusal.status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {**refusal.body()["error"], "type": kind}}


def messages_body(replies: Sequence[Reply], order: Order, request_id: str, model: str) -> dict[str, Any]:
    """Return the body of a reply that is not streamed."""
    (reply,) = replies
    content = [{"type": "thinking", "thinking": reply.thinking, "signature": ""}] if order.is_shown and reply.thinking else []
    content.append({"type": "text", "text": reply.answer})
    names = _message(request_id, model, content)
    return {**names, **_stop(reply.result), "usage": _usage(reply.result), "s1": account([reply.result], order.dropped)}


def _message(request_id: str, model: str, content: list[dict[str, str]]) -> dict[str, Any]:
    return {"id": request_id, "type": "message", "role": "assistant", "model": model, "content": content}


def _stop(result: Result) -> dict[str, Any]:
    if finish_reason(result) == "length":
        return {"stop_reason": "max_tokens", "stop_sequence": None}
    return {"stop_reason": "end_turn" if result.stop_word is None else "stop_sequence", "stop_sequence": result.stop_word}


def _usage(result: Result) -> dict[str, Any]:
    prompt, reply, thinking = token_counts([result])
    return {"input_tokens": prompt, "output_tokens": reply, "output_tokens_details": {"thinking_tokens": thinking}}


@dataclass(slots=True, kw_only=True)
class MessageEvents:
    """Renders the events of a stream. Blocks open one after the other: the thought, then the answer."""

    order: Order
    request_id: str
    model: str
    _index: int = -1
    _open: str = ""  # "thinking" or "text": the block that is being sent
    _result: Result | None = field(default=None)

    def start(self) -> Iterator[bytes]:
        """Yield the event before the first block. The prompt's tokens are known only at the end."""
        message = {**_message(self.request_id, self.model, []), "stop_reason": None, "stop_sequence": None}
        usage = {"input_tokens": 0, "output_tokens": 0}
        yield _event("message_start", {"message": {**message, "usage": usage}})

    def chunks(self, event: Event) -> Iterator[bytes]:
        """Yield the events that an event of the server stands for."""
        if isinstance(event, Done):
            self._result = event.result
        elif isinstance(event, AnswerDelta) or (isinstance(event, Injected) and event.phase == "answer"):
            yield from self._text("text", event)
        elif isinstance(event, ThinkingDelta | Injected) and self.order.is_shown:
            yield from self._text("thinking", event)

    def end(self) -> Iterator[bytes]:
        """Yield the end of a complete stream; a reply without an answer gets an empty text."""
        assert self._result is not None
        if self._open != "text":
            yield from self._switch("text")
        yield from self._close()
        told = account([self._result], self.order.dropped)
        yield _event("message_delta", {"delta": _stop(self._result), "usage": _usage(self._result), "s1": told})
        yield _event("message_stop", {})

    def failure(self, refusal: Refusal) -> Iterator[bytes]:
        """Yield the end of a stream that failed."""
        yield frame(compact(error_body(refusal)), "error")

    def _text(self, kind: str, event: Event) -> Iterator[bytes]:
        if not event.text:
            return
        if self._open != kind:
            yield from self._switch(kind)
        told = ""
        if self.order.include_events:
            told = f',"s1":{compact({name: value for name, value in event.to_dict().items() if name != "text"})}'
        delta = f'{{"type":"{kind}_delta","{kind}":{quoted(event.text)}}}'
        yield frame(f'{{"type":"content_block_delta","index":{self._index},"delta":{delta}{told}}}', "content_block_delta")

    def _switch(self, kind: str) -> Iterator[bytes]:
        yield from self._close()
        self._open, self._index = kind, self._index + 1
        block = {"type": "text", "text": ""} if kind == "text" else {"type": "thinking", "thinking": "", "signature": ""}
        yield _event("content_block_start", {"index": self._index, "content_block": block})

    def _close(self) -> Iterator[bytes]:
        if self._open:
            yield _event("content_block_stop", {"index": self._index})
            self._open = ""


def _event(kind: str, data: dict[str, Any]) -> bytes:
    return frame(compact({"type": kind, **data}), kind)
