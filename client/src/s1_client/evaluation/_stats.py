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

lm-eval writes a line for each question and filter, with the same responses in each: a response is counted once. Of the
repeats in one line the harness grades the first (or their vote, by the filter): the others have no grade, unless the line
has one for each ("exact_matches", as the authors' tasks with 64 repeats write them).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any

from s1_client.evaluation._protocol import limit_name
from s1_client.evaluation._samples import CUT

ANSWER_MARKERS = ("<|im_start|>answer", "</think>")
THINK_MARKERS = ("<|im_start|>think", "<think>")
STEPS_LEFT = " steps left\n"
MARGIN_TOKENS = 8  # the authors' 32760 of 32768
Count = Callable[[str], int]
Grade = Callable[[Mapping[str, Any]], bool | None]  # of a line of our own


class BadSample(ValueError):
    """A line that is no sample; the message says what it lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One response, as numbers.

    Attributes:
        is_right: None where nobody graded it.
        is_answer_cut: by its cap or the context; None where it is not told.
        limit: of its thinking, if it is known.
    """

    num_thinking_tokens: int
    num_answer_tokens: int
    num_prompt_tokens: int
    num_steps: int
    has_answer: bool
    is_right: bool | None = None
    is_answer_cut: bool | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """A file. Means are None without a sample.

    Attributes:
        num_failed: lines that tell of an error.
        accuracy: share of right ones among the responses that have a grade.
        num_answers_cut: by the cap of the answer, or the context; None where no response tells.
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
    num_answers_cut: int | None
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
    """The statistics of the lines of one file, all settings together; ``count`` gives the tokens of a text.

    Limits that are not given are those that our own files tell. Of a log with several filters the grades are the first
    one's. Raises BadSample.
    """
    whole, first = _Collected(), None
    for entry in entries:
        first = first or entry.get("filter")
        if entry.get("filter") == first:
            whole.add(entry, count, None)
    return whole.stats(context_tokens, max_thinking_tokens, max_steps)


def statistics_by_setting(
    entries: Iterable[Mapping[str, Any]],
    *,
    count: Count,
    grade: Grade | None = None,
    **limits: Any,
) -> dict[str, Stats]:
    """The statistics of each setting of an evaluation or a sweep, and of each filter of a log, by its name.

    The name is "" for lines that name neither. ``grade`` says whether the reply of a line of our own is right; ``limits``
    are those of ``statistics``.
    """
    groups: dict[str, _Collected] = defaultdict(_Collected)
    for entry in entries:
        groups[setting_of(entry)].add(entry, count, grade)
    return {name: group.stats(**limits) for name, group in groups.items()}


def setting_of(entry: Mapping[str, Any]) -> str:
    """The name of what a line was asked with, or graded by; "" where it names nothing."""
    meta = entry.get("meta")
    if isinstance(meta, Mapping) and "setting" in meta:
        return str(meta["setting"])
    if isinstance(meta, Mapping) and {"max_thinking_tokens", "num_ignore"} <= meta.keys():  # a sweep's
        refused = f" + {meta['num_ignore']} refused" if meta["num_ignore"] else ""
        return f"budget {limit_name(meta['max_thinking_tokens'])}{refused}"
    return str(entry.get("filter") or "")


@dataclass(slots=True)
class _Collected:
    """The responses of a column."""

    found: list[Told] = field(default_factory=list)
    num_failed: int = 0

    def add(self, entry: Mapping[str, Any], count: Count, grade: Grade | None) -> None:
        if "error" in entry and "reply" not in entry:
            self.num_failed += 1
            return
        first, *others = told(entry, count)
        self.found += [first if grade is None or "reply" not in entry else replace(first, is_right=grade(entry)), *others]

    def stats(self, context_tokens: int = 32768, max_thinking_tokens: int | None = None, max_steps: int | None = None) -> Stats:
        found = self.found
        lengths = [one.num_thinking_tokens for one in found]
        cuts = [one.is_answer_cut for one in found if one.is_answer_cut is not None]
        return Stats(
            num_samples=len(found),
            num_failed=self.num_failed,
            mean_thinking_tokens=_mean(lengths),
            min_thinking_tokens=min(lengths, default=None),
            max_thinking_tokens=max(lengths, default=None),
            mean_answer_tokens=_mean([one.num_answer_tokens for one in found]),
            mean_total_tokens=_mean([one.num_thinking_tokens + one.num_answer_tokens for one in found]),
            mean_steps=_mean([one.num_steps for one in found]),
            mean_step_tokens=_mean([one.num_thinking_tokens / one.num_steps for one in found if one.num_steps]),
            accuracy=_mean([one.is_right for one in found if one.is_right is not None]),
            num_answers_cut=sum(cuts) if cuts else None,
            num_without_answer=sum(not one.has_answer for one in found),
            num_without_thinking=sum(one.num_thinking_tokens == 0 for one in found),
            num_too_long=sum(_whole(one) > context_tokens - MARGIN_TOKENS for one in found),
            num_over_limit=sum(_is_over(one, max_thinking_tokens, max_steps) for one in found),
            by_length=sorted(((one.num_thinking_tokens, one.is_right) for one in found), key=lambda pair: pair[0]),
        )


def told(entry: Mapping[str, Any], count: Count) -> list[Told]:
    """The responses of a line, one or more. Raises BadSample."""
    try:
        if "reply" in entry:
            return [_of_ours(reply) for reply in (entry["reply"], *entry.get("other_replies", ()))]
        if found := [_of_ours(reply) for reply in _traced(entry)] or [_of_log(entry, text, count) for text in _responses(entry)]:
            return [replace(one, is_right=grade) for one, grade in zip(found, _grades(entry, len(found)), strict=True)]
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
        is_answer_cut=None if "answer_end" not in reply["result"] else reply["result"]["answer_end"] == CUT,
        limit=reply["result"]["effective"].get("max_thinking_tokens"),
    )


def _traced(entry: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The replies that our model of lm-eval leaves in the sample log, with exact counts."""
    arguments = entry.get("arguments")
    first = arguments.get("gen_args_0") if isinstance(arguments, Mapping) else None
    trace = first.get("arg_2") if isinstance(first, Mapping) else None
    return trace.get("replies", ()) if isinstance(trace, Mapping) else ()


def _grades(entry: Mapping[str, Any], number: int) -> list[bool | None]:
    """Of each response of a line, or of the first one alone."""
    each = entry.get("exact_matches")
    if isinstance(each, list) and len(each) == number:
        return [_grade(right) for right in each]
    return [_grade(entry.get("exact_match")), *[None] * (number - 1)]


def _grade(right: Any) -> bool | None:
    return bool(right) if right in (0, 1) else None  # -1: the authors' mark of a metric that was left out


def _responses(entry: Mapping[str, Any]) -> list[str]:
    """The texts that a model said: the raw ones, as a task's filters may have cut them down to the answer, or to the first."""
    filtered, raw = (_texts(entry.get(name, ())) for name in ("filtered_resps", "resps"))
    is_marked_by_filter_alone = any(map(_marker, filtered)) and not any(map(_marker, raw))
    return filtered if is_marked_by_filter_alone else raw or filtered


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
