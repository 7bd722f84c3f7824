# SPDX-License-Identifier: Apache-2.0
"""The lines of a run's results as graded samples. Pure."""

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

CUT = "length"  # how an answer ends that its cap, or the context, cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What came of a slot, all attempts together.

    Attributes:
        answer: as it was said; "" without a reply.
        is_right: a slot without an accepted reply is wrong, and so is an answer that is ``ungraded``.
        ungraded: why nobody could say whether the answer is right; "" if somebody could.
        is_accepted: False: every attempt of a rejection was rejected.
        thinking_end: of a tree, how its answer ended (see ``Node``).
        answer_end: "length" if the cap of the answer, or the context, cut it; "" for a tree.
        max_tokens: the cap of the answer that was applied; None if the reply does not tell it.
        has_lost_prefix: the preset's first words of a thought did not fit into the budget, and were left out.
        num_attempts: replies that it took.
        num_spent_tokens: of all attempts, thinking and answers; of a tree, all of its steps.
        said: a hash of thinking and answer, to see equal replies.
        score: of the answer, by a reward model, if it was asked.
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
    said: str
    score: float | None = None
    ungraded: str = ""

    @property
    def is_answer_cut(self) -> bool:
        """Whether the answer ended at its cap, or with the context."""
        return self.answer_end == CUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """All samples of a run; requests without a reply by setting; the presets that the server applied."""

    samples: list[Sample]
    num_failed: Mapping[str, int]
    presets: list[str]


def collect(
    task: Task, settings: Iterable[Setting], entries: Iterable[Mapping[str, Any]], scores: Mapping[str, float] = MappingProxyType({})
) -> Collected:
    """Grade the lines of results of these questions and settings, replies and trees; others are left out.

    Of a rejection's attempts the first accepted one counts, else the last one, as a wrong answer. ``scores`` are those
    of samples by the id of their line.
    """
    questions, kinds = {one.id: one for one in task.questions}, {one.name: one.kind for one in settings}
    slots: dict[tuple[str, str, int], dict[int, Sample]] = {}
    failed, presets = dict.fromkeys(kinds, 0), set()
    for entry in entries:  # a line may hold a long trace: only what counts is kept
        meta = entry["meta"]
        if meta["question"] not in questions or meta["setting"] not in kinds:
            continue
        if "error" in entry:
            failed[meta["setting"]] += 1
            continue
        question, kind, reply = questions[meta["question"]], kinds[meta["setting"]], entry["reply"]
        new = _of_tree(meta, reply, question) if kind == REBASE else _sample(meta, reply, kind)
        new = replace(_graded(new, question), score=scores.get(str(entry["id"])))
        slots.setdefault((new.question, new.setting, new.repeat), {})[meta["attempt"]] = new
        presets.add("" if kind == REBASE else str(reply["result"]["effective"].get("preset", "")))
    samples = [reduce(_joined, [attempts[number] for number in sorted(attempts)]) for attempts in slots.values()]
    return Collected(samples=samples, num_failed=failed, presets=sorted(presets - {""}))


def _graded(sample: Sample, question: Question) -> Sample:
    """Raises MissingPackage and JudgeFailed: nothing can be graded then. No answer is a reason to end."""
    try:
        return replace(sample, is_right=sample.is_accepted and question.is_right(sample.answer))
    except Ungraded as error:
        return replace(sample, ungraded=str(error))


def _sample(meta: Mapping[str, Any], reply: Mapping[str, Any], kind: str) -> Sample:
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
        said=_hash(reply["thinking"], reply["answer"]),
    )


def _of_tree(meta: Mapping[str, Any], data: Mapping[str, Any], question: Question) -> Sample:
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
        said=_hash("", leaf.text),
    )


def _hash(thinking: str, answer: str) -> str:
    return hashlib.sha256(f"{thinking}\0{answer}".encode(errors="surrogatepass")).hexdigest()[:16]


def _joined(old: Sample, new: Sample) -> Sample:
    num_attempts, num_spent = old.num_attempts + new.num_attempts, old.num_spent_tokens + new.num_spent_tokens
    kept = old if old.is_accepted else new
    return replace(kept, num_attempts=num_attempts, num_spent_tokens=num_spent)
