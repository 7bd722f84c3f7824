# SPDX-License-Identifier: Apache-2.0
"""The gateway as an ASGI application: routes, and everything around them."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from s1_client._aio import AsyncClient
from s1_client._errors import S1Error
from s1_client.gateway import metrics
from s1_client.gateway.access import HEALTH, Access, refused, response_of
from s1_client.gateway.chat_api import chat_routes
from s1_client.gateway.completions import completion_routes
from s1_client.gateway.errors import GONE_STATUS, NO_RETRY, Refusal, refusal_of
from s1_client.gateway.messages_api import messages_routes
from s1_client.gateway.open_requests import OpenRequests
from s1_client.gateway.openapi import document_of
from s1_client.gateway.page import page_routes
from s1_client.gateway.relay import Relay
from s1_client.gateway.responses_api import responses_routes
from s1_client.gateway.settings import GatewaySettings
from s1_client.gateway.trace import ContinuedTrace

logger = logging.getLogger("s1_client.gateway")
EXPOSED = ["retry-after", "x-request-id", "x-should-retry"]
ABOUT = "OpenAI's API, with a thinking budget that is kept to the token."


def make_app(client: AsyncClient, model: str, settings: GatewaySettings) -> ASGIApp:
    """Return the application. It closes the client when it stops.

    ``client`` must make no retries: a refusal is the caller's to act on. ``model``: the name of the client's model.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with client:
            yield

    app = FastAPI(
        title="s1 gateway",
        version=metadata.version("s1-client"),
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,  # behind a proxy with TLS the redirection would lead to http://
    )
    relay = Relay(client=client, model=model, settings=settings, open_requests=OpenRequests(settings.max_open_requests))
    for routes in (chat_routes, responses_routes, completion_routes, messages_routes):
        app.include_router(routes(relay))
    _add_models(app, model)
    _add_operations(app, client, settings)
    pages = page_routes()
    app.router.routes.extend(pages)
    app.openapi = document_of(app, model)  # type: ignore[method-assign]
    _add_error_handlers(app)
    open_paths = {HEALTH, "/openapi.json", *(page.path for page in pages), *(["/metrics"] if settings.metrics == "open" else [])}
    return _with_cors(Access(ContinuedTrace(app), settings, frozenset(open_paths)), settings)


def _with_cors(app: ASGIApp, settings: GatewaySettings) -> ASGIApp:
    if not settings.cors_origins:
        return app
    # Clients send headers of their own (openai for npm eight of them), and a page can read only those that are exposed.
    return CORSMiddleware(
        app, allow_origins=settings.cors_origins, allow_methods=["GET", "POST"], allow_headers=["*"], expose_headers=EXPOSED
    )


def _add_models(app: FastAPI, model: str) -> None:
    entry = {"id": model, "object": "model", "created": int(time.time()), "owned_by": "s1"}

    @app.head("/v1/models", include_in_schema=False)
    @app.get("/v1/models")
    async def models() -> JSONResponse:
        """List the model that this gateway serves."""
        return JSONResponse({"object": "list", "data": [entry]})

    @app.get("/v1/models/{name}")
    async def one_model(name: str) -> JSONResponse:
        """Describe the model that this gateway serves."""
        if name != model:
            text = f"model: got '{name[:80]}', allowed: '{model}'"
            raise Refusal(status=404, message=text, param="model", code="model_not_found")
        return JSONResponse(entry)


def _add_operations(app: FastAPI, client: AsyncClient, settings: GatewaySettings) -> None:
    @app.head(HEALTH, include_in_schema=False)  # what monitors and wget --spider send
    @app.get(HEALTH)
    async def health() -> JSONResponse:
        """Report whether requests can be served: 200, or 503 with the reason."""
        try:
            await client.check_ready()
        except S1Error as error:
            refusal = refusal_of(error, {})
            return JSONResponse({"status": "unavailable", "reason": refusal.message}, 503, dict(refusal.headers))
        return JSONResponse({"status": "ok"})

    if settings.metrics != "off":

        @app.get("/metrics")
        async def prometheus() -> Response:
            """Return the gateway's metrics in Prometheus' text format."""
            return Response(metrics.exposition(), media_type=metrics.CONTENT_TYPE)


def _no_route(app: FastAPI, method: str, path: str) -> str:
    """Return the sentence about a path without a route. Most callers who get it have forgotten the /v1 of their base URL."""
    known = app.openapi()["paths"]
    meant = [name for name in known if path.rstrip("/").endswith(name.removeprefix("/v1"))]
    hint = f"did you mean {max(meant, key=len)}?" if meant else f"known: {', '.join(known)}"
    return f"{method} {path[:80]}: no such route; {hint}"


def _refusal_of_route(app: FastAPI, request: Request, error: HTTPException) -> Refusal:
    method, path, headers = request.method, request.url.path, dict(error.headers or {})
    if error.status_code == 404:
        return Refusal(status=404, message=_no_route(app, method, path), code="not_found")
    if error.status_code == 405:
        text = f"{path[:80]}: got {method}, allowed: {headers.get('Allow')}"
        return Refusal(status=405, message=text, code="method_not_allowed", headers=headers)
    return Refusal(status=error.status_code, message=str(error.detail), headers=headers)


def _add_error_handlers(app: FastAPI) -> None:
    async def refuse(request: Request, refusal: Exception) -> Response:
        assert isinstance(refusal, Refusal)
        return refused(refusal, request.method, request.url.path)

    async def refuse_route(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return await refuse(request, _refusal_of_route(app, request, error))

    async def fail(request: Request, error: Exception) -> Response:
        logger.error("%s %s: a bug of the gateway", request.method, request.url.path, exc_info=error)
        text = "the gateway failed; its log has the reason"
        return response_of(Refusal(status=500, message=text, kind="server_error", code="internal", headers=NO_RETRY), request.url.path)

    async def nobody(_: Request, __: Exception) -> Response:
        return Response(status_code=GONE_STATUS)

    app.add_exception_handler(Refusal, refuse)
    app.add_exception_handler(HTTPException, refuse_route)
    app.add_exception_handler(ClientDisconnect, nobody)
    app.add_exception_handler(Exception, fail)
