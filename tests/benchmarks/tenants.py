# SPDX-License-Identifier: Apache-2.0
"""How long one tenant waits for its first token while another has 4 requests of 64 samples, side by side in one run.

    python3 tests/benchmarks/tenants.py [--repeats 3] [--requests 8] [--caps 64,16]

Two engines: *paced* (paced_engine/: it computes nothing, and steps all its calls together every 10 ms, as in-flight batching does,
with any number of calls) and *s1-tiny* (the embedded engine, whose step takes longer the more calls it holds). Over each the same cells:

* *alone*: the measured tenant's requests, one after the other;
* *no tenants*: beside the load, neither names a tenant;
* *tenants*: beside the load, each names its own;
* *cap n*: the same with ``max_tenant_replies`` n.

The load is a process of its own, which sends each request again when it has ended. Figures are medians of the time to the first
token, in ms, over the requests of all repeats, in which the cells take turns; *ratio* is to *alone* of the same engine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from meters import machine
from paced_engine.build import Pace, Stamps, add_model

from budgetforce.launcher.options import parse_options
from budgetforce.launcher.serving_env import serving_environment
from budgetforce.launcher.triton_server import TritonServer, choose_ports
from budgetforce.text.tokenizer import ChatTokenizer
from s1_client import AsyncClient, Client, S1Error, ThinkingDelta

ROOT = Path(__file__).resolve().parents[2]
NUM_REQUESTS, NUM_SAMPLES = 4, 64  # of the load
ENGINES = ("paced", "s1-tiny")
STEP_MS, NUM_IDS = 10, 150  # of the paced engine; ids a call
WARM_UP_S = 3.0
LOAD = {"min_thinking_tokens": 300, "max_thinking_tokens": 300, "temperature": 1.0, "num_samples": NUM_SAMPLES, "max_tokens": 8}
PROBE = {"max_thinking_tokens": 8, "num_ignore": 0, "max_tokens": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A row of the table. ``load``, ``probe``: the tenants of the load (None = there is no load) and of the measured requests."""

    name: str
    load: str | None = None
    probe: str = ""
    cap: int = 0


def cells(caps: Sequence[int]) -> list[Cell]:
    named = {"load": "large", "probe": "small"}
    plain = [Cell(name="alone"), Cell(name="no tenants", load=""), Cell(name="tenants", **named)]
    return plain + [Cell(name=f"cap {cap}", cap=cap, **named) for cap in caps]


def model_of(engine: str, cap: int) -> str:
    return f"s1_{engine.replace('-', '_')}_{cap}"


# --- load ---------------------------------------------------------------------------------


def keep_loading(url: str, model: str, tenant: str, over: Event) -> None:
    """The load's process: its requests, each again and again, until ``over``."""
    asyncio.run(_load(url, model, tenant, over))


async def _load(url: str, model: str, tenant: str, over: Event) -> None:
    async with AsyncClient(url, model=model, max_retries=0, **_named(tenant)) as client:
        tasks = [asyncio.create_task(_again(client, number)) for number in range(NUM_REQUESTS)]
        while not over.is_set():
            await asyncio.sleep(0.05)
            for task in tasks:
                if task.done():
                    task.result()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _again(client: AsyncClient, number: int) -> None:
    while True:
        await client.samples(f"How many e in reference {number}", **LOAD)


def _named(tenant: str) -> dict[str, Any]:
    return {"tenant": tenant} if tenant else {}


@contextmanager
def loaded(url: str, model: str, tenant: str | None) -> Iterator[None]:
    """Keep the load running."""
    if tenant is None:
        yield
        return
    context = multiprocessing.get_context("spawn")
    over = context.Event()
    process = context.Process(target=keep_loading, args=(url, model, tenant, over))
    process.start()
    try:
        time.sleep(WARM_UP_S + 2)
        yield
        if not process.is_alive():
            raise RuntimeError("the load ended by itself")
    finally:
        over.set()
        process.join()


def first_token_ms(client: Client) -> float:
    started = time.monotonic()
    with client.stream("How many r in raspberry", **PROBE) as stream:
        for event in stream:
            if isinstance(event, ThinkingDelta):
                return (time.monotonic() - started) * 1e3
    raise RuntimeError("a reply without thinking")


def measure(url: str, engine: str, cell: Cell, num_requests: int) -> list[float]:
    model = model_of(engine, cell.cap)
    with loaded(url, model, cell.load), Client(url, model=model, **_named(cell.probe)) as client:
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
    environments = {"paced": _environment("smollm2"), "s1-tiny": _environment("s1-tiny")}
    for engine in engines:
        environment = environments[engine]
        served = "embedded_llm"
        if engine == "paced":
            served = "paced"
            stamps = Stamps(ChatTokenizer.load(Path(environment["S1_TOKENIZER_DIR"])).token_bytes)
            add_model(folder, served, Pace(num_ids=NUM_IDS, delay_us=STEP_MS * 1000), stamps)
        models.append(served)
        for cap in sorted({cell.cap for cell in all_cells}):
            name = model_of(engine, cap)
            copy_of_s1(folder / name, environment, S1_ENGINE_MODEL=served, S1_MAX_TENANT_REPLIES=str(cap))
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

HEAD = "| engine | cell | first token, ms: median (lowest to highest) | ratio |\n|---|---|---|---|"


def rows(engine: str, times: dict[str, list[float]]) -> Iterator[str]:
    alone = statistics.median(times["alone"])
    for name, values in times.items():
        median = statistics.median(values)
        yield f"| {engine} | {name} | {median:.1f} ({min(values):.1f} to {max(values):.1f}) | {median / alone:.1f} |"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The first token of a tenant beside another's 4 requests of 64 samples.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--requests", type=int, default=8, help="measured in a cell and repeat (default: %(default)s)")
    parser.add_argument("--caps", type=lambda text: [int(part) for part in text.split(",") if part], default=[64, 16])
    parser.add_argument("--engines", type=lambda text: text.split(","), default=list(ENGINES))
    parser.add_argument("--cells", type=lambda text: text.split(","), help="names, with commas (default: all)")
    parser.add_argument("--work", type=Path, default=ROOT / ".s1" / "tenants", help="for the model repository and the log")
    parser.add_argument("--save", type=Path, help="write the figures here, as JSON")
    return parser.parse_args()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server is stopped on the way out
    options = parse()
    chosen = [cell for cell in cells(options.caps) if options.cells is None or cell.name in options.cells]
    models = make_repository(options.work / "repository", options.engines, chosen)
    figures: dict[str, dict[str, list[float]]] = {engine: {cell.name: [] for cell in chosen} for engine in options.engines}
    with make_server(options.work, models) as server:
        for _ in range(options.repeats):
            for engine in options.engines:
                for cell in chosen:
                    try:
                        figures[engine][cell.name] += measure(server.grpc_url, engine, cell, options.requests)
                    except S1Error as error:
                        raise SystemExit(f"{engine}, {cell.name}: {error}") from error
    print(HEAD)
    for engine, times in figures.items():
        print("\n".join(rows(engine, times)))
    print(machine(server.grpc_url))
    if options.save is not None:
        options.save.write_text(json.dumps({"machine": machine(server.grpc_url), "first_token_ms": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
