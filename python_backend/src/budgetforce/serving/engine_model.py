# SPDX-License-Identifier: Apache-2.0
"""The Triton models that are engines: NVIDIA's ``tensorrt_llm`` tensors around a ``TokenEngine``.

A single thread owns the engine and every response sender: it submits the requests that ``execute`` queued, steps the engine, sends
responses and checks for cancels. No other thread does: a step may hold the GIL while it computes (OpenVINO's does), so a second thread
would run only once a step.
"""

from __future__ import annotations

import json
import locale
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from budgetforce.config import EmbeddedConfig, LibraryConfig, from_parameters
from budgetforce.engine.async_engine import AsyncEngine
from budgetforce.engine.cpu.embedded import EmbeddedEngine
from budgetforce.engine.cpu.pipelines import build_pipeline
from budgetforce.engine.model_files import ModelFiles
from budgetforce.engine.token_engine import Progress, TokenEngine
from budgetforce.errors import BudgetForceError, Cancelled, EngineUnavailable
from budgetforce.serving.engine_health import cancel_check_period_s
from budgetforce.serving.engine_inputs import EngineRequest, PerfMetrics, read_engine_request
from budgetforce.serving.ports import ResponsePort, request_id_of

# Sending and computing share the cores. A response on its way to the client slows a step by about this much (measured on 2 cores:
# 1.3 ms of CPU in Triton, s1 and the client) ...
RESPONSE_COST_S = 1.35e-3
SENDING_SHARE = 0.065  # ... and responses may use this share of the time; ids beyond it wait and leave together


@dataclass(slots=True)
class _Stream:
    request: EngineRequest
    port: ResponsePort
    metrics: PerfMetrics
    unsent: list[int] = field(default_factory=list)
    sent_at: float = 0.0
    cancel_checked_at: float = 0.0


class EngineModel:
    """Triton's interface: ``initialize``, ``execute``, ``finalize``. A subclass builds the engine."""

    def build(self, parameters: dict[str, Any]) -> TokenEngine:
        """Return the engine that the parameters of config.pbtxt describe. Raises ConfigError."""
        raise NotImplementedError

    def initialize(self, args: dict[str, str]) -> None:
        self._streams: dict[int, _Stream] = {}
        self._inbox: deque[tuple[EngineRequest, ResponsePort, int]] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._last_step_s = self._sends_left = 0.0
        self._engine = self.build(json.loads(args["model_config"])["parameters"])
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
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
        self._engine.close()

    def wake(self) -> None:
        """Wake the engine's thread because the engine has progress. Call it from any thread."""
        with self._wake:
            self._wake.notify()

    # --- the engine's thread --------------------------------------------------------------

    def _run(self) -> None:
        while self._wait_for_work():
            self._submit_queued()
            self._drop_cancelled()
            started = time.monotonic()
            progress = self._engine.step()
            self._last_step_s = time.monotonic() - started
            self._deliver(progress)
        for stream in self._streams.values():
            stream.port.fail(EngineUnavailable("the server is shutting down"))

    def _wait_for_work(self) -> bool:
        """Wait for work or for the next cancel check; return False when the model stops."""
        with self._wake:
            while not (self._stopping or self._inbox or self._engine.has_work()):
                if not self._wake.wait(self._cancel_check_period_s() if self._streams else None):
                    break
            return not self._stopping

    def _cancel_check_period_s(self) -> float:
        return cancel_check_period_s(len(self._streams))

    def _submit_queued(self) -> None:
        while self._inbox:
            request, port, arrived_ns = self._inbox.popleft()
            if request.stop:
                self._stop_request(request.request_id)
                port.close()
                continue
            try:
                key, usage = self._engine.submit(request.call)
            except BudgetForceError as error:
                port.fail(error)
                continue
            self._streams[key] = _Stream(request, port, PerfMetrics(usage, arrived_ns))

    def _stop_request(self, request_id: str) -> None:
        for key, stream in list(self._streams.items()):
            if stream.request.request_id == request_id:
                self._engine.cancel(key)
                del self._streams[key]
                stream.port.close()

    def _drop_cancelled(self) -> None:
        now, period_s = time.monotonic(), self._cancel_check_period_s()
        for key, stream in list(self._streams.items()):
            if now - stream.cancel_checked_at < period_s:
                continue
            stream.cancel_checked_at = now
            if stream.port.is_cancelled():
                self._engine.cancel(key)
                del self._streams[key]
                stream.port.fail(Cancelled("the request was cancelled"))

    def _deliver(self, progress: list[Progress]) -> None:
        for step in progress:
            stream = self._streams[step.key]
            if step.ids:
                stream.metrics.record_ids(time.monotonic_ns())
                stream.unsent += step.ids
            if step.finished:
                self._finish(self._streams.pop(step.key), step.error)
        self._send_within_share()

    def _finish(self, stream: _Stream, error: BudgetForceError | None) -> None:
        if error is not None:
            stream.port.fail(error)
            return
        outputs = stream.request.outputs(tuple(stream.unsent))
        if stream.request.return_perf_metrics:
            outputs |= stream.metrics.outputs()
        stream.port.send(outputs, final=True)

    def _send_within_share(self) -> None:
        """Send deltas of the running streams: each stream's first at once, the others in the order of their last send, within the share.

        A stream that runs alone sends every id; of sixteen on two cores each sends about four times a second. An engine that does not
        compute in this thread is not slowed by sending: then every stream sends.
        """
        waiting = [stream for stream in self._streams.values() if stream.unsent and stream.request.streaming]
        earned = SENDING_SHARE * self._last_step_s / RESPONSE_COST_S
        self._sends_left = min(self._sends_left + earned, len(waiting))
        is_paced = self._engine.computes_in_step and len(self._streams) > 1
        for stream in sorted(waiting, key=lambda stream: stream.sent_at):
            if stream.sent_at and self._sends_left < 1 and is_paced:
                return
            self._sends_left = max(self._sends_left - 1, 0.0)  # never negative: a lone stream sends beyond the share
            stream.port.send(stream.request.outputs(tuple(stream.unsent)))
            stream.unsent.clear()
            stream.sent_at = time.monotonic()


class EmbeddedModel(EngineModel):
    """Engine model ``embedded_llm``: a CPU library in this process."""

    def build(self, parameters: dict[str, Any]) -> TokenEngine:
        config = from_parameters(EmbeddedConfig, parameters)
        files = ModelFiles.open(Path(config.model_dir))
        choose = partial(build_pipeline, files.weights, config, pb_utils.Logger.log_info)
        return EmbeddedEngine(choose, files.limits)


class VllmModel(EngineModel):
    """Engine model ``vllm_llm``: vLLM, on GPUs or a CPU."""

    def build(self, parameters: dict[str, Any]) -> TokenEngine:
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")  # Triton's Python ignores its environment's locale; torch's files are not ASCII
        from budgetforce.engine.vllm_engine import VllmSource

        config = from_parameters(LibraryConfig, parameters)
        return AsyncEngine(partial(VllmSource.start, config), self.wake, pb_utils.Logger.log_error)


class LlmApiModel(EngineModel):
    """Engine model ``llmapi_llm``: TensorRT-LLM without its engine backend. Not yet run on a GPU."""

    def build(self, parameters: dict[str, Any]) -> TokenEngine:
        from budgetforce.engine.llmapi_engine import LlmApiSource

        config = from_parameters(LibraryConfig, parameters)
        return AsyncEngine(partial(LlmApiSource.start, config), self.wake, pb_utils.Logger.log_error)
