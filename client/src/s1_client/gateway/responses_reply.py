# SPDX-License-Identifier: Apache-2.0
"""Replies of ``/v1/responses``: output items, and the typed events of a stream. No I/O.

The thought is an item of type ``reasoning``. Its text is ``content``, or, if the request asks for a summary, ``summary`` in its place:
a client that shows both would show every thought twice. Raw content and its events are OpenAI's; Open Responses has other names for
those events (``response.reasoning.delta``), and the same for a summary's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from s1_client._types import AnswerDelta, Done, Event, Injected, Reply, Result, ThinkingDelta
from s1_client.gateway.accounts import account, finish_reason, responses_usage
from s1_client.gateway.errors import Refusal
from s1_client.gateway.order import Order
from s1_client.gateway.sse import DONE, compact, frame, quoted

_ERROR_CODES = {429: "rate_limit_exceeded", 400: "invalid_prompt"}  # the API's list is closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What all forms of a reply share.

    Attributes:
        request_id: the response's id; its items have ids of their own.
        created: seconds since 1970.
        echoed: fields of the request that a reply repeats.
        is_summary: whether the thought goes out as a summary.
    """

    order: Order
    request_id: str
    created: int
    model: str
    echoed: dict[str, Any]
    is_summary: bool

    @property
    def suffix(self) -> str:
        """The random part of the id."""
        return self.request_id.partition("_")[2]

    def reasoning_item(self, text: str | None, status: str) -> dict[str, Any]:
        """Return the item of the thought; without a text while it is in progress."""
        summary = [{"type": "summary_text", "text": text}] if self.is_summary and text is not None else []
        item: dict[str, Any] = {"type": "reasoning", "id": f"rs_{self.suffix}", "summary": summary, "status": status}
        if not self.is_summary:
            item["content"] = [] if text is None else [{"type": "reasoning_text", "text": text}]
        return {**item, "encrypted_content": None}

    def message_item(self, text: str | None, status: str) -> dict[str, Any]:
        """Return the item of the answer; without a text while it is in progress."""
        content = [] if text is None else [output_text(text)]
        return {"type": "message", "id": f"msg_{self.suffix}", "role": "assistant", "status": status, "content": content}

    def response(self, status: str, output: Sequence[dict[str, Any]], result: Result | None = None, error: Any = None) -> dict[str, Any]:
        """Return the response in a state: "in_progress", "completed", "incomplete" or "failed"."""
        effective = {} if result is None else result.effective
        told = {} if result is None else {"s1": account([result], self.order.dropped)}
        return {
            "id": self.request_id,
            "object": "response",
            "created_at": self.created,
            "completed_at": int(time.time()) if status == "completed" else None,
            "status": status,
            "error": error,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "model": self.model,
            "output": list(output),
            "usage": None if result is None else responses_usage([result]),
            **self.echoed,
            "temperature": effective.get("temperature", self.echoed["temperature"]),
            **told,
        }


def output_text(text: str) -> dict[str, Any]:
    """Return the part of a message's content that holds its text."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def echoed_fields(request: Any) -> dict[str, Any]:
    """Return the fields of a request that every response repeats, and those that are always the same here."""
    effort = request.reasoning_effort or (request.reasoning.effort if request.reasoning else None)
    summary = (request.reasoning.summary or request.reasoning.generate_summary) if request.reasoning else None
    return {
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": None,
        "metadata": request.metadata or {},
        "parallel_tool_calls": bool(request.parallel_tool_calls),
        "previous_response_id": None,
        "prompt_cache_key": request.prompt_cache_key,
        "reasoning": {"effort": effort, "summary": summary},
        "safety_identifier": request.safety_identifier,
        "service_tier": "default",
        "store": False,
        "background": False,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "presence_penalty": request.presence_penalty or 0,
        "frequency_penalty": request.frequency_penalty or 0,
        "top_logprobs": 0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": request.tool_choice or "auto",
        "tools": [],
        "truncation": "disabled",
        "user": request.user,
    }


def responses_body(replies: Sequence[Reply], frame_of: Frame) -> dict[str, Any]:
    """Return the body of a reply that is not streamed."""
    (reply,) = replies
    status = final_status(reply.result)
    output = []
    if frame_of.order.is_shown and reply.thinking:
        output.append(frame_of.reasoning_item(reply.thinking, "completed" if reply.answer or status == "completed" else "incomplete"))
    if reply.answer or status == "completed":
        output.append(frame_of.message_item(reply.answer, status))
    return frame_of.response(status, output, reply.result)


def final_status(result: Result) -> str:
    """Return the state in which a response ends: "completed", or "incomplete" if it was cut."""
    return "incomplete" if finish_reason(result) == "length" else "completed"


@dataclass(slots=True, kw_only=True)
class ResponseEvents:
    """Renders the events of a stream. Items open one after the other: the thought, then the answer."""

    frame_of: Frame
    _number: int = 0
    _output: list[dict[str, Any]] = field(default_factory=list)
    _open: str = ""  # "reasoning" or "message": the item that is being sent
    _texts: list[str] = field(default_factory=list)
    _delta: str = ""
    _result: Result | None = None

    def start(self) -> Iterator[bytes]:
        """Yield the events before the first text."""
        for kind in ("response.created", "response.in_progress"):
            yield self._event(kind, {"response": self.frame_of.response("in_progress", [])})

    def chunks(self, event: Event) -> Iterator[bytes]:
        """Yield the events that an event of the server stands for."""
        if isinstance(event, Done):
            self._result = event.result
            yield from self._close_last(final_status(event.result))
        elif isinstance(event, AnswerDelta) or (isinstance(event, Injected) and event.phase == "answer"):
            yield from self._text("message", event)
        elif isinstance(event, ThinkingDelta | Injected) and self.frame_of.order.is_shown:
            yield from self._text("reasoning", event)

    def end(self) -> Iterator[bytes]:
        """Yield the one event that ends a complete stream."""
        assert self._result is not None
        status = final_status(self._result)
        yield self._event(f"response.{status}", {"response": self.frame_of.response(status, self._output, self._result)})
        yield DONE

    def failure(self, refusal: Refusal) -> Iterator[bytes]:
        """Yield the one event that ends a stream that failed."""
        error = {"code": _ERROR_CODES.get(refusal.status, "server_error"), "message": refusal.message}
        if self._open:
            yield from self._close("incomplete")
        yield self._event("response.failed", {"response": self.frame_of.response("failed", self._output, error=error)})
        yield DONE

    def _text(self, kind: str, event: Event) -> Iterator[bytes]:
        if not event.text:
            return
        if self._open != kind:
            if self._open:
                yield from self._close("completed")
            yield from self._open_item(kind)
        self._texts.append(event.text)
        told = ""
        if self.frame_of.order.include_events:
            told = f',"s1":{compact({name: value for name, value in event.to_dict().items() if name != "text"})}'
        yield self._numbered(self._delta, f'"delta":{quoted(event.text)}{told}')

    def _open_item(self, kind: str) -> Iterator[bytes]:
        self._open, self._texts = kind, []
        frame_of, place = self.frame_of, {"output_index": len(self._output)}
        item = frame_of.message_item(None, "in_progress") if kind == "message" else frame_of.reasoning_item(None, "in_progress")
        yield self._event("response.output_item.added", {**place, "item": item})
        part, (added, _, name) = self._part(""), self._names()
        self._delta = f"response.{name}.delta"
        yield self._event(added, {**self._place(), "part": part})

    def _close(self, status: str) -> Iterator[bytes]:
        text, frame_of = "".join(self._texts), self.frame_of
        place, (_, done, name) = self._place(), self._names()
        logprobs: dict[str, Any] = {"logprobs": []} if self._open == "message" else {}
        yield self._event(f"response.{name}.done", {**place, "text": text, **logprobs})
        yield self._event(done, {**place, "part": self._part(text)})
        item = frame_of.message_item(text, status) if self._open == "message" else frame_of.reasoning_item(text, status)
        yield self._event("response.output_item.done", {"output_index": len(self._output), "item": item})
        self._output.append(item)
        self._open = ""

    def _close_last(self, status: str) -> Iterator[bytes]:
        """Close the open item; a complete reply without an answer gets an empty message, because it must not be empty."""
        if self._open == "reasoning" and status == "completed":
            yield from self._close("completed")
        if not self._open and status == "completed":
            yield from self._open_item("message")
        if self._open:
            yield from self._close(status)

    def _part(self, text: str) -> dict[str, Any]:
        if self._open == "message":
            return output_text(text)
        return {"type": "summary_text" if self.frame_of.is_summary else "reasoning_text", "text": text}

    def _names(self) -> tuple[str, str, str]:
        """Return the kinds of the events that open and close the open item's part, and the name of its text."""
        if self._open == "reasoning" and self.frame_of.is_summary:
            return "response.reasoning_summary_part.added", "response.reasoning_summary_part.done", "reasoning_summary_text"
        name = "output_text" if self._open == "message" else "reasoning_text"
        return "response.content_part.added", "response.content_part.done", name

    def _place(self) -> dict[str, Any]:
        prefix = "msg" if self._open == "message" else "rs"
        part = "summary_index" if self._open == "reasoning" and self.frame_of.is_summary else "content_index"
        return {"item_id": f"{prefix}_{self.frame_of.suffix}", "output_index": len(self._output), part: 0}

    def _event(self, kind: str, data: dict[str, Any]) -> bytes:
        number, self._number = self._number, self._number + 1
        return frame(compact({"type": kind, "sequence_number": number, **data}), kind)

    def _numbered(self, kind: str, text: str) -> bytes:
        """Return a delta, of which only the text is rendered anew."""
        number, self._number = self._number, self._number + 1
        place = compact(self._place())[1:-1]
        logprobs = ',"logprobs":[]' if self._open == "message" else ""
        return frame(f'{{"type":"{kind}","sequence_number":{number},{place},{text}{logprobs}}}', kind)
