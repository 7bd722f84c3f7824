# SPDX-License-Identifier: Apache-2.0
"""A server for many requests of all kinds, what its processes hold, and how its requests end."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import deserialize_bytes_tensor

from budgetforce import errors
from budgetforce.launcher.ports import choose_ports
from budgetforce.launcher.triton_server import TritonServer
from server.conftest import complete_notes, copy_of_s1, environment_of, make_scripted_llm

MODEL = "s1_scripted"
MAX_CONTEXT_TOKENS = 1024  # so that whatever is asked for ends soon
MAX_REPLIES = 64  # as many as one request may have samples: that all are free is seen by asking for all


@contextmanager
def scripted_server(root: Path, folder: Path) -> Iterator[TritonServer]:
    """``s1_scripted`` over an engine that plays the scripts in ``folder``/scripts, on a server of its own."""
    repository = folder / "repository"
    (folder / "scripts").mkdir()
    make_scripted_llm(root, repository, folder / "scripts")
    limits = {"max_replies": str(MAX_REPLIES), "max_context_tokens": str(MAX_CONTEXT_TOKENS)}
    copy_of_s1(root, repository, MODEL, "scripted_llm", **limits)
    ports = choose_ports(http=0, grpc=0, metrics=0)
    server = TritonServer(
        repositories=[repository],
        models=["scripted_llm", MODEL],
        ports=ports,
        log=folder / "triton.log",
        environment=environment_of(root, ports.grpc),
        deadline_s=120,
    )
    with server:
        yield server


def survives_leaving(server: TritonServer) -> bool:
    """Whether a stream may be cancelled while a response is on its way, by a client or by ``s1`` as the engine's client.

    Before 25.04 Triton's gRPC front end goes on with states that it has given back then, and ends with SIGSEGV or
    SIGABRT: after one such cancel of a few thousand. A stream that is silent can be cancelled.
    """
    with grpc.insecure_channel(server.grpc_url) as channel:
        version = service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerMetadata(service_pb2.ServerMetadataRequest()).version
    return tuple(map(int, version.split(".")[:2])) >= (2, 57)


@dataclass(frozen=True)
class Holdings:
    """What a process holds."""

    name: str
    num_threads: int
    num_descriptors: int
    resident_mib: float

    @classmethod
    def of(cls, pid: int) -> Holdings:
        process = Path("/proc") / str(pid)
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        resident_mib = int(status["VmRSS"].split()[0]) / 1024
        return cls(name_of(pid), len(os.listdir(process / "task")), len(os.listdir(process / "fd")), resident_mib)  # noqa: PTH208


def name_of(pid: int) -> str:
    """The program, or the model that a stub runs."""
    program, *arguments = (Path("/proc") / str(pid) / "cmdline").read_bytes().decode().split("\0")
    if not Path(program).name.startswith("triton_python_backend_stub"):
        return Path(program).name
    return next(part for argument in arguments for part in Path(argument).parts if "scripted" in part)


def processes_of(server: TritonServer) -> dict[int, Holdings]:
    """The server and its stubs, by process id."""
    assert server.process is not None
    pid = server.process.pid
    children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    return {each: Holdings.of(each) for each in (pid, *sorted(children))}


def shared_regions(server: TritonServer) -> dict[str, int]:
    """The server's regions of shared memory, with their sizes in bytes."""
    return {region.name: region.stat().st_size for region in Path("/dev/shm").glob(f"{server._prefix}*")}


ENDS = ("ended", "failed", "cancelled", "stopped", "finalized", "died")


@dataclass(frozen=True)
class Notes:
    """What the scripted engine has noted of its calls, in all scripts."""

    entries: tuple[dict[str, object], ...]

    @classmethod
    def read(cls, scripts: Path) -> Notes:
        return cls(tuple(note for log in scripts.glob("*.log") for note in complete_notes(log)))

    def calls(self, *kinds: str) -> set[object]:
        return {entry[kind] for entry in self.entries for kind in kinds if kind in entry}

    def open_calls(self) -> set[object]:
        """Those that have begun and not come to an end."""
        return self.calls("begun") - self.calls(*ENDS)


# --- how a request ends ---------------------------------------------------------------------------


def codes(error: type[errors.BudgetForceError]) -> set[str]:
    return {error.code, *(code for kind in error.__subclasses__() for code in codes(kind))}


OURS = re.compile(rf"({'|'.join(sorted(codes(errors.BudgetForceError)))}): \S")
TRITONS = re.compile(  # its words for a message that is malformed, or does not fit the model's config
    r"unexpected (inference input|inference output|shape|explicit tensor data|number of string elements|'content' provided)"
    r"|batch-size must be|expected (\d+ string elements|number of inputs between)|incomplete string (data|length)|input byte size mismatch"
    r"|(data-type is|already exists in request|batch size does not match|has no shape|contents field must not be specified)"
    r"|(unable to find data for input|All input dimensions should be specified|request has 0 inputs|shared memory)"
    r"|(invalid|failed to get) model version|unknown model|invalid value (type )?for '.*' parameter|parameter '.*' has invalid type"
    r"|can not convert input '.*' to tensor with proper shape"
    r"|failed to parse the request JSON|attempt to (access|get) |generate expects model to produce exactly 1 response",
    re.DOTALL,
)
FAULTS = {"CONFIG", "INTERNAL", "UNAVAILABLE"}  # clean, but there is no cause for them


def kind_of_error(message: str) -> str:
    """The code of one of ours, "malformed" for Triton's own words; else "unclean"."""
    ours = OURS.match(message)
    if "Traceback" in message or ".py" in message:
        return "unclean"
    if ours is not None:
        return ours.group(1)
    return "malformed" if TRITONS.search(message) else "unclean"


@dataclass(frozen=True)
class Outcome:
    """How a request ended.

    Attributes:
        kind: "result", an error's code, "malformed"; anything else is a failure.
        words: an error's message.
    """

    kind: str
    words: str = ""

    @classmethod
    def of(cls, came: list[str | dict[str, Any]]) -> Outcome:
        """The end of what came: an error's message, or an answer's outputs each."""
        messages = [each for each in came if isinstance(each, str)]
        if len(messages) > 1 or messages != [each for each in came[-1:] if isinstance(each, str)]:
            return cls("more than one end", repr(messages))
        if messages:
            return cls(kind_of_error(messages[0]), messages[0])
        return cls("result") if is_whole(came) else cls("no end", repr(came)[:300])

    @property
    def is_clean(self) -> bool:
        return self.kind in {"result", "malformed", *codes(errors.BudgetForceError)} - FAULTS


def is_whole(answers: list[Any]) -> bool:
    """Whether every sample is done, once, and nothing follows; as far as the outputs that were asked for tell."""
    if not answers or "event" not in answers[0]:
        return bool(answers)
    events = [event for answer in answers for event in answer["event"]]
    if "index" not in answers[0]:
        return events[-1] == "done"
    indices = [index for answer in answers for index in answer["index"]]
    done = [index for index, event in zip(indices, events, strict=True) if event == "done"]
    return events[-1] == "done" and sorted(done) == sorted(set(indices))


def tensors_of(response: Any) -> dict[str, list[Any]]:
    pairs = zip(response.outputs, response.raw_output_contents, strict=True)
    return {output.name: values_of(output.datatype, raw) for output, raw in pairs if (output.name, output.datatype) != ("index", "BYTES")}


def values_of(datatype: str, raw: bytes) -> list[Any]:
    if datatype == "BYTES":
        return [value.decode() for value in deserialize_bytes_tensor(raw)]
    return list(np.frombuffer(raw, np.int32))
