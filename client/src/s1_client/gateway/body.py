# SPDX-License-Identifier: Apache-2.0
"""Read the body of a request: its type and size are checked before it is read, and a large body is parsed on another thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request

from s1_client.gateway.errors import Refusal
from s1_client.gateway.shapes import Model, validated
from s1_client.gateway.strict_json import read_json

Read = TypeVar("Read")
BODY_S = 60  # for a body of some megabytes over a slow line
LARGE_BYTES = 32 << 10  # parsed and validated in about a millisecond


async def read_request(request: Request, model: type[Model], order: Callable[[Model], Read], max_bytes: int) -> tuple[Model, Read]:
    """Return the validated body, and ``order`` of it. Raises Refusal: 400, 408, 413, or 415."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # a page of another origin may send text/plain without a question of the browser
        raise Refusal(status=415, message=f"Content-Type: got '{kind[:60]}', allowed: application/json", code="unsupported_media_type")
    try:
        async with asyncio.timeout(BODY_S):
            body = await _bytes(request, max_bytes)
    except TimeoutError:
        headers = {"connection": "close"}
        raise Refusal(status=408, message=f"the body did not arrive within {BODY_S} s", code="body_timeout", headers=headers) from None

    def read() -> tuple[Model, Read]:
        made = validated(model, read_json(body))
        return made, order(made)

    return await asyncio.to_thread(read) if len(body) > LARGE_BYTES else read()


async def _bytes(request: Request, max_bytes: int) -> bytes:
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        parts.append(part)
    return b"".join(parts)


def _too_large(max_bytes: int) -> Refusal:
    headers = {"connection": "close"}  # the rest of the body is not read
    return Refusal(status=413, message=f"the body is larger than {max_bytes} bytes", code="body_too_large", headers=headers)
