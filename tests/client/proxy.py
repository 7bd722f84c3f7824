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
    """

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self._target = (host, int(port))
        self.delay_s, self.chunk = 0.0, CHUNK
        self.num_connections = 0
        self._pairs = []
        self._flows = threading.Event()
        self._flows.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.refuse()
        self.cut()
        self._flows.set()
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
        """End all connections in both directions."""
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def half_close(self):
        """Close the server's direction; data from clients still arrives."""
        for near, _ in self._pairs:
            with contextlib.suppress(OSError):
                near.shutdown(socket.SHUT_WR)

    def freeze(self):
        """Forward nothing, and keep the connections open."""
        self._flows.clear()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            pair = near, socket.create_connection(self._target)
            self._pairs.append(pair)
            self.num_connections += 1  # last: who sees it counted may cut it
            for source, sink in (pair, pair[::-1]):
                self._threads.append(threading.Thread(target=self._pump, args=(source, sink)))
                self._threads[-1].start()

    def _pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(self.chunk):
                self._flows.wait()
                time.sleep(self.delay_s)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
