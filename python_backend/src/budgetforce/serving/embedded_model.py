# SPDX-License-Identifier: Apache-2.0
"""Triton model ``embedded_llm``: NVIDIA's ``tensorrt_llm`` tensors around the CPU engine.

One thread owns the engine and every response sender: it takes in what ``execute`` queued,
steps, sends and asks for cancels. Nothing else may: a step holds the GIL, so a second thread
would get one turn a step.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from budgetforce.config import EmbeddedConfig, from_parameters
from budgetforce.engine.embedded import EmbeddedEngine, KvUsage, Progress
from budgetforce.engine.model_files import ModelFiles
from budgetforce.engine.pipelines import build_pipeline
from budgetforce.errors import BudgetForceError, Cancelled, EngineFailed, EngineUnavailable, InvalidRequest
from budgetforce.serving.embedded_inputs import EngineRequest, read_engine_request
from budgetforce.serving.ports import ResponsePort, request_id_of
from budgetforce.serving.watch import cancel_check_period_s

# Sending and computing share the cores. A response slows a step by about this much on its way to
# the client (measured on 2 cores: 1.3 ms of CPU in Triton, s1 and the client) ...
RESPONSE_COST_S = 1.35e-3
SENDING_SHARE = 0.065  # ... and may take this share of the time; what is over waits and leaves together


@dataclass(slots=True)
class _Stream:
    """One running request."""

    request: EngineRequest
    port: ResponsePort
    usage: KvUsage
    arrived_ns: int
    first_token_ns: int = 0
    last_token_ns: int = 0
    unsent: list[int] = field(default_factory=list)
    sent_at: float = 0.0
    asked_at: float = 0.0


class EmbeddedModel:
    """Triton's interface: ``initialize``, ``execute``, ``finalize``."""

    def initialize(self, args: dict[str, str]) -> None:
        config = from_parameters(EmbeddedConfig, json.loads(args["model_config"])["parameters"])
        files = ModelFiles.open(Path(config.model_dir))

        choose = partial(build_pipeline, files.weights, config, pb_utils.Logger.log_info)
        self._engine = EmbeddedEngine(choose, files.limits)
        self._streams: dict[int, _Stream] = {}
        self._inbox: deque[tuple[EngineRequest, ResponsePort, int]] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._last_step_s = self._sends_left = 0.0
        self._thread = threading.Thread(target=self._run, name="embedded-engine", daemon=True)
        self._thread.start()

    def execute(self, requests: list[pb_utils.InferenceRequest]) -> None:
        for request in requests:
            port = ResponsePort(request.get_response_sender())
            try:
                inputs = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
                parsed = read_engine_request(request_id_of(request), inputs)
            except BudgetForceError as error:
                port.fail(error)
                continue
            with self._wake:
                self._inbox.append((parsed, port, time.monotonic_ns()))
                self._wake.notify()

    def finalize(self) -> None:
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    # --- the engine's thread --------------------------------------------------------------

    def _run(self) -> None:
        while self._wait_for_work():
            self._take_in()
            self._drop_cancelled()
            started = time.monotonic()
            progress = self._engine.step()
            self._last_step_s = time.monotonic() - started
            self._deliver(progress)
        for stream in self._streams.values():
            stream.port.fail(EngineUnavailable("the server is shutting down"))

    def _wait_for_work(self) -> bool:
        with self._wake:
            while not (self._stopping or self._inbox or self._engine.has_work()):
                self._wake.wait()
            return not self._stopping

    def _take_in(self) -> None:
        while self._inbox:
            request, port, arrived_ns = self._inbox.popleft()
            if request.stop:
                self._stop(request.request_id)
                port.close()
                continue
            try:
                key, usage = self._engine.submit(request.call)
            except InvalidRequest as error:
                port.fail(error)
                continue
            self._streams[key] = _Stream(request, port, usage, arrived_ns)

    def _stop(self, request_id: str) -> None:
        for key, stream in list(self._streams.items()):
            if stream.request.request_id == request_id:
                self._engine.cancel(key)
                del self._streams[key]
                stream.port.close()

    def _drop_cancelled(self) -> None:
        now, period_s = time.monotonic(), cancel_check_period_s(len(self._streams))
        for key, stream in list(self._streams.items()):
            if now - stream.asked_at < period_s:
                continue
            stream.asked_at = now
            if stream.port.is_cancelled():
                self._engine.cancel(key)
                del self._streams[key]
                stream.port.fail(Cancelled("the request was cancelled"))

    def _deliver(self, progress: list[Progress]) -> None:
        for step in progress:
            stream = self._streams[step.key]
            if step.ids:
                stream.last_token_ns = time.monotonic_ns()
                stream.first_token_ns = stream.first_token_ns or stream.last_token_ns
                stream.unsent += step.ids
            if step.finished:
                self._finish(self._streams.pop(step.key), step.error)
        self._send_what_time_allows()

    def _finish(self, stream: _Stream, error: str | None) -> None:
        if error is not None:
            stream.port.fail(EngineFailed(error))
            return
        outputs = stream.request.outputs(tuple(stream.unsent))
        if stream.request.return_perf_metrics:
            outputs |= _perf_metrics(stream)
        stream.port.send(outputs, final=True)

    def _send_what_time_allows(self) -> None:
        """Deltas of the running streams: first ones at once, the others longest unsent first, as the share allows.

        A stream that runs alone sends every id; of sixteen on two cores each sends about four times a second.
        """
        waiting = [stream for stream in self._streams.values() if stream.unsent and stream.request.streaming]
        earned = SENDING_SHARE * self._last_step_s / RESPONSE_COST_S
        self._sends_left = min(self._sends_left + earned, len(waiting))
        for stream in sorted(waiting, key=lambda stream: stream.sent_at):
            if stream.sent_at and self._sends_left < 1 and len(self._streams) > 1:
                return
            self._sends_left = max(self._sends_left - 1, 0.0)  # no debts: a lone stream would run up many
            stream.port.send(stream.request.outputs(tuple(stream.unsent)))
            stream.unsent.clear()
            stream.sent_at = time.monotonic()


def _perf_metrics(stream: _Stream) -> dict[str, np.ndarray[Any, Any]]:
    usage = stream.usage
    blocks = {
        "kv_cache_alloc_new_blocks": usage.num_total_blocks - usage.num_reused_blocks,
        "kv_cache_reused_blocks": usage.num_reused_blocks,
        "kv_cache_alloc_total_blocks": usage.num_total_blocks,
    }
    times = {
        "arrival_time_ns": stream.arrived_ns,
        "first_token_time_ns": stream.first_token_ns,
        "last_token_time_ns": stream.last_token_ns,
    }
    return {name: np.array([[value]], np.int32) for name, value in blocks.items()} | {
        name: np.array([[value]], np.int64) for name, value in times.items()
    }
