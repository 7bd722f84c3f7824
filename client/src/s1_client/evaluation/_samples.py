# SPDX-License-Identifier: Apache-2.0
"""Turn result lines of an evaluation into graded samples. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from types import MappingProxyType
from typing import Any

from s1_client.evaluation._protocol import REBASE, Setting, is_accepted
from s1_client.evaluation._tasks import Question, Task
from s1_client.evaluation.grading.graders import vote_of
from s1_client.evaluation.grading.judge import Ungraded
from s1_client.evaluation.search.tree_json import answer_of, tree_of

CUT = "length"  # reason of an answer's end: its cap, or the context


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The graded outcome of a slot, all attempts together.

    Attributes:
        answer: the text of the answer; "" without a reply.
        is_graded: False if the question has no expected answer; no accuracy counts the sample then.
        is_right: False without an accepted reply, and for an ``ungraded`` answer.
        ungraded: why the answer could not be graded; "" if it was.
        is_accepted: False if rejection sampling rejected every attempt.
        thinking_end: reason of the thinking's end; of a tree, that of its answer (``Node.end``).
        answer_end: reason of the answer's end, "length" for its cap or the context; "" for a tree.
        max_tokens: the cap of the answer that the server applied; None if the reply does not report it.
        has_lost_prefix: the preset's thinking prefix did not fit into the budget and was left out.
        num_attempts: number of replies.
        num_spent_tokens: thinking and answer tokens of all attempts; of a tree, tokens of all its steps.
        reply_hash: hash of thinking and answer, which finds identical replies.
        score: score of the answer by a reward model, if there is one.
        duration_s: seconds from the start of the reply to its last token, on the server; None for a tree.
    """

    question: str
    setting: str
    repeat: int
    answer: str
    is_right: bool
    is_accepted: bool
    thinking_end: str
    answer_end: str
    max_tokens: int | None
    has_lost_prefix: bool
    num_thinking_tokens: int
    num_answer_tokens: int
    num_ignored: int
    num_attempts: int
    num_spent_tokens: int
    reply_hash: str
    score: float | None = None
    ungraded: str = ""
    is_graded: bool = True
    duration_s: float | None = None

    @property
    def is_answer_cut(self) -> bool:
        """Whether the answer ended at its cap or with the context."""
        return self.answer_end == CUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The samples of an evaluation.

    Attributes:
        num_failed: setting -> number of requests without a reply.
        presets: names of the presets that the server applied.
    """

    samples: list[Sample]
    num_failed: Mapping[str, int]
    presets: list[str]


def collect(
    task: Task, settings: Iterable[Setting], entries: Iterable[Mapping[str, Any]], scores: Mapping[str, float] = MappingProxyType({})
) -> Collected:
    """Return the graded samples of result lines, leaving out lines of other questions or settings.

    Of the attempts of rejection sampling the first accepted one counts, else the last one, as wrong. ``scores`` maps
    the id of a sample's line to its score.
    """
    questions, kinds = {question.id: question for question in task.questions}, {setting.name: setting.kind for setting in settings}
    slots: dict[tuple[str, str, int], dict[int, Sample]] = {}
    failed, presets = dict.fromkeys(kinds, 0), set()
    for entry in entries:  # a line may hold a long trace, which is not kept
        meta = entry["meta"]
        if meta["question"] not in questions or meta["setting"] not in kinds:
            continue
        if "error" in entry:
            failed[meta["setting"]] += 1
            continue
        question, kind, reply = questions[meta["question"]], kinds[meta["setting"]], entry["reply"]
        new = _tree_sample(meta, reply, question) if kind == REBASE else _reply_sample(meta, reply, kind)
        new = replace(_graded(new, question), score=scores.get(str(entry["id"])))
        slots.setdefault((new.question, new.setting, new.repeat), {})[meta["attempt"]] = new
        presets.add("" if kind == REBASE else str(reply["result"]["effective"].get("preset", "")))
    samples = [reduce(_joined, [attempts[number] for number in sorted(attempts)]) for attempts in slots.values()]
    return Collected(samples=samples, num_failed=failed, presets=sorted(presets - {""}))


def _graded(sample: Sample, question: Question) -> Sample:
    """Return the sample with its grade. Raises MissingPackage and JudgeFailed, but records an answer that cannot be graded."""
    if question.expected is None:
        return replace(sample, is_graded=False)
    try:
        return replace(sample, is_right=sample.is_accepted and bool(question.is_right(sample.answer)))
    except Ungraded as error:
        return replace(sample, ungraded=str(error))


def _reply_sample(meta: Mapping[str, Any], reply: Mapping[str, Any], kind: str) -> Sample:
    result, usage, effective = reply["result"], reply["result"]["usage"], reply["result"]["effective"]
    return Sample(
        question=meta["question"],
        setting=meta["setting"],
        repeat=meta["repeat"],
        answer=reply["answer"],
        is_right=False,
        is_accepted=is_accepted(kind, result["thinking_end"]),
        thinking_end=result["thinking_end"],
        answer_end=result["answer_end"],
        max_tokens=effective.get("max_tokens"),
        has_lost_prefix=effective.get("thinking_prefix", "") is None,
        num_thinking_tokens=usage["num_thinking_tokens"],
        num_answer_tokens=usage["num_answer_tokens"],
        num_ignored=usage["num_ignored"],
        num_attempts=1,
        num_spent_tokens=usage["num_thinking_tokens"] + usage["num_answer_tokens"],
        reply_hash=_hash(reply["thinking"], reply["answer"]),
        duration_s=result["total_ms"] / 1e3 if "total_ms" in result else None,
    )


def _tree_sample(meta: Mapping[str, Any], data: Mapping[str, Any], question: Question) -> Sample:
    tree = tree_of(data)
    leaf, num_answer_tokens = answer_of(tree, vote_of(question.grading))
    return Sample(
        question=meta["question"],
        setting=meta["setting"],
        repeat=meta["repeat"],
        answer=leaf.text,
        is_right=False,
        is_accepted=True,
        thinking_end=leaf.end,
        answer_end="",
        max_tokens=None,
        has_lost_prefix=False,
        num_thinking_tokens=0,
        num_answer_tokens=num_answer_tokens,
        num_ignored=0,
        num_attempts=1,
        num_spent_tokens=tree.num_tokens,
        reply_hash=_hash("", leaf.text),
    )


def _hash(thinking: str, answer: str) -> str:
    return hashlib.sha256(f"{thinking}\0{answer}".encode(errors="surrogatepass")).hexdigest()[:16]


def _joined(old: Sample, new: Sample) -> Sample:
    num_attempts, num_spent = old.num_attempts + new.num_attempts, old.num_spent_tokens + new.num_spent_tokens
    kept = old if old.is_accepted else new
    return replace(kept, num_attempts=num_attempts, num_spent_tokens=num_spent)
