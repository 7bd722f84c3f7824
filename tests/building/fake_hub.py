# SPDX-License-Identifier: Apache-2.0
"""The part of Hugging Face's hub that a download uses, on this machine: one repository, one commit, files out of a folder."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

COMMIT = "5b" * 20
MODEL = "owner/tiny"


class FakeHub(ThreadingHTTPServer):
    """Attributes:
    folder: what the repository holds.
    requests: method and path of every request.
    broken: names of files whose content comes with its last byte changed.
    cut: names of files of which half comes, then the connection ends.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.branch = folder, COMMIT
        self.requests: list[str] = []
        self.broken: set[str] = set()
        self.cut: set[str] = set()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> FakeHub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def info(self) -> dict[str, object]:
        return {"id": MODEL, "sha": self.branch, "siblings": [_sibling(path) for path in self._files()]}

    def tree(self) -> list[dict[str, object]]:
        """The same files, as newer versions of the client ask for them."""
        siblings = [_sibling(path) for path in self._files()]
        return [
            {"type": "file", "path": sibling["rfilename"], "size": sibling["size"], "oid": sibling["blobId"]}
            | ({"lfs": {"oid": sibling["lfs"]["sha256"], "size": sibling["size"], "pointerSize": 135}} if "lfs" in sibling else {})
            for sibling in siblings
        ]

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if path.is_file())

    def num_contents(self, name: str) -> int:
        """Return how often a file's content was requested."""
        return sum(request.startswith("GET") and request.endswith(f"/{name}") for request in self.requests)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sibling(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    lfs = {"lfs": {"size": size, "sha256": sha256(path), "pointerSize": 135}} if path.suffix == ".safetensors" else {}
    return {"rfilename": path.name, "size": size, "blobId": "0" * 40, **lfs}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeHub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        self.server.requests.append(f"{self.command} {path}")
        path = path.replace("/api/datasets/", "/api/models/").removeprefix("/datasets")  # a data set has the same files
        if re.fullmatch(rf"/api/models/{MODEL}(/revision/(main|{COMMIT}))?", path):
            return self._send(json.dumps(self.server.info()).encode(), {"Content-Type": "application/json"})
        if path == f"/api/models/{MODEL}/tree/{COMMIT}":
            return self._send(json.dumps(self.server.tree()).encode(), {"Content-Type": "application/json"})
        match = re.fullmatch(rf"/{MODEL}/resolve/{COMMIT}/(.+)", path)
        if match and (self.server.folder / match[1]).is_file():
            return self._send_file(self.server.folder / match[1])
        return self._send(b"", {"X-Error-Code": "RepoNotFound"}, HTTPStatus.NOT_FOUND)

    def _send_file(self, path: Path) -> None:
        content, etag = path.read_bytes(), sha256(path)
        if path.name in self.server.broken:
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = int(re.match(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[1])
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(content[start:], headers, HTTPStatus.PARTIAL_CONTENT if start else HTTPStatus.OK, path.name in self.server.cut)

    def _send(self, content: bytes, headers: dict[str, str], status: HTTPStatus = HTTPStatus.OK, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing."""
