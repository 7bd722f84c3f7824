# SPDX-License-Identifier: Apache-2.0
"""Checks of the settings of tracing: the receiver's URL, the sample rate, and whether OpenTelemetry is installed."""

from __future__ import annotations

import importlib.util
import re
from urllib.parse import urlsplit

from budgetforce.errors import ConfigError

SERVICE = "s1"  # service.name of all spans
HEADER = "traceparent"  # W3C Trace Context
INSTALL = "pip install './python_backend[tracing]' in a clone of this project"
_NEEDED = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
_ALLOWED = "the URL of an OTLP/HTTP receiver, such as http://127.0.0.1:4318/v1/traces, without user, query or fragment"


def check_url(name: str, url: str) -> str:
    """Return ``url``. Raises ConfigError that names the setting if spans cannot be sent there.

    The path is required: Triton and OpenTelemetry's SDK would each add another to a bare address.
    """
    try:
        parts = urlsplit(url)
        is_allowed = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and len(parts.path) > 1
    except ValueError:  # a port that is no number, or brackets that do not match
        raise ConfigError(f"{name}: got '{url}', allowed: {_ALLOWED}") from None
    if not is_allowed or "@" in parts.netloc or re.search(r"[?#\s]", url):
        raise ConfigError(f"{name}: got '{url}', allowed: {_ALLOWED}")
    return url


def require_opentelemetry(name: str) -> None:
    """Raise ConfigError that names the setting, and the extra to install, if OpenTelemetry's SDK or its OTLP exporter is missing."""
    if not all(map(_is_installed, _NEEDED)):
        raise ConfigError(f"{name} needs OpenTelemetry's SDK and its OTLP exporter over HTTP: {INSTALL}")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a parent package
        return False
