# SPDX-License-Identifier: Apache-2.0
"""Tokens a second of the whole chain beside the bare engine library, in one run on one machine.

    python3 build/local.py bench [--repeats 3] [--tokens 240]

The chain: gRPC client, Triton, model s1, model embedded_llm. Two kinds of work:

* *one thought*: questions over which the model thinks to its budget: a long engine call, and a
  short one for the answer;
* *forced*: questions over which it would stop early, and every such end is refused: many engine
  calls a reply, each of which begins at the engine's next step.

Bare: OpenVINO GenAI in this process, the same prompts, as many tokens in a single call that
nothing ends. At each level every stream asks its questions one after another; bare and chain
take turns, so that both meet the same machine. Shown are medians over the turns, of the ratio also
the lowest and the highest. A row is marked as *busy* if others used more than a twentieth of the
machine's CPU meanwhile: do not believe it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from meters import OthersMeter, busy_mark, spread

from budgetforce.engine.cpu.openvino_pipeline import OpenVinoPipeline
from budgetforce.engine.model_files import ModelFiles, prepare
from budgetforce.engine.token_engine import TokenCall
from budgetforce.launcher.options import parse_options
from budgetforce.launcher.ports import choose_ports
from budgetforce.launcher.serving_env import serving_environment
from budgetforce.launcher.triton_server import TritonServer
from budgetforce.text.tokenizer import ChatTokenizer
from s1_client import AnswerDelta, Client, Done, Result, ThinkingDelta

ROOT = Path(__file__).resolve().parents[2]
CONCURRENCY = (1, 4, 16)
ANSWER_TOKENS = 16
QUESTION = "Write a very long story about a ship and its crew, number {}"


class Bare:
    """The library alone."""

    def __init__(self, files: ModelFiles, num_tokens: int) -> None:
        self._tokenizer = ChatTokenizer.load(files.tokenizer)
        self._pipeline = OpenVinoPipeline(files.weights, num_kv_blocks=4096)
        self._num_tokens = num_tokens
        self._keys = itertools.count()

    def run(self, num_streams: int, questions: list[str]) -> float:
        """Tokens a second with ``num_streams`` calls at a time."""
        waiting, left = iter(questions), {}
        started, num_sampled = time.perf_counter(), 0
        while self._top_up(left, num_streams, waiting):
            for key, ids in self._pipeline.step().items():
                num_sampled += len(ids)
                left[key] -= len(ids)
                if left[key] == 0:
                    del left[key]
                    self._pipeline.drop(key)
        return num_sampled / (time.perf_counter() - started)

    def _top_up(self, left: dict[int, int], num_streams: int, waiting: Iterator[str]) -> bool:
        for question in itertools.islice(waiting, num_streams - len(left)):
            key = next(self._keys)
            chat = self._tokenizer.encode_chat([{"role": "user", "content": question}])
            self._pipeline.add(key, TokenCall(input_ids=chat, max_new_tokens=self._num_tokens))
            left[key] = self._num_tokens
        return bool(left)


class Chain:
    """All of it. ``seen`` holds a few figures of every reply."""

    def __init__(self, client: Client, num_tokens: int, num_ignore: int) -> None:
        self._client = client
        self._options = {"max_thinking_tokens": num_tokens - ANSWER_TOKENS, "num_ignore": num_ignore, "max_tokens": ANSWER_TOKENS}
        self.seen: list[dict[str, float]] = []

    def ask(self, question: str) -> Result:
        started, first_token_s, num_messages = time.perf_counter(), None, 0
        for event in self._client.stream(question, **self._options):
            num_messages += 1
            if first_token_s is None and isinstance(event, ThinkingDelta | AnswerDelta):
                first_token_s = time.perf_counter() - started
            if isinstance(event, Done):
                result = event.result
        recomputed = [r.num_prompt_tokens - 32 * (r.kv_reused_blocks or 0) for r in result.rounds[1:]]
        num_sampled = sum(r.num_sampled_tokens for r in result.rounds)
        self.seen.append(
            {
                "first_token_ms": (first_token_s or 0) * 1e3,
                "num_rounds": len(result.rounds),
                "num_recomputed": statistics.mean(recomputed),
                "tokens_per_message": num_sampled / num_messages,
            }
        )
        return result

    def run(self, num_streams: int, questions: list[str]) -> float:
        """Tokens a second with ``num_streams`` replies at a time."""
        started = time.perf_counter()
        with ThreadPoolExecutor(num_streams) as pool:
            num_sampled = sum(r.num_sampled_tokens for result in pool.map(self.ask, questions) for r in result.rounds)
        return num_sampled / (time.perf_counter() - started)


def sort_questions(chain: Chain) -> tuple[list[str], list[str]]:
    """Questions over which the model thinks to its budget, and those over which it would stop before."""
    questions = [QUESTION.format(number) for number in range(48)]
    with ThreadPoolExecutor(16) as pool:
        ends = [result.thinking_end for result in pool.map(chain.ask, questions)]
    pairs = list(zip(questions, ends, strict=True))
    return [q for q, end in pairs if end == "budget"], [q for q, end in pairs if end != "budget"]


def measure(work: str, bare: Bare, chain: Chain, questions: list[str], num_repeats: int) -> Iterator[dict[str, Any]]:
    """A row for every level of concurrency."""
    for num_streams in CONCURRENCY:
        batch = [question for question, _ in zip(itertools.cycle(questions), range(max(2 * num_streams, 4)), strict=False)]
        chain.seen.clear()
        others = OthersMeter()
        pairs = [(bare.run(num_streams, batch), chain.run(num_streams, batch)) for _ in range(num_repeats)]
        yield {
            "work": work,
            "num_streams": num_streams,
            "bare_tokens_per_s": statistics.median(b for b, _ in pairs),
            "chain_tokens_per_s": statistics.median(c for _, c in pairs),
            "ratio": statistics.median(c / b for b, c in pairs),
            "ratios": [c / b for b, c in pairs],
            "others_cpu_share": others.share(),
            **{name: statistics.median(one[name] for one in chain.seen) for name in chain.seen[0]},
        }


HEAD = (
    "| work | streams | bare tok/s | chain tok/s | ratio | time to first token, ms | rounds | recomputed | tokens a message |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def line(row: dict[str, Any]) -> str:
    """A row of the table, in Markdown."""
    ratio = spread(row["ratios"], 2) if "ratios" in row else f"{row['ratio']:.2f}"
    speeds = f"{row['bare_tokens_per_s']:.0f} | {row['chain_tokens_per_s']:.0f} | {ratio}"
    others = f"{row['first_token_ms']:.0f} | {row['num_rounds']:.0f} | {row['num_recomputed']:.0f} | {row['tokens_per_message']:.1f}"
    return f"| {row['work']}{busy_mark(row.get('others_cpu_share'))} | {row['num_streams']} | {speeds} | {others} |"


def report(rows: Iterator[dict[str, Any]], save: Path | None) -> None:
    """A table, row by row; then the figures as JSON, if a file is named."""
    print(HEAD)
    kept = []
    for row in rows:
        kept.append(row)
        print(line(row), flush=True)
    if save is not None:
        save.write_text(json.dumps(kept, indent=1) + "\n")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server is stopped on the way out
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3, help="turns (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=240, help="tokens a reply, thinking and answer")
    parser.add_argument("--save", type=Path, help="write the figures here, as JSON")
    options = parser.parse_args()
    files = prepare("smollm2", ROOT / ".s1" / "models")
    ports = choose_ports(http=0, grpc=0, metrics=0)
    serving = parse_options([f"--cache={ROOT / '.s1/models'}", "--model=smollm2", "--library=openvino"])
    server = TritonServer(
        repositories=[ROOT / "model_repository"],
        models=["s1", "embedded_llm"],
        ports=ports,
        log=ROOT / ".s1" / "bench.log",
        environment=serving_environment(serving, ports.grpc, lambda _: None),
    )
    with server, Client(server.grpc_url) as client:
        bare = Bare(files, options.tokens)
        long_thoughts, short_thoughts = sort_questions(Chain(client, options.tokens, 0))
        works = (
            ("one thought", Chain(client, options.tokens, 0), long_thoughts),
            ("forced", Chain(client, options.tokens, options.tokens), short_thoughts),
        )
        rows = (row for work, chain, questions in works for row in measure(work, bare, chain, questions, options.repeats))
        report(rows, options.save)


if __name__ == "__main__":
    main()
