# SPDX-License-Identifier: Apache-2.0
"""The folders of ``s1 eval`` read and shown: one by itself, or two side by side. Nothing is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s1_client.cli.evaluate.searches import scores_in
from s1_client.cli.evaluate.tables import told, told_versus
from s1_client.cli.output import echo
from s1_client.cli.shown import show
from s1_client.evaluation import Protocol, Task
from s1_client.evaluation._protocol import Setting
from s1_client.evaluation._report import Graded, graded
from s1_client.evaluation._tasks import task_of
from s1_client.evaluation._versus import Evaluation, paired, versus
from s1_client.evaluation.grading.judge import JudgeFailed
from s1_client.runs import Refused, entries_in, load_manifest, make_folder, write_text

SETTINGS, SAMPLES, TREES, SCORES, SUMMARY = "settings.json", "samples.jsonl", "trees.jsonl", "scores.json", "summary"
COMPARISON = "comparison"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a folder's ``settings.json`` says was asked."""

    task: Task
    settings: list[Setting]
    model: str
    reward_model: str
    options: Mapping[str, Any]


def asked_in(folder: Path) -> Asked:
    """What was asked there. Raises Refused for a folder of something else."""
    what = load_manifest(folder / SETTINGS, "evaluation")
    try:
        task, settings = task_of(what["task"]), Protocol(**what["protocol"]).settings()
        reward_model = what.get("reward_model") or ""
        return Asked(task=task, settings=settings, model=what["model"], reward_model=reward_model, options=what["options"])
    except (KeyError, TypeError) as error:
        raise Refused(f"{folder / SETTINGS}: of another version ({error})") from None


def show_one(folder: Path) -> None:
    """The tables and sentences to stdout; the summary and the figures into the folder."""
    found = _graded(folder, asked_in(folder)).report
    write_text(folder / f"{SUMMARY}.json", found.to_json())
    write_text(folder / f"{SUMMARY}.csv", found.to_csv())
    _print(told(found))
    from s1_client.cli.evaluate.figures import draw_all  # imports matplotlib, which takes its time

    figures = draw_all(found, folder)
    files = f"summary: {folder / SUMMARY}.json, {folder / SUMMARY}.csv; samples: {folder / SAMPLES}"
    echo(f"figures: {', '.join(map(str, figures)) or 'none'}; {files}")


def show_two(first: Path, second: Path, out: Path) -> None:
    """What the two come to side by side; ``out`` is made. Raises Refused if they have no question in common."""
    names = _names(first, second)
    evaluations = [_evaluation(folder, name) for folder, name in zip((first, second), names, strict=True)]
    found = versus(*evaluations)
    if not found.num_questions:
        raise Refused(f"{first} and {second} have no question in common (of one id and one text): there is nothing to compare")
    make_folder(out)
    write_text(out / f"{COMPARISON}.json", found.to_json())
    _print(told_versus(found))
    from s1_client.cli.evaluate.figures import draw_versus

    figures = draw_versus({one.name: one.graded.report for one in paired(*evaluations)}, out)
    echo(f"figure: {', '.join(map(str, figures)) or 'none'}; comparison: {out / COMPARISON}.json")


def _names(first: Path, second: Path) -> tuple[str, str]:
    """Their last parts, or where these are one the paths as they are."""
    names = (first.resolve().name, second.resolve().name)
    if names[0] != names[1]:
        return names
    return (str(first), str(second)) if str(first) != str(second) else (f"{first} #1", f"{second} #2")


def _evaluation(folder: Path, name: str) -> Evaluation:
    asked = asked_in(folder)
    return Evaluation(name=name, task=asked.task, options=asked.options, graded=_graded(folder, asked))


def _graded(folder: Path, asked: Asked) -> Graded:
    try:
        scores = scores_in(folder / SCORES).get(asked.reward_model, {})
        return graded(asked.task, asked.settings, _entries(folder), model=asked.model, scores=scores)
    except (ImportError, JudgeFailed) as error:
        raise Refused(f"{error}; the samples are kept: s1 eval --show {folder} grades them again") from None


def _entries(folder: Path) -> Iterator[Mapping[str, Any]]:
    """The lines of samples and of trees."""
    yield from entries_in(folder / SAMPLES)
    if (folder / TREES).exists():
        yield from entries_in(folder / TREES)


def _print(parts: Iterator[Any]) -> None:
    for part in parts:
        show(part, soft_wrap=isinstance(part, str))
