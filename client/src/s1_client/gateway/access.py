# SPDX-License-Identifier: Apache-2.0
"""Who may call: names of hosts, API keys, and the file of keys.

The file has a line for each key: the owner's name and the SHA-256 of the key, so that nobody who reads the file can call. A key has 256
random bits; a slow hash is for passwords that people choose.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from s1_client.gateway import metrics
from s1_client.gateway.errors import NO_RETRY, Refusal
from s1_client.gateway.messages_reply import error_body
from s1_client.gateway.settings import GatewaySettings
from s1_client.gateway.sse import compact

logger = logging.getLogger("s1_client.gateway")
EVERYBODY = "(everybody)"  # the owner of all requests where no keys are needed; no key has such a name
PREFIX = "s1-"
HEALTH = "/health"
_SHOWN = 80  # characters of a caller's words in a message
_LINE = re.compile(r"(?P<name>[A-Za-z0-9_.@-]{1,64}) (?P<digest>[0-9a-f]{64})")
_ALLOWED = "a line a key: a name and 64 hexadecimal digits, as s1 gateway --add-key NAME writes it"


def read_keys(path: Path) -> dict[str, str]:
    """Return hash -> owner of a file of keys; empty lines and lines that begin with # are skipped.

    Raises OSError if it cannot be read, and ValueError that names the line for anything else. No line is ever quoted.
    """
    owners: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or match["digest"] in owners or match["name"] in owners.values():
            raise ValueError(f"{path}, line {number}: no key, or a key or a name for the second time; allowed: {_ALLOWED}")
        owners[match["digest"]] = match["name"]
    if not owners:
        raise ValueError(f"{path} holds no key; allowed: {_ALLOWED}")
    return owners


def add_key(path: Path, name: str) -> str:
    """Add a new key for ``name`` to a file of keys, which is made if it is missing, and return the key. It is stored nowhere.

    Raises ValueError for a name that is not allowed or is taken, and OSError.
    """
    if not _LINE.fullmatch(f"{name} {'0' * 64}"):
        raise ValueError(f"--add-key: got '{name}', allowed: 1 to 64 letters, digits, '_', '.', '@' and '-'")
    if path.exists() and name in read_keys(path).values():
        raise ValueError(f"--add-key: {path} has a key of '{name}' already; remove its line first")
    key = f"{PREFIX}{secrets.token_urlsafe(32)}"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
        file.write(f"{name} {_digest(key)}\n")
    return key


def owner_of(key: str, owners: Mapping[str, str]) -> str | None:
    """Return the owner of a key; None if nobody has it. Every key of the file is compared, each in constant time."""
    digest, found = _digest(key), None
    for known, name in owners.items():
        if secrets.compare_digest(known, digest):
            found = name
    return found


def tenant_of(owner: str) -> str | None:
    """Return the tenant of an owner's requests at the server: the key's own name. Where no keys are needed, the client's: None."""
    return None if owner == EVERYBODY else owner


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class Access:
    """The outermost layer of the application: refuses foreign hosts, and callers without a key. ``scope["owner"]`` names the caller."""

    def __init__(self, app: ASGIApp, settings: GatewaySettings, open_paths: frozenset[str]) -> None:
        """``open_paths``: paths that need no key."""
        self._app = app
        self._settings = settings
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            try:
                scope["owner"] = self._owner(scope)
            except Refusal as refusal:
                await refused(refusal, scope["method"], scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _owner(self, scope: Scope) -> str:
        headers = Headers(scope=scope)
        if scope["path"] != HEALTH:  # load balancers and Kubernetes name an address, and HTTP/1.0 nothing
            self._check_host(headers.get("host", ""))
        if self._settings.keys is None or scope["path"] in self._open_paths or scope["method"] == "OPTIONS":
            return EVERYBODY
        scheme, _, token = headers.get("authorization", "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")  # the latter is Anthropic's
        owner = owner_of(key, self._settings.keys) if key else None
        if owner is None:
            why = "the key is unknown" if key else "no key; send one as Authorization: Bearer KEY"
            headers_of_401 = {"www-authenticate": "Bearer", **NO_RETRY}
            raise Refusal(status=401, message=why, kind="authentication_error", code="invalid_api_key", headers=headers_of_401)
        return owner

    def _check_host(self, host: str) -> None:
        """Raise Refusal for a name that is not ours: a web page whose name its owner points at this machine (DNS rebinding)."""
        allowed = self._settings.allowed_hosts
        name = re.sub(r":\d+\Z", "", host).lower()
        if allowed and name not in allowed:
            words = ", ".join(sorted(allowed))
            raise Refusal(status=421, message=f"Host: got '{name[:_SHOWN]}', allowed: {words} (s1 gateway --allow-host)", code="wrong_host")


def refused(refusal: Refusal, method: str, path: str) -> Response:
    """Count and log a request that is refused before it reaches the server, and return its response. No value of it is logged."""
    metrics.refused(path, refusal.status)
    field = f" {refusal.param[:_SHOWN]!r}" if refusal.param else ""
    logger.info("%s %r: %d %s%s", method, path[:_SHOWN], refusal.status, refusal.code or refusal.kind, field)
    return response_of(refusal, path)


def response_of(refusal: Refusal, path: str) -> Response:
    """Return the HTTP response of a refusal to a request of this path: in Anthropic's shape for its API, else in OpenAI's."""
    body = error_body(refusal) if path.startswith("/v1/messages") else refusal.body()
    return Response(compact(body), refusal.status, {**refusal.headers}, "application/json")
