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
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import triton_python_backend_utils as pb_utils

from budgetforce.config import EmbeddedConfig, LibraryConfig, from_parameters
from budgetforce.engine.async_engine import AsyncEngine
from budgetforce.engine.cpu.embedded import EmbeddedEngine
from budgetforce.engine.cpu.pipelines import build_pipeline
from budgetforce.engine.model_files import ModelFiles
from budgetforce.engine.token_engine import Progress, TokenEngine
from budgetforce.errors import BudgetForceError, Cancelled, EngineFailed, EngineUnavailable
from budgetforce.serving.engine_health import cancel_check_period_s
from budgetforce.serving.engine_inputs import EngineRequest, PerfMetrics, read_engine_request
from budgetforce.serving.ports import ResponsePort, request_id_of

# Sending and computing share the cores. A response on its way to the client slows a step by about this much (measured on 2 cores:
# 1.3 ms of CPU in Triton, s1 and the client) ...
RESPONSE_COST_S = 1.35e-3
SENDING_SHARE = 0.065  # ... and responses may use this share of the time; ids beyond it wait and leave together

T = TypeVar("T")


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
            parsed = self._outcome(port, partial(_read, request))
            if parsed is not None:
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

    def _outcome(self, port: ResponsePort, work: Callable[[], T]) -> T | None:
        """Return the outcome of work on a request; None if its error has ended the request."""
        try:
            return work()
        except BudgetForceError as error:
            _attempt(partial(port.fail, error))
        except Exception:  # noqa: BLE001  # a bug of ours, or a tensor that Triton cannot hand over
            _attempt(partial(port.fail, _logged_error()))
        return None

    # --- the engine's thread: nothing may end it, because all requests depend on it ----------------

    def _run(self) -> None:
        while self._wait_for_work():
            try:
                self._work()
            except Exception:  # noqa: BLE001  # a bug of ours
                error = _logged_error()
                for key in list(self._streams):
                    self._drop(key, error)
        for port in [*(stream.port for stream in self._streams.values()), *(port for _, port, _ in self._inbox)]:
            _attempt(partial(port.fail, EngineUnavailable("the server is shutting down")))

    def _work(self) -> None:
        self._submit_queued()
        self._drop_cancelled()
        started = time.monotonic()
        progress = self._engine.step()
        self._last_step_s = time.monotonic() - started
        self._deliver(progress)

    def _drop(self, key: int, error: BudgetForceError | None) -> None:
        """Stop a call, and end its request with ``error``, or without any if it is None."""
        port = self._streams.pop(key).port
        _attempt(port.close if error is None else partial(port.fail, error))
        self._engine.cancel(key)

    def _wait_for_work(self) -> bool:
        """Wait for work or for the next cancel check; return False when the model stops."""
        with self._wake:
            while not (self._stopping or self._inbox or self._engine.has_work()):
                if not self._wake.wait(cancel_check_period_s(len(self._streams)) if self._streams else None):
                    break
            return not self._stopping

    def _submit_queued(self) -> None:
        while self._inbox:
            request, port, arrived_ns = self._inbox.popleft()
            if request.stop:
                self._stop_request(request.request_id)
                _attempt(port.close)
            elif (submitted := self._outcome(port, partial(self._engine.submit, request.call))) is not None:
                key, usage = submitted
                self._streams[key] = _Stream(request, port, PerfMetrics(usage, arrived_ns))

    def _stop_request(self, request_id: str) -> None:
        for key, stream in list(self._streams.items()):
            if stream.request.request_id == request_id:
                self._drop(key, None)

    def _drop_cancelled(self) -> None:
        now, period_s = time.monotonic(), cancel_check_period_s(len(self._streams))
        for key, stream in list(self._streams.items()):
            if now - stream.cancel_checked_at < period_s:
                continue
            stream.cancel_checked_at = now
            _attempt(partial(self._drop_if_cancelled, key))

    def _drop_if_cancelled(self, key: int) -> None:
        if self._streams[key].port.is_cancelled():
            self._drop(key, Cancelled("the request was cancelled"))

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
            _attempt(partial(stream.port.fail, error))
            return
        outputs = stream.request.outputs(tuple(stream.unsent))
        if stream.request.return_perf_metrics:
            outputs |= stream.metrics.outputs()
        _attempt(partial(stream.port.send, outputs, final=True))

    def _send_within_share(self) -> None:
        """Send deltas of the running streams: each stream's first at once, the others in the order of their last send, within the share.

        A stream that runs alone sends every id; of sixteen on two cores each sends about four times a second. An engine that does not
        compute in this thread is not slowed by sending: then every stream sends.
        """
        waiting = [(key, stream) for key, stream in self._streams.items() if stream.unsent and stream.request.streaming]
        earned = SENDING_SHARE * self._last_step_s / RESPONSE_COST_S
        self._sends_left = min(self._sends_left + earned, len(waiting))
        is_paced = self._engine.computes_in_step and len(self._streams) > 1
        for key, stream in sorted(waiting, key=lambda entry: entry[1].sent_at):
            if stream.sent_at and self._sends_left < 1 and is_paced:
                return
            self._sends_left = max(self._sends_left - 1, 0.0)  # never negative: a lone stream sends beyond the share
            if _attempt(partial(stream.port.send, stream.request.outputs(tuple(stream.unsent)))):
                stream.unsent.clear()
                stream.sent_at = time.monotonic()
            else:
                self._drop(key, EngineFailed("a response could not be sent; the server's log has the reason"))


def _read(request: pb_utils.InferenceRequest) -> EngineRequest:
    inputs = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
    return read_engine_request(request_id_of(request), inputs)


def _attempt(action: Callable[[], object]) -> bool:
    """Send a response, or check for a cancel; return whether Triton did it. A failure is logged."""
    try:
        action()
    except Exception as error:  # noqa: BLE001  # such as shared memory that is exhausted
        pb_utils.Logger.log_error(f"engine model: {error}")
        return False
    return True


def _logged_error() -> BudgetForceError:
    """Log the exception that is being handled; return the error for the requests that it ends."""
    pb_utils.Logger.log_error(f"engine model: unexpected error\n{traceback.format_exc()}")
    return BudgetForceError("unexpected error; the server's log has it")


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
