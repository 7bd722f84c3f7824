# SPDX-License-Identifier: Apache-2.0
"""An HTTP endpoint that tells a load balancer or Kubernetes whether to send new requests here: --ready-port.

Triton's own readiness cannot tell it: until 26.02 Triton takes no model's word for it, so it stays ready during a drain and after the
death of a process.

    200  ready
    404  draining: send no new requests; commands to running requests still come here (HAProxy: http-check disable-on-404)
    503  not ready, with the reason as text
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from budgetforce.errors import ConfigError

READY, DRAINING, NOT_READY = 200, 404, 503


@contextmanager
def readiness_endpoint(
    host: str, port: int | None, is_draining: Callable[[], bool], why_not_ready: Callable[[], str | None]
) -> Iterator[None]:
    """Answer GET of any path inside this context; without a ``port`` nothing listens. ``why_not_ready``: None if the server is ready.

    Raises ConfigError if the port cannot be used.
    """
    if port is None:
        yield
        return
    server = _listen(host, port, lambda: _status(is_draining, why_not_ready))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="ready", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _status(is_draining: Callable[[], bool], why_not_ready: Callable[[], str | None]) -> tuple[int, str]:
    if is_draining():
        return DRAINING, "draining"
    reason = why_not_ready()
    if is_draining():  # the drain may have begun meanwhile, and be the reason
        return DRAINING, "draining"
    return (READY, "ready") if reason is None else (NOT_READY, reason)


def _listen(host: str, port: int, status: Callable[[], tuple[int, str]]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds that a client may take for its request
        wbufsize = -1  # one packet for the whole response: HAProxy closes the connection as soon as it has the status

        def do_GET(self) -> None:  # named by http.server
            code, text = status()
            body = f"{text}\n".encode()
            self.send_response(code)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815  # as above

        def log_message(self, *_: object) -> None:
            """Log nothing: checks come every second."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Ignore that a client has gone: http.server would print a traceback for each."""

    try:
        return Server((host, port), Handler)
    except OSError as error:
        raise ConfigError(f"port {port} on {host} cannot be used: {error.strerror}; choose another by --ready-port") from None
