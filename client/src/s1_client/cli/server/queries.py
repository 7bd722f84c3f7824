# SPDX-License-Identifier: Apache-2.0
"""What a server tells of itself: versions, models, their configurations."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from tritonclient.grpc import service_pb2

from s1_client import ServerNotReady
from s1_client._settings import Settings
from s1_client._stream import Connection

BUDGET_FORCING, ENGINE, OTHER = "budget forcing", "engine", "other"


class Server:
    """Asks once, and remembers. Every attribute and method raises S1Error if the server does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._connection = Connection(settings)
        self._timeout_s = settings.connect_timeout_s
        self._configs: dict[str, Any] = {}

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    @cached_property
    def is_live(self) -> bool:
        """It answers."""
        return bool(self._ask("ServerLive", service_pb2.ServerLiveRequest()).live)

    @cached_property
    def is_ready(self) -> bool:
        """All that it was told to load is loaded."""
        return bool(self._ask("ServerReady", service_pb2.ServerReadyRequest()).ready)

    @cached_property
    def version(self) -> str:
        """Triton's own, as "2.51.0"."""
        return str(self._ask("ServerMetadata", service_pb2.ServerMetadataRequest()).version)

    @cached_property
    def models(self) -> list[Any]:
        """Name, version, state and reason of each model in the repository."""
        return list(self._ask("RepositoryIndex", service_pb2.RepositoryIndexRequest()).models)

    def has_ready(self, model: str) -> bool:
        """Whether a model is loaded and takes requests."""
        return bool(self._ask("ModelReady", service_pb2.ModelReadyRequest(name=model)).ready)

    def require(self, model: str) -> None:
        """Raise S1Error unless the server answers and the model takes requests."""
        if not self.has_ready(model):
            raise ServerNotReady(f"model '{model}' is not ready; s1 models lists what is there")

    def config(self, model: str) -> Any:
        """A loaded model's configuration."""
        if model not in self._configs:
            self._configs[model] = self._ask("ModelConfig", service_pb2.ModelConfigRequest(name=model)).config
        return self._configs[model]

    def parameter(self, model: str, name: str) -> str | None:
        """A parameter of a model's configuration, if it has it, and not only the name of an environment variable."""
        value = self.config(model).parameters[name].string_value if name in self.config(model).parameters else ""
        return None if not value or value.startswith("${") else str(value)

    def kind(self, model: str) -> str:
        """What a loaded model is, by its tensors."""
        tensors = {tensor.name for tensor in self.config(model).input}
        if {"text_input", "max_thinking_tokens"} <= tensors:
            return BUDGET_FORCING
        return ENGINE if {"input_ids", "request_output_len"} <= tensors else OTHER

    def _ask(self, method: str, request: Any) -> Any:
        return self._connection.ask(method, request, self._timeout_s)
