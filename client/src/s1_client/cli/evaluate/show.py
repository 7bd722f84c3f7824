# SPDX-License-Identifier: Apache-2.0
"""Show the folders of ``s1 eval`` and ``s1 sweep``: one by itself, or two side by side. Sends no request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s1_client.cli.evaluate.searches import scores_in
from s1_client.cli.evaluate.tables import grid, report_parts, versus_parts
from s1_client.cli.output import echo
from s1_client.cli.tables import show
from s1_client.evaluation import Protocol, Report, Task
from s1_client.evaluation._protocol import Setting
from s1_client.evaluation._report import Graded, graded
from s1_client.evaluation._tasks import task_of
from s1_client.evaluation._versus import Evaluation, paired, versus
from s1_client.evaluation.grading.judge import JudgeFailed
from s1_client.runs import Refused, entries_in, load_manifest, make_folder, write_text

SETTINGS, SAMPLES, TREES, SCORES, SUMMARY = "settings.json", "samples.jsonl", "trees.jsonl", "scores.json", "summary"
COMPARISON, SWEEP = "comparison", "sweep"
_OLD_SWEEP = ("sweep.json", "replies.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The manifest of a folder, ``settings.json``."""

    task: Task
    settings: list[Setting]
    model: str
    reward_model: str
    options: Mapping[str, Any]


def manifest_of(folder: Path) -> Manifest:
    """Return the manifest of a folder. Raises Refused if the folder holds no evaluation."""
    data = load_manifest(folder / SETTINGS, "evaluation")
    try:
        task, settings = task_of(data["task"]), Protocol(**data["protocol"]).settings()
        reward_model = data.get("reward_model") or ""
        return Manifest(task=task, settings=settings, model=data["model"], reward_model=reward_model, options=data["options"])
    except (KeyError, TypeError) as error:
        raise Refused(f"{folder / SETTINGS}: written by another version ({error})") from None


def check_version(folder: Path) -> None:
    """Raise Refused if the folder holds a sweep that an earlier version wrote."""
    old = [name for name in _OLD_SWEEP if (folder / name).exists()]
    if old and not (folder / SETTINGS).exists():
        raise Refused(f"{folder}: holds a sweep that an earlier version of s1 wrote ({', '.join(old)}); give another --out")


def show_one(folder: Path) -> None:
    """Print the tables and sentences of an evaluation; write its summary and figures into the folder."""
    report = _report(folder, f"s1 eval --show {folder}")
    _print(report_parts(report))
    from s1_client.cli.evaluate.figures import draw_all  # late, because importing matplotlib is slow

    figures = draw_all(report, folder)
    echo(f"figures: {', '.join(map(str, figures)) or 'none'}; {_files(folder)}")


def _files(folder: Path) -> str:
    return f"summary: {folder / SUMMARY}.json, {folder / SUMMARY}.csv; samples: {folder / SAMPLES}"


def show_sweep(folder: Path) -> None:
    """Print the table and sentences of a sweep; write its summary and figure into the folder. Raises Refused."""
    check_version(folder)
    report = _report(folder, f"s1 sweep --plot-only {folder}")
    show(grid(report))
    _print(iter(report.effects))
    from s1_client.cli.evaluate.figures import draw_scaling

    plot = draw_scaling(report, folder / SWEEP)
    echo(f"figures: {', '.join(map(str, plot)) or 'none'}; {_files(folder)}")


def _report(folder: Path, command: str) -> Report:
    """Return the report, which is also written into the folder. ``command`` is the one that grades the samples again."""
    report = _graded(folder, manifest_of(folder), command).report
    write_text(folder / f"{SUMMARY}.json", report.to_json())
    write_text(folder / f"{SUMMARY}.csv", report.to_csv())
    return report


def show_two(first: Path, second: Path, out: Path) -> None:
    """Compare two evaluations side by side, and write the comparison into ``out``. Raises Refused without a common question."""
    names = _names(first, second)
    evaluations = [_evaluation(folder, name) for folder, name in zip((first, second), names, strict=True)]
    found = versus(*evaluations)
    if not found.num_questions:
        raise Refused(f"{first} and {second} have no question in common (of one id and one text): there is nothing to compare")
    make_folder(out)
    write_text(out / f"{COMPARISON}.json", found.to_json())
    _print(versus_parts(found))
    from s1_client.cli.evaluate.figures import draw_versus

    figures = draw_versus({evaluation.name: evaluation.graded.report for evaluation in paired(*evaluations)}, out)
    echo(f"figure: {', '.join(map(str, figures)) or 'none'}; comparison: {out / COMPARISON}.json")


def _names(first: Path, second: Path) -> tuple[str, str]:
    """Return the folders' names or, where these are equal, their paths."""
    names = (first.resolve().name, second.resolve().name)
    if names[0] != names[1]:
        return names
    return (str(first), str(second)) if str(first) != str(second) else (f"{first} #1", f"{second} #2")


def _evaluation(folder: Path, name: str) -> Evaluation:
    manifest = manifest_of(folder)
    return Evaluation(name=name, task=manifest.task, options=manifest.options, graded=_graded(folder, manifest, f"s1 eval --show {folder}"))


def _graded(folder: Path, manifest: Manifest, command: str) -> Graded:
    try:
        scores = scores_in(folder / SCORES).get(manifest.reward_model, {})
        return graded(manifest.task, manifest.settings, _entries(folder), model=manifest.model, scores=scores)
    except (ImportError, JudgeFailed) as error:
        raise Refused(f"{error}; the samples are kept: {command} grades them again") from None


def _entries(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the lines of samples and of trees."""
    yield from entries_in(folder / SAMPLES)
    if (folder / TREES).exists():
        yield from entries_in(folder / TREES)


def _print(parts: Iterator[Any]) -> None:
    for part in parts:
        show(part, soft_wrap=isinstance(part, str))
