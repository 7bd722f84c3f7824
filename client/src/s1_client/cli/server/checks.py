# SPDX-License-Identifier: Apache-2.0
"""What `s1 doctor` checks: each check says what it found and, where something is wrong, what mends it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from s1_client import Client, S1Error
from s1_client._exchange import CANCELS_SAFELY, version_of
from s1_client._settings import Settings
from s1_client._wire import OPTIONS
from s1_client.cli.port import advice
from s1_client.cli.server.queries import BUDGET_FORCING, Server

OK, NOTE, WRONG, SKIPPED = "ok", "note", "wrong", "skipped"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # where Triton puts it
MIN_SHARED_MEMORY_MB = 1024  # a container's default of 64 is too little


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A line of the report.

    Attributes:
        state: "ok"; "note": works, but worth knowing; "wrong"; "skipped": could not be looked at.
        mend: what to do about it.
    """

    check: str
    state: str
    text: str
    mend: str = ""


class StopChecks(Exception):
    """Raised by a check behind which no other can be done; its finding has been told."""


@dataclass(slots=True, kw_only=True)
class DoctorContext:
    """The server that `s1 doctor` checks, and the two ways to reach it."""

    settings: Settings
    server: Server
    client: Client


def failure(check: str, error: S1Error, mend: str = "") -> Finding:
    """What an error means for a check."""
    return Finding(check=check, state=WRONG, text=f"{type(error).__name__}: {error}", mend=mend)


def reached(ctx: DoctorContext) -> Iterator[Finding]:
    """Something answers at the address, and lets us in."""
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
    """Triton's own."""
    told = ctx.server.version
    if version_of(told) >= CANCELS_SAFELY:
        yield Finding(check="version", state=OK, text=f"Triton {told}")
    else:
        text = (
            f"Triton {told}: before 2.57 a foreign client that cancels a stream may crash it; this client tells the model to stop instead"
        )
        yield Finding(check="version", state=NOTE, text=text)


def models(ctx: DoctorContext) -> Iterator[Finding]:
    """The model is loaded, and so is all else."""
    name = ctx.settings.model
    if not ctx.server.has_ready(name):
        yield Finding(check="model", state=WRONG, text=f"'{name}' is not ready{_reason(ctx, name)}", mend="s1 models; the server's log")
        raise StopChecks
    state = OK if ctx.server.is_ready else NOTE
    text = f"'{name}' is ready" if state == OK else f"'{name}' is ready, but not all that the server was told to load"
    yield Finding(check="model", state=state, text=text, mend="" if state == OK else "s1 models")


def _reason(ctx: DoctorContext, name: str) -> str:
    try:
        return next(
            (f": {model.state} {model.reason}" for model in ctx.server.models if model.name == name), ": there is none of that name"
        )
    except S1Error:
        return ""


def protocol(ctx: DoctorContext) -> Iterator[Finding]:
    """The model has the fields that this client knows."""
    name = ctx.settings.model
    if ctx.server.kind(name) != BUDGET_FORCING:
        yield Finding(check="fields", state=WRONG, text=f"'{name}' does not force budgets: it is another model", mend="--model; s1 models")
        raise StopChecks
    missing = sorted(set(OPTIONS) - {tensor.name for tensor in ctx.server.config(name).input})
    if missing:
        text = f"the server does not know {', '.join(missing)}: it is older than this client"
        yield Finding(check="fields", state=NOTE, text=text, mend="use client and server of one version")
    else:
        yield Finding(check="fields", state=OK, text=f"all {len(OPTIONS)} request options")


def limits(ctx: DoctorContext) -> Iterator[Finding]:
    """How much it takes at once."""
    told = {name: ctx.server.parameter(ctx.settings.model, name) for name in ("max_replies", "max_waiting")}
    if all(told.values()):
        text = f"{told['max_replies']} replies run at once, {told['max_waiting']} requests wait"
        yield Finding(check="limits", state=OK, text=text)


def shared_memory(ctx: DoctorContext) -> Iterator[Finding]:
    """Triton and its Python models talk through it; a container's default is too little."""
    host = ctx.settings.address.rpartition(":")[0]
    if host not in ("127.0.0.1", "localhost", "[::1]") or not SHARED_MEMORY.is_dir():
        yield Finding(
            check="shared memory", state=SKIPPED, text="is on the server's machine: df -h /dev/shm there", mend="--shm-size, shm_size"
        )
        return
    usage = shutil.disk_usage(SHARED_MEMORY)
    total_mb, free_mb = usage.total // 2**20, usage.free // 2**20
    enough = free_mb >= MIN_SHARED_MEMORY_MB
    text = f"{free_mb} of {total_mb} MB free in {SHARED_MEMORY} here (in a container: its own)"
    mend = "" if enough else f"at least {MIN_SHARED_MEMORY_MB} MB: docker run --shm-size, or shm_size in docker-compose.yml"
    yield Finding(check="shared memory", state=OK if enough else WRONG, text=text, mend=mend)
