# SPDX-License-Identifier: Apache-2.0
"""The client: one connection, any number of requests on it at once, from any thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Unpack

from tritonclient.grpc import service_pb2

from s1_client._base import BaseClient
from s1_client._batch import Outcome, Request, map_requests
from s1_client._errors import AccessDenied, S1Error
from s1_client._options import CallOptions, Prompt
from s1_client._stream import Connection, Stream
from s1_client._types import Reply


class Client(BaseClient):
    """A connection to a Triton server that serves ``s1``; see BaseClient for the arguments.

    The connection is made by the first request. Requests can run in any number of threads.
    """

    def _connect(self) -> None:
        self._connection = Connection(self._settings)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; requests that still run are cancelled."""
        self._connection.close()

    def stream(self, prompt: Prompt, *, request_id: str = "", **options: Unpack[CallOptions]) -> Stream:
        """Ask, and get the reply as it comes. Leaving the stream's ``with`` block early frees the engine.

        Args:
            prompt: a question, or chat messages with ``role`` and ``content``.
            request_id: names the request, for ``answer_now`` and ``cancel``; one is made up otherwise.
            options: request fields, see ``Options``, and, for this call alone, ``deadline_s`` and ``max_retries``.

        Raises TypeError for an unknown option, S1Error (see ``s1_client._errors``) for all else, some when it is read.
        """
        return Stream(self._connection, self._exchange(prompt, options, request_id), self._settings.model)

    def think(self, prompt: Prompt, *, request_id: str = "", **options: Unpack[CallOptions]) -> Reply:
        """Ask, and get the whole reply. Arguments and errors are those of ``stream``; for one sample."""
        if (options.get("num_samples") or 1) > 1:
            raise TypeError("think() is for one sample; for several there is samples()")
        return self.samples(prompt, request_id=request_id, **options)[0]

    def samples(self, prompt: Prompt, *, request_id: str = "", **options: Unpack[CallOptions]) -> tuple[Reply, ...]:
        """Ask, and get ``num_samples`` whole replies. Arguments and errors are those of ``stream``."""
        with self.stream(prompt, request_id=request_id, **options) as stream:
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
        """Ask many things at once. One that fails is an Outcome with its error; the others go on.

        Args:
            requests: prompts, or ``Request`` with options of its own; read as there is room for them.
            concurrency: how many run at once.
            ordered: outcomes in the order of the requests, else as they come.
            progress: called with each outcome as it comes, in the thread that iterates.
            options: for all requests, see ``stream``; ``deadline_s`` is for each of them.

        Leaving the iterator early cancels what runs.
        """
        client = self.with_options(**options)
        return map_requests(client.stream, requests, concurrency=concurrency, ordered=ordered, progress=progress)

    def answer_now(self, request_id: str) -> None:
        """Tell the running request of that id to close its thinking and answer: this client's latest, else another program's.

        Raises InvalidRequest if none of that id runs, or several of other programs do.
        """
        self._connection.command("answer_now", self._connection.running.id_of(request_id), self._settings.model)

    def cancel(self, request_id: str) -> None:
        """End the running request of that id; whoever reads it gets ``Cancelled``. Of several, as for ``answer_now``.

        Raises InvalidRequest if none of that id runs, or several of other programs do.
        """
        self._connection.command("cancel", self._connection.running.id_of(request_id), self._settings.model)

    def is_ready(self) -> bool:
        """Whether the server is there and has the model loaded.

        Raises AccessDenied if the server wants another secret or token: waiting will not help then.
        """
        try:
            request = service_pb2.ModelReadyRequest(name=self._settings.model)
            return bool(self._connection.ask("ModelReady", request, self._settings.connect_timeout_s).ready)
        except AccessDenied:
            raise
        except S1Error:
            return False
