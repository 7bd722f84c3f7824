# SPDX-License-Identifier: Apache-2.0
"""The routes of the chat API: completions, and the control of one that runs."""

from __future__ import annotations

import time
import uuid
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from s1_client._errors import S1Error
from s1_client.gateway.body import read_request
from s1_client.gateway.chat_reply import ChatChunks, chat_body
from s1_client.gateway.chat_request import ChatRequest, chat_order
from s1_client.gateway.errors import refusal_of
from s1_client.gateway.openapi import takes
from s1_client.gateway.relay import Job, Relay, ReplyResponse
from s1_client.gateway.shapes import Strict

API = "chat"


class Control(Strict):
    """A command to an open request: llama.cpp's ``reasoning_end``, which closes the thinking, or ``cancel``."""

    id: str
    action: Literal["reasoning_end", "cancel"]


def chat_routes(relay: Relay) -> APIRouter:
    """Return the routes of the chat API."""
    router = APIRouter()
    settings, model = relay.settings, relay.model

    @router.post("/v1/chat/completions", openapi_extra=takes(ChatRequest))
    async def complete(request: Request) -> Response:
        """Answer a chat, streamed or whole."""
        body, order = await read_request(request, ChatRequest, relay.checked(chat_order), settings.max_body_bytes)
        names: dict[str, Any] = {
            "request_id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
            "reasoning_field": order.reasoning_field or settings.reasoning_field,
        }
        chunks = ChatChunks(order, **names, options=body.stream_options) if order.is_streamed else None
        job = Job(order=order, request_id=names["request_id"], api=API, chunks=chunks, body=partial(chat_body, order=order, **names))
        return ReplyResponse(relay, job, request.scope["owner"])

    @router.post("/v1/chat/completions/control", openapi_extra=takes(Control))
    async def control(request: Request) -> Response:
        """Close the thinking of an open request, or end the request. It may be of any API."""
        command, stream = await read_request(
            request, Control, lambda read: relay.open_requests.find(request.scope["owner"], read.id), settings.max_body_bytes
        )
        try:
            await (stream.answer_now() if command.action == "reasoning_end" else stream.cancel())
        except S1Error as error:
            raise refusal_of(error, {"request id": "id"}) from error
        return JSONResponse({"id": command.id, "action": command.action, "success": True})

    return router
