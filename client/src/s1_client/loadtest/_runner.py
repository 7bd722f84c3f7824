# SPDX-License-Identifier: Apache-2.0
"""Run a scenario level by level and return the record of the run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from s1_client._errors import S1Error
from s1_client._settings import Settings
from s1_client.loadtest import _client_driver, _perf_analyzer
from s1_client.loadtest._counters import GaugeWatch, counter_deltas, read_counters
from s1_client.loadtest._machine import this_machine
from s1_client.loadtest._observation import Observation, request_of
from s1_client.loadtest._perf_analyzer import Attempt
from s1_client.loadtest._record import GaugeRange, Level, Run
from s1_client.loadtest._roofline import Roofline
from s1_client.loadtest._scenario import Scenario, Stage
from s1_client.loadtest._search import CapacitySearch

METRICS_AGE_S = 0.5  # s1 updates its own metrics every 0.25 s
TOKENS_PER_BLOCK = 32  # KV cache block size of an engine that does not report it


class Server(Protocol):
    """The server's own description. Every member may raise S1Error."""

    @property
    def version(self) -> str:
        """The version of Triton on the server."""
        ...

    def parameter(self, model: str, name: str) -> str | None:
        """Return a parameter of a loaded model's configuration, None if it is not set."""
        ...


class ProgressListener(Protocol):
    """Receives the progress of a run."""

    def level_started(self, stage: Stage) -> None:
        """Called when a level starts."""
        ...

    def request_ended(self, seen: Observation) -> None:
        """Called for each finished request of the level; with perf_analyzer for all of them at the end of the level."""
        ...

    def level_ended(self, level: Level) -> None:
        """Called with the record of a level that has ended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTest:
    """A load test to run: the scenario, the servers and the driver.

    Attributes:
        servers: addresses of the server, or of all its replicas, and the model.
        perf_analyzer: program that makes the load; None for the client library's own driver.
        metrics_urls: URLs of the servers' /metrics; empty to leave them out.
        folder: where perf_analyzer's files are written.
        roofline: upper bound of the server's GPUs, if known.
        search: the capacity search that chooses the levels; None to run those of the scenario.
    """

    scenario: Scenario
    scenario_name: str
    servers: tuple[Settings, ...]
    perf_analyzer: Path | None
    metrics_urls: tuple[str, ...]
    folder: Path
    label: str
    roofline: Roofline | None = None
    search: CapacitySearch | None = None

    @property
    def settings(self) -> Settings:
        """The settings of the first server."""
        return self.servers[0]

    @property
    def replica_urls(self) -> tuple[str, ...]:
        """Addresses of all servers, if there are several."""
        return tuple(server.address for server in self.servers) if len(self.servers) > 1 else ()


def run(test: LoadTest, server: Server, listener: ProgressListener, keep: Callable[[Run], None]) -> Run:
    """Run all levels. ``keep`` gets the record after each level, so that an end before the last level loses only one.

    Raises S1Error if the server cannot be reached, Unsuitable, and OSError for /metrics and files.
    """
    running = RunInProgress(test, server)
    for stage in test.scenario.stages:
        running.run_level(stage, listener)
        keep(running.record())
    return running.record()


class RunInProgress:
    """A run whose levels are run one after the other.

    Attributes:
        levels: the levels that have ended; those of ``earlier``, an unfinished run, come first.
    """

    def __init__(self, test: LoadTest, server: Server, earlier: Run | None = None) -> None:
        if test.perf_analyzer:
            _perf_analyzer.check(test.scenario, test.settings)
        self.levels: list[Level] = list(earlier.levels) if earlier else []
        self._test, self._server, self._version = test, server, server.version
        self._started = earlier.started_at if earlier else datetime.now(UTC).isoformat(timespec="seconds")
        self._engine: dict[str, str] = dict(earlier.engine) if earlier else {}

    def run_level(self, stage: Stage, listener: ProgressListener) -> Level:
        """Run a level and return its record. Raises the errors of ``run``."""
        test = self._test
        listener.level_started(stage)
        before = read_counters(test.metrics_urls)
        with GaugeWatch(test.metrics_urls) as gauges:
            attempt = _attempt(test, stage, listener)
        if before is not None:
            time.sleep(METRICS_AGE_S)
        counters = counter_deltas(before, read_counters(test.metrics_urls))
        self._engine = self._engine or _engine(next((seen.result.effective for seen in attempt.seen if seen.result), {}), self._server)
        self.levels.append(_level(stage, attempt, counters, gauges.ranges(), self._engine))
        listener.level_ended(self.levels[-1])
        return self.levels[-1]

    def record(self) -> Run:
        """Return the record of the levels that have ended."""
        test = self._test
        return Run(
            label=test.label,
            started_at=self._started,
            driver="perf_analyzer" if test.perf_analyzer else "client",
            driver_version=_perf_analyzer.version(test.perf_analyzer) if test.perf_analyzer else metadata.version("s1-client"),
            url=test.settings.address,
            server_version=self._version,
            model=test.settings.model,
            machine=this_machine(),
            scenario_name=test.scenario_name,
            scenario_hash=test.scenario.hash(),
            scenario=test.scenario.to_dict(),
            engine=self._engine,
            levels=tuple(self.levels),
            roofline=test.roofline,
            search=test.search,
            replica_urls=test.replica_urls,
        )


def _attempt(test: LoadTest, stage: Stage, listener: ProgressListener) -> Attempt:
    if test.perf_analyzer is None:
        return Attempt(seen=_client_driver.run_stage(test.servers, test.scenario, stage, listener.request_ended))
    files = test.folder / f"level-{stage.number}"
    attempt = _perf_analyzer.run_stage(test.perf_analyzer, test.settings, test.scenario, stage, files)
    for seen in attempt.seen:
        listener.request_ended(seen)
    return attempt


def _level(
    stage: Stage,
    attempt: Attempt,
    counters: dict[str, float] | None,
    gauges: dict[str, GaugeRange] | None,
    engine: dict[str, str],
) -> Level:
    tokens_per_block = int(engine.get("tokens_per_block", TOKENS_PER_BLOCK))
    requests = tuple(request_of(seen, tokens_per_block) for seen in attempt.seen)
    unanswered = () if any(request.is_done for request in requests) else ("no request was answered",)
    return Level(
        mode=stage.mode,
        value=stage.value,
        distribution=stage.distribution,
        duration_s=max((seen.ended_s for seen in attempt.seen), default=0.0) - min((seen.sent_s for seen in attempt.seen), default=0.0),
        num_warmup=stage.load.num_warmup,
        requests=requests,
        server=counters,
        gauges=gauges,
        problems=attempt.problems + unanswered,
    )


def _engine(effective: dict[str, Any], server: Server) -> dict[str, str]:
    """Describe the engine from a reply and the engine model's configuration; an engine on another server has no configuration."""
    engine: dict[str, str] = {name: str(effective[name]) for name in ("engine_model", "preset", "max_context_tokens") if name in effective}
    for name, parameter in (("manifest", "engine_manifest"), ("tokens_per_block", "block_size")):
        try:
            value = server.parameter(engine["engine_model"], parameter) if "engine_model" in engine else None
        except S1Error:
            value = None
        if value is not None:
            engine[name] = value
    return engine
