# SPDX-License-Identifier: Apache-2.0
"""gRPC calls on asyncio over libcurl's HTTP/2: sends a request message, calls a function with each response message.

grpc.aio passes every message through several threads and futures, at 40 us of CPU each; libcurl
calls back with all data that has arrived, at 7 us a message under load. The module implements only
calls with a single request message: the five bytes before each message and the status in the
trailers. All objects belong to a single event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from urllib.parse import unquote

import pycurl

from budgetforce.engine.endpoint import SECRET_HEADER, Endpoint, Tls
from budgetforce.errors import ConfigError

_HEADERS = ["content-type: application/grpc", "te: trailers", "accept:", "expect:"]
_CONNECT_TIMEOUT_MS = 5000
_KEEPALIVE_S = 10
_MAX_IDLE_S = 40  # libcurl answers no ping between calls: our servers ping after 30 s and close 20 s later
_MAX_STREAMS = 1 << 16  # on the connection; libcurl's default limit is 100


class CallFailed(Exception):
    """The call ended without gRPC status OK; the message holds the reason."""


class GrpcCalls:
    """Makes calls to the server at ``endpoint``, all on a single connection, which the first call opens.

    Raises ConfigError if libcurl was built without HTTP/2, or is too old for the endpoint's TLS.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        if not pycurl.version_info()[4] & pycurl.VERSION_HTTP2:
            raise ConfigError(f"transport grpc needs a libcurl with HTTP/2, this is {pycurl.version}")
        if endpoint.tls is not None and not hasattr(pycurl, "CAINFO_BLOB"):
            raise ConfigError(f"TLS needs a libcurl of 7.77 or later, this is {pycurl.version}")
        self._endpoint = endpoint
        self._headers = [*_HEADERS, f"{SECRET_HEADER}: {endpoint.secret}"] if endpoint.secret else _HEADERS
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
        self._multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, _MAX_STREAMS)
        self._multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, 1)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)

    def start(self, method: str, request: bytes, on_message: Callable[[bytes], None], headers: Sequence[str] = ()) -> GrpcCall:
        """Start a call; ``on_message`` receives each response message and must not raise. ``headers``: lines "name: value"."""
        call = GrpcCall(self._multi, on_message, self._loop.create_future())
        call.set_address(self._endpoint, method)
        call.setopt(pycurl.PROXY, "")  # no proxy: http_proxy is meant for other traffic
        call.setopt(pycurl.PIPEWAIT, 1)  # wait for the connection being opened instead of opening another
        call.setopt(pycurl.CONNECTTIMEOUT_MS, _CONNECT_TIMEOUT_MS)
        call.setopt(pycurl.NOSIGNAL, 1)
        call.setopt(pycurl.TCP_KEEPALIVE, 1)  # detects a lost network
        call.setopt(pycurl.TCP_KEEPIDLE, _KEEPALIVE_S)
        call.setopt(pycurl.TCP_KEEPINTVL, _KEEPALIVE_S)
        call.setopt(pycurl.MAXAGE_CONN, _MAX_IDLE_S)
        call.setopt(pycurl.HTTPHEADER, [*self._headers, *headers])
        call.setopt(pycurl.POST, 1)
        call.setopt(pycurl.POSTFIELDS, b"\0" + len(request).to_bytes(4, "big") + request)
        call.setopt(pycurl.WRITEFUNCTION, call.take_body)
        call.setopt(pycurl.HEADERFUNCTION, call.take_header)
        self._multi.add_handle(call)
        self._act(pycurl.SOCKET_TIMEOUT, 0)  # now: libcurl's own timer would send it behind whatever the loop does next
        return call

    def close(self) -> None:
        """Close the connection; no call may be running."""
        if self._timer is not None:
            self._timer.cancel()
        self._multi.close()

    # --- libcurl's event interface: it names the sockets to watch, and acts on their events ---------

    def _watch(self, events: int, fd: int, _multi: object, _data: object) -> None:
        if events in (pycurl.POLL_IN, pycurl.POLL_INOUT):
            self._loop.add_reader(fd, self._act, fd, pycurl.CSELECT_IN)
        else:
            self._loop.remove_reader(fd)
        if events in (pycurl.POLL_OUT, pycurl.POLL_INOUT):
            self._loop.add_writer(fd, self._act, fd, pycurl.CSELECT_OUT)
        else:
            self._loop.remove_writer(fd)

    def _set_timer(self, timeout_ms: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if timeout_ms < 0 else self._loop.call_later(timeout_ms / 1e3, self._act, pycurl.SOCKET_TIMEOUT, 0)

    def _act(self, fd: int, events: int) -> None:
        self._multi.socket_action(fd, events)
        num_left = 1
        while num_left:
            num_left, ended, failed = self._multi.info_read()
            for call in ended:
                call.end(None)
            for call, _, message in failed:
                call.end(message)


class GrpcCall(pycurl.Curl):  # type: ignore[misc]  # untyped
    """A running call.

    Attributes:
        ended: done when the call is over; its exception is CallFailed if the call failed.
    """

    def __init__(self, multi: pycurl.CurlMulti, on_message: Callable[[bytes], None], ended: asyncio.Future[None]) -> None:
        super().__init__()
        self.ended = ended
        self._multi = multi
        self._is_running = True
        self._on_message = on_message
        self._unread = b""
        self._trailers: dict[str, str] = {}

    def set_address(self, endpoint: Endpoint, method: str) -> None:
        """Set the call's URL, and TLS if the endpoint has it."""
        if endpoint.tls is None:
            self.setopt(pycurl.URL, f"http://{endpoint.address}/{method}")
            self.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE)
            return
        host, _, port = endpoint.address.rpartition(":")
        name = endpoint.tls.name or host
        self.setopt(pycurl.URL, f"https://{name}:{port}/{method}")
        self.setopt(pycurl.CONNECT_TO, [f"{name}:{port}:{host}:{port}"])
        self.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        self._secure(endpoint.tls)

    def _secure(self, tls: Tls) -> None:
        """Set the certificates. libcurl checks chain and name by default, and trusts any certificate in ``ca`` as a root."""
        if tls.ca:
            self.setopt(pycurl.CAINFO_BLOB, tls.ca)
        if tls.cert:
            self.setopt(pycurl.SSLCERT_BLOB, tls.cert)
            self.setopt(pycurl.SSLKEY_BLOB, tls.key)

    def cancel(self) -> None:
        """Cancel the call, also in the server. Without effect on a finished call."""
        self._leave()
        self.ended.cancel()

    def end(self, failure: str | None) -> None:
        """End the call; ``failure`` is libcurl's error, None if the transfer succeeded."""
        self._leave()
        if self.ended.done():  # cancelled together with the task that awaited it
            return
        status = self._trailers.get("grpc-status")
        if failure is None and status == "0":
            self.ended.set_result(None)
            return
        message = unquote(self._trailers.get("grpc-message", "")) or f"the connection ended with gRPC status {status}"
        self.ended.set_exception(CallFailed(failure or message))
        self.ended.exception()  # marks it as retrieved: nobody may be awaiting it any more

    def take_body(self, data: bytes) -> None:
        """Take received bytes and deliver complete messages; before each stand a flag and its length."""
        data = self._unread + data
        start = 0
        while len(data) >= start + 5 and len(data) >= (end := start + 5 + int.from_bytes(data[start + 1 : start + 5], "big")):
            self._on_message(data[start + 5 : end])
            start = end
        self._unread = data[start:]

    def take_header(self, line: bytes) -> None:
        """Store a header or trailer line."""
        name, _, value = line.decode("latin-1").partition(":")
        self._trailers[name.lower()] = value.strip()

    def _leave(self) -> None:
        if self._is_running:
            self._is_running = False
            self._multi.remove_handle(self)
            self.close()  # its callbacks refer to it: otherwise libcurl's 70 kB would stay until the garbage collector comes
