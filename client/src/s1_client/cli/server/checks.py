# SPDX-License-Identifier: Apache-2.0
"""The checks of `s1 doctor`: each yields findings, with a fix where something is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from s1_client import Client, S1Error
from s1_client._base_stream import CANCELS_SAFELY, version_of
from s1_client._settings import Settings
from s1_client._wire import OPTIONS
from s1_client.cli.port import advice
from s1_client.cli.server.queries import BUDGET_FORCING, Server

OK, NOTE, WRONG, SKIPPED = "ok", "note", "wrong", "skipped"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # Triton and its Python models exchange data there
MIN_SHARED_MEMORY_MB = 1024  # a container's default of 64 MB is too small


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of a check, a line of the report.

    Attributes:
        state: "ok"; "note": works, but worth knowing; "wrong": a fault; "skipped": could not be checked from here.
        fix: how to resolve it; "" if there is nothing to do.
    """

    check: str
    state: str
    text: str
    fix: str = ""


class StopChecks(Exception):
    """Raised by a check after which no other makes sense; its finding has been yielded."""


@dataclass(slots=True, kw_only=True)
class DoctorContext:
    """The server that `s1 doctor` checks, and the two ways to reach it."""

    settings: Settings
    server: Server
    client: Client


def failure(check: str, error: S1Error, fix: str = "") -> Finding:
    """Return the finding of a check that failed with an error."""
    return Finding(check=check, state=WRONG, text=f"{type(error).__name__}: {error}", fix=fix)


def reached(ctx: DoctorContext) -> Iterator[Finding]:
    """Check that a server answers at the address and accepts our credentials."""
    settings = ctx.settings
    try:
        live = ctx.server.is_live
    except S1Error as error:
        yield failure("server", error, advice(settings))
        raise StopChecks from error
    yield Finding(
        check="server", state=OK if live else WRONG, text=f"answers at {settings.address}, {'with' if settings.tls else 'without'} TLS"
    )


def version(ctx: DoctorContext) -> Iterator[Finding]:
    """Check Triton's version, which decides how streams are cancelled."""
    number = ctx.server.version
    if version_of(number) >= CANCELS_SAFELY:
        yield Finding(check="version", state=OK, text=f"Triton {number}")
    else:
        text = (
            f"Triton {number}: before 2.57 another client that cancels a stream may crash the server; this client sends the model a "
            "stop command instead"
        )
        yield Finding(check="version", state=NOTE, text=text)


def models(ctx: DoctorContext) -> Iterator[Finding]:
    """Check that the model is loaded, and all other models too."""
    name = ctx.settings.model
    if not ctx.server.has_ready(name):
        yield Finding(
            check="model", state=WRONG, text=f"'{name}' is not ready{_reason(ctx, name)}", fix="run s1 models; read the server's log"
        )
        raise StopChecks
    state = OK if ctx.server.is_ready else NOTE
    text = f"'{name}' is ready" if state == OK else f"'{name}' is ready, but other models of the server are not"
    yield Finding(check="model", state=state, text=text, fix="" if state == OK else "run s1 models")


def _reason(ctx: DoctorContext, name: str) -> str:
    try:
        return next(
            (f": {model.state} {model.reason}" for model in ctx.server.models if model.name == name),
            ": the server has no model of that name",
        )
    except S1Error:
        return ""


def protocol(ctx: DoctorContext) -> Iterator[Finding]:
    """Check that the model has all request options of this client."""
    name = ctx.settings.model
    if ctx.server.kind(name) != BUDGET_FORCING:
        yield Finding(check="fields", state=WRONG, text=f"'{name}' is not a budget-forcing model", fix="give --model; run s1 models")
        raise StopChecks
    missing = sorted(set(OPTIONS) - {tensor.name for tensor in ctx.server.config(name).input})
    if missing:
        text = f"the server is older than this client: it does not have {', '.join(missing)}"
        yield Finding(check="fields", state=NOTE, text=text, fix="use the same version of client and server")
    else:
        yield Finding(check="fields", state=OK, text=f"all {len(OPTIONS)} request options")


def limits(ctx: DoctorContext) -> Iterator[Finding]:
    """Report how many replies the server runs and queues."""
    found = {name: ctx.server.parameter(ctx.settings.model, name) for name in ("max_replies", "max_waiting")}
    if all(found.values()):
        text = f"at most {found['max_replies']} replies run concurrently, {found['max_waiting']} requests are queued"
        yield Finding(check="limits", state=OK, text=text)


def shared_memory(ctx: DoctorContext) -> Iterator[Finding]:
    """Check the free space of /dev/shm, which is too small by default in a container."""
    host = ctx.settings.address.rpartition(":")[0]
    if host not in ("127.0.0.1", "localhost", "[::1]") or not SHARED_MEMORY.is_dir():
        yield Finding(
            check="shared memory", state=SKIPPED, text="not checked: the server runs on another machine", fix="run df -h /dev/shm there"
        )
        return
    usage = shutil.disk_usage(SHARED_MEMORY)
    total_mb, free_mb = usage.total // 2**20, usage.free // 2**20
    is_enough = free_mb >= MIN_SHARED_MEMORY_MB
    text = f"{free_mb} of {total_mb} MB free in {SHARED_MEMORY} here (in a container: its own)"
    fix = "" if is_enough else f"provide at least {MIN_SHARED_MEMORY_MB} MB: docker run --shm-size, or shm_size in docker-compose.yml"
    yield Finding(check="shared memory", state=OK if is_enough else WRONG, text=text, fix=fix)
