# SPDX-License-Identifier: Apache-2.0
"""The fake server: a gRPC server around ``_forcing`` and ``_messages``."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import grpc
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from s1_client._errors import Cancelled, ConnectionFailed, DeadlineExceeded, InvalidRequest, S1Error
from s1_client._fields import FIELDS
from s1_client._types import Event
from s1_client._wire import OPTIONS, name_of
from s1_client._wire.values import LISTS
from s1_client.testing._forcing import ANSWER, THINKING, Sample, Script, Vocabulary
from s1_client.testing._messages import command_response, error_message, message_of, options_of, prompt_of, read_inputs, whole_message

COMMANDS = ("answer_now", "cancel")
_THREADS = 1024  # each stream holds a thread
_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]  # as Triton's
_ANSWER_SHARE = 0.2  # of the time, kept for the answer where on_timeout says so
_TYPES = {"BYTES": "TYPE_STRING", "INT32": "TYPE_INT32", "FP32": "TYPE_FP32", "UINT64": "TYPE_UINT64", "BOOL": "TYPE_BOOL"}


@dataclass(slots=True)
class ReceivedRequest:
    """A request that the FakeServer received.

    Attributes:
        id: its name.
        prompt: the question, or the chat messages.
        options: the request fields that it had.
        end: "done", or the name of the error that ended it; None while it runs.
        commands: the commands that it received: "answer_now", "cancel".
        headers: its gRPC headers, "s1-tenant" among them.
    """

    id: str
    prompt: str | list[dict[str, str]]
    options: dict[str, Any]
    end: str | None = None
    commands: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


class FakeServer:
    """A server of model ``s1`` on a free port of this machine, in this process. It runs within its ``with`` block.

    Args:
        model: the model's name.
        triton_version: the version that it reports. Before 2.57 clients send a command rather than cancel a stream.
        credentials: ``grpc.ServerCredentials`` for TLS.
        interceptors: gRPC interceptors, to inspect calls.

    Attributes:
        requests: the requests received, in order.
    """

    def __init__(
        self,
        *,
        model: str = "s1",
        triton_version: str = "2.51.0",
        credentials: grpc.ServerCredentials | None = None,
        interceptors: Sequence[grpc.ServerInterceptor] = (),
    ) -> None:
        self.requests: list[ReceivedRequest] = []
        self._model = model
        self._lasting: dict[str, Script] = {}
        self._queued: deque[Script] = deque()
        self._server = grpc.server(
            ThreadPoolExecutor(_THREADS, thread_name_prefix="fake-s1"), interceptors=interceptors, options=_UNLIMITED
        )
        service = _Service(self._script_for, self.requests, model, triton_version)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(service, self._server)
        address = "127.0.0.1:0"
        self._port = self._server.add_secure_port(address, credentials) if credentials else self._server.add_insecure_port(address)

    @property
    def url(self) -> str:
        """The server's address, for a client."""
        return f"127.0.0.1:{self._port}"

    def says(
        self,
        *,
        to: str = "",
        thinking: str | tuple[str, ...] = THINKING,
        answer: str = ANSWER,
        start_delay_s: float = 0.0,
        token_delay_s: float = 0.0,
        error: S1Error | None = None,
        error_after: int = 0,
    ) -> None:
        """Set the model's reply to every prompt that contains ``to``. Of several that match, the latest counts.

        Args:
            to: part of the prompt; "" = any prompt.
            thinking: the thinking, up to the end that the model wants; a tuple: up to each end, the last text for all further ends.
            answer: the answer.
            start_delay_s: seconds before the request counts as running.
            token_delay_s: seconds before each token.
            error: the error that the request fails with, as ``Overloaded("full", retry_after_s=2.0)``.
            error_after: number of events before the error.
        """
        script = Script(
            thinking=thinking, answer=answer, start_delay_s=start_delay_s, token_delay_s=token_delay_s, error=error, error_after=error_after
        )
        self._lasting = {**{part: other for part, other in self._lasting.items() if part != to}, to: script}  # the latest comes last

    def will_say(
        self,
        *,
        thinking: str | tuple[str, ...] = THINKING,
        answer: str = ANSWER,
        start_delay_s: float = 0.0,
        token_delay_s: float = 0.0,
        error: S1Error | None = None,
        error_after: int = 0,
    ) -> None:
        """Set the reply to the next request, whatever its prompt; called again, to the request after that. Arguments as ``says``."""
        script = Script(
            thinking=thinking, answer=answer, start_delay_s=start_delay_s, token_delay_s=token_delay_s, error=error, error_after=error_after
        )
        self._queued.append(script)

    def _script_for(self, prompt: str) -> Script:
        with contextlib.suppress(IndexError):
            return self._queued.popleft()
        return next((script for to, script in reversed(self._lasting.items()) if to in prompt), Script())

    def __enter__(self) -> FakeServer:
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.stop(grace=None).wait()


class _Running:
    """A running request and the commands that it receives."""

    def __init__(self, received: ReceivedRequest, delay_s: float) -> None:
        self.received = received
        self._delay_s = delay_s
        self._timeout_ms, self._on_timeout = received.options.get("timeout_ms"), received.options.get("on_timeout", "cancel")
        self._started = time.monotonic()
        self._is_woken = threading.Event()
        self._answer_now_pending = self._is_cancelled = False

    def obey(self, command: str) -> None:
        """Take a command, from any thread."""
        if command == "answer_now":
            self._answer_now_pending = True
        else:
            self._is_cancelled = True
            self._is_woken.set()

    def pause(self, phase: str) -> str | None:
        """Wait before a token, as ``Sample.pause`` says. Raises Cancelled or DeadlineExceeded."""
        used = self._share_of_time(self._delay_s)
        self._is_woken.wait(self._delay_s)
        if self._is_cancelled:
            raise Cancelled("the request was cancelled")
        if used >= 1 and self._on_timeout == "cancel":
            raise DeadlineExceeded(f"timeout_ms {self._timeout_ms} was over before the reply was complete")
        if used >= (1 if phase == "answer" else 1 - _ANSWER_SHARE):
            return "deadline" if self._on_timeout == "answer" else None
        return "answer_now" if self._answer_now_pending and phase == "thinking" else None

    def _share_of_time(self, more_s: float) -> float:
        if self._timeout_ms is None:
            return 0.0
        return float((time.monotonic() - self._started + more_s) * 1e3 / self._timeout_ms)


def _until_error(events: Iterator[Event], script: Script) -> Iterator[Event]:
    """Yield the events. Raises the script's error, if it has one, at its place."""
    for number, event in enumerate(events):
        if script.error is not None and number == script.error_after:
            raise script.error
        yield event


class _Service(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # untyped
    """Implements the methods of KServe's protocol that the client calls."""

    def __init__(self, script_for: Callable[[str], Script], requests: list[ReceivedRequest], model: str, version: str) -> None:
        self._script_for = script_for
        self._requests = requests
        self._model = model
        self._version = version
        self._vocabulary = Vocabulary()
        self._running: dict[str, _Running] = {}

    def ModelStreamInfer(self, request_iterator: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802
        """Answer the requests and commands of a stream, each as it comes."""
        responses: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._answer_all, args=(request_iterator, context, responses), daemon=True).start()
        while (response := responses.get()) is not None:
            if isinstance(response, ConnectionFailed):
                context.abort(grpc.StatusCode.UNAVAILABLE, str(response))
            yield response

    def _answer_all(self, requests: Iterator[Any], context: grpc.ServicerContext, responses: queue.SimpleQueue[Any]) -> None:
        threads = []
        with contextlib.suppress(Exception):  # grpcio's, when the client is gone
            for request in requests:
                threads.append(threading.Thread(target=self._answer_one, args=(request, context, responses), daemon=True))
                threads[-1].start()
        for thread in threads:
            thread.join()
        responses.put(None)

    def _answer_one(self, request: Any, context: grpc.ServicerContext, responses: queue.SimpleQueue[Any]) -> None:
        try:
            for response in self._answer(request, context):
                responses.put(response)
        except ConnectionFailed as error:
            responses.put(error)
        except S1Error as error:
            responses.put(error_message(error, name_of(request.id)))

    def _answer(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        if request.model_name != self._model:
            yield service_pb2.ModelStreamInferResponse(error_message=f"Request for unknown model: '{request.model_name}' is not found")
            return
        inputs = read_inputs(request)
        command = next((name for name in COMMANDS if inputs.get(name)), None)
        if command is None:
            yield from self._reply(request.id or uuid.uuid4().hex, inputs, context)
        else:
            yield self._obey(command, request.id)

    def _obey(self, command: str, request_id: str) -> Any:
        name, running = name_of(request_id), dict(self._running)
        of_this_name = [target for wire_id, target in running.items() if name_of(wire_id) == request_id]
        found = [running[request_id]] if request_id in running else of_this_name
        if not found:
            raise InvalidRequest("request id", f'"{name}"', "the id of a running request")
        if len(found) > 1:
            allowed = f"an id of one running request: {len(found)} running requests have this name"
            raise InvalidRequest("request id", f'"{name}"', allowed)
        (target,) = found
        target.received.commands.append(command)
        target.obey(command)
        return command_response(name)

    def _reply(self, request_id: str, inputs: dict[str, Any], context: grpc.ServicerContext) -> Iterator[Any]:
        prompt, options = prompt_of(inputs), options_of(inputs)
        script = self._script_for(str(prompt))
        if request_id in self._running:
            raise InvalidRequest("request id", f'"{request_id}"', "an id that no running request has, or none at all")
        headers = {item.key: item.value for item in context.invocation_metadata()}
        received = ReceivedRequest(name_of(request_id), prompt, options, headers=headers)
        self._requests.append(received)
        running = _Running(received, script.token_delay_s)
        context.add_callback(lambda: running.obey("cancel"))
        time.sleep(script.start_delay_s)
        self._running[request_id] = running
        end = None
        try:
            events = _until_error(self._events(received, script, running), script)
            yield from map(message_of, events) if inputs.get("stream") else [whole_message(list(events))]
            end = "done"
        except S1Error as error:
            end = type(error).__name__
            raise
        except GeneratorExit:
            end = Cancelled.__name__
            raise
        finally:
            del self._running[request_id]
            received.end = end  # last: whoever has seen the end finds the request's name free

    def _events(self, received: ReceivedRequest, script: Script, running: _Running) -> Iterator[Any]:
        """Yield the events of all samples, in turn."""
        samples = deque(
            Sample(
                request_id=received.id,
                index=index,
                script=script,
                options=received.options,
                vocabulary=self._vocabulary,
                num_prompt_tokens=len(self._vocabulary.tokens(str(received.prompt))),
                pause=running.pause,
            ).events()
            for index in range(received.options.get("num_samples", FIELDS["num_samples"].default))
        )
        while samples:
            event = next(samples[0], None)
            samples.rotate(-1)
            if event is None:
                samples.pop()
            else:
                yield event

    # --- the server's state ---------------------------------------------------------------------------

    def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Report that the server is live."""
        return service_pb2.ServerLiveResponse(live=True)

    def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Report that the server is ready."""
        return service_pb2.ServerReadyResponse(ready=True)

    def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Report the server's name and version."""
        return service_pb2.ServerMetadataResponse(name="fake-s1", version=self._version)

    def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Report whether the model is served here."""
        return service_pb2.ModelReadyResponse(ready=request.name == self._model)

    def RepositoryIndex(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """List the model that is served."""
        index = service_pb2.RepositoryIndexResponse()
        index.models.add(name=self._model, version="1", state="READY")
        return index

    def ModelConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Report the tensors that a request may have."""
        if request.name != self._model:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{request.name}' is not found")
        config = model_config_pb2.ModelConfig(name=self._model, backend="python", max_batch_size=0)
        config.model_transaction_policy.decoupled = True
        types = {"text_input": "BYTES", "messages": "BYTES", "stream": "BOOL", **dict.fromkeys(COMMANDS, "BOOL"), **OPTIONS}
        for name, datatype in types.items():
            dims = [1, -1 if name in LISTS else 1]
            config.input.add(name=name, data_type=model_config_pb2.DataType.Value(_TYPES[datatype]), dims=dims, optional=True)
        return service_pb2.ModelConfigResponse(config=config)
