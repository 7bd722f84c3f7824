# SPDX-License-Identifier: Apache-2.0
"""Continues the caller's trace: what the gateway sends to the server on behalf of a request carries the request's ``traceparent``."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from s1_client._tracing import PARENT, parent


class ContinuedTrace:
    """A layer of the application. A malformed header is ignored, as W3C Trace Context says."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request with its trace as the client's."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        token = parent.set(Headers(scope=scope).get(PARENT, ""))
        try:
            await self._app(scope, receive, send)
        finally:
            parent.reset(token)
