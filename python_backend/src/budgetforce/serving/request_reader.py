# SPDX-License-Identifier: Apache-2.0
"""Copies Triton's requests for the orchestrator, and refuses oversized tensors, request parameters, and KServe's timeout and sequences.

This runs on the only thread that Triton hands requests to, so it must be quick; work that grows with a request's size is left to the
orchestrator's workers.
"""

from __future__ import annotations

import re
import time
import traceback
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from budgetforce.config import OrchestratorConfig
from budgetforce.engine.endpoint import read_secret
from budgetforce.errors import ConfigError, InvalidRequest, unexpected_error
from budgetforce.serving.incoming import IncomingRequest, name_of
from budgetforce.serving.logs import ServerLog
from budgetforce.serving.ports import ReplyPort, request_id_of
from budgetforce.serving.replies.span_context import SpanContext
from budgetforce.serving.requests.bounds import Bounds, check_request_id
from budgetforce.serving.requests.parameters import read_parameters, refuse_parameters
from budgetforce.serving.requests.tenant import tenant_of
from budgetforce.serving.trace_sampling import TraceSampling, context_in

SEQUENCE_FLAGS = 1 | 2  # TRITONSERVER_REQUEST_FLAG_SEQUENCE_START, _END


class RequestReader:
    """Turns Triton's request objects into ``IncomingRequest``."""

    def __init__(self, config: OrchestratorConfig, fields: Sequence[str], log: ServerLog) -> None:
        """``fields``: the names of the model's input tensors.

        Raises ConfigError if ``forwarded_headers`` is not a regular expression, or the secret's file cannot be read.
        """
        self._fields = fields
        self._log = log
        self._sampling = TraceSampling(is_on=bool(config.trace_url), rate=config.trace_rate)
        self._tenant_secret = read_secret(Path(config.tenant_secret_file)) if config.tenant_secret_file else ""
        self._bounds = Bounds(max_text_bytes=config.max_text_bytes, max_words=config.max_words, max_words_bytes=config.max_words_bytes)
        try:
            self._forwarded = re.compile(config.forwarded_headers) if config.forwarded_headers else None
        except re.error as error:
            allowed = f"a regular expression ({error})"
            raise ConfigError(f"parameter 'forwarded_headers': got '{config.forwarded_headers}', allowed: {allowed}") from error

    def read(self, request: pb_utils.InferenceRequest) -> IncomingRequest:
        """Copy everything that is needed of a request, which does not outlive ``execute``.

        Any error becomes the ``refusal``: an exception here would lose the requests that Triton handed over in the same call.
        """
        writer = ReplyPort(request.get_response_sender(), self._log)
        incoming = IncomingRequest(request_id=uuid.uuid4().hex, inputs={}, writer=writer, arrived=time.monotonic())
        try:
            incoming.span = self._sampling.span_of(_parents_of(request)) if self._sampling.is_on else None
            request_id = request_id_of(request)
            check_request_id(name_of(request_id))
            incoming.request_id = request_id or incoming.request_id
            parameters = read_parameters(_parameters_of(request))
            incoming.tenant = tenant_of(parameters, self._tenant_secret)
            self._check_beside_tensors(request, parameters, request_id)
            incoming.inputs = self._inputs(request)
        except InvalidRequest as refusal:
            incoming.refusal = refusal.with_traceback(None)  # a traceback holds this frame: a reference circle with all the values
        except Exception:  # noqa: BLE001  # a bug of ours, or a tensor that Triton cannot hand over
            incoming.traceback = traceback.format_exc()
            incoming.refusal = unexpected_error(incoming.name)
        return incoming

    def _inputs(self, request: pb_utils.InferenceRequest) -> Mapping[str, Sequence[Any]]:
        arrays = {tensor.name(): tensor.as_numpy().reshape(-1) for tensor in request.inputs()}
        for name, values in arrays.items():
            self._bounds.check(name, values)
        return {name: values.tolist() for name, values in arrays.items()}

    def _check_beside_tensors(self, request: pb_utils.InferenceRequest, parameters: Sequence[tuple[str, Any]], request_id: str) -> None:
        """Raise InvalidRequest for request parameters, a timeout or a sequence, which KServe's protocol and Triton's HTTP API
        allow beside the tensors.
        """
        refuse_parameters(parameters, self._fields, request_id=request_id, forwarded=self._forwarded)
        if request.timeout():
            raise InvalidRequest("timeout", request.timeout(), "nothing as a request parameter: timeout_ms is the field for it")
        if request.flags() & SEQUENCE_FLAGS or request.correlation_id():
            raise InvalidRequest("sequence_id", request.correlation_id(), "nothing: this model has no sequences of requests")


def _parents_of(request: pb_utils.InferenceRequest) -> list[SpanContext | None]:
    """Return the contexts of Triton's own span and, if Triton forwards the caller's header, of the caller's.

    Triton before 24.03 does not tell its own. A later one has none for a request that it does not trace: when its tracing is off, or
    at rate 0 if the request brought no ``traceparent``.
    """
    of_triton = getattr(request.trace(), "get_context", None) if hasattr(request, "trace") else None
    return [None if of_triton is None else context_in(of_triton()), context_in(_parameters_of(request))]


def _parameters_of(request: pb_utils.InferenceRequest) -> str:
    try:
        return request.parameters()
    except UnicodeDecodeError as error:
        raise InvalidRequest("request parameters", error.object[:20].hex(" "), "UTF-8 text") from None
