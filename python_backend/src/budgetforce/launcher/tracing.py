# SPDX-License-Identifier: Apache-2.0
"""Tracing of a server: the launcher's options as Triton's flags, and as settings of model ``s1``.

Triton gets rate 0: it traces only requests that bring a trace. Those without get theirs from ``s1``, at the rate of the option. With a
rate of its own Triton would also begin traces for s1's engine calls and its test calls, each apart from any request.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass

from budgetforce.errors import ConfigError
from budgetforce.trace_target import HEADER, SERVICE, check_url, require_opentelemetry

RATE = 1.0
DELAY_MS = 1000  # between two exports of Triton, as of s1; Triton's default is 5000
URL_HELP = (
    "OTLP/HTTP receiver for OpenTelemetry spans of Triton and s1, such as http://127.0.0.1:4318/v1/traces (default: no tracing). Needs "
    "the packages of extra tracing. A receiver that is gone or slow never delays a request"
)
RATE_HELP = (
    "share of the requests that begin a trace, from 0 to 1, among those without a caller's trace (header traceparent); with 0 only a "
    f"caller begins one (default: {RATE:g}, with --trace-url)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """Where spans are sent, and for which requests. ``url`` "" = there is no tracing."""

    url: str = ""
    rate: float = RATE

    def flags(self) -> Iterator[str]:
        """Yield the flags that set up Triton's own tracing."""
        if self.url:
            exporter = (f"url={self.url}", f"resource=service.name={SERVICE}", f"bsp_schedule_delay={DELAY_MS}")
            yield from (f"--trace-config=opentelemetry,{setting}" for setting in exporter)
            yield from (f"--trace-config={setting}" for setting in ("mode=opentelemetry", "level=TIMESTAMPS", "rate=0"))

    @property
    def headers(self) -> tuple[str, ...]:
        """The headers that Triton must show ``s1``."""
        return (HEADER,) if self.url else ()

    def environment(self) -> dict[str, str]:
        """Return the variables for the shipped config of ``s1``."""
        forwarded = f"^{HEADER}$" if self.url else ""
        return {"S1_TRACE_URL": self.url, "S1_TRACE_RATE": f"{self.rate:.9f}", "S1_FORWARDED_HEADERS": forwarded}


def add_tracing_options(parser: argparse.ArgumentParser) -> None:
    """Add the launcher's options for tracing."""
    parser.add_argument("--trace-url", metavar="URL", help=URL_HELP)
    parser.add_argument("--trace-rate", type=_rate, metavar="SHARE", help=RATE_HELP)


def _rate(text: str) -> float:
    if not re.fullmatch(r"[0-9]*\.?[0-9]+", text) or float(text) > 1:
        raise argparse.ArgumentTypeError(f"got {text}, allowed: a number from 0 to 1")
    return float(text)


def tracing_of(options: argparse.Namespace) -> Tracing:
    """Return the settings of the launcher's options. Raises ConfigError for a value that is not allowed, or a missing package."""
    if options.trace_url is None:
        if options.trace_rate is not None:
            raise ConfigError("--trace-rate needs --trace-url")
        return Tracing()
    url = check_url("--trace-url", options.trace_url)
    require_opentelemetry("--trace-url")
    return Tracing(url=url, rate=RATE if options.trace_rate is None else options.trace_rate)
