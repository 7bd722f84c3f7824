# SPDX-License-Identifier: Apache-2.0
"""Sentences about settings without the intended effect. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from s1_client.evaluation._protocol import NO_LIMIT, REBASE, Setting
from s1_client.evaluation._samples import Sample
from s1_client.evaluation.search.tree import ANSWERED

SettingResults = tuple[Setting, Sequence[Sample]]


def effects(results: Sequence[SettingResults]) -> list[str]:
    """Return sentences about settings that had no effect, or not the intended one, and about settings with equal replies."""
    by_setting = [sentence for setting, samples in results if samples for sentence in _of_setting(setting, samples)]
    return [
        *_of_cut_answers(results),
        *_of_unknown_answers(results),
        *by_setting,
        *_of_ungraded_answers(results),
        *_of_equal_replies(results),
    ]


def failures(results: Sequence[SettingResults], num_failed: Mapping[str, int]) -> Iterator[str]:
    """Yield one sentence if requests failed: long replies fail more often, so the other questions may be the easier ones."""
    failed = {setting.name: num_failed[setting.name] for setting, _ in results if num_failed[setting.name]}
    if failed:
        worst = max(failed, key=lambda name: failed[name])
        num_replies = next(len(samples) for setting, samples in results if setting.name == worst)
        where = f"in {len(failed)} of {len(results)} settings, most at {worst}: {failed[worst]} beside {num_replies} with a reply"
        yield (
            f"{sum(failed.values())} requests failed {where}. No figure counts them, so settings may rest on different questions; "
            "the same command sends them again"
        )


def _of_cut_answers(results: Sequence[SettingResults]) -> Iterator[str]:
    """Yield one sentence for all settings, which share the cap of the answer."""
    accepted = {setting.name: [sample for sample in samples if sample.is_accepted] for setting, samples in results}
    cut = {name: [sample for sample in samples if sample.is_answer_cut] for name, samples in accepted.items() if samples}
    worst = max(cut, key=lambda name: len(cut[name]), default=None)
    if worst is not None and cut[worst]:
        caps = sorted({sample.max_tokens for samples in cut.values() for sample in samples if sample.max_tokens is not None})
        number = f"{len(cut[worst])} of {len(accepted[worst])}"
        where = f"in {sum(map(bool, cut.values()))} of {len(cut)} settings, most at {worst}: {number}"
        at = f" at max_tokens {' or '.join(map(str, caps))}" if caps else ""
        is_graded = any(sample.is_graded for samples in accepted.values() for sample in samples)
        graded = ". They are graded as they are: a larger --max-tokens may change every accuracy" if is_graded else ""
        yield f"answers were cut{at} {where}{graded}"


def _of_unknown_answers(results: Sequence[SettingResults]) -> Iterator[str]:
    """Yield one sentence if accuracies rest on a part of the replies."""
    counts = {setting.name: (sum(sample.is_graded for sample in samples), len(samples)) for setting, samples in results}
    partly = {name: (graded, number) for name, (graded, number) in counts.items() if 0 < graded < number}
    if partly:
        least = min(partly, key=lambda name: partly[name][0])
        where = "at each setting" if len({*counts.values()}) == 1 else f"in {len(partly)} of {len(counts)} settings, fewest at {least}"
        yield f"accuracies rest on a part of the replies {where}: {partly[least][0]} of {partly[least][1]} have a known right answer"


def _of_setting(setting: Setting, samples: Sequence[Sample]) -> Iterator[str]:
    longest, most_refused = max(sample.num_thinking_tokens for sample in samples), max(sample.num_ignored for sample in samples)
    is_natural = all(sample.thinking_end == "natural" for sample in samples)
    lost = any(sample.has_lost_prefix for sample in samples)
    if lost:
        yield f"{setting.name}: the preset's thinking prefix does not fit into the budget and was left out"
    if setting.kind == "budget" and setting.limit not in (0, NO_LIMIT) and is_natural:
        if longest == 0:
            yield f"{setting.name}: the thinking of {_all(samples)} is empty; the model ended it at once"
        elif not lost:
            longest_of = "" if len(samples) == 1 else ", the longest"
            below = f"the thinking of {_all(samples)} ended by itself below it{longest_of} after {longest} tokens"
            yield f"{setting.name}: the budget had no effect; {below}"
    requested = setting.options.get("num_ignore", 0)
    if requested and most_refused == 0:
        yield f"{setting.name}: no end of thinking was refused; the budget was spent before the first"
    elif most_refused < requested:
        yield f"{setting.name}: no reply had more than {most_refused} of its ends refused; the budget has no room for more"
    if setting.kind == "rejection":
        yield from _of_rejection(setting, samples)
    if setting.kind == REBASE and all(sample.thinking_end != ANSWERED for sample in samples):
        yield f"{setting.name}: in no tree did the model end an answer before its tokens or steps ran out; unfinished answers are graded"
    if not _has_different_scores(samples):
        yield f"{setting.name}: the reward model gave all answers to a question the same score; best-of picks the first"


def _all(samples: Sequence[Sample]) -> str:
    return "the only reply" if len(samples) == 1 else f"all {len(samples)} replies"


def _of_ungraded_answers(results: Sequence[SettingResults]) -> Iterator[str]:
    """Yield the number of answers of a setting that could not be graded, with the reason for the first."""
    for setting, samples in results:
        reasons = [sample.ungraded for sample in samples if sample.ungraded]
        if reasons:
            yield f"{setting.name}: {len(reasons)} of {len(samples)} answers could not be graded and count as wrong; {reasons[0]}"


def _of_rejection(setting: Setting, samples: Sequence[Sample]) -> Iterator[str]:
    num_rejected = sum(not sample.is_accepted for sample in samples)
    most = max(sample.num_attempts for sample in samples)
    if num_rejected:
        without = f"{num_rejected} of {len(samples)} have no thinking within the budget after up to {most} attempts"
        accepted = [sample.is_right for sample in samples if sample.is_accepted]
        right = f"; of the other {len(accepted)}, {sum(accepted)} are right" if accepted else ""
        yield f"{setting.name}: {without}; they count as wrong, in comparisons too{right}"
    elif most == 1:
        yield f"{setting.name}: nothing was rejected; this is plain sampling"


def _has_different_scores(samples: Sequence[Sample]) -> bool:
    """Return whether some question's answers differ in score, or no question has two scored answers."""
    scores: dict[str, list[float]] = {}
    for sample in samples:
        if sample.score is not None:
            scores.setdefault(sample.question, []).append(sample.score)
    several = [found for found in scores.values() if len(found) > 1]
    return not several or any(len(set(found)) > 1 for found in several)


def _of_equal_replies(results: Sequence[SettingResults]) -> Iterator[str]:
    """Yield a sentence for each group of settings whose replies are identical."""
    groups: dict[tuple[tuple[str, int, str], ...], list[str]] = {}
    for setting, samples in results:
        if samples:
            replies = tuple(sorted((sample.question, sample.repeat, sample.reply_hash) for sample in samples))
            groups.setdefault(replies, []).append(setting.name)
    for names in groups.values():
        if len(names) > 1:
            yield f"{' = '.join(names)}: all replies are identical, so these settings measured the same"
