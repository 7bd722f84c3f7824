# SPDX-License-Identifier: Apache-2.0
"""Settings that had no effect, said in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from s1_client.evaluation._protocol import NO_LIMIT, REBASE, Setting
from s1_client.evaluation._samples import Sample
from s1_client.evaluation.search.tree import ANSWERED

Asked = tuple[Setting, Sequence[Sample]]


def effects(asked: Sequence[Asked]) -> list[str]:
    """A sentence for each setting that did nothing or not what it should, and for settings with equal replies."""
    told = [sentence for setting, samples in asked if samples for sentence in _of(setting, samples)]
    return [*_of_cut_answers(asked), *told, *_ungraded(asked), *_equal(asked)]


def _of_cut_answers(asked: Sequence[Asked]) -> Iterator[str]:
    """One sentence for all settings: the cap of the answer is theirs together."""
    accepted = {setting.name: [one for one in samples if one.is_accepted] for setting, samples in asked}
    cut = {name: [one for one in samples if one.is_answer_cut] for name, samples in accepted.items() if samples}
    worst = max(cut, key=lambda name: len(cut[name]), default=None)
    if worst is not None and cut[worst]:
        caps = sorted({one.max_tokens for samples in cut.values() for one in samples if one.max_tokens is not None})
        number = f"{len(cut[worst])} of {len(accepted[worst])}"
        where = f"in {sum(map(bool, cut.values()))} of {len(cut)} settings, most at {worst}: {number}"
        at = f" at max_tokens {' or '.join(map(str, caps))}" if caps else ""
        yield f"answers were cut{at} {where}. They are graded as far as they go: a larger --max-tokens may change every accuracy here"


def _of(setting: Setting, samples: Sequence[Sample]) -> Iterator[str]:
    longest, most_ignored = max(one.num_thinking_tokens for one in samples), max(one.num_ignored for one in samples)
    is_natural = all(sample.thinking_end == "natural" for sample in samples)
    lost = any(sample.has_lost_prefix for sample in samples)
    if lost:
        yield f"{setting.name}: the preset's first words of a thought do not fit into the budget and were left out"
    if setting.kind == "budget" and setting.limit not in (0, NO_LIMIT) and is_natural:
        if longest == 0:
            yield f"{setting.name}: all {len(samples)} thoughts are empty; the model ended them at once"
        elif not lost:
            below = f"all {len(samples)} thoughts ended by themselves below it, the longest with {longest} tokens"
            yield f"{setting.name}: the budget had no effect; {below}"
    wanted = setting.options.get("num_ignore", 0)
    if wanted and most_ignored == 0:
        yield f"{setting.name}: no end of thinking was refused; the budget was over before"
    elif most_ignored < wanted:
        yield f"{setting.name}: no reply had more than {most_ignored} of its ends refused; the budget has no room for more"
    if setting.kind == "rejection":
        yield from _of_rejection(setting, samples)
    if setting.kind == REBASE and all(sample.thinking_end != ANSWERED for sample in samples):
        over = "its tokens or its steps were over before"
        yield f"{setting.name}: in no tree did the model end an answer, {over}; what counts is unfinished"
    if not _are_told_apart(samples):
        yield f"{setting.name}: the reward model told no two answers apart; the best of them is the first"


def _ungraded(asked: Sequence[Asked]) -> Iterator[str]:
    """How many answers of a setting nobody could grade, and why the first of them."""
    for setting, samples in asked:
        reasons = [sample.ungraded for sample in samples if sample.ungraded]
        if reasons:
            yield f"{setting.name}: {len(reasons)} of {len(samples)} answers could not be graded and count as wrong; {reasons[0]}"


def _of_rejection(setting: Setting, samples: Sequence[Sample]) -> Iterator[str]:
    num_rejected = sum(not sample.is_accepted for sample in samples)
    most = max(sample.num_attempts for sample in samples)
    if num_rejected:
        without = f"{num_rejected} of {len(samples)} have no thought within it, after {most} attempts at most"
        accepted = [sample.is_right for sample in samples if sample.is_accepted]
        right = f"; of the {len(accepted)} others {sum(accepted)} are right" if accepted else ""
        yield f"{setting.name}: {without}; they count as wrong, also where settings are compared{right}"
    elif most == 1:
        yield f"{setting.name}: nothing was rejected; it is plain sampling"


def _are_told_apart(samples: Sequence[Sample]) -> bool:
    """Whether two answers to a question have different scores, or there are no two with scores."""
    scores: dict[str, list[float]] = {}
    for sample in samples:
        if sample.score is not None:
            scores.setdefault(sample.question, []).append(sample.score)
    several = [found for found in scores.values() if len(found) > 1]
    return not several or any(len(set(found)) > 1 for found in several)


def _equal(asked: Sequence[Asked]) -> Iterator[str]:
    """Settings whose replies are the same word for word, each group once."""
    groups: dict[tuple[tuple[str, int, str], ...], list[str]] = {}
    for setting, samples in asked:
        if samples:
            said = tuple(sorted((sample.question, sample.repeat, sample.said) for sample in samples))
            groups.setdefault(said, []).append(setting.name)
    for names in groups.values():
        if len(names) > 1:
            yield f"{' = '.join(names)}: all replies are the same, word for word; between them nothing was measured"
