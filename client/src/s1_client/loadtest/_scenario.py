# SPDX-License-Identifier: Apache-2.0
"""Scenarios: the requests, the loads and the allowed errors of a load test. Data files (TOML); knows no server.

    about = "Short questions, a budget of 256 tokens."

    [[work]]                     # a kind of request; several kinds make a mix
    name = "b256"
    share = 1                    # of the mix
    prompts = "short"            # short: 10 to 40 tokens; long: about 1,500
    stream = true
    options = { max_thinking_tokens = 256, num_ignore = 1, max_tokens = 64 }   # the request's options
    # answer_now_after_tokens = 16, or cancel_after_tokens = 16: the client sends this command after so many tokens

    [[load]]                     # a level for each value, one after the other
    concurrency = [1, 4, 16]     # requests in flight; or request_rate = [0.5, 1.0], in requests per second
    # distribution = "poisson"   # of the gaps at a request rate; the default is "constant"
    num_requests = 32            # in each level
    num_warmup = 2               # before each level, not measured
    max_seconds = 600.0          # no request of the level starts later

Optional top-level keys: ``deadline_s`` (300) of each request; ``allowed_errors``, names of s1_client's errors that do not
fail the run; ``seed`` (0), which changes the Poisson gaps and the beginnings of the prompts.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from s1_client._errors import ERROR_KINDS, InvalidRequest
from s1_client._wire import infer_request
from s1_client.loadtest._typed import Malformed, decode

_EXCLUDED = ("num_samples",)  # every request of a load test has a single sample
if TYPE_CHECKING:
    ErrorName = str
else:
    ErrorName = Literal[tuple(kind.error.__name__ for kind in ERROR_KINDS if kind.error is not InvalidRequest)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A kind of request, as in the module's example. ``options``: fields of ``s1_client.Options``."""

    name: str
    prompts: Literal["short", "long"]
    options: dict[str, Any]
    share: int = 1
    stream: bool = True
    answer_now_after_tokens: int | None = None
    cancel_after_tokens: int | None = None

    def __post_init__(self) -> None:
        _at_least(1, share=self.share, answer_now_after_tokens=self.answer_now_after_tokens, cancel_after_tokens=self.cancel_after_tokens)
        if self.has_command and not self.stream:
            raise Malformed("stream: got False, allowed: true, because the client counts the tokens that have arrived")
        if self.answer_now_after_tokens and self.cancel_after_tokens:
            raise Malformed("cancel_after_tokens: not allowed together with answer_now_after_tokens")
        for name in set(self.options) & set(_EXCLUDED):
            raise Malformed(f"options.{name}: not allowed in a load test")
        try:
            infer_request("", self.options, stream=True)
        except (TypeError, InvalidRequest) as error:
            raise Malformed(f"options: {error}") from None

    @property
    def has_command(self) -> bool:
        """Whether the client sends a command to the running request."""
        return bool(self.answer_now_after_tokens or self.cancel_after_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A group of levels that differ only in their load, as in the module's example."""

    num_requests: int
    max_seconds: float
    concurrency: tuple[int, ...] = ()
    request_rate: tuple[float, ...] = ()
    distribution: Literal["constant", "poisson"] = "constant"
    num_warmup: int = 0

    def __post_init__(self) -> None:
        if bool(self.concurrency) == bool(self.request_rate):
            raise Malformed("concurrency: give either this or request_rate, with at least one value")
        _at_least(1, num_requests=self.num_requests, concurrency=min(self.concurrency, default=None))
        _at_least(0, num_warmup=self.num_warmup)
        for name, value in (("max_seconds", self.max_seconds), *(("request_rate", rate) for rate in self.request_rate)):
            if not 0 < value < 1e6:
                raise Malformed(f"{name}: got {value}, allowed: a number > 0")
        if self.num_requests < max(self.concurrency, default=0):
            raise Malformed(f"num_requests: got {self.num_requests}, allowed: at least the concurrency, {max(self.concurrency)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A level to run; ``number`` counts from 1."""

    number: int
    mode: Literal["concurrency", "request_rate"]
    value: float
    load: Load

    @property
    def distribution(self) -> Literal["constant", "poisson"] | None:
        """The distribution of the gaps at a request rate; None at a concurrency."""
        return self.load.distribution if self.mode == "request_rate" else None

    @property
    def name(self) -> str:
        """The level's display name, such as "concurrency 4"."""
        if self.mode == "concurrency":
            return f"concurrency {self.value:g}"
        return f"{self.value:g} requests/s{', Poisson' if self.distribution == 'poisson' else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A load test, as in the module's example."""

    about: str
    work: tuple[Work, ...]
    load: tuple[Load, ...]
    deadline_s: float = 300.0
    allowed_errors: tuple[ErrorName, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.work or not self.load:
            raise Malformed(f"{'load' if self.work else 'work'}: got none, allowed: at least one")
        if len({work.name for work in self.work}) < len(self.work):
            raise Malformed("work: two entries have the same name")
        if not 0 < self.deadline_s < 1e6:
            raise Malformed(f"deadline_s: got {self.deadline_s}, allowed: a number > 0")

    @property
    def stages(self) -> list[Stage]:
        """The levels, in the order in which they run."""
        values = [(load, mode, value) for load in self.load for mode, value in _values(load)]
        return [Stage(number=number, mode=mode, value=value, load=load) for number, (load, mode, value) in enumerate(values, 1)]

    def to_dict(self) -> dict[str, Any]:
        """Return all data as JSON types: tuples become lists."""
        data: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return data

    def hash(self) -> str:
        """Return a hash of all data but the seed; runs with equal hashes are comparable."""
        data = {name: value for name, value in self.to_dict().items() if name != "seed"}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]

    def with_load(self, **changes: Any) -> Scenario:
        """Return a copy with changed loads; ``concurrency`` or ``request_rate`` keeps only the first load. Raises Malformed."""
        loads = self.load
        if changes.keys() & {"concurrency", "request_rate"}:
            loads = (loads[0],)
            changes = {"concurrency": (), "request_rate": (), **changes}
        return replace(self, load=tuple(replace(load, **changes) for load in loads))


def _values(load: Load) -> Iterator[tuple[Literal["concurrency", "request_rate"], float]]:
    yield from (("concurrency", float(value)) for value in load.concurrency)
    yield from (("request_rate", value) for value in load.request_rate)


def _at_least(least: int, **values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < least:
            raise Malformed(f"{name}: got {value}, allowed: an integer >= {least}")


def shipped() -> dict[str, Path]:
    """Return the files of the scenarios in this package, by name."""
    folder = Path(str(resources.files("s1_client.loadtest") / "scenarios"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read(path: Path) -> Scenario:
    """Return the scenario in a file. Raises Malformed, with the path, and OSError."""
    try:
        return decode(Scenario, tomllib.loads(path.read_text(encoding="utf-8")))
    except (Malformed, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"{path}: {error}") from None
