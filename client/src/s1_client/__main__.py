# SPDX-License-Identifier: Apache-2.0
"""The command ``s1``. Thinking goes to stderr, the answer to stdout, so that pipes work."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from s1_client._client import Client
from s1_client._errors import ConnectionFailed, InvalidRequest, S1Error
from s1_client._types import AnswerDelta, AnswerOpened, Done, Event, Injected, Result, ThinkingDelta

EXIT_CODES = {InvalidRequest: 2, ConnectionFailed: 3}  # any other S1Error: 1; Ctrl-C: 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    try:
        with Client(options.url) as client:
            _ask(client, options)
    except S1Error as error:
        print(f"\ns1: {error}", file=sys.stderr)
        return EXIT_CODES.get(type(error), 1)
    except KeyboardInterrupt:
        print("\ns1: cancelled", file=sys.stderr)
        return 130
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="s1", description="Ask a reasoning model, with a thinking budget.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    ask = commands.add_parser("ask", help="ask one question and watch the model think")
    ask.add_argument("question")
    ask.add_argument("--url", default=os.environ.get("S1_URL", "127.0.0.1:8001"), help="gRPC address (default: $S1_URL or 127.0.0.1:8001)")
    ask.add_argument("--max-thinking-tokens", type=int, metavar="N", help="hard cap of the thinking; -1 = what the context allows")
    ask.add_argument("--min-thinking-tokens", type=int, metavar="N", help="refuse every end of thinking before it")
    ask.add_argument("--num-ignore", type=int, metavar="N", help="how many ends of thinking to refuse")
    ask.add_argument(
        "--ignore-str", action="append", metavar="TEXT", help='put in place of a refused end (default: "Wait"); again: in turn'
    )
    ask.add_argument("--grace-tokens", type=int, metavar="N", help="how long a cut may wait for the end of a sentence")
    ask.add_argument("--thinking", metavar="MODE", help="forced (default), free: as the model likes, or off")
    ask.add_argument("--preset", metavar="NAME", help="markers, strings and defaults of a model (default: the server's)")
    ask.add_argument("--max-tokens", type=int, metavar="N", help="cap of the answer")
    ask.add_argument("--temperature", type=float, metavar="T", help="0 = greedy (default)")
    ask.add_argument("--seed", type=int, metavar="N")
    return parser.parse_args(arguments)


def _ask(client: Client, options: argparse.Namespace) -> None:
    show = _Display(colour=sys.stderr.isatty())
    asked = {name: value for name, value in vars(options).items() if name not in ("question", "url")}
    for event in client.stream(options.question, **asked):
        show(event)


class _Display:
    """Prints the events of a reply as they come, and one line of account at the end."""

    def __init__(self, *, colour: bool) -> None:
        self._dim, self._mark, self._plain = ("\033[2m", "\033[1;33m", "\033[0m") if colour else ("", "", "")
        self._started = time.monotonic()
        self._first_token_s: float | None = None

    def __call__(self, event: Event) -> None:
        if self._first_token_s is None and isinstance(event, ThinkingDelta | AnswerDelta):
            self._first_token_s = time.monotonic() - self._started
        match event:
            case ThinkingDelta(text=text):
                self._to_stderr(f"{self._dim}{text}{self._plain}")
            case Injected(text=text, phase="thinking"):
                self._to_stderr(f"{self._mark}[{text}]{self._plain}")
            case AnswerOpened():
                self._to_stderr("\n\n")
            case Injected(text=text) | AnswerDelta(text=text):
                print(text, end="", flush=True)
            case Done(result=result):
                print(flush=True)
                self._to_stderr(f"\n{self._dim}{summary(result, self._first_token_s or 0.0)}{self._plain}\n")

    @staticmethod
    def _to_stderr(text: str) -> None:
        print(text, end="", file=sys.stderr, flush=True)


def summary(result: Result, first_token_s: float) -> str:
    """One line: tokens, time to first token, tokens a second, and why each phase ended."""
    usage = result.usage
    num_sampled = usage.num_thinking_sampled + usage.num_answer_tokens + usage.num_terminators
    budget = f"/{result.effective['max_thinking_tokens']}" if result.effective["thinking"] == "forced" else ""
    return " · ".join(
        [
            f"thinking {usage.num_thinking_tokens}{budget} tokens ({result.thinking_end} end)",
            f"injected {usage.num_thinking_injected + usage.num_answer_injected} (ends refused: {usage.num_ignored})",
            f"answer {usage.num_answer_tokens} tokens ({result.answer_end} end)",
            f"first token {first_token_s * 1e3:.0f} ms",
            f"{num_sampled / (result.total_ms / 1e3):.0f} tokens/s",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
