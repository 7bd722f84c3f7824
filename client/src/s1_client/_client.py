# SPDX-License-Identifier: Apache-2.0
"""The client for threads: one connection, any number of concurrent requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Unpack

from tritonclient.grpc import service_pb2

from s1_client._base import BaseClient
from s1_client._batch import Outcome, Request, map_requests
from s1_client._connection import Connection
from s1_client._errors import AccessDenied, S1Error, ServerNotReady
from s1_client._options import CallOptions, Prompt
from s1_client._stream import Stream
from s1_client._types import Reply


class Client(BaseClient):
    """A client of a Triton server that serves ``s1``. The arguments are those of ``BaseClient``.

        with Client("127.0.0.1:8001") as client:
            reply = client.think("How many r in raspberry?", max_thinking_tokens=200, num_ignore=1)
        print(reply.answer)

    The first request connects. Any number of threads may share a client.
    """

    def _connect(self) -> None:
        self._connection = Connection(self._settings)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, which cancels the requests that still run."""
        self._connection.close()

    def stream(self, prompt: Prompt, *, request_id: str = "", deltas: bool = True, **options: Unpack[CallOptions]) -> Stream:
        """Send a request, and return its reply as a stream of events.

            with client.stream("How many r in raspberry?", num_ignore=1) as stream:
                for event in stream:
                    print(event.text, end="", flush=True)

        Leaving the stream's ``with`` block early frees the engine.

        Args:
            prompt: a question, or chat messages with ``role`` and ``content``.
            request_id: name of the request, for ``answer_now``, ``cancel`` and the server's log; default: a random name.
            deltas: False = the server sends each reply once, when it is complete: a message instead of hundreds. Its texts
                then come without token ids, and the injected prefix of an answer cannot be told from it (``answer_prefix`` is "").
                Only ``stream`` has this argument, not ``think``, ``samples`` or ``map``.
            options: request fields, see ``Options``, and, for this call alone, ``deadline_s`` and ``max_retries``.

        Raises TypeError for an unknown option and S1Error for any other failure, here or while the stream is read.
        """
        return self._stream(prompt, options, request_id, deltas=deltas)

    def _stream(self, prompt: Prompt, options: Mapping[str, Any], request_id: str, *, deltas: bool = True) -> Stream:
        return Stream(self._connection, self._exchange(prompt, options, request_id, deltas=deltas), self._settings.model)

    def think(self, prompt: Prompt, *, request_id: str = "", **options: Unpack[CallOptions]) -> Reply:
        """Send a request, and return its whole reply of one sample. Arguments and errors are those of ``stream``."""
        self._check_single_sample(options)
        return self.samples(prompt, request_id=request_id, **options)[0]

    def samples(self, prompt: Prompt, *, request_id: str = "", **options: Unpack[CallOptions]) -> tuple[Reply, ...]:
        """Send a request for ``num_samples`` samples, and return a whole reply for each. Arguments and errors are those of
        ``stream``.

            replies = client.samples("How many r in raspberry?", num_samples=8, temperature=1.0)
        """
        with self._stream(prompt, options, request_id) as stream:
            return stream.replies()

    def map(
        self,
        requests: Iterable[Prompt | Request],
        *,
        concurrency: int = 64,
        ordered: bool = True,
        progress: Callable[[Outcome], None] | None = None,
        **options: Unpack[CallOptions],
    ) -> Iterator[Outcome]:
        """Send many requests concurrently, and yield their outcomes. A request that fails yields its error; the others go on.

            for outcome in client.map(questions, concurrency=32, max_thinking_tokens=2000):
                print(outcome.index, outcome.error or outcome.reply.answer)

        Args:
            requests: prompts, or ``Request`` objects with options of their own; consumed as requests can start.
            concurrency: the most requests in flight.
            ordered: yield in the order of the requests, else in the order in which they end.
            progress: called with each outcome when its request ends, in the thread that iterates.
            options: options of all requests, as in ``stream``; ``deadline_s`` limits each of them.

        Leaving the iterator early cancels the running requests.
        """
        client = self.with_options(**options)
        return map_requests(client._stream, requests, concurrency=concurrency, ordered=ordered, progress=progress)  # noqa: SLF001

    def answer_now(self, request_id: str) -> None:
        """End the thinking of the running request of that id, so that it answers: this client's latest, else another program's.

        Raises InvalidRequest if no request of that id runs, or if several of other programs do.
        """
        stream = self._connection.running.stream_of(request_id)
        if stream is None:
            self._connection.command("answer_now", request_id, self._settings.model)
        else:
            stream.answer_now()

    def cancel(self, request_id: str) -> None:
        """End the running request of that id; its reader gets ``Cancelled``. Chosen as by ``answer_now``.

        Raises InvalidRequest if no request of that id runs, or if several of other programs do.
        """
        stream = self._connection.running.stream_of(request_id)
        if stream is None:
            self._connection.command("cancel", request_id, self._settings.model)
        else:
            stream.cancel()

    def check_ready(self) -> None:
        """Raise the S1Error that says why the server can take no request: it does not respond, or has not loaded the model."""
        request = service_pb2.ModelReadyRequest(name=self._settings.model)
        if not self._connection.ask("ModelReady", request, self._settings.connect_timeout_s).ready:
            raise ServerNotReady(f"model '{self._settings.model}' is not ready")

    def is_ready(self) -> bool:
        """Return whether the server responds and has loaded the model.

        Raises AccessDenied if the server refuses our secret or token: waiting does not help then.
        """
        try:
            self.check_ready()
        except AccessDenied:
            raise
        except S1Error:
            return False
        return True
