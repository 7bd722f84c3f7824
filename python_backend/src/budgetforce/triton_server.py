# SPDX-License-Identifier: Apache-2.0
"""A Triton server: its ports and flags, whether it is ready, and its end, which leaves nothing behind.

A ``tritonserver`` on PATH (the container's) is used; else the one inside package nvidia-pytriton
(Triton 24.10).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from budgetforce import triton_files
from budgetforce.processes import interrupts_held
from budgetforce.ranks import Ranks
from budgetforce.security import Security
from budgetforce.stubs import Stubs

START_S = 300.0  # a 32B engine on two GPUs takes minutes to load
EXIT_TIMEOUT_S = 10  # Triton waits this long for running requests
ORDERLY_END_S = EXIT_TIMEOUT_S + 5.0  # and then unloads its models
BROKEN_END_S = 3.0  # of a server with a dead stub, whose requests never end
FOLLOW_S = 5.0  # what the other ranks have when rank 0 has ended
DRAIN_S = 15.0  # for running replies before Triton is told to stop. What follows takes up to 23 s more: a stop needs 40 s in all
DRAIN_END_S = 3.0  # for s1 to end what runs after that
DRAIN_CHECK_S, QUIET_CHECKS = 0.3, 2  # metrics are up to a quarter of a second old
OPEN_REQUESTS = ("s1_requests_open{", 'nv_inference_pending_request_count{model="s1')
BLS_THREADS = 128  # a BLS call holds one of an instance's (32 by default) until its first token
KEEPALIVE = (  # a stream may be silent for minutes, which middleboxes take for its end
    "--grpc-keepalive-time=30000",  # ms; a client that does not answer for 20 s (Triton's default) is gone
    "--grpc-keepalive-permit-without-calls=1",
    "--grpc-http2-max-pings-without-data=0",  # no limit
    "--grpc-http2-min-recv-ping-interval-without-data=1000",  # ms; by default 5 min, and the third ping before that kills
)
NO_ENDPOINTS = ("--allow-http=false", "--allow-grpc=false", "--allow-metrics=false")
RANK_CHECK_S = 1.0  # between two looks at whether all ranks run
LAST_WORDS_S = 3.0  # what mpirun has to tell of a lost rank
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # where Triton puts it
_ANY_ADDRESS = "0.0.0.0"  # noqa: S104  # compared with
_HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy is for the world outside


class StartFailed(Exception):
    """Triton did not come up; the message holds the log's own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """TCP ports, gRPC's on ``host``, the others on ``http_host``; see ``choose_ports``."""

    http: int
    grpc: int
    metrics: int
    host: str = "127.0.0.1"
    http_host: str = "127.0.0.1"

    @property
    def here(self) -> str:
        """Address of gRPC for this machine."""
        return f"{'127.0.0.1' if self.host == _ANY_ADDRESS else self.host}:{self.grpc}"

    def listening(self) -> dict[str, tuple[str, int]]:
        """Each address by Triton's name for it."""
        return {"http": (self.http_host, self.http), "grpc": (self.host, self.grpc), "metrics": (self.http_host, self.metrics)}


# Below those that the system gives to whoever asks for any: one of them could be gone before Triton takes it.
_PORTS = range(10_000, 32_768)
_TRIES = 100
_ANY = random.SystemRandom()  # libraries seed the global one; two programs would then choose the same ports at the same time


def _bound(sock: socket.socket, host: str) -> int:
    for port in _ANY.sample(_PORTS, _TRIES):
        try:
            sock.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return port
    raise OSError(f"{host}: no free port found from {_PORTS.start} to {_PORTS.stop - 1}")


def choose_ports(*, http: int, grpc: int, metrics: int, host: str = "127.0.0.1", http_host: str | None = None) -> Ports:
    """The ports asked for; each 0 becomes a free one. Raises OSError if there is none."""
    with contextlib.ExitStack() as stack:  # all held at once, so that they differ
        free = [_bound(stack.enter_context(socket.socket()), host) for _ in range(3)]
    return Ports(http=http or free[0], grpc=grpc or free[1], metrics=metrics or free[2], host=host, http_host=http_host or host)


@dataclass(slots=True, kw_only=True)
class TritonServer:
    """A Triton process, ready on entering the ``with`` block and gone on leaving it.

    Attributes:
        repositories: model repositories, merged by Triton.
        models: the models to load; others stay unloaded.
        ports: where it listens.
        log: file that gets its output; None = ours does.
        environment: for the models, beside our own.
        security: what it demands of those who ask.
        transport: "bls" takes configs/bls.pbtxt of the models that have one.
        drains: before Triton is told to stop, its ``s1`` models are: they refuse new requests, let running ones finish,
            and end those that run after ``drain_s``.
        deadline_s: how long it may take to get ready.
        num_ranks: how many GPUs the last of the models was built for: so many processes, under mpirun.
        progress: told about once a second while it loads.
    """

    repositories: Sequence[Path]
    models: Sequence[str]
    ports: Ports
    log: Path | None
    environment: dict[str, str] = field(default_factory=dict)
    security: Security = field(default_factory=Security)
    transport: str = "grpc"
    drains: bool = False
    drain_s: float = DRAIN_S
    deadline_s: float = START_S
    num_ranks: int = 1
    progress: Callable[[str], None] = lambda _: None
    process: subprocess.Popen[bytes] | None = None
    _ranks: Ranks | None = None
    _was_ready: bool = False
    _is_broken: bool = False
    _stubs: Stubs | None = None
    _prefix: str = field(default_factory=lambda: f"s1_{uuid.uuid4().hex[:12]}_")

    def __enter__(self) -> TritonServer:
        """Raises StartFailed, and leaves nothing behind then."""
        try:
            _refuse_ports_in_use(self.ports)
            self._start()
            self._wait_until_ready()
            self._was_ready = True
            self._take_note_of_stubs()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def grpc_url(self) -> str:
        return f"{self.ports.host}:{self.ports.grpc}"

    @property
    def http_url(self) -> str:
        return f"http://{self.ports.http_host}:{self.ports.http}"

    def wait(self) -> str:
        """Until it ends by itself, or one of its processes does; what happened, with the log's own words."""
        assert self._ranks is not None
        while (ended := self._ranks.ended()) is None:
            if self._stubs is not None and (died := self._stubs.died()) is not None:
                self._is_broken = True
                return died if self.log is None else f"{died} (log: {self.log})"
            time.sleep(RANK_CHECK_S)
        return self._account(f"{ended}, by itself")

    def _take_note_of_stubs(self) -> None:
        assert self._ranks is not None
        self._stubs = Stubs(session=self._ranks.process.pid, is_loaded=self._is_loaded)
        self._stubs.died()

    def _is_loaded(self, model: str) -> bool:
        """Whether Triton lists it so; also if it does not answer: then a dead process is likelier than an unloaded model."""
        try:
            states = json.loads(self._ask(self._post("repository/index")))
        except (OSError, ValueError):
            return True
        return any(entry["name"] == model and entry.get("state") == "READY" for entry in states)

    def _start(self) -> None:
        triton = triton_files.find()
        environment = {**os.environ, **triton.environment, **self.environment, **self.security.environment(self.ports.here)}
        self._drain_file.touch(mode=0o600)  # ours from the start: nobody else can make one of that name then
        environment["S1_DRAIN_FILE"] = str(self._drain_file)
        commands = [[triton.binary, *triton.flags, *self._rank_flags(rank)] for rank in range(self.num_ranks)]
        marks = [self._region_flag(rank) for rank in range(self.num_ranks)]
        with self._open_log() as log, interrupts_held():
            self._ranks = Ranks.start(commands, marks=marks, environment=environment, log=log)
            self.process = self._ranks.process

    def _open_log(self) -> contextlib.AbstractContextManager[IO[bytes] | None]:
        if self.log is None:
            return contextlib.nullcontext()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        return self.log.open("wb")

    def _rank_flags(self, rank: int) -> Iterator[str]:
        """Rank 0 serves; the others load the engine and nothing else, and listen nowhere."""
        yield from (f"--model-repository={path}" for path in self.repositories)
        models = self.models if rank == 0 else self.models[-1:]
        yield from ("--model-control-mode=explicit", *(f"--load-model={model}" for model in models))
        yield from self._serving_flags() if rank == 0 else NO_ENDPOINTS
        yield self._region_flag(rank)
        yield "--disable-auto-complete-config"  # the configs are complete; it would start every stub twice
        yield from ("--exit-on-error=true", "--log-format=ISO8601")

    def _region_flag(self, rank: int) -> str:
        """Of the shared memory, whose names a rank shares with no other."""
        return f"--backend-config=python,shm-region-prefix-name={self._prefix}{rank}_"

    def _serving_flags(self) -> Iterator[str]:
        for name, (host, port) in self.ports.listening().items():
            yield from (f"--{name}-address={host}", f"--{name}-port={port}")
        yield from (f"--id={self._name}", *KEEPALIVE, *self.security.flags())
        if self.transport != "grpc":
            yield f"--model-config-name={self.transport}"
            yield f"--backend-config=python,thread-pool-size={BLS_THREADS}"
        yield from (f"--exit-timeout-secs={EXIT_TIMEOUT_S}", "--strict-readiness=true")

    def _wait_until_ready(self) -> None:
        assert self._ranks is not None
        started = time.monotonic()
        while not self._answers_ready():
            waited = time.monotonic() - started
            if (ended := self._ranks.ended()) is not None:
                raise StartFailed(self._account(f"{ended} while starting"))
            if waited > self.deadline_s:
                raise StartFailed(f"Triton was not ready after {self.deadline_s:.0f} s\n{self.log_errors()}")
            self.progress(f"loading {', '.join(self.models)} · {waited:.0f} s")
            time.sleep(0.1)

    def _answers_ready(self) -> bool:
        """Whether this very server is ready: another that took the ports meanwhile has another name."""
        try:
            with _HTTP.open(f"{self.http_url}/v2/health/ready", timeout=1) as response:
                is_ready = response.status == 200
            return is_ready and json.loads(self._ask(f"{self.http_url}/v2"))["name"] == self._name
        except (OSError, ValueError, KeyError):
            return False

    def _account(self, ended: str) -> str:
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(LAST_WORDS_S)
        return f"{ended}\n{self.log_errors()}"

    def log_errors(self) -> str:
        """The log's own words on what went wrong: its closing error, else its error lines, else its end."""
        if self.log is None:
            return "(its log is above)"
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        closing = text.rpartition("\nerror: ")[2] if "\nerror: " in text else ""
        errors = [line for line in text.splitlines() if " E " in line and "CUDA" not in line and "Cuda" not in line]
        lines = closing.splitlines() or errors or text.splitlines()
        return "\n".join([*(line[:400] for line in lines[-12:]), f"(whole log: {self.log})"])

    def stop(self) -> None:
        """Stop the server, then whatever of it is left: ranks, stubs and shared memory."""
        if self._ranks is not None:
            self._drain()
            self._ranks.end(BROKEN_END_S if self._is_broken else ORDERLY_END_S, FOLLOW_S if self._was_ready else 0)
            self._ranks = self.process = None
        for leftover in _SHARED_MEMORY.glob(f"{self._prefix}*"):
            leftover.unlink(missing_ok=True)

    @property
    def _name(self) -> str:
        return self._prefix.rstrip("_")

    @property
    def _drain_file(self) -> Path:
        return _SHARED_MEMORY / f"{self._prefix}drain"

    def _drain(self) -> None:
        """Tell ``s1`` to refuse new requests, let running ones finish, and end those that outlast ``drain_s``. A Triton
        that is told to stop refuses its own models' calls at once, so that a reply of several engine calls could not
        finish; and it waits for replies that run.
        """
        if not self.drains or not self._was_ready or self._ranks is None or self._ranks.ended() is not None:
            return  # another server may have the ports of one that does not run
        drain_s = 0 if self._is_broken else self.drain_s
        until, num_quiet = time.monotonic() + drain_s + DRAIN_END_S, 0
        try:
            self._drain_file.write_text(f"{drain_s}\n")
        except OSError:
            return  # s1 cannot be told; stopping goes on
        while time.monotonic() < until and num_quiet < QUIET_CHECKS and self._ranks.ended() is None:
            time.sleep(DRAIN_CHECK_S)
            num_quiet = num_quiet + 1 if self._is_quiet() else 0

    def _is_quiet(self) -> bool:
        """Whether every ``s1`` knows that it drains, and no request is open. False if the metrics could not be read."""
        try:
            lines = self._ask(f"http://{self.ports.http_host}:{self.ports.metrics}/metrics").splitlines()
            num_open = sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(OPEN_REQUESTS))
            return num_open == 0 and all(float(line.rpartition(" ")[2]) for line in lines if line.startswith("s1_draining{"))
        except Exception:  # noqa: BLE001  # a busy server may miss a look; the next one may succeed
            return False

    def _post(self, path: str) -> urllib.request.Request:
        url, headers = f"{self.http_url}/v2/{path}", self.security.http_headers()
        return urllib.request.Request(url, data=b"{}", headers=headers, method="POST")  # noqa: S310  # http by construction

    @staticmethod
    def _ask(what: str | urllib.request.Request) -> str:
        with _HTTP.open(what, timeout=5) as response:
            return str(response.read().decode())


def _refuse_ports_in_use(ports: Ports) -> None:
    """Raise StartFailed: whoever listens there would be taken for the server that is being started."""
    for host, port in ports.listening().values():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise StartFailed(f"port {port} on {host} cannot be had: {error.strerror}") from None
