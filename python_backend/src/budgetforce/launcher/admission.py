# SPDX-License-Identifier: Apache-2.0
"""The launcher's options that limit how many requests ``s1`` accepts."""

from __future__ import annotations

import argparse

from budgetforce.errors import ConfigError

MAX_REPLIES, MAX_WAITING = 256, 1024  # defaults of model s1 (OrchestratorConfig)
MOST_REPLIES = 2048  # a rendered engine's queue holds the calls of twice as many
MOST_WAITING, MOST_KV_TOKENS = 1_000_000, 1_000_000_000
REPLIES_HELP = (
    "replies that run concurrently; each sample of a request counts. With 8 or more, a single request gets at most 7/8 of "
    f"them (default: {MAX_REPLIES}; for tensorrt_llm the batch size that the engine was built for)"
)
KV_HELP = (
    "KV cache tokens that the running replies may need together, as many as the engine's cache holds: then a reply that has no room waits "
    "in the queue of s1, which keeps an eighth for others, not in the engine's; 0 = left to the engine (default: %(default)s)"
)
TENANT_REPLIES_HELP = (
    "replies of one tenant that run concurrently (header s1-tenant names a request's tenant; requests without it are one tenant); 0 = no "
    "limit of its own, but an eighth of --max-replies is kept for named tenants without a running reply (default: %(default)s)"
)
TENANT_WAITING_HELP = (
    "requests of one tenant that may queue; further ones are rejected with OVERLOADED; 0 = no limit of its own (default: %(default)s)"
)
WAITING_HELP = "requests that may queue for room; further ones are rejected with OVERLOADED (default: %(default)s)"


def add_admission_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that limit how many requests ``s1`` accepts."""
    parser.add_argument("--max-replies", type=int, metavar="N", help=REPLIES_HELP)
    parser.add_argument("--max-waiting", type=int, default=MAX_WAITING, metavar="N", help=WAITING_HELP)
    parser.add_argument("--max-kv-tokens", type=int, default=0, metavar="N", help=KV_HELP)
    parser.add_argument("--max-tenant-replies", type=int, default=0, metavar="N", help=TENANT_REPLIES_HELP)
    parser.add_argument("--max-tenant-waiting", type=int, default=0, metavar="N", help=TENANT_WAITING_HELP)


def admission_environment(options: argparse.Namespace, most_decoded: int | None) -> dict[str, str]:
    """Return the variables of the limits.

    ``most_decoded``: calls that the engine decodes concurrently, the default of --max-replies, because further ones would wait in the
    engine, where priorities and tenants do not count; None = it sets no default.

    Raises ConfigError, before Triton starts, for a number that model ``s1`` would reject, or that would have no effect.
    """
    default = MAX_REPLIES if most_decoded is None else min(most_decoded, MOST_REPLIES)
    max_replies = default if options.max_replies is None else options.max_replies
    _check(options, max_replies)
    return {
        "S1_MAX_REPLIES": str(max_replies),
        "S1_MAX_WAITING": str(options.max_waiting),
        "S1_MAX_KV_TOKENS": str(options.max_kv_tokens),
        "S1_MAX_TENANT_REPLIES": str(options.max_tenant_replies),
        "S1_MAX_TENANT_WAITING": str(options.max_tenant_waiting),
    }


def _check(options: argparse.Namespace, max_replies: int) -> None:
    is_queue_ours = options.transport != "bls"  # there every request waits in Triton's own queue
    where = "" if is_queue_ours else " with --transport bls"
    for name, least, most in (
        ("max_replies", 1, MOST_REPLIES),
        ("max_waiting", 0, MOST_WAITING),
        ("max_kv_tokens", 0, MOST_KV_TOKENS),
        ("max_tenant_replies", 0, max_replies if is_queue_ours else 0),
        ("max_tenant_waiting", 0, options.max_waiting if is_queue_ours else 0),
    ):
        value, flag = max_replies if name == "max_replies" else getattr(options, name), f"--{name.replace('_', '-')}"
        if not least <= value <= most:
            raise ConfigError(f"{flag}: got {value}, allowed{where if most == 0 else ''}: {least} to {most}")
