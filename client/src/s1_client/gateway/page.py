# SPDX-License-Identifier: Apache-2.0
"""The web page at ``/``: the files of the package's folder ``page``, with headers that forbid everything from elsewhere."""

from __future__ import annotations

from importlib import resources

from starlette.responses import Response
from starlette.routing import Route

TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
INDEX = "index.html"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}


def page_routes() -> list[Route]:
    """Return a route for each file of the page: ``index.html`` at ``/``, any other at its name."""
    folder = resources.files(__package__) / "page"
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in TYPES}
    return [_route(name, data) for name, data in sorted(files.items())]


def _route(name: str, data: bytes) -> Route:
    headers = {**HEADERS, "content-type": TYPES[name.rpartition(".")[2]]}

    async def send(_: object) -> Response:
        return Response(data, headers=headers)

    return Route("/" if name == INDEX else f"/{name}", send, methods=["GET"], name=name)
