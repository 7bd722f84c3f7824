# SPDX-License-Identifier: Apache-2.0
"""A load balancer whose replica can die: a proxy that knows the frames of HTTP/2 (RFC 9113, sections 4 and 6)."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

CANCEL, INTERNAL_ERROR = 8, 2  # HAProxy sends the first for a dead replica, Envoy and nginx the second
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _GOAWAY = 0, 1, 3, 7
_END_STREAM = 1


def frame(kind, stream, payload=b"", flags=0):
    """Return the bytes of an HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


class Balancer:
    """Forwards connections to ``address`` ("host:port") until the replica there is declared dead.

    Attributes:
        url: where it listens.
        num_streams: streams that clients have opened.
        is_holding: nothing of a stream is forwarded to clients, until the replica dies.
    """

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self._target = (host, int(port))
        self.num_streams = 0
        self.is_holding = False
        self._connections = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            connection.cut()
        for thread in self._threads:
            thread.join()
        for connection in self._connections:
            connection.close()

    def reset_streams(self, code):
        """Let the replica die: end each open stream with RST_STREAM and this error code. New connections work."""
        self._end_streams(lambda stream: frame(_RST_STREAM, stream, struct.pack(">I", code)))

    def end_streams(self):
        """Let the replica die: end each open stream as if it were complete, without trailers."""
        self._end_streams(lambda stream: frame(_DATA, stream, flags=_END_STREAM))

    def _end_streams(self, how):
        for connection in self._connections:
            connection.end_streams(how)
        self.is_holding = False

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection := _Connection(near, socket.create_connection(self._target), self))
            for pump in (connection.pump_requests, connection.pump_responses):
                self._threads.append(threading.Thread(target=pump))
                self._threads[-1].start()


class _Connection:
    """A client's connection and the replica's. Only whole frames are forwarded to the client, so that others fit between."""

    def __init__(self, near, far, balancer):
        self._near, self._far, self._balancer = near, far, balancer
        self._writing = threading.Lock()
        self._streams = set()
        self._is_ended = False

    def pump_requests(self):
        with contextlib.suppress(OSError, EOFError):
            self._far.sendall(_read(self._near, len(_PREFACE)))
            while True:
                header, payload = _frame(self._near)
                self._far.sendall(header + payload)
                if header[3] == _HEADERS:
                    self._streams.add(int.from_bytes(header[5:9], "big"))
                    self._balancer.num_streams += 1
        self.cut()

    def pump_responses(self):
        with contextlib.suppress(OSError, EOFError):
            while not self._is_ended:
                header, payload = _frame(self._far)
                if self._balancer.is_holding and int.from_bytes(header[5:9], "big"):
                    continue
                with self._writing:
                    if not self._is_ended:
                        self._near.sendall(header + payload)
                if header[3] in (_DATA, _HEADERS) and header[4] & _END_STREAM:
                    self._streams.discard(int.from_bytes(header[5:9], "big"))
        if not self._is_ended:
            self.cut()

    def end_streams(self, how):
        """End the open streams, tell the client to connect anew (GOAWAY), and cut the replica's connection."""
        with self._writing, contextlib.suppress(OSError):
            self._is_ended = True
            self._near.sendall(b"".join(map(how, sorted(self._streams))))
            self._near.sendall(frame(_GOAWAY, 0, struct.pack(">II", 2**31 - 1, 0)))
            self._far.shutdown(socket.SHUT_RDWR)

    def cut(self):
        for end in (self._near, self._far):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._near.close()
        self._far.close()


def _read(source, length):
    data = b""
    while len(data) < length:
        more = source.recv(length - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _frame(source):
    header = _read(source, 9)
    return header, _read(source, int.from_bytes(header[:3], "big"))
