# SPDX-License-Identifier: Apache-2.0
"""The headers by which a load balancer sends a command to the replica of its request."""

from __future__ import annotations

from urllib.parse import quote

from s1_client._access import COMMAND_HEADER, REQUEST_ID_HEADER
from s1_client._wire.messages import name_of

_LONGEST = 128  # characters; two requests whose ids begin alike may share a replica, and nothing else
_SAFE = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")


def routing_headers(wire_id: str, command: str = "") -> tuple[tuple[str, str], ...]:
    """Return the headers of a request or command: the caller's name for the request, percent-encoded, its first 128 characters.

    ``command``: "answer_now" or "cancel"; "" = it is a request. A balancer sends a command to the replica of the name, and any
    request, repeated ones included, to the least loaded.
    """
    name = quote(name_of(wire_id), safe=_SAFE)[:_LONGEST]
    headers = ((REQUEST_ID_HEADER, name),) if name else ()
    return (*headers, (COMMAND_HEADER, command)) if command else headers
