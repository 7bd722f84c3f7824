# SPDX-License-Identifier: Apache-2.0
"""A Triton model with tensorrt_llm's tensors that says what a script tells it to: for tests through a real server.

A script is a JSON file in the folder that parameter ``scripts`` names:

    {"key": [ids], "calls": [[ids], ...], "delay_ms": 0, "error_after": null, "requests": "path"}

It belongs to the requests whose prompt contains ``key``. The orchestrator names its calls
``<request id>-<number>``; the number chooses the script's line. Every call is noted in the
file ``<script>.log``, one JSON line when it begins and one when it ends.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import triton_python_backend_utils as pb_utils

from budgetforce.errors import EngineFailed
from budgetforce.serving.embedded_inputs import EngineRequest, read_engine_request
from budgetforce.serving.ports import ResponsePort


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        parameters = json.loads(args["model_config"])["parameters"]
        self._folder = Path(parameters["scripts"]["string_value"])
        self._threads: list[threading.Thread] = []

    def execute(self, requests: list[pb_utils.InferenceRequest]) -> None:
        for request in requests:
            inputs = {tensor.name(): tensor.as_numpy().copy() for tensor in request.inputs()}
            parsed = read_engine_request(request.request_id(), inputs)
            port = ResponsePort(request.get_response_sender())
            thread = threading.Thread(target=self._answer, args=(parsed, port), daemon=True)
            self._threads.append(thread)
            thread.start()

    def finalize(self) -> None:
        for thread in self._threads:
            thread.join(timeout=5)

    def _answer(self, request: EngineRequest, port: ResponsePort) -> None:
        path, script = self._script(request.call.input_ids)
        if script is None:
            port.fail(EngineFailed("no script for this prompt"))
            return
        number = int(request.request_id.rpartition("-")[2])
        banned = sorted(word[0] for word in request.call.sampling.bad_words)
        self._note(path, begun=request.request_id, prompt=request.call.input_ids, max_new_tokens=request.call.max_new_tokens, banned=banned)
        said = 0
        for token_id in self._cut(script["calls"][number], request):
            if said == script.get("error_after"):
                port.fail(EngineFailed("scripted failure"))
                return
            if port.is_cancelled():
                self._note(path, cancelled=request.request_id, said=said)
                port.close()
                return
            time.sleep(script.get("delay_ms", 0) / 1e3)
            port.send(request.outputs((token_id,)))
            said += 1
        self._note(path, ended=request.request_id, said=said)
        port.send(request.outputs(()), final=True)

    def _script(self, prompt: tuple[int, ...]) -> tuple[Path, dict | None]:
        text = f",{','.join(map(str, prompt))},"
        for path in self._folder.glob("*.json"):
            script = json.loads(path.read_text())
            if f",{','.join(map(str, script['key']))}," in text:
                return path, script
        return self._folder, None

    @staticmethod
    def _cut(ids: list[int], request: EngineRequest) -> list[int]:
        """As a real engine would: without banned ids, up to a stop word or the length."""
        banned = {word[0] for word in request.call.sampling.bad_words}
        stops = request.call.stop_words
        kept: list[int] = []
        for token_id in ids:
            if token_id in banned:
                continue
            kept.append(token_id)
            if (token_id,) in stops or len(kept) == request.call.max_new_tokens:
                break
        return kept

    @staticmethod
    def _note(path: Path, **entry: object) -> None:
        with path.with_suffix(".log").open("a") as log:
            log.write(json.dumps(entry) + "\n")
