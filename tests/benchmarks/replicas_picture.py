# SPDX-License-Identifier: Apache-2.0
"""Records what the dashboard shows while one of two replicas is killed and the other drained: the picture of docs/scaling.md.

    python tests/benchmarks/replicas_picture.py

Starts two launchers with s1-tiny, HAProxy in the configuration that `s1 haproxy` prints, Prometheus, and clients; prints how their
requests ended. Takes two to three minutes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/fakes"), str(ROOT / "tests/benchmarks")]

from dashboard_picture import draw  # noqa: E402

from budgetforce.launcher.ports import Ports, choose_ports  # noqa: E402  # the path comes first
from deploy.test_monitoring import prometheus_programs  # noqa: E402
from s1_client import Client, S1Error  # noqa: E402
from server.replicas import Balancer  # noqa: E402
from server.waiting import wait_until  # noqa: E402

PICTURE = ROOT / "docs/images/replicas.png"
NUM_CLIENTS = 8
REQUEST: dict[str, Any] = {"min_thinking_tokens": 300, "max_thinking_tokens": 400, "max_tokens": 40}
PAUSE_S = 0.5  # of a client between two requests, so that the processor has room for a start
STEP_S = 15.0  # between two steps
START_S = 90.0  # for a launcher to start under load
PANELS = (
    "Engine ready",
    "Draining (1 announced, 2 rejecting)",
    "Age of the heartbeat",
    "Samples that run, by replica",
    "Complete replies per second, by replica",
    "Requests by end, per second",
    "Requests that wait",
    "Time to the first token",
    "Decoded tokens per second",
)


class Replica:
    """A launcher that can be killed, drained and started again on the same ports."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self._log = name, folder / f"{name}.log"
        self.ports: Ports = choose_ports(http=0, grpc=0, metrics=0)
        self.ready_port = choose_ports(http=0, grpc=0, metrics=0).http
        self.option = f"127.0.0.1:{self.ports.grpc}:{self.ready_port}"

    def start(self) -> None:
        """Start the launcher, without waiting for it."""
        ports = {"grpc": self.ports.grpc, "http": self.ports.http, "metrics": self.ports.metrics, "ready": self.ready_port}
        options = [part for name, port in ports.items() for part in (f"--{name}-port", str(port))]
        command = [sys.executable, "-m", "budgetforce.launcher", *options, "--log", str(self._log), "--drain-s", "30"]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        """Make the launcher drain the server and end; return before that."""
        self.process.terminate()

    def kill(self) -> None:
        """Kill all processes of the server at once. The launcher notices it, and ends."""
        (triton,) = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        os.killpg(int(triton), signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def running(*command: str | Path) -> Iterator[None]:
    """Run a program inside this context."""
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def ask_until(over: threading.Event, client: Client, ends: Counter[str]) -> None:
    """Send one request after the other, and count how they end."""
    while not over.wait(PAUSE_S):
        try:
            reply = client.think("How many r in raspberry", **REQUEST)
            ends["complete" if reply.num_attempts == 1 else "complete, after a retry"] += 1
        except S1Error as error:
            print(f"      {error.num_attempts} attempts: {error}", flush=True)
            ends[f"{type(error).__name__}, retryable: {error.retryable}, a part had come: {bool(error.partial)}"] += 1


@contextlib.contextmanager
def load(url: str) -> Iterator[Counter[str]]:
    """Clients on one connection, inside this context."""
    over, ends = threading.Event(), Counter[str]()
    with Client(url) as client:
        threads = [threading.Thread(target=ask_until, args=(over, client, ends)) for _ in range(NUM_CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield ends
        finally:
            over.set()
            for thread in threads:
                thread.join()


def act(replicas: Sequence[Replica], balancer: Balancer, start: float) -> list[tuple[float, str]]:
    """Kill one replica, start it again, drain the other when the first is back, start it again. Return the steps and their times."""
    first, second = replicas
    steps: list[tuple[float, str]] = []

    def note(text: str) -> None:
        steps.append((time.time() - start, text))
        print(f"{steps[-1][0]:3.0f} s: {text}", flush=True)

    def back(text: str) -> None:
        wait_until(lambda: balancer.states() == {"UP"}, seconds=START_S)
        note(text)
        time.sleep(STEP_S)

    time.sleep(STEP_S)
    note("replica-1 is killed")
    first.kill()
    time.sleep(STEP_S)
    first.start()
    back("it is back")
    note("replica-2 stops")
    second.stop()
    second.process.wait()
    note("it has drained")
    time.sleep(STEP_S)
    second.start()
    back("it is back")
    return steps


def main() -> None:
    """Run the story, and draw it."""
    url = f"127.0.0.1:{choose_ports(http=0, grpc=0, metrics=0).http}"
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        replicas = [Replica(folder, f"replica-{number}") for number in (1, 2)]
        for replica in replicas:
            replica.start()
            stack.callback(lambda one=replica: (one.stop(), one.process.wait()))
        balancer = stack.enter_context(Balancer(replicas, folder).running(start_s=START_S))
        targets = [{"targets": [f"127.0.0.1:{one.ports.metrics}"], "labels": {"instance": one.name}} for one in replicas]
        config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [{"job_name": "s1", "static_configs": targets}]}
        (folder / "prometheus.yml").write_text(json.dumps(config))
        flags = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={url}"]
        stack.enter_context(running(prometheus_programs(ROOT) / "prometheus", *flags))
        time.sleep(5)  # until Prometheus has seen both
        start = time.time()
        with load(balancer.url) as ends:
            steps = act(replicas, balancer, start)
            end = time.time()
        for kind, number in ends.most_common():
            print(f"{number:5d}  {kind}")
        draw(url, start, end, titles=PANELS, marks=steps, picture=PICTURE)


if __name__ == "__main__":
    main()
