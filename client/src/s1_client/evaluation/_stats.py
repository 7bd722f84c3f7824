# SPDX-License-Identifier: Apache-2.0
r"""Compute token statistics of sample files: result files of ``s1 eval``, ``s1 sweep`` and ``s1 batch``, and sample logs
of lm-eval, such as the s1 authors' published results. Pure.

Responses that a log has only as text are split as the authors' script does it (compute_sample_stats.py at
simplescaling/s1 77272c6):

    thinking        the text before the first answer marker, split into lines, without the first and last line (those
                    of the opening and of the closing marker)
    steps           these lines; in files of step-conditional control the lines "N steps left"
    answer          the text after the last marker, without the rest of the marker's line if that is blank
    no answer       neither "Answer:" nor "\boxed" in the answer
    no thinking     no marker, or no text before it
    too long        prompt and response have more tokens than the context minus 8

Our own files, and logs of our lm-eval model, separate thinking and answer and have exact counts: these are used, injected
tokens included; steps are the lines of the thinking. A response that is too long, at which the authors' script stops in a
debugger, is counted.

lm-eval writes a line for each question and filter, with the same responses in each: a response is counted once. Of several
repeats in a line the harness grades the first (or their vote, by the filter): the others have no grade, unless the line
has a grade for each ("exact_matches", as the authors' tasks with 64 repeats write them).
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
Grade = Callable[[Mapping[str, Any]], bool | None]  # of a line of our own result files


class BadSample(ValueError):
    """A line is not a sample; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseCounts:
    """The counts of a response.

    Attributes:
        is_right: its grade; None without a grade.
        is_answer_cut: whether the answer ended at its cap or with the context; None if unknown.
        limit: the thinking budget in tokens; None if unknown.
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
    """The statistics of a file. Means are None without a sample.

    Attributes:
        num_failed: lines with an error.
        accuracy: share of right responses among those with a grade, 0 to 1.
        num_answers_cut: answers that ended at their cap or with the context; None if no response reports it.
        num_over_limit: responses with more thinking tokens (or steps) than their limit.
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
        """Return all fields as JSON-compatible values."""
        return asdict(self)


def statistics(
    entries: Iterable[Mapping[str, Any]],
    *,
    count: Count,
    context_tokens: int = 32768,
    max_thinking_tokens: int | None = None,
    max_steps: int | None = None,
) -> Stats:
    """Return the statistics of the lines of a file, all settings together.

    ``count`` returns the number of tokens of a text. A limit of None is taken from our own files. Of a log with several
    filters the grades are those of the first. Raises BadSample.
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
    """Return name -> statistics for each setting of an evaluation or a sweep, or each filter of a log.

    The name is "" for lines that name neither. ``grade`` grades the reply of a line of our own files; ``limits`` are
    those of ``statistics``.
    """
    groups: dict[str, _Collected] = defaultdict(_Collected)
    for entry in entries:
        groups[setting_of(entry)].add(entry, count, grade)
    return {name: group.stats(**limits) for name, group in groups.items()}


def setting_of(entry: Mapping[str, Any]) -> str:
    """Return the name of a line's setting or filter; "" if it names neither."""
    meta = entry.get("meta")
    if isinstance(meta, Mapping) and "setting" in meta:
        return str(meta["setting"])
    if isinstance(meta, Mapping) and {"max_thinking_tokens", "num_ignore"} <= meta.keys():  # a sweep's
        refused = f" + {meta['num_ignore']} refused" if meta["num_ignore"] else ""
        return f"budget {limit_name(meta['max_thinking_tokens'])}{refused}"
    return str(entry.get("filter") or "")


@dataclass(slots=True)
class _Collected:
    """The responses of a setting, filter or file."""

    found: list[ResponseCounts] = field(default_factory=list)
    num_failed: int = 0

    def add(self, entry: Mapping[str, Any], count: Count, grade: Grade | None) -> None:
        if "error" in entry and "reply" not in entry:
            self.num_failed += 1
            return
        first, *others = responses_of(entry, count)
        self.found += [first if grade is None or "reply" not in entry else replace(first, is_right=grade(entry)), *others]

    def stats(self, context_tokens: int = 32768, max_thinking_tokens: int | None = None, max_steps: int | None = None) -> Stats:
        found = self.found
        lengths = [response.num_thinking_tokens for response in found]
        cuts = [response.is_answer_cut for response in found if response.is_answer_cut is not None]
        return Stats(
            num_samples=len(found),
            num_failed=self.num_failed,
            mean_thinking_tokens=_mean(lengths),
            min_thinking_tokens=min(lengths, default=None),
            max_thinking_tokens=max(lengths, default=None),
            mean_answer_tokens=_mean([response.num_answer_tokens for response in found]),
            mean_total_tokens=_mean([response.num_thinking_tokens + response.num_answer_tokens for response in found]),
            mean_steps=_mean([response.num_steps for response in found]),
            mean_step_tokens=_mean([response.num_thinking_tokens / response.num_steps for response in found if response.num_steps]),
            accuracy=_mean([response.is_right for response in found if response.is_right is not None]),
            num_answers_cut=sum(cuts) if cuts else None,
            num_without_answer=sum(not response.has_answer for response in found),
            num_without_thinking=sum(response.num_thinking_tokens == 0 for response in found),
            num_too_long=sum(_num_tokens(response) > context_tokens - MARGIN_TOKENS for response in found),
            num_over_limit=sum(_is_over(response, max_thinking_tokens, max_steps) for response in found),
            by_length=sorted(((response.num_thinking_tokens, response.is_right) for response in found), key=lambda pair: pair[0]),
        )


def responses_of(entry: Mapping[str, Any], count: Count) -> list[ResponseCounts]:
    """Return the counts of all responses of a line. Raises BadSample."""
    try:
        if "reply" in entry:
            return [_of_own_reply(reply) for reply in (entry["reply"], *entry.get("other_replies", ()))]
        if found := [_of_own_reply(reply) for reply in _traced_replies(entry)] or [
            _of_text(entry, text, count) for text in _responses(entry)
        ]:
            return [replace(counts, is_right=grade) for counts, grade in zip(found, _grades(entry, len(found)), strict=True)]
    except (KeyError, TypeError, IndexError) as error:
        raise BadSample(f"a sample lacks {error}") from None
    raise BadSample("not a sample, allowed: lines with 'reply' or 'error' (s1 eval, sweep, batch), 'filtered_resps' or 'resps' (lm-eval)")


def _of_own_reply(reply: Mapping[str, Any]) -> ResponseCounts:
    usage, thinking = reply["result"]["usage"], reply["thinking"].strip("\n")
    return ResponseCounts(
        num_thinking_tokens=usage["num_thinking_tokens"],
        num_answer_tokens=usage["num_answer_tokens"],
        num_prompt_tokens=usage["num_prompt_tokens"],
        num_steps=len(thinking.split("\n")) if thinking else 0,
        has_answer=_has_answer(reply["answer"]),
        is_answer_cut=None if "answer_end" not in reply["result"] else reply["result"]["answer_end"] == CUT,
        limit=reply["result"]["effective"].get("max_thinking_tokens"),
    )


def _traced_replies(entry: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the replies that our lm-eval model writes to the sample log, with exact counts."""
    arguments = entry.get("arguments")
    first = arguments.get("gen_args_0") if isinstance(arguments, Mapping) else None
    trace = first.get("arg_2") if isinstance(first, Mapping) else None
    return trace.get("replies", ()) if isinstance(trace, Mapping) else ()


def _grades(entry: Mapping[str, Any], number: int) -> list[bool | None]:
    """Return the grades of a line's responses: of each, or of the first and None for the others."""
    each = entry.get("exact_matches")
    if isinstance(each, list) and len(each) == number:
        return [_grade(right) for right in each]
    return [_grade(entry.get("exact_match")), *[None] * (number - 1)]


def _grade(right: Any) -> bool | None:
    return bool(right) if right in (0, 1) else None  # the authors mark an omitted metric by -1


def _responses(entry: Mapping[str, Any]) -> list[str]:
    """Return the responses' raw texts, since a task's filters may have reduced them to the answer or the first response."""
    filtered, raw = (_texts(entry.get(name, ())) for name in ("filtered_resps", "resps"))
    is_marked_by_filter_alone = any(map(_marker, filtered)) and not any(map(_marker, raw))
    return filtered if is_marked_by_filter_alone else raw or filtered


def _texts(nested: Any) -> list[str]:
    """Return the texts of nested lists; null, the harness's mark of a missing response, is an empty text."""
    if nested is None or isinstance(nested, str):
        return [nested or ""]
    return [text for part in nested for text in _texts(part)]


def _of_text(entry: Mapping[str, Any], text: str, count: Count) -> ResponseCounts:
    thinking, answer = split(text)
    num_steps = text.count(STEPS_LEFT) or (len(thinking.split("\n")) if thinking else 0)
    return ResponseCounts(
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
    """Return (thinking, answer) of a response with markers, split as the module's docstring describes."""
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


def _is_over(response: ResponseCounts, max_tokens: int | None, max_steps: int | None) -> bool:
    limit = response.limit if max_tokens is None else max_tokens
    return (limit is not None and response.num_thinking_tokens > limit) or (max_steps is not None and response.num_steps > max_steps)


def _num_tokens(response: ResponseCounts) -> int:
    return response.num_prompt_tokens + response.num_thinking_tokens + response.num_answer_tokens


def _mean(numbers: Sequence[float]) -> float | None:
    return fmean(numbers) if numbers else None
