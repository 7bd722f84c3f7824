# SPDX-License-Identifier: Apache-2.0
"""The reply of a request while it is streamed, for threads. Twin of ``_aio_stream``."""

from __future__ import annotations

import contextlib
import logging
import threading
from types import TracebackType

import grpc

from s1_client._base_stream import PATIENCE_S, BaseStream, SentCommand
from s1_client._connection import Connection
from s1_client._errors import InvalidRequest, S1Error
from s1_client._exchange import Exchange
from s1_client._types import Event, Reply


class Stream(BaseStream):
    """A reply while it is received: an iterator over its events, and a context manager that frees the engine when it is
    left early. The last event of each sample is a ``Done``.

        with client.stream("How many r in raspberry?") as stream:
            for event in stream:
                print(event.text, end="", flush=True)
        print(stream.reply().usage)

    One thread reads; any thread may call the other methods.

    Attributes:
        request_id: the request's name.
    """

    _connection: Connection

    def __init__(self, connection: Connection, exchange: Exchange, model: str) -> None:
        super().__init__(exchange, model)
        self._connection = connection
        self._was_cancelled = threading.Event()
        self._commanding = threading.Lock()
        self._reading = threading.RLock()  # a call does not bear two readers, and another thread may close
        self._start()

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Event:
        """Return the next event. Raises S1Error, after which the stream is over."""
        while not self._is_over:
            try:
                event = self._next_event()
            except S1Error as error:
                self._retry(error)
                continue
            if event is not None:
                self._send_pending_command()
                return event
            self._end()
        raise StopIteration

    def _next_event(self) -> Event | None:
        try:
            with self._reading:
                while not self._received and (message := next(self._call, None)) is not None:
                    self._take(message)
        except grpc.RpcError as error:
            raise self._failure(error) from error
        return self._next_received()

    def _send_command(self, command: str, log_level: int = logging.INFO) -> None:
        """Send a command on the request's own stream. Raises S1Error, InvalidRequest if the server refuses it."""
        with self._commanding:
            sent, message = self._new_command(command, log_level, threading.Event())
            self._call.send(message)
            # Another thread may be reading, or none, and a silent server must not hold up the caller: hence a thread.
            threading.Thread(target=self._read_answer, args=(sent,), name="s1-command", daemon=True).start()
            sent.answered.wait(PATIENCE_S)
            self._check_answer(sent)

    def _read_answer(self, command: SentCommand) -> None:
        """Read until the command is answered or the call has ended."""
        error: S1Error = self._not_running()
        try:
            with self._reading:
                while not command.is_answered and (message := next(self._call, None)) is not None:
                    self._take(message)
        except grpc.RpcError as broken:
            error = self._failure(broken)
        command.answer(error)

    def _retry(self, error: S1Error) -> None:
        """Make another attempt after an error, or raise."""
        self._read_to_end()
        if not self._is_over:  # else it was closed, which looks like an error here
            self._was_cancelled.wait(self._delay_before_retry(error))
            self._retry_now(error)

    def _send_pending_command(self) -> None:
        if self._answer_now_pending:
            self._answer_now_pending = False
            with contextlib.suppress(InvalidRequest):  # the request has ended meanwhile
                self.answer_now()

    def answer_now(self) -> None:
        """End the thinking at once, and go on to the answer. Of a request that has not begun: as soon as it begins.

        Raises InvalidRequest if the request has ended, or if its preset leaves the answer to the model.
        """
        had_begun = not self._exchange.joiner.is_empty
        try:
            self._send_command("answer_now")
        except S1Error as error:
            if not self._may_answer_later(error, had_begun=had_begun):
                raise
            if self._exchange.joiner.is_empty:
                self._answer_now_pending = True
            else:  # it began after the server had refused the command, and before we read that
                self._send_command("answer_now")

    def cancel(self) -> None:
        """End the request; its reader gets ``Cancelled``. Without effect on a request that has ended."""
        if self._is_over:
            return
        self._was_cancelled.set()
        try:
            self._send_command("cancel")
        except S1Error:
            self._call.cancel()  # it has not begun, and is silent

    def close(self) -> None:
        """Abandon the rest of the reply, and free the engine. Without effect on a stream that has ended."""
        if not self._is_over:
            self._end()
            self._exchange.note_leaving()
            self._was_cancelled.set()
            self._leave()

    def _leave(self) -> None:
        """End the call. Before 25.04 Triton may crash when a stream is cancelled while a response is on its way: there
        the request is cancelled by a command, and the stream is read to its end.
        """
        if self._connection.cancels_safely():
            self._call.cancel()
            return
        patience = threading.Timer(PATIENCE_S, self._call.cancel)
        patience.start()
        try:
            self._send_command("cancel", logging.DEBUG)
            self._call.end_messages()
            self._read_to_end()
        except S1Error:
            pass  # it has ended by itself, has not begun, or cannot be reached
        finally:
            patience.cancel()
            self._call.cancel()

    def _read_to_end(self) -> None:
        """Read the rest of a call. After an error there is none, but a stream that is cancelled in the moment it ends can
        leave a reference to the model behind in Triton 24.10, which then stops late.
        """
        with self._reading, contextlib.suppress(grpc.RpcError):
            for _ in self._call:
                pass

    def replies(self) -> tuple[Reply, ...]:
        """Read the rest, and return a whole reply for each sample.

        Raises the S1Error that ended the request, also if it has been raised before, and Cancelled if the stream was left early.
        """
        for _ in self:
            pass
        return self._whole_replies()

    def reply(self) -> Reply:
        """Read the rest, and return the whole reply; of several samples the first."""
        return self.replies()[0]

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the interpreter may be on its way out
            self.close()
