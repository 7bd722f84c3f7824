# SPDX-License-Identifier: Apache-2.0
"""Settings of a language model behind an OpenAI-compatible chat API, shared by the teacher and the model that chooses domains."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from budgetforce.building.stage import BuildFailed
from budgetforce.curating.settings import check, check_at_least, check_positive

_CREDENTIALS = re.compile(r"//.*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatApiSettings:
    """A model behind a chat API, and how patiently and how often it is called.

    Attributes:
        model: the model's name there.
        url: base URL, such as ``http://127.0.0.1:8000/v1``; it goes into the dataset card and holds no secret.
        key_env: environment variable with the bearer token; a server without keys needs none.
        timeout_s: limit of the wait for a connection, and of the server's silence behind it, in seconds.
        num_retries: further attempts after the first.
        pause_s: pause before the first retry, in seconds; doubled each time, and drawn between half and all of that.
        max_tokens: limit of a reply.
        concurrency: requests in flight.
        usd_per_million_input, usd_per_million_output: prices in US dollars per million tokens, for the estimate of ``--dry-run``.
    """

    model: str
    url: str
    key_env: str = "OPENAI_API_KEY"
    timeout_s: float = 600.0
    num_retries: int = 5
    pause_s: float = 2.0
    max_tokens: int = 32768
    concurrency: int = 8
    usd_per_million_input: float = 0.0
    usd_per_million_output: float = 0.0

    def __post_init__(self) -> None:
        shown = _CREDENTIALS.sub("//…@", self.url)
        check("url", shown, _is_base_url(self.url), "http://HOST… or https://HOST…, without user, password, query and spaces")
        check_positive(self, "timeout_s")
        check_at_least(self, 1, "max_tokens", "concurrency")
        check_at_least(self, 0, "num_retries")
        for name in ("pause_s", "usd_per_million_input", "usd_per_million_output"):
            check(name, getattr(self, name), getattr(self, name) >= 0, "a number >= 0")

    @property
    def has_key(self) -> bool:
        """Whether the environment has a key."""
        return bool(self._key)

    def headers(self) -> dict[str, str]:
        """Return the HTTP headers of a request. Raises BuildFailed, without showing it, for a key that no header can hold."""
        key = self._key
        if not (key.isascii() and key.isprintable()):
            raise BuildFailed(f"${self.key_env}: got text with a control character or one outside ASCII, allowed: a bearer token")
        return {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    @property
    def _key(self) -> str:
        return os.environ.get(self.key_env, "").strip()  # a file with a key often ends in a line break


def _is_base_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a port that is no number, or half an IPv6 address
        return False
    is_plain = url.isascii() and url.isprintable() and " " not in url and not (parts.query or parts.fragment)
    return parts.scheme in ("http", "https") and has_host and parts.username is None and is_plain
