# SPDX-License-Identifier: Apache-2.0
"""The route of Anthropic's Messages API."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from s1_client.gateway.body import read_request
from s1_client.gateway.messages_reply import MessageEvents, error_body, messages_body
from s1_client.gateway.messages_request import MessagesRequest, messages_order
from s1_client.gateway.openapi import takes
from s1_client.gateway.relay import Job, Relay, ReplyResponse

API = "messages"
PATH = "/v1/messages"


def messages_routes(relay: Relay) -> APIRouter:
    """Return the route of the Messages API."""
    router = APIRouter()

    @router.post(PATH, openapi_extra=takes(MessagesRequest))
    async def respond(request: Request) -> Response:
        """Answer messages, streamed or whole."""
        _, order = await read_request(request, MessagesRequest, relay.checked(messages_order), relay.settings.max_body_bytes)
        names: dict[str, Any] = {"order": order, "request_id": f"msg_{uuid.uuid4().hex}", "model": relay.model}
        chunks = MessageEvents(**names) if order.is_streamed else None
        body = partial(messages_body, **names)
        job = Job(order=order, request_id=names["request_id"], api=API, chunks=chunks, body=body, error_body=error_body)
        return ReplyResponse(relay, job, request.scope["owner"])

    return router
