# SPDX-License-Identifier: Apache-2.0
"""An OpenAI-compatible chat API on this machine, over real HTTP, that replies as a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, bytes] | None


def completion(content: str | None, *, finish: str = "stop", **message: Any) -> Reply:
    """A well-formed reply."""
    choice = {"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    return 200, json.dumps({"model": "teacher-1", "choices": [choice], "usage": {"completion_tokens": 7}}).encode()


def think(question: str) -> Reply:
    """Think about a question, and answer 4."""
    return completion(f"<think>\nAbout {question}\n</think>\n\nAnswer: 4")


class FakeChatApi(ThreadingHTTPServer):
    """Attributes:
    reply: from the question to status and body of the response; None breaks the connection.
    requests: the bodies of all requests, in order.
    more_headers: further headers of each response.
    """

    daemon_threads = True

    def __init__(self, reply: Callable[[str], Reply] = think) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply = reply
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.more_headers: dict[str, str] = {}
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @property
    def questions(self) -> list[str]:
        return [request["messages"][-1]["content"] for request in self.requests]

    def __enter__(self) -> FakeChatApi:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: FakeChatApi

    def do_POST(self) -> None:
        assert self.path == "/v1/chat/completions"
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(body)
        self.server.keys.append(self.headers.get("Authorization"))
        reply = self.server.reply(body["messages"][-1]["content"])
        if reply is None:
            self.close_connection = True
            return
        self.send_response(reply[0])
        self.send_header("Content-Length", str(len(reply[1])))
        for name, value in self.server.more_headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply[1])

    def log_message(self, *_: object) -> None:
        """Nothing."""
