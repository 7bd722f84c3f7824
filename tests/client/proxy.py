# SPDX-License-Identifier: Apache-2.0
"""A network between client and server that can be bad: a TCP proxy on threads."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

CHUNK = 65536


class Proxy:
    """Forwards connections to ``address`` ("host:port") until one of its methods is called.

    Attributes:
        url: where it listens.
        delay_s: before each chunk.
        chunk: so many bytes at most at once.
        num_connections: that were made through it.
        num_client_chunks: chunks of data that were forwarded to the server.
    """

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self._target = (host, int(port))
        self.delay_s, self.chunk = 0.0, CHUNK
        self.num_connections = self.num_client_chunks = 0
        self._pairs = []
        self._requests_flow, self._responses_flow = threading.Event(), threading.Event()
        self._flow()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.refuse()
        self.cut()
        for thread in self._threads:
            thread.join()
        for pair in self._pairs:
            for end in pair:
                end.close()

    def refuse(self):
        """Refuse new connections from now on."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def cut(self):
        """End all connections in both directions; data that was held back is lost."""
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._flow()

    def half_close(self):
        """Close the server's direction; data from clients still arrives."""
        for near, _ in self._pairs:
            with contextlib.suppress(OSError):
                near.shutdown(socket.SHUT_WR)

    def freeze(self):
        """Forward nothing, and keep the connections open."""
        self._requests_flow.clear()
        self._responses_flow.clear()

    def hold_responses(self):
        """Forward nothing that the server sends, until ``cut``."""
        self._responses_flow.clear()

    def _flow(self):
        self._requests_flow.set()
        self._responses_flow.set()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            pair = near, socket.create_connection(self._target)
            self._pairs.append(pair)
            self.num_connections += 1  # last: who sees it counted may cut it
            for source, sink, flow in ((*pair, self._requests_flow), (*pair[::-1], self._responses_flow)):
                self._threads.append(threading.Thread(target=self._pump, args=(source, sink, flow)))
                self._threads[-1].start()

    def _pump(self, source, sink, flow):
        with contextlib.suppress(OSError):
            while data := source.recv(self.chunk):
                flow.wait()
                time.sleep(self.delay_s)
                sink.sendall(data)
                self.num_client_chunks += flow is self._requests_flow
            sink.shutdown(socket.SHUT_WR)
