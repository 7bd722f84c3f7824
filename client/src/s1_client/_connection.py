# SPDX-License-Identifier: Apache-2.0
"""A connection to a server and its calls, for threads. Twin of ``_aio_connection``."""

from __future__ import annotations

import logging
import queue
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from s1_client._base_stream import CANCELS_SAFELY, PATIENCE_S, BaseConnection, credentials_of, open_channel, version_of
from s1_client._errors import ConnectionFailed, S1Error
from s1_client._settings import Settings
from s1_client._tracing import Headers
from s1_client._wire import command_request, raise_error, streaming_method


class OpenCall:
    """A call whose own messages have not ended: commands go the same way as their request, whatever lies between."""

    def __init__(self, method: Any, message: Any, **settings: Any) -> None:
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._messages.put(message)
        self._call = method(iter(self._messages.get, None), **settings)
        if not self._call.add_callback(self.end_messages):  # gRPC's thread must not wait for a message for ever
            self.end_messages()

    def __iter__(self) -> OpenCall:
        return self

    def __next__(self) -> Any:
        """Return the next message from the server."""
        return next(self._call)

    def send(self, message: Any) -> None:
        """Send another message on this call."""
        self._messages.put(message)

    def end_messages(self) -> None:
        """Tell the server that no more messages follow."""
        self._messages.put(None)

    def cancel(self) -> None:
        """Cancel the call, whatever it does."""
        self._call.cancel()


class Connection(BaseConnection):
    """A gRPC channel to a server."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._channel = open_channel(grpc, settings, credentials_of(settings))
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._infer = streaming_method(self._channel)
        self._infer_open = streaming_method(self._channel, is_open=True)

    def close(self) -> None:
        """Close the channel, which cancels the requests that still run."""
        self._note_close()
        self._channel.close()

    def stream(self, message: Any, timeout_s: float, command: str = "") -> Any:
        """Begin a call, and return an iterator over its messages."""
        try:
            return self._infer(message, timeout=timeout_s, metadata=self._headers(message.id, command))
        except ValueError as error:
            raise ConnectionFailed("this client has been closed") from error

    def open_stream(self, message: Any, timeout_s: float, headers: Headers) -> OpenCall:
        """Begin a call to which messages can be added. ``headers``: of its request."""
        try:
            return OpenCall(self._infer_open, message, timeout=timeout_s, metadata=self._headers(message.id, of_request=headers))
        except ValueError as error:
            raise ConnectionFailed("this client has been closed") from error

    def ask(self, method: str, request: Any, timeout_s: float = PATIENCE_S) -> Any:
        """Return the response to a unary method of KServe's protocol, named as there. Raises S1Error."""
        try:
            response = getattr(self._stub, method)(request, timeout=timeout_s, metadata=self._settings.metadata)
        except grpc.RpcError as error:
            raise self.failure(error) from error
        except ValueError as error:
            raise ConnectionFailed("this client has been closed") from error
        self.note_response()
        return response

    def command(self, command: str, request_id: str, model: str, log_level: int = logging.INFO) -> None:
        """Send a command to a running request. Raises S1Error, InvalidRequest if none of that id runs."""
        request = command_request(command, request_id, model=model)
        self.note_command(command, request_id, log_level)
        try:
            for message in self.stream(request, PATIENCE_S, command):
                self.note_response()
                raise_error(message)
        except grpc.RpcError as error:
            raise self.failure(error) from error

    def cancels_safely(self) -> bool:
        """Return whether a flowing stream may be cancelled without harm to the server."""
        if self._version is None:
            try:
                self._version = version_of(self.ask("ServerMetadata", service_pb2.ServerMetadataRequest()).version)
            except S1Error:
                return True  # the server is gone, or this client is closed
        return self._version >= CANCELS_SAFELY
