# SPDX-License-Identifier: Apache-2.0
"""Run a Triton server: build flags, wait until it is ready, drain and stop it without leaving anything behind.

Uses the ``tritonserver`` on PATH (the container's), else that inside package nvidia-pytriton (Triton 24.10).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from budgetforce.health import HTTP
from budgetforce.launcher import regions, triton_files
from budgetforce.launcher.drain import Drain
from budgetforce.launcher.ports import Ports, why_unusable
from budgetforce.launcher.ranks import Ranks
from budgetforce.launcher.security import Security
from budgetforce.launcher.stubs import Stubs
from budgetforce.processes import interrupts_held
from budgetforce.serving.requests.tenant import HEADERS as TENANT_HEADERS

START_S = 300.0  # loading a 32B engine on two GPUs takes minutes
EXIT_TIMEOUT_S = 10  # Triton's own wait for running requests
ORDERLY_END_S = EXIT_TIMEOUT_S + 5.0  # after that wait it unloads its models
BROKEN_END_S = 3.0  # for a server with a dead stub, whose requests never end
FOLLOW_S = 5.0  # for the other ranks to end after rank 0
DRAIN_S = 15.0  # for running replies before Triton gets the signal. Stopping then takes up to 23 s: 40 s in all
BLS_THREADS = 128  # per instance (Triton: 32); a BLS call occupies a thread until its first token
KEEPALIVE = (  # middleboxes cut a stream that is silent for minutes
    "--grpc-keepalive-time=30000",  # ms; a client that does not answer within 20 s (Triton's default) is disconnected
    "--grpc-keepalive-permit-without-calls=1",
    "--grpc-http2-max-pings-without-data=0",  # no limit
    "--grpc-http2-min-recv-ping-interval-without-data=1000",  # ms; the default is 5 min, and a third earlier ping ends the connection
)
NO_ENDPOINTS = ("--allow-http=false", "--allow-grpc=false", "--allow-metrics=false")
RANK_CHECK_S = 1.0  # interval of checks that all ranks run
LAST_WORDS_S = 3.0  # for mpirun to report a lost rank


class StartFailed(Exception):
    """Triton did not become ready; the message quotes its log."""


@dataclass(slots=True, kw_only=True)
class TritonServer:
    """A Triton process, ready on entering the ``with`` block and gone on leaving it.

    Attributes:
        repositories: model repositories, merged by Triton.
        models: the models to load; others stay unloaded.
        ports: the ports to listen on.
        log: file for the server's output; None = the launcher's own output.
        environment: variables for the models, added to the launcher's own.
        security: access rules for requests.
        extra_flags: further flags of Triton, of rank 0 alone.
        traced_headers: further headers that Triton shows ``s1``.
        transport: with "bls", models that have a configs/bls.pbtxt use it.
        drains: before Triton gets the signal to stop, its ``s1`` models drain: they reject new requests, let running ones
            finish, and end those that still run after ``drain_s``.
        lame_duck_s: before that, they show that they drain and still serve new requests: a load balancer needs time to notice.
        deadline_s: seconds until it must be ready.
        num_ranks: how many ranks the last of the models was built for; each is a process, under mpirun.
        progress: called several times a second while the server loads.
    """

    repositories: Sequence[Path]
    models: Sequence[str]
    ports: Ports
    log: Path | None
    environment: dict[str, str] = field(default_factory=dict)
    security: Security = field(default_factory=Security)
    extra_flags: Sequence[str] = ()
    traced_headers: Sequence[str] = ()
    transport: str = "grpc"
    drains: bool = False
    drain_s: float = DRAIN_S
    lame_duck_s: float = 0.0
    deadline_s: float = START_S
    num_ranks: int = 1
    progress: Callable[[str], None] = lambda _: None
    process: subprocess.Popen[bytes] | None = None
    _ranks: Ranks | None = None
    _was_ready: bool = False
    _is_broken: bool = False
    _is_draining: bool = False
    _stubs: Stubs | None = None
    _prefix: str = field(default_factory=regions.new_prefix)
    _control: IO[bytes] | None = None

    def __enter__(self) -> TritonServer:
        """Start the server and wait until it is ready. Raises StartFailed, and leaves nothing behind then."""
        try:
            self._check_ports()
            self._start()
            self._wait_until_ready()
            regions.hide(self._prefix)  # each is there before its model is ready
            self._was_ready = True
            self._remember_stubs()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_draining(self) -> bool:
        """Whether the server has begun to stop."""
        return self._is_draining

    @property
    def grpc_url(self) -> str:
        return f"{self.ports.host}:{self.ports.grpc}"

    @property
    def http_url(self) -> str:
        return f"http://{self.ports.http_host}:{self.ports.http}"

    def wait(self) -> str:
        """Wait until the server or one of its processes ends. Return the event, with a quotation of the log."""
        assert self._ranks is not None
        while (ended := self._ranks.ended()) is None:
            if self._stubs is not None and (died := self._stubs.died()) is not None:
                self._is_broken = True
                return died if self.log is None else f"{died} (log: {self.log})"
            time.sleep(RANK_CHECK_S)
        return self._with_log_errors(f"{ended}, by itself")

    def _check_ports(self) -> None:
        """Raise StartFailed for a port in use: its owner would be mistaken for the server that is being started."""
        if (reason := why_unusable(self.ports)) is not None:
            raise StartFailed(reason)

    def _remember_stubs(self) -> None:
        assert self._ranks is not None
        self._stubs = Stubs(session=self._ranks.process.pid, is_loaded=self._is_loaded)
        self._stubs.died()

    def _is_loaded(self, model: str) -> bool:
        """Whether Triton lists a model as ready. True if Triton does not answer: a dead process is likelier than an unloaded model."""
        try:
            states = json.loads(self._fetch(self._post("repository/index")))
        except (OSError, ValueError):
            return True
        return any(entry["name"] == model and entry.get("state") == "READY" for entry in states)

    def _start(self) -> None:
        triton = triton_files.find()
        environment = {**os.environ, **triton.environment, **self.environment, **self.security.environment(self.ports.here)}
        regions.remove_leftovers()
        self._control = regions.claim(self._prefix)
        environment["S1_DRAIN_FILE"] = str(self._drain_file)
        commands = [[triton.binary, *triton.flags, *self._rank_flags(rank)] for rank in range(self.num_ranks)]
        marks = [self._region_flag(rank) for rank in range(self.num_ranks)]
        with self._open_log() as log, interrupts_held():
            held = self._control.fileno()
            self._ranks = Ranks.start(commands, marks=marks, environment=environment, log=log, held=held)
            self.process = self._ranks.process

    def _open_log(self) -> contextlib.AbstractContextManager[IO[bytes] | None]:
        if self.log is None:
            return contextlib.nullcontext()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        return self.log.open("wb")

    def _rank_flags(self, rank: int) -> Iterator[str]:
        """Yield a rank's flags. Rank 0 serves; the others load only the engine and do not listen."""
        yield from (f"--model-repository={path}" for path in self.repositories)
        models = self.models if rank == 0 else self.models[-1:]
        yield from ("--model-control-mode=explicit", *(f"--load-model={model}" for model in models))
        yield from self._serving_flags() if rank == 0 else NO_ENDPOINTS
        yield self._region_flag(rank)
        yield "--disable-auto-complete-config"  # the configs are complete, and completing them starts every stub twice
        yield from ("--exit-on-error=true", "--log-format=ISO8601")

    def _region_flag(self, rank: int) -> str:
        """Return the flag that gives a rank's shared memory regions names of their own."""
        return f"--backend-config=python,shm-region-prefix-name={self._prefix}{rank}_"

    def _serving_flags(self) -> Iterator[str]:
        for name, (host, port) in self.ports.listening().items():
            yield from (f"--{name}-address={host}", f"--{name}-port={port}")
        yield from (f"--id={self._name}", *KEEPALIVE, *self.security.flags(), *self.extra_flags)
        # Over HTTP Triton forwards only headers of /infer, which decoupled models refuse.
        yield f"--grpc-header-forward-pattern=^({'|'.join((*TENANT_HEADERS, *self.traced_headers))})$"
        if self.transport != "grpc":
            yield f"--model-config-name={self.transport}"
            yield f"--backend-config=python,thread-pool-size={BLS_THREADS}"
        yield from (f"--exit-timeout-secs={EXIT_TIMEOUT_S}", "--strict-readiness=true")

    def _wait_until_ready(self) -> None:
        assert self._ranks is not None
        started = time.monotonic()
        while not self._answers_ready():
            regions.hide(self._prefix)
            waited = time.monotonic() - started
            if (ended := self._ranks.ended()) is not None:
                raise StartFailed(self._with_log_errors(f"{ended} while starting"))
            if waited > self.deadline_s:
                raise StartFailed(f"Triton was not ready after {self.deadline_s:.0f} s\n{self.log_errors()}")
            self.progress(f"loading {', '.join(self.models)} · {waited:.0f} s")
            time.sleep(0.1)

    def _answers_ready(self) -> bool:
        """Whether this very server is ready: another that took the ports meanwhile has another name."""
        try:
            with HTTP.open(f"{self.http_url}/v2/health/ready", timeout=1) as response:
                is_ready = response.status == 200
            return bool(is_ready and json.loads(self._fetch(f"{self.http_url}/v2"))["name"] == self._name)
        except (OSError, ValueError, KeyError):
            return False

    def _with_log_errors(self, event: str) -> str:
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(LAST_WORDS_S)
        return f"{event}\n{self.log_errors()}"

    def log_errors(self) -> str:
        """Quote the log's account of a failure: its closing error, else its error lines, else its last lines."""
        if self.log is None:
            return "(the log is above)"
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        closing = text.rpartition("\nerror: ")[2] if "\nerror: " in text else ""
        errors = [line for line in text.splitlines() if " E " in line and "CUDA" not in line and "Cuda" not in line]
        lines = closing.splitlines() or errors or text.splitlines()
        return "\n".join([*(line[:400] for line in lines[-12:]), f"(full log: {self.log})"])

    def stop(self) -> None:
        """Stop the server, then remove whatever is left of it: ranks, stubs and shared memory."""
        self._is_draining = self._was_ready
        if self._ranks is not None:
            self._drain()
            self._ranks.end(BROKEN_END_S if self._is_broken else ORDERLY_END_S, FOLLOW_S if self._was_ready else 0)
            self._ranks = self.process = None
        regions.remove(self._prefix)
        if self._control is not None:
            self._control.close()

    @property
    def _name(self) -> str:
        return self._prefix.rstrip("_")

    @property
    def _drain_file(self) -> Path:
        return regions.control_file(self._prefix)

    def _drain(self) -> None:
        """Let running requests finish, if this server is the one that answers on its ports."""
        if not self.drains or not self._was_ready or self._ranks is None or self._ranks.ended() is not None:
            return  # another server may have taken the ports of an ended server
        ranks, metrics_url = self._ranks, f"http://{self.ports.http_host}:{self.ports.metrics}/metrics"
        drain = Drain(
            order_file=self._drain_file,
            read_metrics=lambda: self._fetch(metrics_url),
            has_ended=lambda: ranks.ended() is not None,
        )
        drain.run(*(0.0, 0.0) if self._is_broken else (self.drain_s, self.lame_duck_s))

    def _post(self, path: str) -> urllib.request.Request:
        url, headers = f"{self.http_url}/v2/{path}", self.security.admin_headers()
        return urllib.request.Request(url, data=b"{}", headers=headers, method="POST")  # noqa: S310  # http by construction

    @staticmethod
    def _fetch(request: str | urllib.request.Request) -> str:
        with HTTP.open(request, timeout=5) as response:
            return str(response.read().decode())
