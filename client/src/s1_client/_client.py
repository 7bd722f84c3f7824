# SPDX-License-Identifier: Apache-2.0
"""The client: one channel, any number of requests on it at once, from any thread."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from s1_client import _wire
from s1_client._errors import Cancelled, ConnectionFailed, S1Error
from s1_client._types import Event, Reply

DEADLINE_S = 600.0  # thinking takes minutes; a request without a deadline could hang for ever
STOP_PATIENCE_S = 2.0  # for a request that was told to end
CANCELS_SAFELY = (2, 57)  # Triton 25.04
_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]

Prompt = str | Sequence[Mapping[str, str]]


class Client:
    """A connection to a Triton server that serves ``s1``.

    Args:
        url: "host:port" of its gRPC endpoint, with or without "grpc://".
        model: the model's name on the server.
        deadline_s: how long a request may take in all.
    """

    def __init__(self, url: str = "127.0.0.1:8001", *, model: str = _wire.MODEL, deadline_s: float = DEADLINE_S) -> None:
        self._model = model
        self._deadline_s = deadline_s
        self._channel = grpc.insecure_channel(url.removeprefix("grpc://"), options=_UNLIMITED)
        self._version: tuple[int, ...] | None = None
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; requests that still run are cancelled."""
        self._channel.close()

    def stream(self, prompt: Prompt, *, request_id: str = "", **options: Any) -> Iterator[Event]:
        """Ask, and get the reply as it comes: a ``Done`` is the last event, of each sample if there are several.

        Closing the iterator early cancels the request on the server.

        Args:
            prompt: a question, or chat messages with ``role`` and ``content``.
            request_id: names the request, for ``answer_now`` and ``cancel``; one is made up otherwise.
            options: thinking, max_thinking_tokens, min_thinking_tokens, num_ignore, ignore_str,
                grace_tokens, answer_prefix, answer_prefix_policy, max_tokens, stop_words,
                num_samples, priority, timeout_ms, on_timeout, preset; temperature, top_k, top_p, seed, bad_words and the penalties,
                also with thinking_ before their name.

        Raises S1Error (see ``s1_client._errors``), TypeError for an unknown option.
        """
        request_id = request_id or uuid.uuid4().hex  # a name of its own, to be ended by
        request = _wire.infer_request(prompt, options, stream=True, request_id=request_id, model=self._model)
        yield from self._events(request)

    def think(self, prompt: Prompt, **options: Any) -> Reply:
        """Ask, and get the whole reply. Arguments and errors are those of ``stream``; for one sample."""
        if (options.get("num_samples") or 1) > 1:
            raise TypeError("think() is for one sample; for several there is samples()")
        return self.samples(prompt, **options)[0]

    def samples(self, prompt: Prompt, **options: Any) -> list[Reply]:
        """Ask, and get ``num_samples`` whole replies. Arguments and errors are those of ``stream``."""
        return _wire.join(list(self.stream(prompt, **options)))

    def answer_now(self, request_id: str) -> None:
        """Tell the running request of that id to close its thinking and answer.

        Raises InvalidRequest if none of that id runs.
        """
        self._command("answer_now", request_id)

    def cancel(self, request_id: str) -> None:
        """End the running request of that id; whoever reads it gets ``Cancelled``.

        Raises InvalidRequest if none of that id runs.
        """
        self._command("cancel", request_id)

    def _command(self, command: str, request_id: str) -> None:
        for response in self._messages(_wire.command_request(command, request_id, model=self._model)):
            _wire.raise_error(response)

    def _events(self, request: Any) -> Iterator[Event]:
        for response in self._messages(request):
            event = _wire.read_response(response)
            if event is not None:
                yield event

    def _messages(self, request: Any) -> Iterator[Any]:
        try:
            responses = self._stub.ModelStreamInfer(iter([request]), timeout=self._deadline_s)
        except ValueError as error:
            raise ConnectionFailed("this client has been closed") from error
        failed = None
        try:
            for response in responses:
                if response.error_message:
                    failed = response
                    _read_to_end(responses)
                    break
                yield response
        except grpc.RpcError as error:
            raise _translated(error) from error
        except (GeneratorExit, KeyboardInterrupt):
            self._leave(request, responses)
            raise
        finally:
            responses.cancel()
        if failed is not None:  # out here: whoever gets it leaves, and there is nothing left to end
            yield failed

    def _leave(self, request: Any, responses: Any) -> None:
        """End a stream in the middle. Before 25.04 Triton may crash when one is cancelled while a response is on its
        way: there the request is told to end, and the stream read to its end.
        """
        if self._server_version() >= CANCELS_SAFELY:
            return
        patience = threading.Timer(STOP_PATIENCE_S, responses.cancel)
        patience.start()
        try:
            command = _wire.command_request("cancel", request.id, model=self._model)
            for told in self._stub.ModelStreamInfer(iter([command]), timeout=STOP_PATIENCE_S):
                _wire.raise_error(told)
            _read_to_end(responses)
        except (S1Error, grpc.RpcError, ValueError):
            pass  # it has ended by itself, or cannot be told; ValueError: this client is closed
        finally:
            patience.cancel()

    def _server_version(self) -> tuple[int, ...]:
        if self._version is None:
            try:
                told = self._stub.ServerMetadata(service_pb2.ServerMetadataRequest(), timeout=STOP_PATIENCE_S).version
            except (grpc.RpcError, ValueError):
                return CANCELS_SAFELY  # it is gone, or this client is closed
            self._version = tuple(int(part) for part in told.split(".")[:2])
        return self._version


def _read_to_end(responses: Iterator[Any]) -> None:
    """An error is the last message, but a stream that is cancelled in the moment it ends
    can leave a reference to the model behind in Triton 24.10, which then stops late.
    """
    with contextlib.suppress(grpc.RpcError):
        for _ in responses:
            pass


def _translated(error: grpc.RpcError) -> S1Error:
    if error.code() is grpc.StatusCode.CANCELLED:
        return Cancelled(error.details())
    return ConnectionFailed(f"{error.code().name}: {error.details()}")
