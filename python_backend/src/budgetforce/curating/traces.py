# SPDX-License-Identifier: Apache-2.0
"""The text of a training row: s1's format and its variants for conditional control. Knows neither tokens nor templates.

    plain   <|im_start|>think ⏎ trace ⏎ <|im_start|>answer ⏎ answer        (data/tokenization.py in simplescaling/s1 @77272c6)
    token   the same; the question ends in "Think for up to N tokens.", N the trace's tokens rounded up to a power of two
    step    the question ends in "Think for up to N steps."; the trace, split at blank lines, has before each step a header
            <|im_start|>k steps left ⏎ that counts down from N, the number of steps rounded up to a power of two

The variants are those of arXiv 2501.19393, section E.1, whose training code is not published.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

THINK, ANSWER, STEP = "<|im_start|>think\n", "<|im_start|>answer\n", "<|im_start|>{} steps left\n"
_BLANK_LINES = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """The question and the assistant's text of a row.

    Attributes:
        bucket: the limit that the question names; None in variant plain.
    """

    question: str
    reply: str
    bucket: int | None = None


def plain(question: str, trace: str, answer: str) -> Turns:
    """Return the turns in s1's format."""
    return Turns(question=question, reply=f"{THINK}{trace.strip()}\n{ANSWER}{answer.strip()}")


def with_token_limit(question: str, trace: str, answer: str, num_tokens: int) -> Turns:
    """Return the turns with a limit on thinking tokens in the question."""
    bucket = round_up(num_tokens)
    limited = f"{question}\n\nThink for up to {bucket} tokens."
    return Turns(question=limited, reply=plain(question, trace, answer).reply, bucket=bucket)


def with_step_limit(question: str, trace: str, answer: str) -> Turns:
    """Return the turns with a limit on steps in the question, and a header before each step."""
    steps = split_steps(trace)
    bucket = round_up(len(steps))
    headed = "".join(f"{STEP.format(bucket - index)}{step}\n" for index, step in enumerate(steps))
    return Turns(question=f"{question}\n\nThink for up to {bucket} steps.", reply=f"{headed}{ANSWER}{answer.strip()}", bucket=bucket)


def split_steps(trace: str) -> list[str]:
    """Return the parts of a trace between blank lines."""
    return [step.strip() for step in _BLANK_LINES.split(trace.strip())]


def round_up(number: int) -> int:
    """Return the smallest power of two that is not less than ``number``, at least 1."""
    return 1 << max(number - 1, 0).bit_length()


def with_prefix(answer: str, prefix: str) -> str:
    """Return the answer behind ``prefix``, unless the prefix's words occur in it: "Final Answer: 3" needs no "Answer: "."""
    return answer if not prefix or prefix.strip() in answer else prefix + answer
