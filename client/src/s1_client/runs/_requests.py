# SPDX-License-Identifier: Apache-2.0
"""The requests of a run: a request with the id and hash under which its result is stored. Knows no server and no results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from s1_client import Prompt, Request
from s1_client._wire import OPTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest(Request):
    """A request with the id, hash and meta data that its line of results stores.

    Attributes:
        key: its id in the results, given by the user or derived from the request.
        digest: hash of prompt, options and model; equal requests have equal digests.
        line: its line in the input, from 1.
        meta: any JSON value, copied to the result.
    """

    key: str | int
    digest: str
    line: int
    meta: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line of the input that is not a request, and the reason."""

    line: int
    problem: str


def digest(prompt: Prompt, options: Mapping[str, Any], **more: Any) -> str:
    """Return a 64-bit hash of a request, in hex. The numbers 1 and 1.0 are equal where an option may have a fraction."""
    numbers = {name: float(value) for name, value in options.items() if OPTIONS[name] == "FP32" and isinstance(value, int)}
    return digest_of({"prompt": prompt, **options, **numbers, **more})


def digest_of(data: Any) -> str:
    """Return a 64-bit hash of a JSON value, in hex; the order of its keys does not matter."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
