# SPDX-License-Identifier: Apache-2.0
r"""Token statistics of sample files: what ``s1 eval``, ``s1 sweep`` and ``s1 batch`` write, and sample logs of lm-eval,
which the s1 authors' published results are, too. Pure but for reading lines.

What a log has only as text is taken apart as the authors' statistics do it (compute_sample_stats.py at
simplescaling/s1 77272c6):

    thinking        the text before the first marker of an answer, split at line breaks, without its first and last
                    piece (the opening marker, and what stands on the line of the closing one)
    steps           these lines; in files of step-conditional control the lines "N steps left"
    answer          the text behind the last marker, without its first line if that is not the answer's own
    no answer       neither "Answer:" nor "\boxed" in the answer
    no thinking     no marker, or nothing before it
    too long        prompt and response have more tokens than the context holds, less 8

Our own files, and logs of our model of lm-eval, have thinking and answer apart and exact counts: those are used, injected
text included; steps are the lines of the thinking. Where the authors' script stops in a debugger (a response that is too
long) it is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

ANSWER_MARKERS = ("<|im_start|>answer", "</think>")
THINK_MARKERS = ("<|im_start|>think", "<think>")
STEPS_LEFT = " steps left\n"
MARGIN_TOKENS = 8  # the authors' 32760 of 32768
Count = Callable[[str], int]


class BadSample(ValueError):
    """A line that is no sample; the message says what it lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One response, as numbers.

    Attributes:
        is_right: None where nobody graded it.
        limit: of its thinking, if it is known.
    """

    num_thinking_tokens: int
    num_answer_tokens: int
    num_prompt_tokens: int
    num_steps: int
    has_answer: bool
    is_right: bool | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """A file. Means are None without a sample.

    Attributes:
        num_failed: lines that tell of an error.
        num_over_limit: responses with more thinking tokens (or steps) than they were given.
        by_length: (thinking tokens, whether right) of each response, shortest thinking first.
    """

    num_samples: int
    num_failed: int
    mean_thinking_tokens: float | None
    min_thinking_tokens: int | None
    max_thinking_tokens: int | None
    mean_answer_tokens: float | None
    mean_total_tokens: float | None
    mean_steps: float | None
    mean_step_tokens: float | None
    accuracy: float | None
    num_without_answer: int
    num_without_thinking: int
    num_too_long: int
    num_over_limit: int
    by_length: Sequence[tuple[int, bool | None]]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def statistics(
    entries: Iterable[Mapping[str, Any]],
    *,
    count: Count,
    context_tokens: int = 32768,
    max_thinking_tokens: int | None = None,
    max_steps: int | None = None,
) -> Stats:
    """Of the lines of one file; ``count`` gives the tokens of a text.

    Limits that are not given are those that our own files tell. Raises BadSample.
    """
    found, num_failed = [], 0
    for entry in entries:
        if "error" in entry and "reply" not in entry:
            num_failed += 1
        else:
            found.extend(told(entry, count))
    over = [one for one in found if _is_over(one, max_thinking_tokens, max_steps)]
    lengths = [one.num_thinking_tokens for one in found]
    graded = [one.is_right for one in found if one.is_right is not None]
    return Stats(
        num_samples=len(found),
        num_failed=num_failed,
        mean_thinking_tokens=_mean(lengths),
        min_thinking_tokens=min(lengths, default=None),
        max_thinking_tokens=max(lengths, default=None),
        mean_answer_tokens=_mean([one.num_answer_tokens for one in found]),
        mean_total_tokens=_mean([one.num_thinking_tokens + one.num_answer_tokens for one in found]),
        mean_steps=_mean([one.num_steps for one in found]),
        mean_step_tokens=_mean([one.num_thinking_tokens / one.num_steps for one in found if one.num_steps]),
        accuracy=_mean(graded),
        num_without_answer=sum(not one.has_answer for one in found),
        num_without_thinking=sum(one.num_thinking_tokens == 0 for one in found),
        num_too_long=sum(_whole(one) > context_tokens - MARGIN_TOKENS for one in found),
        num_over_limit=len(over),
        by_length=sorted(((one.num_thinking_tokens, one.is_right) for one in found), key=lambda pair: pair[0]),
    )


def told(entry: Mapping[str, Any], count: Count) -> list[Told]:
    """The responses of a line. Raises BadSample."""
    try:
        if "reply" in entry:
            return [_of_ours(reply) for reply in (entry["reply"], *entry.get("other_replies", ()))]
        if replies := _traced(entry):
            first, *others = map(_of_ours, replies)  # of repeats the harness grades the first
            return [replace(first, is_right=_graded(entry)), *others]
        if "filtered_resps" in entry or "resps" in entry:
            return [_of_log(entry, text, count) for text in _responses(entry)]
    except (KeyError, TypeError, IndexError) as error:
        raise BadSample(f"a sample without {error}") from None
    raise BadSample("allowed: lines with 'reply' or 'error' (s1 eval, sweep, batch), 'filtered_resps' or 'resps' (lm-eval)")


def _of_ours(reply: Mapping[str, Any]) -> Told:
    usage, thinking = reply["result"]["usage"], reply["thinking"].strip("\n")
    return Told(
        num_thinking_tokens=usage["num_thinking_tokens"],
        num_answer_tokens=usage["num_answer_tokens"],
        num_prompt_tokens=usage["num_prompt_tokens"],
        num_steps=len(thinking.split("\n")) if thinking else 0,
        has_answer=_has_answer(reply["answer"]),
        limit=reply["result"]["effective"].get("max_thinking_tokens"),
    )


def _traced(entry: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The replies that our model of lm-eval leaves in the sample log, with exact counts."""
    arguments = entry.get("arguments")
    first = arguments.get("gen_args_0") if isinstance(arguments, Mapping) else None
    trace = first.get("arg_2") if isinstance(first, Mapping) else None
    return trace.get("replies", ()) if isinstance(trace, Mapping) else ()


def _graded(entry: Mapping[str, Any]) -> bool | None:
    right = entry.get("exact_match")
    return bool(right) if right in (0, 1) else None  # -1: the authors' mark of a metric that was left out


def _responses(entry: Mapping[str, Any]) -> list[str]:
    """The texts that a model said; filters of a task may have cut them down to the answer, then the raw ones."""
    flat = [text for name in ("filtered_resps", "resps") for text in _texts(entry.get(name, ()))]
    marked = [text for text in _texts(entry.get("filtered_resps", ())) if _marker(text)]
    return marked or list(_texts(entry.get("resps", ()))) or flat


def _texts(nested: Any) -> list[str]:
    """Texts in lists; null, as the harness has it where a model gave nothing, is an empty one."""
    if nested is None or isinstance(nested, str):
        return [nested or ""]
    return [text for part in nested for text in _texts(part)]


def _of_log(entry: Mapping[str, Any], text: str, count: Count) -> Told:
    thinking, answer = split(text)
    num_steps = text.count(STEPS_LEFT) or (len(thinking.split("\n")) if thinking else 0)
    return Told(
        num_thinking_tokens=count(thinking),
        num_answer_tokens=count(answer),
        num_prompt_tokens=count(_prompt(entry)),
        num_steps=num_steps,
        has_answer=_has_answer(answer),
        is_right=_graded(entry),
    )


def _prompt(entry: Mapping[str, Any]) -> str:
    arguments = entry.get("arguments") or {}
    first = arguments["gen_args_0"]["arg_0"] if isinstance(arguments, Mapping) and arguments else arguments[0][0] if arguments else ""
    return first if isinstance(first, str) else str(first)


def split(text: str) -> tuple[str, str]:
    """(thinking, answer) of a response with markers, see above."""
    marker = _marker(text)
    if marker is None:
        return (_inner(f"{text}\n"), "") if text.lstrip().startswith(THINK_MARKERS) else ("", text)
    before, behind = text[: text.index(marker)], text[text.rindex(marker) + len(marker) :]
    first, _, rest = behind.partition("\n")
    return _inner(before), behind.strip() if first.strip() else rest


def _inner(before: str) -> str:
    return "\n".join(before.split("\n")[1:-1])


def _marker(text: str) -> str | None:
    return next((marker for marker in ANSWER_MARKERS if marker in text), None)


def _has_answer(answer: str) -> bool:
    return "Answer:" in answer or "\\boxed" in answer


def _is_over(one: Told, max_tokens: int | None, max_steps: int | None) -> bool:
    limit = one.limit if max_tokens is None else max_tokens
    return (limit is not None and one.num_thinking_tokens > limit) or (max_steps is not None and one.num_steps > max_steps)


def _whole(one: Told) -> int:
    return one.num_prompt_tokens + one.num_thinking_tokens + one.num_answer_tokens


def _mean(numbers: Sequence[float]) -> float | None:
    return fmean(numbers) if numbers else None
