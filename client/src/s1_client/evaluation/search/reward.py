# SPDX-License-Identifier: Apache-2.0
"""Score the steps of an answer with a reward model: a Python callable, or a model that Triton serves.

A served reward model has these tensors:

    question  BYTES [1]   the question
    steps     BYTES [n]   n partial answers, each a JSON list of its steps
    scores    FP32  [n]   score of the last step of each, the higher the better
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol

import grpc
import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from s1_client._errors import ServerFailed
from s1_client._settings import TLS, make_settings

_CHECK_S = 30.0


class Scorer(Protocol):
    """A process-reward model that scores partial answers."""

    def __call__(self, question: str, answers: Sequence[Sequence[str]]) -> Sequence[float]:
        """Return a score for each partial answer, which is given as its steps."""
        ...


class ServedScorer:
    """A reward model served by Triton, with the tensors that the module's docstring lists.

    Args:
        url: host:port of Triton's gRPC endpoint, prefixed with grpcs:// for TLS.
        model: name of the model on the server.
        tls: certificates of the connection; None = none.
        headers: gRPC metadata of every call.
        timeout_s: time limit of a call.

    Thread-safe. Raises ValueError for an invalid address or header, and OSError for a certificate that cannot be read.
    """

    def __init__(
        self, url: str, model: str, *, tls: TLS | None = None, headers: Mapping[str, str] | None = None, timeout_s: float = 600.0
    ) -> None:
        metadata = {} if headers is None else headers
        settings = make_settings(url, tls=tls, token=None, secret=None, metadata=metadata, trust_env=False, model=model)
        credentials = settings.tls and grpc.ssl_channel_credentials(**settings.tls.read())
        self._client = InferenceServerClient(settings.address, creds=credentials)
        self._url = url
        self._model = model
        self._headers = dict(settings.metadata)
        self._timeout_s = timeout_s

    def check(self) -> None:
        """Raise ServerFailed if the model is not ready."""
        try:
            is_ready = self._client.is_model_ready(self._model, headers=self._headers, client_timeout=_CHECK_S)
        except InferenceServerException as error:
            raise ServerFailed(f"reward model {self._model} at {self._url}: {error.message()}") from error
        if not is_ready:
            raise ServerFailed(f"reward model {self._model} at {self._url}: not ready or not on the server")

    def __call__(self, question: str, answers: Sequence[Sequence[str]]) -> list[float]:
        """Return a score for each partial answer. Raises ServerFailed if the model fails or returns other than finite scores."""
        inputs = [_texts("question", [question]), _texts("steps", [json.dumps(list(steps), ensure_ascii=False) for steps in answers])]
        try:
            result = self._client.infer(
                self._model, inputs, outputs=[InferRequestedOutput("scores")], headers=self._headers, client_timeout=self._timeout_s
            ).as_numpy("scores")
        except InferenceServerException as error:
            raise ServerFailed(f"reward model {self._model}: {error.message()}") from error
        scores: list[float] = [] if result is None else [float(score) for score in result.reshape(-1)]
        if len(scores) != len(answers) or not all(map(math.isfinite, scores)):
            raise ServerFailed(f"reward model {self._model}: got {scores}, allowed: a finite number for each of {len(answers)} answers")
        return scores

    def __enter__(self) -> ServedScorer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection to the server."""
        self._client.close()


def _texts(name: str, texts: Sequence[str]) -> InferInput:
    tensor = InferInput(name, [len(texts)], "BYTES")
    tensor.set_data_from_numpy(np.array([text.encode() for text in texts], dtype=np.object_))
    return tensor
