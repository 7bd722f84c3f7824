# SPDX-License-Identifier: Apache-2.0
"""The route of the Responses API."""

from __future__ import annotations

import time
import uuid
from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from s1_client.gateway.body import read_request
from s1_client.gateway.openapi import takes
from s1_client.gateway.relay import Job, Relay, ReplyResponse
from s1_client.gateway.responses_reply import Frame, ResponseEvents, echoed_fields, responses_body
from s1_client.gateway.responses_request import ResponsesRequest, responses_order, wants_summary

API = "responses"


def responses_routes(relay: Relay) -> APIRouter:
    """Return the routes of the Responses API."""
    router = APIRouter()

    @router.post("/v1/responses", openapi_extra=takes(ResponsesRequest))
    async def respond(request: Request) -> Response:
        """Answer an input, streamed or whole. Nothing is stored."""
        body, order = await read_request(request, ResponsesRequest, relay.checked(responses_order), relay.settings.max_body_bytes)
        frame_of = Frame(
            order=order,
            request_id=f"resp_{uuid.uuid4().hex}",
            created=int(time.time()),
            model=relay.model,
            echoed=echoed_fields(body),
            is_summary=wants_summary(body),
        )
        chunks = ResponseEvents(frame_of=frame_of) if order.is_streamed else None
        job = Job(order=order, request_id=frame_of.request_id, api=API, chunks=chunks, body=partial(responses_body, frame_of=frame_of))
        return ReplyResponse(relay, job, request.scope["owner"])

    return router
