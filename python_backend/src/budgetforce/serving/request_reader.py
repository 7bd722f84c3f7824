# SPDX-License-Identifier: Apache-2.0
"""Triton's requests as the orchestrator takes them: copied, and refused for their size or for what is no tensor.

This happens on the one thread that Triton hands requests to, so it is quick; what takes time in
proportion to a request is left to the orchestrator's workers.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import triton_python_backend_utils as pb_utils

from budgetforce.config import OrchestratorConfig
from budgetforce.errors import ConfigError, InvalidRequest
from budgetforce.serving.bounds import Bounds, check_request_id
from budgetforce.serving.incoming import Incoming, name_of
from budgetforce.serving.parameters import refuse_parameters
from budgetforce.serving.ports import ReplyPort, request_id_of

SEQUENCE_FLAGS = 1 | 2  # TRITONSERVER_REQUEST_FLAG_SEQUENCE_START, _END


class RequestReader:
    """Reads requests of Triton."""

    def __init__(self, config: OrchestratorConfig, fields: Sequence[str]) -> None:
        """``fields``: the names of the model's input tensors. Raises ConfigError for a pattern that is none."""
        self._fields = fields
        self._bounds = Bounds(max_text_bytes=config.max_text_bytes, max_words=config.max_words, max_words_bytes=config.max_words_bytes)
        try:
            self._forwarded = re.compile(config.forwarded_headers) if config.forwarded_headers else None
        except re.error as error:
            allowed = f"a regular expression ({error})"
            raise ConfigError(f"parameter 'forwarded_headers': got '{config.forwarded_headers}', allowed: {allowed}") from error

    def read(self, request: pb_utils.InferenceRequest) -> Incoming:
        """A copy of all that is needed of a request, which does not outlive ``execute``."""
        incoming = Incoming(
            request_id=uuid.uuid4().hex, inputs={}, outlet=ReplyPort(request.get_response_sender()), arrived=time.monotonic()
        )
        try:
            request_id = request_id_of(request)
            check_request_id(name_of(request_id))
            incoming.request_id = request_id or incoming.request_id
            self._refuse_what_is_no_tensor(request, request_id)
            incoming.inputs = self._inputs(request)
        except InvalidRequest as refusal:
            incoming.refusal = refusal.with_traceback(None)  # which leads to this frame, and so to the values and around in a circle
        return incoming

    def _inputs(self, request: pb_utils.InferenceRequest) -> Mapping[str, Sequence[Any]]:
        arrays = {tensor.name(): tensor.as_numpy().reshape(-1) for tensor in request.inputs()}
        for name, values in arrays.items():
            self._bounds.check(name, values)
        return {name: values.tolist() for name, values in arrays.items()}

    def _refuse_what_is_no_tensor(self, request: pb_utils.InferenceRequest, request_id: str) -> None:
        """Refuse what KServe's protocol and Triton's HTTP API let a request have that is no tensor."""
        refuse_parameters(_parameters_of(request), self._fields, request_id=request_id, forwarded=self._forwarded)
        if request.timeout():
            raise InvalidRequest("timeout", request.timeout(), "nothing as a request parameter: timeout_ms is the field for it")
        if request.flags() & SEQUENCE_FLAGS or request.correlation_id():
            raise InvalidRequest("sequence_id", request.correlation_id(), "nothing: this model knows no sequences of requests")


def _parameters_of(request: pb_utils.InferenceRequest) -> str:
    try:
        return request.parameters()
    except UnicodeDecodeError as error:
        raise InvalidRequest("request parameters", error.object[:20].hex(" "), "UTF-8 text") from None
