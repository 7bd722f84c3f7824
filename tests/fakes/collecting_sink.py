# SPDX-License-Identifier: Apache-2.0
"""A sink that keeps what it is given."""

from __future__ import annotations

import json
from typing import Any

from budgetforce.serving.replies.sinks import OutputChunk


class CollectingSink:
    """Always ready. ``closed`` and ``settled`` tell how the request ended."""

    def __init__(self) -> None:
        self.chunks: list[OutputChunk] = []
        self.closed = self.settled = False

    def put(self, chunk: OutputChunk) -> None:
        self.chunks.append(chunk)

    def ready(self) -> None:
        pass

    async def close(self) -> None:
        self.closed = True

    async def settle(self) -> None:
        self.settled = True

    @property
    def results(self) -> dict[int, Any]:
        """The samples' results by their index."""
        return {chunk.index: json.loads(chunk.result) for chunk in self.chunks if chunk.result}
