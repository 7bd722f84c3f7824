# SPDX-License-Identifier: Apache-2.0
"""How long one tenant waits for its first token while another keeps the server busy, side by side in one run.

    python3 tests/benchmarks/tenants.py [--repeats 3] [--requests 8] [--caps 64,32,1]

Engines: *step 10 ms*, *step 30 ms* (paced_engine/: it computes nothing, and steps all its calls together so often, as in-flight
batching does, with any number of calls) and *s1-tiny* (the embedded engine, whose step takes longer the more calls it holds). Over each:

* *alone*: the measured tenant's requests, one after the other;
* *4 x 64*: beside 4 requests of 64 samples of another tenant;
* *300 x 1*: beside 300 requests of one sample, more than there are places (256);
* *4 x 64 long* (s1-tiny alone): as the first, but a sample thinks 900 tokens, so that the KV cache has no room for all running samples.

Beside a load: *no tenants* (neither names a tenant, as before there were any), *tenants* (each names its own), and *cap n* (the same with
``max_tenant_replies`` n), *KV limit* (the same with ``max_kv_tokens``, as many as the cache holds). The load is a process of its own, which
sends each request again when it has ended; a sample thinks 300 tokens.
Figures are medians of the time to the first token, in ms, over the requests of all repeats, in which the cells take turns; *ratio* is
to *alone* of the same engine.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import shutil
import signal
import statistics
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from meters import machine, save
from paced_engine.build import Pace, Stamps, add_model

from budgetforce.launcher.options import parse_options
from budgetforce.launcher.ports import choose_ports
from budgetforce.launcher.serving_env import serving_environment
from budgetforce.launcher.triton_server import TritonServer
from budgetforce.text.tokenizer import ChatTokenizer
from s1_client import AsyncClient, Client, ThinkingDelta

ROOT = Path(__file__).resolve().parents[2]
LOADS = {"4 x 64": (4, 64, 300), "300 x 1": (300, 1, 300), "4 x 64 long": (4, 64, 900)}  # requests, samples of each, their thinking
KV_LOAD, KV_TOKENS = "4 x 64 long", 4096 * 32  # of the embedded engine
STEPS_MS = {"step 10 ms": 10, "step 30 ms": 30}
ENGINES = (*STEPS_MS, "s1-tiny")
NUM_IDS = 150  # ids a call of the paced engines
NUM_LOADED = 200  # samples that run before anything is measured, or as many as a tenant may run
START_S = 120.0  # for the load to come so far
LOAD = {"temperature": 1.0, "max_tokens": 8}
PROBE = {"max_thinking_tokens": 8, "num_ignore": 0, "max_tokens": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A row of the table. ``load``: its name; None = there is none. ``tenants``: of the load and of the measured requests."""

    name: str
    load: str | None = None
    tenants: tuple[str, str] = ("", "")
    cap: int = 0
    kv: int = 0

    @property
    def limits(self) -> tuple[int, int]:
        return self.cap, self.kv

    def fits(self, engine: str) -> bool:
        return self.load != KV_LOAD or engine == "s1-tiny"


def cells(caps: Sequence[int]) -> list[Cell]:
    found, named = [Cell(name="alone")], ("large", "small")
    for load in LOADS:
        found += [Cell(name=f"{load}, no tenants", load=load), Cell(name=f"{load}, tenants", load=load, tenants=named)]
        found += [Cell(name=f"{load}, cap {cap}", load=load, tenants=named, cap=cap) for cap in caps if load != KV_LOAD]
    return [*found, Cell(name=f"{KV_LOAD}, KV limit", load=KV_LOAD, tenants=named, kv=KV_TOKENS)]


def name_of(engine: str) -> str:
    return engine.replace(" ", "_").replace("-", "_")


def model_of(engine: str, limits: tuple[int, int]) -> str:
    return f"s1_{name_of(engine)}_{limits[0]}_{limits[1]}"


# --- load ---------------------------------------------------------------------------------


def keep_loading(url: str, model: str, load: str, tenant: str, over: Event) -> None:
    """The load's process: its requests, each again and again, until ``over``."""
    asyncio.run(_load(url, model, LOADS[load], tenant, over))


async def _load(url: str, model: str, load: tuple[int, int, int], tenant: str, over: Event) -> None:
    num_requests, num_samples, num_tokens = load
    options = {"num_samples": num_samples, "min_thinking_tokens": num_tokens, "max_thinking_tokens": num_tokens, **LOAD}
    async with AsyncClient(url, model=model, max_retries=0, **_named(tenant)) as client:
        tasks = [asyncio.create_task(_again(client, number, options)) for number in range(num_requests)]
        while not over.is_set():
            await asyncio.sleep(0.05)
            for task in tasks:
                if task.done():
                    task.result()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _again(client: AsyncClient, number: int, options: dict[str, Any]) -> None:
    while True:
        await client.samples(f"How many e in reference {number}", **options)


def _named(tenant: str) -> dict[str, Any]:
    return {"tenant": tenant} if tenant else {}


@contextmanager
def loaded(server: TritonServer, model: str, cell: Cell) -> Iterator[None]:
    """Keep the load of a cell running. Raises RuntimeError if it does not come to its full size."""
    url = server.grpc_url
    if cell.load is None:
        yield
        return
    context = multiprocessing.get_context("spawn")
    over = context.Event()
    process = context.Process(target=keep_loading, args=(url, model, cell.load, cell.tenants[0], over))
    process.start()
    try:
        _wait_for_load(server, model, cell.cap or (NUM_LOADED if not cell.kv else NUM_LOADED // 2))  # the cache holds 120
        yield
        if not process.is_alive():
            raise RuntimeError("the load ended by itself")
    finally:
        over.set()
        process.join()


def _wait_for_load(server: TritonServer, model: str, num_running: int) -> None:
    page, started = f"http://{server.ports.http_host}:{server.ports.metrics}/metrics", time.monotonic()
    name = f's1_replies_running{{model_instance="{model}_0_0"}} '
    while time.monotonic() - started < START_S:
        with urllib.request.urlopen(page) as response:  # http by construction
            lines = response.read().decode().splitlines()
        if any(line.startswith(name) and float(line.removeprefix(name)) >= num_running for line in lines):
            return
        time.sleep(0.2)
    raise RuntimeError(f"{model}: no {num_running} replies run after {START_S:g} s")


def first_token_ms(client: Client) -> float:
    started = time.monotonic()
    with client.stream("How many r in raspberry", **PROBE) as stream:
        for event in stream:
            if isinstance(event, ThinkingDelta):
                return (time.monotonic() - started) * 1e3
    raise RuntimeError("a reply without thinking")


def measure(server: TritonServer, engine: str, cell: Cell, num_requests: int) -> list[float]:
    model, url = model_of(engine, cell.limits), server.grpc_url
    with loaded(server, model, cell), Client(url, model=model, **_named(cell.tenants[1])) as client:
        times = []
        for _ in range(num_requests):
            times.append(first_token_ms(client))
            time.sleep(0.037)  # at another moment of the engine's step
    _until_idle(url, model)
    return times


def _until_idle(url: str, model: str) -> None:
    with Client(url, model=model) as client:
        while first_token_ms(client) > 200:
            time.sleep(0.2)
    time.sleep(1)


# --- server -------------------------------------------------------------------------------


def options_of(model: str) -> argparse.Namespace:
    return parse_options([f"--cache={ROOT / '.s1/models'}", f"--model={model}"])


def copy_of_s1(folder: Path, environment: dict[str, str], **changes: str) -> None:
    """Model ``s1`` under the folder's name, with the values of some variables and of some parameters written into its config."""
    shutil.copytree(ROOT / "model_repository" / "s1", folder, ignore=shutil.ignore_patterns("__pycache__"))
    config = folder / "config.pbtxt"
    text = config.read_text().replace('name: "s1"', f'name: "{folder.name}"')
    for name, value in {**environment, **changes}.items():
        text = text.replace(f"${{{name}}}", value).replace(f"${{{name}:-0}}", value)
    config.write_text(text)


def make_repository(folder: Path, engines: Sequence[str], all_cells: Sequence[Cell]) -> list[str]:
    shutil.rmtree(folder, ignore_errors=True)
    models = []
    for engine in engines:
        environment = _environment("s1-tiny" if engine == "s1-tiny" else "smollm2")
        served = "embedded_llm"
        if engine in STEPS_MS:
            served = name_of(engine)
            stamps = Stamps(ChatTokenizer.load(Path(environment["S1_TOKENIZER_DIR"])).token_bytes)
            add_model(folder, served, Pace(num_ids=NUM_IDS, delay_us=STEPS_MS[engine] * 1000), stamps)
        models.append(served)
        for cap, kv in sorted({cell.limits for cell in all_cells if cell.fits(engine)}):
            name = model_of(engine, (cap, kv))
            limits = {"S1_MAX_TENANT_REPLIES": str(cap), "S1_MAX_KV_TOKENS": str(kv)}
            copy_of_s1(folder / name, environment, S1_ENGINE_MODEL=served, **limits)
            models.append(name)
    return models


def _environment(model: str) -> dict[str, str]:
    names = ("S1_PRESET", "S1_TOKENIZER_DIR", "S1_MAX_CONTEXT_TOKENS", "S1_VOCAB_ROWS")
    found = serving_environment(options_of(model), 0, lambda _: None)
    return {name: found[name] for name in names}


def make_server(work: Path, models: list[str]) -> TritonServer:
    ports = choose_ports(http=0, grpc=0, metrics=0)
    return TritonServer(
        repositories=[work / "repository", ROOT / "model_repository"],
        models=models,
        ports=ports,
        log=work / "triton.log",
        environment=serving_environment(options_of("s1-tiny"), ports.grpc, lambda _: None),
    )


# --- table --------------------------------------------------------------------------------


def table(figures: dict[str, dict[str, list[float]]]) -> str:
    """Median time to the first token and its ratio to *alone*, in Markdown: a row for each cell, a column for each engine."""
    names = list(dict.fromkeys(name for times in figures.values() for name in times))
    head = [f"| beside | {' | '.join(figures)} |", f"|---|{'---|' * len(figures)}"]
    return "\n".join([*head, *(f"| {name} | {' | '.join(_shown(times, name) for times in figures.values())} |" for name in names)])


def _shown(times: dict[str, list[float]], name: str) -> str:
    if name not in times:
        return "–"
    median, alone = statistics.median(times[name]), statistics.median(times["alone"])
    return f"{median:.0f} ms" if name == "alone" else f"{median:.0f} ms, {median / alone:.1f} times"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The first token of a tenant beside another's load.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--requests", type=int, default=8, help="measured in a cell and repeat (default: %(default)s)")
    parser.add_argument("--caps", type=lambda text: [int(part) for part in text.split(",") if part], default=[64, 32, 1])
    parser.add_argument("--engines", type=lambda text: text.split(","), default=list(ENGINES))
    parser.add_argument("--cells", type=lambda text: text.split(";"), help="names, with ';' between them (default: all)")
    parser.add_argument("--work", type=Path, default=ROOT / ".s1" / "tenants", help="for the model repository and the log")
    parser.add_argument("--save", type=Path, help="write the figures here, as JSON")
    return parser.parse_args()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server is stopped on the way out
    options = parse()
    chosen = [cell for cell in cells(options.caps) if options.cells is None or cell.name in options.cells]
    models = make_repository(options.work / "repository", options.engines, chosen)
    figures: dict[str, dict[str, list[float]]] = {
        engine: {cell.name: [] for cell in chosen if cell.fits(engine)} for engine in options.engines
    }
    with make_server(options.work, models) as server:
        for _, engine, cell in itertools.product(range(options.repeats), options.engines, chosen):
            if cell.fits(engine):
                figures[engine][cell.name] += (times := measure(server, engine, cell, options.requests))
                print(engine, cell.name, *(f"{ms:.0f}" for ms in times), sep="\t", file=sys.stderr, flush=True)
        where = machine(server.grpc_url)
    print(table(figures))
    print(json.dumps(where))
    save(options.save, where, first_token_ms=figures)


if __name__ == "__main__":
    main()
