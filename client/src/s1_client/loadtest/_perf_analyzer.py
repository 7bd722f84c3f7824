# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's perf_analyzer as the driver of a level: one bounded run of it, whose figures are taken from its export alone.

What it prints of a decoupled model is not what it says (its latency is that of the last response, its throughput is
rounded to whole seconds), and of its exit code only a failure is believed. One request that fails ends its run, and
then there is no export: that is told as the level's problem. At a rate, latencies count from when it sent a request: when
that was due it does not tell.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from s1_client._errors import S1Error
from s1_client._settings import Settings
from s1_client._types import Event
from s1_client._wire import event_of
from s1_client.loadtest._jobs import Job, jobs
from s1_client.loadtest._observed import Observed
from s1_client.loadtest._scenario import Scenario, Stage

# Of version 2.60, as they were seen.
_CODES = {2: "its measurement was not stable", 3: "no request was valid", 99: "a request failed, or an option was refused"}
_VERSION_S = 20.0
_TAIL = 400  # characters of what it said last


class Unsuitable(Exception):
    """perf_analyzer cannot run this; the message says what can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of a run of perf_analyzer: what was seen of each request, and what went wrong as a whole."""

    seen: list[Observed]
    problems: tuple[str, ...] = ()


def find(given: str | None) -> Path:
    """The program: as given, else on PATH. Raises Unsuitable, with how to get it."""
    found = shutil.which(given or "perf_analyzer")
    if found is None:
        where = f"no program at {given}" if given else "it is not on PATH"
        raise Unsuitable(
            f"perf_analyzer: {where}; it is in the image tritonserver:26.07-py3-sdk, and python3 build/perf_analyzer.py of the project's "
            "repository makes .s1/bin/perf_analyzer from packages"
        )
    if not version(Path(found)):
        raise Unsuitable(f"{found}: does not run as perf_analyzer; on glibc < 2.38 use what python3 build/perf_analyzer.py makes")
    return Path(found).absolute()


def version(program: Path) -> str:
    """As it tells it; empty if it does not run. Packages of version 2.60 say 0.0.0 and a commit."""
    try:
        told = subprocess.run([str(program), "--version"], capture_output=True, text=True, timeout=_VERSION_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"Perf Analyzer Version (.+)", told.stdout + told.stderr)
    return found.group(1).strip() if found else ""


def check(scenario: Scenario, settings: Settings) -> None:
    """Raise Unsuitable for what perf_analyzer cannot do."""
    for work in scenario.work:
        if work.has_command:
            raise Unsuitable(f"work '{work.name}': perf_analyzer cannot tell a running request anything; use --driver client")
    if scenario.allowed_errors:
        raise Unsuitable("allowed_errors: the first failed request ends perf_analyzer's run; use --driver client")
    for stage in scenario.stages:
        if stage.load.num_requests < stage.value:
            raise Unsuitable(f"num_requests: got {stage.load.num_requests}, allowed for perf_analyzer: at least the rate, {stage.value:g}")
        if stage.mode == "request_rate" and 0 < stage.load.num_warmup < stage.value:  # it hangs then
            raise Unsuitable(
                f"num_warmup: got {stage.load.num_warmup}, allowed for perf_analyzer: 0, or at least the rate, {stage.value:g}"
            )
    if settings.metadata:
        raise Unsuitable("perf_analyzer takes secrets on its command line only, where others can read them; use --driver client")


def run_stage(program: Path, settings: Settings, scenario: Scenario, stage: Stage, files: Path) -> Attempt:
    """Hold a level. ``files``: where its input, its export and its words go, with these suffixes: .input.json,
    .export.json, .log. Raises OSError.
    """
    load = stage.load
    steps = list(islice(jobs(scenario, stage), load.num_requests + load.num_warmup))
    inputs, export, log = (files.with_name(files.name + suffix) for suffix in (".input.json", ".export.json", ".log"))
    inputs.write_text(json.dumps(input_data(steps, scenario.deadline_s), ensure_ascii=False), encoding="utf-8")
    export.unlink(missing_ok=True)  # it refuses to write over one
    options = command(program, settings, stage, inputs, export)
    patience_s = load.max_seconds + scenario.deadline_s
    problem = _run(options, log, patience_s)
    if not export.is_file():
        return Attempt(seen=[], problems=(problem or f"perf_analyzer left no export, see {log}",))
    try:
        seen = read_export(export, steps)
    except (ValueError, LookupError, TypeError) as error:
        return Attempt(seen=[], problems=(problem or f"{export} cannot be read: {type(error).__name__}: {error}",))
    short = () if len(seen) == load.num_requests else (f"{len(seen)} of {load.num_requests} requests are in the export",)
    return Attempt(seen=seen, problems=(*((problem,) if problem else ()), *short))


def _run(options: list[str], log: Path, patience_s: float) -> str | None:
    """What went wrong, if anything did."""
    with log.open("w") as file:
        try:
            code = subprocess.run(options, stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=patience_s, check=False).returncode
        except subprocess.TimeoutExpired:
            return f"perf_analyzer did not end within {patience_s:g} s; it was killed, and what it measured is lost"
    if code == 0:
        return None
    said = " ".join(log.read_text(encoding="utf-8", errors="replace").rpartition("rror: ")[2][-_TAIL:].split())  # behind all its options
    return f"perf_analyzer ended with code {code} ({_CODES.get(code, 'unknown')}): …{said}"


def command(program: Path, settings: Settings, stage: Stage, inputs: Path, export: Path) -> list[str]:
    """The command line. The model is decoupled, so --streaming; --request-count makes one window without a wait for
    figures that are stable, and goes with a single level only.
    """
    load = stage.load
    if stage.mode == "concurrency":
        level = [f"--concurrency-range={stage.value:g}"]
    else:
        level = [f"--request-rate-range={stage.value:g}", f"--request-distribution={load.distribution}"]
    warmup = [f"--warmup-request-count={load.num_warmup}"] if load.num_warmup else []
    files = [f"--input-data={inputs}", f"--profile-export-file={export}"]
    counts = [f"--request-count={load.num_requests}", *warmup]
    return [
        str(program),
        "-m",
        settings.model,
        "-i",
        "grpc",
        "-u",
        settings.address,
        "--streaming",
        "--async",
        *level,
        *counts,
        *files,
        *_tls(settings),
    ]


def _tls(settings: Settings) -> list[str]:
    if settings.tls is None:
        return []
    names = {"root-certifications": settings.tls.ca_file, "certificate-chain": settings.tls.cert_file, "private-key": settings.tls.key_file}
    return ["--ssl-grpc-use-ssl", *(f"--ssl-grpc-{name}-file={file}" for name, file in names.items() if file is not None)]


def input_data(steps: list[Job], deadline_s: float) -> dict[str, Any]:
    """perf_analyzer's --input-data: every tensor of a request, a value a list. Of a list of texts the shape is told."""
    return {"data": [_tensors(job, deadline_s) for job in steps]}


def _tensors(job: Job, deadline_s: float) -> dict[str, Any]:
    options = {"timeout_ms": int(deadline_s * 1e3), **job.work.options}
    tensors: dict[str, Any] = {"text_input": [job.prompt], "stream": [job.work.stream]}
    for name, value in options.items():
        tensors[name] = {"content": list(value), "shape": [1, len(value)]} if isinstance(value, list | tuple) else [value]
    return tensors


def read_export(path: Path, steps: list[Job]) -> list[Observed]:
    """What --profile-export-file holds. A step is found by its prompt; times are nanoseconds since the epoch."""
    data = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    requests = [request for experiment in data["experiments"] for request in experiment["requests"]]
    began = min((request["timestamp"] for request in requests), default=0)
    by_prompt = {job.prompt: job for job in steps}
    seen = [_observed(request, by_prompt[request["request_inputs"]["text_input"]], began) for request in requests]
    return sorted(seen, key=lambda one: one.due_s)


def _observed(request: Mapping[str, Any], job: Job, began: int) -> Observed:
    sent_s = (request["timestamp"] - began) / 1e9
    seen = Observed(job=job, due_s=sent_s, sent_s=sent_s)
    times = [(stamp - began) / 1e9 for stamp in request["response_timestamps"]]
    try:
        seen.messages += _messages(times, request["response_outputs"])
    except S1Error as error:
        seen.error = error
    seen.ended_s = times[-1] if times else sent_s
    return seen


def _messages(times: list[float], outputs: list[Mapping[str, Any]]) -> Iterator[tuple[float, Event]]:
    """Those that carry something: a decoupled model may end with an empty response."""
    for at, output in zip(times, outputs, strict=True):
        if output.get("event"):
            yield at, _event(output)


def _event(output: Mapping[str, Any]) -> Event:
    """In an export one number is a number, several are a list, and none is an empty text."""
    ids = output["output_ids"]
    return event_of(
        kind=output["event"],
        index=int(output["index"]),
        ids=tuple(ids) if isinstance(ids, list) else () if ids == "" else (ids,),
        thinking=output["thinking_output"],
        answer=output["text_output"],
        round_json=output["round"],
        result_json=output["result"],
    )
