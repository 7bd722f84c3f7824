# SPDX-License-Identifier: Apache-2.0
"""Tokens a second of the whole chain beside the bare engine library, in one run on one machine.

    python3 build/local.py bench [--repeats 5] [--tokens 160]

The chain: gRPC client, Triton, model s1, model embedded_llm. Each reply thinks to its budget,
with every early end refused, and then answers: several rounds, each a new engine call. Bare:
OpenVINO GenAI in this process, the same prompts, as many tokens in a single call that nothing
ends. The two take turns, so that both meet the same machine; shown are medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from budgetforce.engine.embedded import EmbeddedCall
from budgetforce.engine.model_files import ModelFiles, prepare
from budgetforce.engine.openvino_pipeline import OpenVinoPipeline
from budgetforce.launcher import TritonServer, choose_ports
from budgetforce.serving_env import serving_environment
from budgetforce.text.tokenizer import ChatTokenizer
from s1_client import AnswerDelta, Client, Done, ThinkingDelta

ROOT = Path(__file__).resolve().parents[2]
CONCURRENCY = (1, 4, 16)
ANSWER_TOKENS = 16
QUESTION = "Write a very long story about a ship and its crew, number {}"


def bare_runner(files: ModelFiles, num_tokens: int) -> Callable[[int, int], float]:
    """A function (streams, first prompt's number) -> tokens a second of the library alone."""
    tokenizer = ChatTokenizer.load(files.tokenizer)
    pipeline = OpenVinoPipeline(files.weights, num_kv_blocks=4096)

    def run(num_streams: int, first: int) -> float:
        for key in range(first, first + num_streams):
            chat = tokenizer.encode_chat([{"role": "user", "content": QUESTION.format(key)}])
            pipeline.add(key, EmbeddedCall(input_ids=chat, max_new_tokens=num_tokens))
        started, num_sampled = time.perf_counter(), 0
        while pipeline.is_busy():
            num_sampled += sum(len(ids) for ids in pipeline.step().values())
        for key in range(first, first + num_streams):
            pipeline.drop(key)
        return num_sampled / (time.perf_counter() - started)

    return run


def chain_runner(client: Client, num_tokens: int, seen: list[dict[str, float]]) -> Callable[[int, int], float]:
    """A function (streams, first prompt's number) -> tokens a second through the whole chain; notes each reply in ``seen``."""

    def ask(number: int) -> int:
        started, first_token_s = time.perf_counter(), None
        options = {"max_thinking_tokens": num_tokens - ANSWER_TOKENS, "num_ignore": num_tokens, "max_tokens": ANSWER_TOKENS}
        for event in client.stream(QUESTION.format(number), **options):
            if first_token_s is None and isinstance(event, ThinkingDelta | AnswerDelta):
                first_token_s = time.perf_counter() - started
            if isinstance(event, Done):
                result = event.result
        again = [r.num_prompt_tokens - 32 * (r.kv_reused_blocks or 0) for r in result.rounds[1:]]
        seen.append(
            {"first_token_ms": (first_token_s or 0) * 1e3, "num_rounds": len(result.rounds), "num_recomputed": statistics.mean(again)}
        )
        return sum(r.num_sampled_tokens for r in result.rounds)

    def run(num_streams: int, first: int) -> float:
        started = time.perf_counter()
        with ThreadPoolExecutor(num_streams) as pool:
            num_sampled = sum(pool.map(ask, range(first, first + num_streams)))
        return num_sampled / (time.perf_counter() - started)

    return run


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=160, help="tokens a reply, thinking and answer")
    options = parser.parse_args()
    files = prepare("smollm2", ROOT / ".s1" / "models")
    ports = choose_ports(http=0, grpc=0, metrics=0)
    serving = argparse.Namespace(engine="embedded_llm", model="smollm2", cache=ROOT / ".s1" / "models", preset=None, library="auto")
    server = TritonServer(
        repositories=[ROOT / "model_repository"],
        models=["s1", "embedded_llm"],
        ports=ports,
        log=ROOT / ".s1" / "bench.log",
        environment=serving_environment(serving, ports.grpc, lambda _: None),
    )
    with server, Client(server.grpc_url) as client:
        measure(bare_runner(files, options.tokens), client, options)


def measure(bare: Callable[[int, int], float], client: Client, options: argparse.Namespace) -> None:
    """Take turns, print a table and the same as JSON."""
    rows, number = [], 1000
    bare(1, 0)
    chain_runner(client, options.tokens, [])(1, 0)
    print(f"{'streams':>7} {'bare tok/s':>11} {'chain tok/s':>12} {'ratio':>6} {'first token ms':>15} {'rounds':>7} {'recomputed':>11}")
    for num_streams in CONCURRENCY:
        seen: list[dict[str, float]] = []
        chain = chain_runner(client, options.tokens, seen)
        pairs = []
        for _ in range(options.repeats):
            pairs.append((bare(num_streams, number), chain(num_streams, number)))
            number += num_streams
        row = {
            "num_streams": num_streams,
            "bare_tokens_per_s": statistics.median(b for b, _ in pairs),
            "chain_tokens_per_s": statistics.median(c for _, c in pairs),
            "ratio": statistics.median(c / b for b, c in pairs),
            **{name: statistics.median(one[name] for one in seen) for name in seen[0]},
        }
        rows.append(row)
        print(
            f"{num_streams:>7} {row['bare_tokens_per_s']:>11.0f} {row['chain_tokens_per_s']:>12.0f} {row['ratio']:>6.2f} "
            f"{row['first_token_ms']:>15.0f} {row['num_rounds']:>7.0f} {row['num_recomputed']:>11.0f}",
            flush=True,
        )
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
