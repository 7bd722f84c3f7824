# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's perf_analyzer as the driver of a level: one bounded run, whose figures come from its export file alone.

Its printed figures are misleading for a decoupled model (the latency is that of the last response, the throughput is rounded
to whole seconds), and of its exit code only a failure is trusted. A single failed request ends its run without an export:
this becomes a problem of the level. At a request rate, latencies count from the send time, because the export does not
contain due times.
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
from s1_client.loadtest._observation import Observation
from s1_client.loadtest._scenario import Scenario, Stage

# Observation with version 2.60.
_CODES = {2: "its measurement was not stable", 3: "no request was valid", 99: "a request failed, or an option was refused"}
_VERSION_S = 20.0
_TAIL = 400  # characters of its last output


class Unsuitable(Exception):
    """perf_analyzer cannot run this scenario; the message names the alternative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The outcome of a level: an observation for each request, and problems of the level as a whole."""

    seen: list[Observation]
    problems: tuple[str, ...] = ()


def find(given: str | None) -> Path:
    """Return the path of perf_analyzer: the given one, else from PATH. Raises Unsuitable with instructions to install it."""
    found = shutil.which(given or "perf_analyzer")
    if found is None:
        where = f"no program at {given}" if given else "it is not on PATH"
        raise Unsuitable(
            f"perf_analyzer: {where}; it is in the image tritonserver:26.07-py3-sdk, and python3 build/perf_analyzer.py of the project's "
            "repository makes .s1/bin/perf_analyzer from packages"
        )
    if not version(Path(found)):
        raise Unsuitable(
            f"{found}: does not run as perf_analyzer; on glibc < 2.38 run python3 build/perf_analyzer.py and use the program that it makes"
        )
    return Path(found).absolute()


def version(program: Path) -> str:
    """Return the version that the program reports, "" if it does not run. Packages of 2.60 report 0.0.0 and a commit."""
    try:
        completed = subprocess.run([str(program), "--version"], capture_output=True, text=True, timeout=_VERSION_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"Perf Analyzer Version (.+)", completed.stdout + completed.stderr)
    return found.group(1).strip() if found else ""


def check(scenario: Scenario, settings: Settings) -> None:
    """Raise Unsuitable if perf_analyzer cannot run the scenario with these settings."""
    for work in scenario.work:
        if work.has_command:
            raise Unsuitable(f"work '{work.name}': perf_analyzer cannot send commands to a running request; use --driver client")
    if scenario.allowed_errors:
        raise Unsuitable("allowed_errors: perf_analyzer stops at the first failed request; use --driver client")
    for stage in scenario.stages:
        if stage.load.num_requests < stage.value:
            raise Unsuitable(f"num_requests: got {stage.load.num_requests}, allowed for perf_analyzer: at least the rate, {stage.value:g}")
        if stage.mode == "request_rate" and 0 < stage.load.num_warmup < stage.value:  # perf_analyzer would hang
            raise Unsuitable(
                f"num_warmup: got {stage.load.num_warmup}, allowed for perf_analyzer: 0, or at least the rate, {stage.value:g}"
            )
    if settings.metadata:
        raise Unsuitable("perf_analyzer accepts secrets only on its command line, where other users can read them; use --driver client")
    if settings.tenant:
        raise Unsuitable(f"tenant: got '{settings.tenant}' ($S1_TENANT), which perf_analyzer cannot send; use --driver client")


def run_stage(program: Path, settings: Settings, scenario: Scenario, stage: Stage, files: Path) -> Attempt:
    """Run a level. Its input, export and log are written to ``files`` plus .input.json, .export.json and .log. Raises OSError."""
    load = stage.load
    steps = list(islice(jobs(scenario, stage), load.num_requests + load.num_warmup))
    inputs, export, log = (files.with_name(files.name + suffix) for suffix in (".input.json", ".export.json", ".log"))
    inputs.write_text(json.dumps(input_data(steps, scenario.deadline_s), ensure_ascii=False), encoding="utf-8")
    export.unlink(missing_ok=True)  # perf_analyzer refuses to overwrite it
    options = command(program, settings, stage, inputs, export)
    timeout_s = load.max_seconds + scenario.deadline_s
    problem = _run(options, log, timeout_s)
    if not export.is_file():
        return Attempt(seen=[], problems=(problem or f"perf_analyzer left no export, see {log}",))
    try:
        seen = read_export(export, steps)
    except (ValueError, LookupError, TypeError) as error:
        return Attempt(seen=[], problems=(problem or f"{export} cannot be read: {type(error).__name__}: {error}",))
    short = () if len(seen) == load.num_requests else (f"{len(seen)} of {load.num_requests} requests are in the export",)
    return Attempt(seen=seen, problems=(*((problem,) if problem else ()), *short))


def _run(options: list[str], log: Path, timeout_s: float) -> str | None:
    """Run the command and return its problem, None if it succeeded."""
    with log.open("w") as file:
        try:
            code = subprocess.run(options, stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=timeout_s, check=False).returncode
        except subprocess.TimeoutExpired:
            return f"perf_analyzer did not end within {timeout_s:g} s; it was killed and its measurements are lost"
    if code == 0:
        return None
    error = " ".join(
        log.read_text(encoding="utf-8", errors="replace").rpartition("rror: ")[2][-_TAIL:].split()
    )  # its usage text comes first
    return f"perf_analyzer ended with code {code} ({_CODES.get(code, 'unknown')}): …{error}"


def command(program: Path, settings: Settings, stage: Stage, inputs: Path, export: Path) -> list[str]:
    """Return the command line. --streaming because the model is decoupled; --request-count measures a single window without
    waiting for stable figures, and allows only a single level.
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
    """Return the data for --input-data: every tensor of each request. A list of several values needs an explicit shape."""
    return {"data": [_tensors(job, deadline_s) for job in steps]}


def _tensors(job: Job, deadline_s: float) -> dict[str, Any]:
    options = {"timeout_ms": int(deadline_s * 1e3), **job.work.options}
    tensors: dict[str, Any] = {"text_input": [job.prompt], "stream": [job.work.stream]}
    for name, value in options.items():
        tensors[name] = {"content": list(value), "shape": [1, len(value)]} if isinstance(value, list | tuple) else [value]
    return tensors


def read_export(path: Path, steps: list[Job]) -> list[Observation]:
    """Read the file of --profile-export-file. Requests are matched to jobs by prompt; times are nanoseconds since the epoch."""
    data = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    requests = [request for experiment in data["experiments"] for request in experiment["requests"]]
    first = min((request["timestamp"] for request in requests), default=0)
    by_prompt = {job.prompt: job for job in steps}
    seen = [_observed(request, by_prompt[request["request_inputs"]["text_input"]], first) for request in requests]
    return sorted(seen, key=lambda observed: observed.due_s)


def _observed(request: Mapping[str, Any], job: Job, first: int) -> Observation:
    sent_s = (request["timestamp"] - first) / 1e9
    seen = Observation(job=job, due_s=sent_s, sent_s=sent_s)
    times = [(stamp - first) / 1e9 for stamp in request["response_timestamps"]]
    try:
        seen.messages += _messages(times, request["response_outputs"])
    except S1Error as error:
        seen.error = error
    seen.ended_s = times[-1] if times else sent_s
    return seen


def _messages(times: list[float], outputs: list[Mapping[str, Any]]) -> Iterator[tuple[float, Event]]:
    """Yield the responses with an event: a decoupled model may end with an empty response."""
    for at, output in zip(times, outputs, strict=True):
        if output.get("event"):
            yield at, _event(output)


def _event(output: Mapping[str, Any]) -> Event:
    """Parse a response. The export writes several ids as a list, a single id as a number and none as an empty text."""
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
