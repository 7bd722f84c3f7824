# SPDX-License-Identifier: Apache-2.0
"""Settings of the gateway, checked when they are made."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MetricsAccess = Literal["open", "keys", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Settings of the gateway. Raises ValueError that names the setting.

    Attributes:
        host: address that it listens on.
        port: TCP port; 0 = any free port.
        keys: SHA-256 of a key -> its owner's name; None = no keys are needed.
        allowed_hosts: names that a request's ``Host`` may have; empty = any.
        cors_origins: origins whose pages a browser lets read replies.
        metrics: who may read /metrics: everybody, callers with a key, or nobody.
        reasoning_field: the thought's name in chat replies.
        max_body_bytes: a larger body is refused before it is read.
        max_open_requests: open requests of a key; without keys, of all callers together.
        max_priority: highest ``priority`` of a request; None = any.
        first_event_s: seconds after which a stream begins although the server has sent nothing; until then it may be refused.
        ping_s: seconds of silence after which a stream gets a comment, so that proxies keep it open.
        keep_alive_s: seconds after which a connection without a request is closed.
        drain_s: seconds that open requests have to end when the gateway stops.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    keys: Mapping[str, str] | None = None
    allowed_hosts: frozenset[str] = frozenset()
    cors_origins: tuple[str, ...] = ()
    metrics: MetricsAccess = "keys"
    reasoning_field: str = "reasoning_content"
    max_body_bytes: int = 4 << 20  # the server's own limit of a prompt is 1 MiB, and escapes take six bytes a character
    max_open_requests: int = 256
    max_priority: int | None = None
    first_event_s: float = 5.0
    ping_s: float = 15.0
    keep_alive_s: int = 120  # longer than the pools of proxies: Amazon's and nginx' 60 s, Go's 90
    drain_s: float = 30.0

    def __post_init__(self) -> None:
        for name in ("max_body_bytes", "max_open_requests", "keep_alive_s"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, allowed: an integer >= 1")
        for name in ("first_event_s", "ping_s", "drain_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, allowed: seconds > 0")

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine reach the gateway."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
