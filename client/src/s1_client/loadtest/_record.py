# SPDX-License-Identifier: Apache-2.0
"""The record of a run: a JSON file, ``run.json``, with the values of every request, so that any percentile can be
computed from it later.

The file is the class ``Run`` as JSON: an object has exactly the fields of its class, a tuple is a list, None is null.
Reading rejects unknown fields, missing fields and wrong types, by name. Times are floats, in milliseconds (``_ms``) or
seconds (``_s``).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from s1_client.loadtest._roofline import Roofline
from s1_client.loadtest._search import CapacitySearch
from s1_client.loadtest._typed import Malformed, decode

SCHEMA = "s1-loadtest/1"
DONE = "done"
NUM_DECIMALS = 4  # of times in ms in the file: a tenth of a microsecond


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Milliseconds between consecutive sampled tokens, by phase.

    A message with n ids that arrives g ms after the previous one gives n entries of g / n. There is no entry for the
    first message of a phase, nor for the first one after a refused end: see ``Request.ignore_costs_ms``.
    """

    thinking: tuple[float, ...] = ()
    answer: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The outcome of a request.

    Attributes:
        work: name of its kind of work in the scenario.
        prompt: number of its prompt, unique within a level.
        start_s: due time, since the level began. At a request rate this is the schedule, even if the driver sent it late; all
            latencies count from here.
        sent_s: send time, since the level began.
        end: "done", or the name of the error's class in s1_client ("Overloaded").
        message: the error message; None without an error.
        max_thinking_tokens, num_ignore: as the server applied them; None if the request failed.
        num_prompt_tokens, num_thinking_tokens: from the server's ledger; for a failed request None, and the tokens that arrived.
        num_injected_tokens: injected tokens among the thinking tokens.
        num_answer_tokens: sampled tokens of the answer.
        num_ignored: refused ends of thinking.
        num_rounds: rounds of the reply.
        num_messages: responses that carried an event.
        thinking_end, answer_end: why each phase ended, see ``s1_client.Result``; None if the request failed.
        request_latency_ms: until the last message or the error.
        time_to_first_token_ms: until the first message with a sampled token (tokens that a preset injects first arrive before the
            engine has done anything); None without such a message or without streaming.
        time_to_first_answer_token_ms: the same for the answer.
        inter_token_latencies_ms: between sampled tokens, see ``Latencies``.
        answer_gap_ms: from the last sampled token of the thinking to the first sampled token of the answer.
        ignore_costs_ms: for each refused end, from the last sampled token before it to the first sampled token after it.
        round_gaps_ms: on the server, for each round but the first: from the end of the previous round to the engine call.
        num_tokens_recomputed: upper bound of the prompt tokens, from the second round on, that the engine did not find in its KV
            cache; None if the engine does not report it.
        checks: faults of the reply, one sentence each; empty if it is correct.
        replica: the server that took the request: the header ``x-replica`` of a balancer, or the address that it was sent to
            where the load test has several; None if unknown.
        is_retryable: of a failed request, whether it may be sent again (``S1Error.retryable``); None if the request is done.
    """

    work: str
    prompt: int
    start_s: float
    sent_s: float
    end: str
    message: str | None = None
    max_thinking_tokens: int | None = None
    num_ignore: int | None = None
    num_prompt_tokens: int | None = None
    num_thinking_tokens: int = 0
    num_injected_tokens: int = 0
    num_answer_tokens: int = 0
    num_ignored: int = 0
    num_rounds: int = 0
    num_messages: int = 0
    thinking_end: str | None = None
    answer_end: str | None = None
    request_latency_ms: float
    time_to_first_token_ms: float | None = None
    time_to_first_answer_token_ms: float | None = None
    inter_token_latencies_ms: Latencies = field(default_factory=Latencies)
    answer_gap_ms: float | None = None
    ignore_costs_ms: tuple[float, ...] = ()
    round_gaps_ms: tuple[float, ...] = ()
    num_tokens_recomputed: int | None = None
    checks: tuple[str, ...] = ()
    replica: str | None = None
    is_retryable: bool | None = None

    @property
    def is_done(self) -> bool:
        """Whether it ended with a complete reply, correct or not."""
        return self.end == DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class GaugeRange:
    """The mean and the highest of ``num`` values of a gauge that were read during a level."""

    mean: float
    highest: float
    num: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A load and the requests that were run at it.

    Attributes:
        value: the concurrency, or the request rate in 1/s.
        distribution: of the gaps between requests at a request rate; None at a concurrency.
        duration_s: from the start of the first request to the end of the last.
        num_warmup: requests before the level, which are not in ``requests``.
        requests: in the order of their starts.
        server: increments of the counters, and of the sums and counts of histograms, in the server's /metrics, by name and
            labels as written there, over all servers; None if the metrics could not be read.
        gauges: s1's gauges during the level, likewise; and the CPU use of the server's machine, of several that of the busiest.
        problems: problems of the level as a whole; empty if there are none.
    """

    mode: Literal["concurrency", "request_rate"]
    value: float
    distribution: Literal["constant", "poisson"] | None
    duration_s: float
    num_warmup: int
    requests: tuple[Request, ...]
    server: dict[str, float] | None = None
    gauges: dict[str, GaugeRange] | None = None
    problems: tuple[str, ...] = ()

    @property
    def done(self) -> list[Request]:
        """The requests that ended with a complete reply."""
        return [request for request in self.requests if request.is_done]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine that the driver ran on. ``gpus``: their names, None if they could not be determined."""

    cpu: str
    num_cores: int
    memory_bytes: int
    gpus: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A single run of a scenario.

    Attributes:
        label: the user's name for the run.
        started_at: ISO 8601, UTC.
        driver_version: version of s1-client or of perf_analyzer.
        server_version: Triton's version.
        model: name of the model on the server.
        scenario: all data of the scenario; ``scenario_hash`` is a hash of it without the seed.
        engine: reported by the server: "engine_model", "preset", "max_context_tokens", and "manifest" and "tokens_per_block" if known.
        roofline: upper bound of the server's GPUs, if the user gave an engine plan.
        search: the capacity search whose levels these are, in the order of their trials; None for other runs.
        replica_urls: addresses of all servers, if the requests were spread over several.
    """

    schema: Literal["s1-loadtest/1"] = "s1-loadtest/1"
    label: str
    started_at: str
    driver: Literal["client", "perf_analyzer"]
    driver_version: str
    url: str
    server_version: str
    model: str
    machine: Machine
    scenario_name: str
    scenario_hash: str
    scenario: dict[str, Any]
    engine: dict[str, str]
    levels: tuple[Level, ...]
    roofline: Roofline | None = None
    search: CapacitySearch | None = None
    replica_urls: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the JSON text of the record, the requests' times rounded to ``NUM_DECIMALS``; the scenario and the loads are exact."""
        data = asdict(self)
        for level in data["levels"]:
            level["requests"] = _rounded(level["requests"])
        return json.dumps(data, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Run:
        """Parse a record. Raises Malformed if the text is not a record of this schema."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise Malformed(f"not JSON: {error}") from None
        if isinstance(data, dict) and data.get("schema") != SCHEMA:
            raise Malformed(f"schema: got {data.get('schema')!r}, allowed: {SCHEMA!r}")
        return decode(cls, data)


def read(path: Path) -> Run:
    """Return the record at ``path``. Raises Malformed, with the path, and OSError."""
    try:
        return Run.from_json(path.read_text(encoding="utf-8"))
    except (Malformed, UnicodeDecodeError) as error:
        raise Malformed(f"{path}: {error}") from None


def _rounded(data: Any) -> Any:
    if isinstance(data, float):
        return round(data, NUM_DECIMALS)
    if isinstance(data, dict):
        return {name: _rounded(value) for name, value in data.items()}
    return [_rounded(value) for value in data] if isinstance(data, list | tuple) else data
