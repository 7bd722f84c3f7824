# SPDX-License-Identifier: Apache-2.0
"""The fake server: gRPC's own server around ``_forcing`` and ``_messages``."""

from __future__ import annotations

import contextlib
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
from s1_client._wire import OPTIONS, name_of
from s1_client._wire.values import LISTS
from s1_client.testing._forcing import ANSWER, THINKING, Sample, Script, Vocabulary
from s1_client.testing._messages import error_message, message_of, options_of, prompt_of, read_inputs, told_message

COMMANDS = ("answer_now", "cancel")
_THREADS = 1024  # a stream holds one
_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]  # as Triton's
_ANSWER_SHARE = 0.2  # of the time, kept for the answer where on_timeout says so
_TYPES = {"BYTES": "TYPE_STRING", "INT32": "TYPE_INT32", "FP32": "TYPE_FP32", "UINT64": "TYPE_UINT64", "BOOL": "TYPE_BOOL"}


@dataclass(slots=True)
class Asked:
    """A request that came.

    Attributes:
        options: those that it named.
        end: "done", or the name of the error; None while it runs.
        told: commands that it got: "answer_now", "cancel".
    """

    id: str
    prompt: str | list[dict[str, str]]
    options: dict[str, Any]
    end: str | None = None
    told: list[str] = field(default_factory=list)


class FakeServer:
    """A server of model ``s1`` on a free port of this machine, in this process, from entering the ``with`` block on.

    Args:
        model: the model's name.
        triton_version: what it says it is. Before 2.57 clients tell it to stop rather than cancel.
        credentials: ``grpc.ServerCredentials`` for TLS.
        interceptors: of gRPC, to look at what comes.

    Attributes:
        requests: what was asked, in order.
    """

    def __init__(
        self,
        *,
        model: str = "s1",
        triton_version: str = "2.51.0",
        credentials: grpc.ServerCredentials | None = None,
        interceptors: Sequence[grpc.ServerInterceptor] = (),
    ) -> None:
        self.requests: list[Asked] = []
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
        """For a client."""
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
        """Set what the model says to every prompt that contains ``to``. Of several that fit, the latest counts.

        Args:
            to: part of the prompt; "" = any prompt.
            thinking: its thought, up to where it wants to end; a tuple: up to each end, the last one for all further ones.
            answer: its answer.
            start_delay_s: seconds before the request counts as running.
            token_delay_s: seconds before each token.
            error: the request fails with it, as ``Overloaded("full", retry_after_s=2.0)``.
            error_after: number of events before the error.
        """
        script = Script(
            thinking=thinking, answer=answer, start_delay_s=start_delay_s, token_delay_s=token_delay_s, error=error, error_after=error_after
        )
        self._lasting = {**{part: one for part, one in self._lasting.items() if part != to}, to: script}  # the latest comes last

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
        """Set what it says to the next request, whatever that is; called again, to the one after it. See ``says``."""
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
    """A request that runs, and what it is told meanwhile."""

    def __init__(self, asked: Asked, delay_s: float) -> None:
        self.asked = asked
        self._delay_s = delay_s
        self._timeout_ms, self._on_timeout = asked.options.get("timeout_ms"), asked.options.get("on_timeout", "cancel")
        self._started = time.monotonic()
        self._told = threading.Event()
        self._is_hurried = self._is_cancelled = False

    def tell(self, command: str) -> None:
        """From any thread."""
        if command == "answer_now":
            self._is_hurried = True
        else:
            self._is_cancelled = True
            self._told.set()

    def pause(self, phase: str) -> str | None:
        """See ``Sample.pause``. Raises Cancelled or DeadlineExceeded."""
        used = self._share_of_time(self._delay_s)
        self._told.wait(self._delay_s)
        if self._is_cancelled:
            raise Cancelled("the request was cancelled")
        if used >= 1 and self._on_timeout == "cancel":
            raise DeadlineExceeded(f"timeout_ms {self._timeout_ms} was over before the reply was complete")
        if used >= (1 if phase == "answer" else 1 - _ANSWER_SHARE):
            return "deadline" if self._on_timeout == "answer" else None
        return "answer_now" if self._is_hurried and phase == "thinking" else None

    def _share_of_time(self, more_s: float) -> float:
        if self._timeout_ms is None:
            return 0.0
        return float((time.monotonic() - self._started + more_s) * 1e3 / self._timeout_ms)


class _Service(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # untyped
    """KServe's methods, as far as they are of use."""

    def __init__(self, script_for: Callable[[str], Script], requests: list[Asked], model: str, version: str) -> None:
        self._script_for = script_for
        self._requests = requests
        self._model = model
        self._version = version
        self._vocabulary = Vocabulary()
        self._running: dict[str, _Running] = {}

    def ModelStreamInfer(self, request_iterator: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802
        """One request, or command, after the other."""
        for request in request_iterator:
            try:
                yield from self._answer(request, context)
            except ConnectionFailed as error:
                context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
            except S1Error as error:
                yield error_message(error, name_of(request.id))

    def _answer(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        if request.model_name != self._model:
            yield service_pb2.ModelStreamInferResponse(error_message=f"Request for unknown model: '{request.model_name}' is not found")
            return
        inputs = read_inputs(request)
        command = next((name for name in COMMANDS if inputs.get(name)), None)
        if command is None:
            yield from self._reply(request.id or uuid.uuid4().hex, inputs, context)
        else:
            yield self._told(command, request.id)

    def _told(self, command: str, request_id: str) -> Any:
        name, running = name_of(request_id), dict(self._running)
        found = [running[request_id]] if request_id in running else [one for wire, one in running.items() if name_of(wire) == request_id]
        if not found:
            raise InvalidRequest("request id", f'"{name}"', "that of a running request")
        if len(found) > 1:
            allowed = f"an id of one running request: {len(found)} running requests have this name"
            raise InvalidRequest("request id", f'"{name}"', allowed)
        (one,) = found
        one.asked.told.append(command)
        one.tell(command)
        return told_message(name)

    def _reply(self, request_id: str, inputs: dict[str, Any], context: grpc.ServicerContext) -> Iterator[Any]:
        prompt, options = prompt_of(inputs), options_of(inputs)
        script = self._script_for(str(prompt))
        if request_id in self._running:
            raise InvalidRequest("request id", f'"{request_id}"', "an id that no running request has, or none at all")
        asked = Asked(name_of(request_id), prompt, options)
        self._requests.append(asked)
        running = _Running(asked, script.token_delay_s)
        context.add_callback(lambda: running.tell("cancel"))
        time.sleep(script.start_delay_s)
        self._running[request_id] = running
        try:
            for number, event in enumerate(self._events(asked, script, running)):
                if script.error is not None and number == script.error_after:
                    raise script.error
                yield message_of(event)
            asked.end = "done"
        except S1Error as error:
            asked.end = type(error).__name__
            raise
        except GeneratorExit:
            asked.end = Cancelled.__name__
            raise
        finally:
            del self._running[request_id]

    def _events(self, asked: Asked, script: Script, running: _Running) -> Iterator[Any]:
        """Of all samples, in turn."""
        samples = deque(
            Sample(
                request_id=asked.id,
                index=index,
                script=script,
                options=asked.options,
                vocabulary=self._vocabulary,
                num_prompt_tokens=len(self._vocabulary.tokens(str(asked.prompt))),
                pause=running.pause,
            ).events()
            for index in range(asked.options.get("num_samples", FIELDS["num_samples"].default))
        )
        while samples:
            event = next(samples[0], None)
            samples.rotate(-1)
            if event is None:
                samples.pop()
            else:
                yield event

    # --- what is asked about the server -----------------------------------------------------------

    def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """It is."""
        return service_pb2.ServerLiveResponse(live=True)

    def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """It is."""
        return service_pb2.ServerReadyResponse(ready=True)

    def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Its name and version."""
        return service_pb2.ServerMetadataResponse(name="fake-s1", version=self._version)

    def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Whether it is the one model there is."""
        return service_pb2.ModelReadyResponse(ready=request.name == self._model)

    def RepositoryIndex(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """The one model."""
        index = service_pb2.RepositoryIndexResponse()
        index.models.add(name=self._model, version="1", state="READY")
        return index

    def ModelConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The tensors that a request may have."""
        if request.name != self._model:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{request.name}' is not found")
        config = model_config_pb2.ModelConfig(name=self._model, backend="python", max_batch_size=0)
        config.model_transaction_policy.decoupled = True
        types = {"text_input": "BYTES", "messages": "BYTES", "stream": "BOOL", **dict.fromkeys(COMMANDS, "BOOL"), **OPTIONS}
        for name, datatype in types.items():
            dims = [1, -1 if name in LISTS else 1]
            config.input.add(name=name, data_type=model_config_pb2.DataType.Value(_TYPES[datatype]), dims=dims, optional=True)
        return service_pb2.ModelConfigResponse(config=config)
