# SPDX-License-Identifier: Apache-2.0
"""Query a server's version, models and model configurations over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from tritonclient.grpc import service_pb2

from s1_client import AccessDenied, ServerNotReady
from s1_client._connection import Connection
from s1_client._settings import Settings

BUDGET_FORCING, ENGINE, OTHER = "budget forcing", "engine", "other"
ENGINES = ("tensorrt_llm", "embedded_llm", "vllm_llm", "llmapi_llm")  # those of this project


class Server:
    """A server's own description; answers are cached. Every attribute and method raises S1Error if the server does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._connection = Connection(settings)
        self._timeout_s = settings.connect_timeout_s
        self._configs: dict[str, Any] = {}
        self._model = settings.model

    def close(self) -> None:
        """Close the connection to the server."""
        self._connection.close()

    @cached_property
    def is_live(self) -> bool:
        """Whether the server is running."""
        return bool(self._query("ServerLive", service_pb2.ServerLiveRequest()).live)

    @cached_property
    def is_ready(self) -> bool:
        """Whether all models are loaded."""
        return bool(self._query("ServerReady", service_pb2.ServerReadyRequest()).ready)

    @cached_property
    def version(self) -> str:
        """The version of Triton, such as "2.51.0"."""
        return str(self._query("ServerMetadata", service_pb2.ServerMetadataRequest()).version)

    @cached_property
    def models(self) -> list[Any]:
        """The models in the repository, each with name, version, state and reason.

        The launcher's servers keep that list to themselves. Of such a server: our model and the known engines, as far as they are
        ready.
        """
        try:
            return list(self._query("RepositoryIndex", service_pb2.RepositoryIndexRequest()).models)
        except AccessDenied:
            return list(self._ready_models())

    def _ready_models(self) -> Iterator[Any]:
        for name in (self._model, *ENGINES):
            if self.has_ready(name):
                versions = self._query("ModelMetadata", service_pb2.ModelMetadataRequest(name=name)).versions
                yield service_pb2.RepositoryIndexResponse.ModelIndex(name=name, version=max(versions, default=""), state="READY")

    def has_ready(self, model: str) -> bool:
        """Return whether a model is loaded and accepts requests."""
        return bool(self._query("ModelReady", service_pb2.ModelReadyRequest(name=model)).ready)

    def require(self, model: str) -> None:
        """Raise S1Error unless the server answers and the model accepts requests."""
        if not self.has_ready(model):
            raise ServerNotReady(f"model '{model}' is not ready; s1 models lists the server's models")

    def config(self, model: str) -> Any:
        """Return the configuration of a loaded model."""
        if model not in self._configs:
            self._configs[model] = self._query("ModelConfig", service_pb2.ModelConfigRequest(name=model)).config
        return self._configs[model]

    def parameter(self, model: str, name: str) -> str | None:
        """Return a parameter of a model's configuration; None if it is unset or an unexpanded environment variable."""
        value = self.config(model).parameters[name].string_value if name in self.config(model).parameters else ""
        return None if not value or value.startswith("${") else str(value)

    def kind(self, model: str) -> str:
        """Return the kind of a loaded model, judged by its input tensors."""
        tensors = {tensor.name for tensor in self.config(model).input}
        if {"text_input", "max_thinking_tokens"} <= tensors:
            return BUDGET_FORCING
        return ENGINE if {"input_ids", "request_output_len"} <= tensors else OTHER

    def _query(self, method: str, request: Any) -> Any:
        return self._connection.ask(method, request, self._timeout_s)
