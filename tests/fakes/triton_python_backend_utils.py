# SPDX-License-Identifier: Apache-2.0
"""Triton's ``triton_python_backend_utils`` for tests without a server: it records what is sent, and is as strict.

Like the real one it refuses a send after the final one, and asking ``is_cancelled()`` then
(which crashes the real server) fails the test.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1


class Logger:
    """Records the lines with their levels."""

    entries: list[tuple[str, str]] = []  # noqa: RUF012  # the real one is global, too

    @staticmethod
    def log_info(message: str) -> None:
        Logger.entries.append(("info", message))

    @staticmethod
    def log_warn(message: str) -> None:
        Logger.entries.append(("warning", message))

    @staticmethod
    def log_error(message: str) -> None:
        Logger.entries.append(("error", message))

    @staticmethod
    def lines() -> list[str]:
        return [line for _, line in Logger.entries]


class TritonError(Exception):
    UNKNOWN, INTERNAL, NOT_FOUND, INVALID_ARG, UNAVAILABLE, UNSUPPORTED, ALREADY_EXISTS, CANCELLED = range(8)

    def __init__(self, message: str, code: int = INTERNAL) -> None:
        super().__init__(message)
        self.code = code

    def message(self) -> str:
        return str(self)


class TritonModelException(Exception):
    pass


@dataclass
class Tensor:
    _name: str
    _array: Any

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> Any:
        return self._array


@dataclass
class InferenceResponse:
    output_tensors: list[Tensor] = field(default_factory=list)
    error: TritonError | None = None


class ResponseSender:
    """Records responses; ``finished`` is set with the final one."""

    def __init__(self) -> None:
        self.responses: list[InferenceResponse] = []
        self.finished = threading.Event()
        self.cancelled = False

    def send(self, response: InferenceResponse | None = None, flags: int = 0) -> None:
        if self.finished.is_set():
            raise RuntimeError("Response sender has been closed")
        if response is not None:
            self.responses.append(response)
        if flags == TRITONSERVER_RESPONSE_COMPLETE_FINAL:
            self.finished.set()

    def is_cancelled(self) -> bool:
        if self.finished.is_set():
            raise AssertionError("is_cancelled() after the final response: crashes a real server")
        return self.cancelled

    def texts(self, name: str) -> list[str]:
        """The values of one string output over all responses that have it."""
        tensors = [tensor for response in self.responses for tensor in response.output_tensors]
        return [tensor.as_numpy().flat[0].decode() for tensor in tensors if tensor.name() == name]


class InferenceRequest:
    """``beside`` is what a request has that is no tensor: ``parameters`` (JSON), ``timeout``, ``flags``, ``correlation_id``.

    ``context`` among it is the JSON of Triton's own span, None for a request that Triton does not trace. Without it the request is as
    of a Triton before 24.03, which does not tell.
    """

    def __init__(self, inputs: dict[str, Any], request_id: str = "", **beside: Any) -> None:
        self._inputs = [Tensor(name, array) for name, array in inputs.items()]
        self._request_id = request_id
        self._beside = {"parameters": "{}", "timeout": 0, "flags": 0, "correlation_id": 0, **beside}
        self.sender = ResponseSender()
        if "context" in beside:
            self.trace = lambda: SimpleNamespace(get_context=lambda: beside["context"])

    def parameters(self) -> str:
        return str(self._beside["parameters"])

    def timeout(self) -> int:
        return int(self._beside["timeout"])

    def flags(self) -> int:
        return int(self._beside["flags"])

    def correlation_id(self) -> int | str:
        return self._beside["correlation_id"]  # type: ignore[no-any-return]

    def inputs(self) -> list[Tensor]:
        return self._inputs

    def request_id(self) -> str:
        return self._request_id

    def get_response_sender(self) -> ResponseSender:
        return self.sender


class Metric:
    """``observations`` are a histogram's, ``value`` is that of the others."""

    def __init__(self, kind: str, buckets: list[float] | None) -> None:
        if (kind == MetricFamily.HISTOGRAM) != (buckets is not None) or (buckets and sorted(buckets) != buckets):
            raise TritonModelException("buckets must be given for histograms only, in ascending order")
        self.value = 0.0
        self.buckets = buckets
        self.observations: list[float] = []

    def observe(self, value: float) -> None:
        if self.buckets is None:
            raise TritonModelException("only a histogram takes observations")
        self.observations.append(value)

    def increment(self, value: float) -> None:
        if value < 0:
            raise ValueError("a counter never falls")
        self.value += value

    def set(self, value: float) -> None:
        self.value = value


class MetricFamily:
    """All metrics by name and labels, in ``metrics``."""

    COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
    metrics: dict[tuple[str, frozenset[tuple[str, str]]], Metric] = {}  # noqa: RUF012  # the server's, too, outlive a model

    def __init__(self, name: str, description: str, kind: str) -> None:
        self._name, self._kind = name, kind

    def Metric(self, labels: dict[str, str], buckets: list[float] | None = None) -> Metric:
        return self.metrics.setdefault((self._name, frozenset(labels.items())), Metric(self._kind, buckets))
