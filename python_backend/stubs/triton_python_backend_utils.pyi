# The part of Triton's pb_utils that this package uses, so that mypy knows it in one place.
# Source: python_backend src/resources/triton_python_backend_utils.py and its README, 24.10.
from typing import Any

import numpy.typing as npt

TRITONSERVER_RESPONSE_COMPLETE_FINAL: int

class Logger:
    @staticmethod
    def log_info(message: str) -> None: ...
    @staticmethod
    def log_error(message: str) -> None: ...

class Tensor:
    def __init__(self, name: str, array: npt.NDArray[Any]) -> None: ...
    def name(self) -> str: ...
    def as_numpy(self) -> npt.NDArray[Any]: ...

class TritonError(Exception):
    UNKNOWN: int
    INTERNAL: int
    NOT_FOUND: int
    INVALID_ARG: int
    UNAVAILABLE: int
    UNSUPPORTED: int
    ALREADY_EXISTS: int
    CANCELLED: int
    def __init__(self, message: str, code: int = ...) -> None: ...

class InferenceResponse:
    def __init__(self, output_tensors: list[Tensor] = ..., error: TritonError | None = ...) -> None: ...

class ResponseSender:
    def send(self, response: InferenceResponse | None = ..., flags: int = ...) -> None: ...
    def is_cancelled(self) -> bool: ...

class InferenceRequest:
    def inputs(self) -> list[Tensor]: ...
    def request_id(self) -> str: ...
    def get_response_sender(self) -> ResponseSender: ...
