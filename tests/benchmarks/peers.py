# SPDX-License-Identifier: Apache-2.0
"""The same budget forcing in the ways in which one can have it, over the same small model, in one run.

    python3 build/local.py bench peers [--turns 3] [--levels 1,4,16] [--contestants "s1;client loop"] [--quick]
    python3 build/local.py bench peers --engine-url host:8001 [--engine-model tensorrt_llm] [--max-thinking-tokens 512]

A reply is two ends of thinking that are refused with "Wait", a third round that the budget cuts,
and 16 ids of an answer. All contestants get the same prompts and sample greedily. The lengths are
equal by construction: Triton's engine model ends a thought where the benchmark says
(fixed_rounds/), and who calls an engine or a library himself asks for so many ids past any end.
For every batch it is checked that as many ids were sampled as must be; engines and libraries
count, not who asks. What is put in may differ by one id a reply: ``s1`` does without a line break
before the answer if the thought has just ended with one.

* *s1*: the model as it is shipped, streamed;
* *client loop*: the authors' loop as a client of the engine model behind the same Triton: a call a
  round with the whole context, whole rounds back; at 4 and 16 in so many threads;
* *client loop, streamed*: the same, id by id;
* *serial BLS*: the loop in our re-creation of the stock BLS model (serial_models/), 16 instances;
* *vLLM*: ``LLM.generate`` a round, offline, on vLLM's CPU engine;
* *transformers*: ``generate`` a round; with *cache* ``past_key_values`` are kept between rounds.

The first four compute with OpenVINO on Q8_0 weights in float32, each on an engine of its own, so
that nobody finds another's prompts in the KV cache. The libraries have the weights of which those
were made, in the dtypes that the saved figures name: their ids differ, and their rows compare
libraries as well. They take the prompts of a level as one batch in step, as the authors'
evaluation does, and stream nothing.

So many prompts at a time as the level says (1: two, one after the other). The contestants take
turns, level by level; each turn begins with another one and brings new prompts. Ratios are those
of one turn; shown are medians over the turns. A row is marked as *busy* if others used more than a
twentieth of the machine's CPU (median over the turns): do not believe it.

*recomputed*: ids that were computed again as part of a later call's prompt, a reply. Counted by
the engine in whole blocks that it must still hold, so at most; vLLM's is measured; transformers'
is what the loop passes in. Ids that padding adds are not counted.

With ``--engine-url`` the model decides: *client loop, streamed* repeats the calls that *s1* has
just made, of the same lengths, with made-up ids past any end; each counts for itself. The machine
that is named is then the client's.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import Any

from contestants import AskEngine, AskS1, AskSerial, Contestant, Library, Served
from meters import OthersMeter, machine
from peer_table import progress, report
from peer_work import END_AFTER, NUM_IGNORE, Batch, CallsLog, FixedWork, Prompt, ReplayedWork

from budgetforce.launcher.options import parse_options
from budgetforce.launcher.ports import choose_ports
from budgetforce.launcher.serving_env import serving_environment
from budgetforce.launcher.triton_server import TritonServer
from budgetforce.text.tokenizer import ChatTokenizer
from s1_client import Client

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
VLLM_PYTHON, HF_FOLDER = ROOT / ".s1/vllm/bin/python", ROOT / ".s1/models/smollm2-hf"
LOOP = "client loop, streamed"
ENGINES = {"s1": "engine_s1", "client loop": "engine_loop", LOOP: "engine_streamed", "serial BLS": "engine_serial"}
LIBRARIES = {"vLLM": "vllm", "transformers": "transformers", "transformers, cache": "transformers-cache"}
SERIAL_NAMES = ("serial_bls", "serial_preprocessing", "serial_postprocessing")
Work = FixedWork | ReplayedWork


# --- contestants ----------------------------------------------------------------------------


def make_repository(folder: Path, names: Sequence[str]) -> Path:
    """An engine for every one of them, and the serial models."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE / "serial_models", folder, ignore=shutil.ignore_patterns("__pycache__"))
    config = (ROOT / "model_repository/embedded_llm/config.pbtxt").read_text()
    for engine in (ENGINES[name] for name in names):
        shutil.copytree(HERE / "fixed_rounds", folder / engine, ignore=shutil.ignore_patterns("__pycache__"))
        own = {"end_after": str(END_AFTER), "calls_log": str(folder / engine / "calls.jsonl")}
        parameters = [f'parameters {{ key: "{key}" value: {{ string_value: "{value}" }} }}' for key, value in own.items()]
        text = config.replace('name: "embedded_llm"', f'name: "{engine}"').replace('"4096"', '"1024"')
        (folder / engine / "config.pbtxt").write_text("\n".join([text, *parameters]) + "\n")
    return folder


def make_server(work: Path, names: Sequence[str]) -> TritonServer:
    ports = choose_ports(http=0, grpc=0, metrics=0)
    return TritonServer(
        repositories=[ROOT / "model_repository", make_repository(work / "repository", names)],
        models=[ENGINES[name] for name in names] + ["s1"] * ("s1" in names) + [*SERIAL_NAMES] * ("serial BLS" in names),
        ports=ports,
        log=work / "triton.log",
        environment={**small_model(ports.grpc), "S1_ENGINE_MODEL": ENGINES["s1"]},
    )


def small_model(grpc_port: int = 0) -> dict[str, str]:
    """SmolLM2's environment; prepares its files where they are not."""
    options = parse_options([f"--cache={ROOT / '.s1/models'}", "--model=smollm2", "--library=openvino"])
    return serving_environment(options, grpc_port, lambda _: None)


def served(name: str, url: str, folder: Path, work: FixedWork) -> Served:
    """A contestant behind our Triton."""
    engine = ENGINES[name]
    count = CallsLog(folder / "repository" / engine / "calls.jsonl", work.rounds).counts
    about = f"OpenVINO GenAI {metadata.version('openvino-genai')}, Q8_0, float32"
    if name == "s1":
        client = Client(url)
        return Served(AskS1(client, work.options), count, about, client)
    if name == "serial BLS":
        return Served(AskSerial(url, engine, work.rounds, work.text_of), count, about)
    return Served(AskEngine(url, engine, work.calls_of, is_streamed=name == LOOP), count, about)


def at_url(options: argparse.Namespace, work: ReplayedWork) -> dict[str, Contestant]:
    """The two that any server can be asked for; the second repeats what the first has done."""
    client, about = Client(options.engine_url), f"{options.engine_model} at {options.engine_url}"
    loop = AskEngine(options.engine_url, options.engine_model, work.calls_of, is_streamed=True)
    return {"s1": Served(AskS1(client, work.options, work), work.counts, about, client), LOOP: Served(loop, work.counts, about)}


def start_all(options: argparse.Namespace, work: FixedWork, stack: ExitStack) -> tuple[str, dict[str, Contestant]]:
    """Triton's address, and the contestants; ``stack`` ends them."""
    libraries = {}
    for name in [name for name in options.contestants if name in LIBRARIES]:
        libraries[name] = Library(VLLM_PYTHON, LIBRARIES[name], HF_FOLDER, work.rounds, options.work / f"{LIBRARIES[name]}.log")
        stack.callback(libraries[name].close)
        libraries[name].start()
    names = [name for name in options.contestants if name in ENGINES]
    url = stack.enter_context(make_server(options.work, names)).grpc_url
    behind_triton = {name: served(name, url, options.work, work) for name in names}
    for contestant in behind_triton.values():
        stack.callback(contestant.close)
    for library in libraries.values():
        library.wait()
    return url, {**behind_triton, **libraries}


# --- measuring ------------------------------------------------------------------------------


def measure(contestants: dict[str, Contestant], work: Work, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A cell for every contestant, level and turn. Begins no level when the time is over."""
    cells: list[dict[str, Any]] = []
    names, is_fresh = list(contestants), isinstance(work, FixedWork)
    numbers = itertools.count(1000 if is_fresh else int(time.time()) % 1_000_000)  # a server's cache may hold an earlier run's
    deadline = time.monotonic() + options.max_minutes * 60
    first = work.prompts([next(numbers)])
    for name in names:
        contestants[name].run(first)  # not counted: what a first call has to do besides
    for turn, level in itertools.product(range(options.turns), options.levels):
        if time.monotonic() > deadline:
            print(f"out of time: turn {turn + 1} of {options.turns} ends before {level} at a time", file=sys.stderr)
            break
        prompts = work.prompts(itertools.islice(numbers, max(level, 2)))
        for name in in_turn(names, turn, work):
            cells.append({"turn": turn, "num_streams": level, "contestant": name, **cell(contestants[name], prompts, level, work)})
            print(progress(cells[-1]), file=sys.stderr, flush=True)
    return cells


def in_turn(names: list[str], turn: int, work: Work) -> list[str]:
    """Each turn begins with another one, unless the others repeat what the first has done."""
    at = 0 if isinstance(work, ReplayedWork) else turn % len(names)
    return names[at:] + names[:at]


def cell(contestant: Contestant, prompts: Sequence[Prompt], level: int, work: Work) -> dict[str, Any]:
    """The figures of so many prompts at a time. Raises ValueError for other work than was asked for."""
    parts = [prompts[at : at + level] for at in range(0, len(prompts), level)]
    others = OthersMeter()
    batches = [contestant.run(part) for part in parts]
    others_share = others.share() if isinstance(work, FixedWork) else None  # a server that is not ours may be on this machine
    for part, batch in zip(parts, batches, strict=True):
        work.check(part, batch.counts)
    replies = [reply for batch in batches for reply in batch.replies]
    firsts = [reply.first_token_s * 1e3 for reply in replies if reply.first_token_s is not None]
    return {
        "request_s": statistics.median(reply.seconds for reply in replies),
        "tokens_per_s": sum(batch.counts.num_sampled for batch in batches) / sum(batch.wall_s for batch in batches),
        "first_token_ms": statistics.median(firsts) if firsts else None,
        "num_replies": len(replies),
        "others_cpu_share": others_share,
        **{name: a_reply(batches, name) for name in ("num_sampled", "num_injected", "num_recomputed")},
    }


def a_reply(batches: Sequence[Batch], name: str) -> float | None:
    """The mean of a count; None if it was not counted."""
    values = [getattr(batch.counts, name) for batch in batches]
    return None if None in values else sum(values) / sum(len(batch.replies) for batch in batches)


# --- the command ----------------------------------------------------------------------------


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options, each checked. Ends with a message for one that cannot be."""
    parser = argparse.ArgumentParser(description="Ways of budget forcing on the same work, side by side.")
    parser.add_argument("--turns", type=positive, help="(default: 3)")
    parser.add_argument("--levels", type=lambda text: [*map(positive, text.split(","))], help="prompts at a time (default: 1,4,16)")
    parser.add_argument("--contestants", type=lambda text: text.split(";"), help="names, with ';' between them (default: all)")
    parser.add_argument("--max-minutes", type=positive, default=7, help="begin nothing later (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one turn of 1 and 2 at a time, without the libraries")
    parser.add_argument("--engine-url", help="host:port of a running Triton with s1: s1 and a client's loop there, and nothing else")
    parser.add_argument("--engine-model", help="the engine model there (default: tensorrt_llm)")
    parser.add_argument("--max-thinking-tokens", type=positive, help="there (default: 512)")
    parser.add_argument("--work", type=Path, default=ROOT / ".s1/peers", help="for the model repository and the logs")
    parser.add_argument("--save", type=Path, help="for the figures, as JSON")
    options = parser.parse_args(arguments)
    options.turns = options.turns or (1 if options.quick else 3)
    options.levels = options.levels or ([1, 2] if options.quick else [1, 4, 16])
    choose_there(parser, options) if options.engine_url else choose_here(parser, options)
    return options


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got '{text}', allowed: a whole number from 1")
    return int(text)


def choose_there(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.contestants:
        parser.error("--contestants: not with --engine-url")
    options.engine_model = options.engine_model or "tensorrt_llm"
    options.max_thinking_tokens = options.max_thinking_tokens or 512


def choose_here(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.engine_model or options.max_thinking_tokens:
        parser.error("--engine-model and --max-thinking-tokens: only with --engine-url")
    known = [*ENGINES, *LIBRARIES]
    options.contestants = options.contestants or (list(ENGINES) if options.quick else known)
    if unknown := [name for name in options.contestants if name not in known]:
        parser.error(f"--contestants: got '{unknown[0]}', allowed: {'; '.join(known)}")
    if "s1" not in options.contestants:
        parser.error("--contestants: s1 must be one of them, ratios are to it")
    if set(options.contestants) & set(LIBRARIES) and not (VLLM_PYTHON.exists() and HF_FOLDER.is_dir()):
        parser.error(f"{'; '.join(LIBRARIES)} are not installed: python3 build/vllm_cpu.py, or --contestants without them")


def contest(options: argparse.Namespace) -> dict[str, Any]:
    """All of it; what is saved."""
    options.work.mkdir(parents=True, exist_ok=True)
    load_average = os.getloadavg()[0]  # before we add to it
    with ExitStack() as stack:
        work: Work
        if options.engine_url:
            work = ReplayedWork({"max_thinking_tokens": options.max_thinking_tokens, "num_ignore": NUM_IGNORE, "max_tokens": 64})
            url, contestants = options.engine_url, at_url(options, work)
        else:
            work = FixedWork(ChatTokenizer.load(Path(small_model()["S1_TOKENIZER_DIR"])))
            url, contestants = start_all(options, work, stack)
        where = machine(url)
        cells = measure(contestants, work, options)
    about = {name: contestant.about for name, contestant in contestants.items()}
    where |= {"load_average_before": load_average, "load_average_after": os.getloadavg()[0]}
    return {"machine": where, "work": work.told, "contestants": about, "cells": cells}


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server is stopped on the way out
    options = parse()
    saved = contest(options)
    print(report(saved))
    if options.save is not None:
        options.save.write_text(json.dumps(saved, indent=1) + "\n")


if __name__ == "__main__":
    main()
