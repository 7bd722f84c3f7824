# SPDX-License-Identifier: Apache-2.0
"""``/v1/completions``, the API before chats: its requests, replies and chunks, and its route. The prompt is a question of a user."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from s1_client._types import Reply
from s1_client.gateway.accounts import account, chat_usage, finish_reason
from s1_client.gateway.body import read_request
from s1_client.gateway.chat_reply import ChatChunks
from s1_client.gateway.chat_request import NOT_EMPTY, StreamOptions, check_stream_options
from s1_client.gateway.errors import bad_value
from s1_client.gateway.openapi import takes
from s1_client.gateway.order import NO_LOGPROBS, NOT_HERE, Order, OrderFields, Total, order_of, with_server_fields
from s1_client.gateway.relay import Job, Relay, ReplyResponse
from s1_client.gateway.shapes import neutral

API = "completions"


class _CompletionRequest(OrderFields):
    """The body of a request of ``/v1/completions``."""

    totals: ClassVar[tuple[str, ...]] = ("max_tokens", "max_total_tokens")

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]
    n: int | None = None
    stop: str | list[str] | None = None
    max_tokens: Total | None = None
    stream_options: StreamOptions | None = None
    best_of: neutral(1, why=NOT_HERE) = None  # type: ignore[valid-type]
    echo: neutral(False, why=NOT_HERE) = None  # type: ignore[valid-type]
    logprobs: neutral(why=NO_LOGPROBS) = None  # type: ignore[valid-type]
    logit_bias: neutral({}, why="bad_words forbids words") = None  # type: ignore[valid-type]
    suffix: neutral("", why=NOT_HERE) = None  # type: ignore[valid-type]


CompletionRequest = with_server_fields(_CompletionRequest)


def completion_order(request: _CompletionRequest) -> Order:
    """Return the order of a request. Raises Refusal (400)."""
    check_stream_options(request)
    text = request.prompt if isinstance(request.prompt, str) else request.prompt[0]
    if not text.strip():
        raise bad_value("prompt", "nothing", NOT_EMPTY)
    return order_of(request, text, "prompt")


def completion_body(
    replies: Sequence[Reply], order: Order, *, request_id: str, created: int, model: str, reasoning_field: str
) -> dict[str, Any]:
    """Return the body of a reply that is not streamed."""
    results = [reply.result for reply in replies]
    choices = [
        {
            "index": index,
            "text": reply.answer,
            **({reasoning_field: reply.thinking} if order.is_shown else {}),
            "logprobs": None,
            "finish_reason": finish_reason(reply.result),
        }
        for index, reply in enumerate(replies)
    ]
    names = {"id": request_id, "object": "text_completion", "created": created, "model": model}
    return {**names, "choices": choices, "usage": chat_usage(results), "s1": account(results, order.dropped)}


class CompletionChunks(ChatChunks):
    """Renders the events of a stream: the answer's are ``text``, and the thought's have an empty one beside them."""

    object_name = "text_completion"
    delta_opens, delta_closes = "", ""
    answer_field = "text"
    beside_thought = '"text":"",'
    nothing = '"text":""'

    def start(self) -> Iterator[bytes]:
        """Yield nothing: a completion has no role."""
        return iter(())


def completion_routes(relay: Relay) -> APIRouter:
    """Return the route of the completions API."""
    router = APIRouter()

    @router.post("/v1/completions", openapi_extra=takes(CompletionRequest))
    async def complete(request: Request) -> Response:
        """Answer a prompt, streamed or whole."""
        body, order = await read_request(request, CompletionRequest, relay.checked(completion_order), relay.settings.max_body_bytes)
        names: dict[str, Any] = {
            "request_id": f"cmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": relay.model,
            "reasoning_field": order.reasoning_field or relay.settings.reasoning_field,
        }
        chunks = CompletionChunks(order, **names, options=body.stream_options) if order.is_streamed else None
        job = Job(order=order, request_id=names["request_id"], api=API, chunks=chunks, body=partial(completion_body, order=order, **names))
        return ReplyResponse(relay, job, request.scope["owner"])

    return router
