# SPDX-License-Identifier: Apache-2.0
"""A gateway in a process of its own, and HTTP calls by the standard library, which repairs nothing on the way."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

PATIENCE_S = 60
MESSAGES = "/v1/messages"
CHAT, COMPLETIONS, RESPONSES, CONTROL = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/chat/completions/control"


@dataclass(frozen=True)
class Answer:
    """An HTTP response that has been read."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def error(self) -> Any:
        """The error in the body, which has OpenAI's four keys."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}, self.text
        assert isinstance(error["code"], str | None)
        return error


class Stream:
    """A response that is being received, frame by frame."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self._connection, self._response = connection, response

    def frames(self) -> Iterator[str]:
        """The frames as they are, comments included."""
        lines: list[str] = []
        while line := self._response.readline():
            if line == b"\n":
                yield "\n".join(lines)
                lines = []
            else:
                lines.append(line.decode().rstrip("\n"))
        assert lines == []

    def chunks(self) -> Iterator[Any]:
        """The data of all frames up to [DONE], which must be the last."""
        frames = (frame for frame in self.frames() if not frame.startswith(":"))
        for frame in frames:
            data = frame.rpartition("data: ")[2]
            if data == "[DONE]":
                assert list(frames) == []
                return
            yield json.loads(data)
        raise AssertionError("no [DONE]")

    def close(self) -> None:
        self._response.close()
        self._connection.close()


@dataclass
class Gateway:
    """A gateway at ``port`` of this machine."""

    port: int
    model: str
    process: subprocess.Popen[str]
    key: str | None = None
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        connection = self._connection()
        with contextlib.closing(connection):
            connection.request(method, path, body, self._headers(headers))
            response = connection.getresponse()
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read().decode())

    def get(self, path: str, **headers: str) -> Answer:
        return self.call("GET", path, headers=headers)

    def post(self, path: str, body: Any) -> Answer:
        """A body that is no bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.call("POST", path, data, {"Content-Type": "application/json"})

    def chat(self, question: str = "How many r in raspberry", **fields: Any) -> Answer:
        return self.post(CHAT, self.chat_body(question, **fields))

    def chat_body(self, question: str, **fields: Any) -> dict[str, Any]:
        return {"model": self.model, "messages": [{"role": "user", "content": question}], **fields}

    @contextlib.contextmanager
    def streamed(self, path: str, body: Any) -> Iterator[Stream]:
        connection = self._connection()
        connection.request("POST", path, json.dumps(body), self._headers({"Content-Type": "application/json"}))
        stream = Stream(connection, connection.getresponse())
        try:
            yield stream
        finally:
            stream.close()

    @contextlib.contextmanager
    def unread(self, path: str, body: Any) -> Iterator[socket.socket]:
        """The connection of a request whose response nobody has read."""
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as connection:
            connection.sendall(head.encode() + data)
            yield connection

    def chat_chunks(self, question: str = "How many r in raspberry", **fields: Any) -> list[Any]:
        """All chunks of a streamed chat."""
        with self.streamed(CHAT, self.chat_body(question, stream=True, **fields)) as stream:
            assert stream.status == 200
            return list(stream.chunks())

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def _headers(self, headers: dict[str, str] | None) -> dict[str, str]:
        return {**({"Authorization": f"Bearer {self.key}"} if self.key else {}), **(headers or {})}


@contextlib.contextmanager
def gateway(url: str, *options: str, model: str = "s1", key: str | None = None, is_verbose: bool = True) -> Iterator[Gateway]:
    """A gateway in front of the server at ``url``, until the end of the block."""
    program = [sys.executable, "-m", "s1_client", *(["-v"] if is_verbose else [])]
    command = [*program, "gateway", "--url", url, "--port", "0", "--model", model, *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("S1_")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    made = Gateway(0, model, process, key)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready.startswith("ready: http://127.0.0.1:"), ready + (process.stderr.read() if process.stderr else "")
        made.port = int(ready.partition("127.0.0.1:")[2].partition("/")[0])
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        out, log = process.communicate(timeout=PATIENCE_S)
        made.log.extend([out, log])
    assert process.returncode == 0, log
    assert "Traceback" not in log, log


def texts(chunks: list[Any], index: int = 0, name: str = "reasoning_content") -> tuple[str, str]:
    """The thought and the answer of a choice in chunks of a chat."""
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return "".join(delta.get(name, "") for delta in deltas), "".join(delta.get("content", "") for delta in deltas)
