# SPDX-License-Identifier: Apache-2.0
"""The plan of ``s1 eval`` and ``s1 sweep``: which requests a folder needs, and sending those that are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from s1_client import Client
from s1_client.cli.batch import CONCURRENCY
from s1_client.cli.evaluate.searches import score_all, scorer_of, search_all, searches
from s1_client.cli.evaluate.show import SAMPLES, SCORES, SETTINGS, TREES
from s1_client.cli.options import Function, connect, integer_list
from s1_client.cli.output import echo
from s1_client.cli.progress import TerminalProgress
from s1_client.evaluation import JudgeFailed, Protocol, Setting, Task
from s1_client.evaluation._protocol import REBASE, SINGLE_REQUEST_KINDS, Slot, is_accepted, slots
from s1_client.evaluation.grading.graders import NEEDS
from s1_client.runs import (
    BatchRequest,
    Refused,
    Results,
    Tally,
    check_same_run,
    digest,
    digest_of,
    entries_in,
    make_folder,
    open_results,
    run,
    save_manifest,
)


def budget_options(function: Function) -> Function:
    """Add the options for the settings that ``s1 eval`` and ``s1 sweep`` have in common."""
    options = (
        click.option(
            "--num-ignore",
            "ignores",
            metavar="N,N,…",
            callback=integer_list(0),
            help="numbers of ends of thinking to refuse  [default: 0]",
        ),
        click.option(
            "--max-thinking-tokens",
            "budgets",
            metavar="N,N,…",
            callback=integer_list(-1),
            help="thinking budgets in tokens; 0 = answer at once, -1 = what the context allows",
        ),
    )
    for option in options:
        function = option(function)
    return function


def folder_options(command: str) -> Callable[[Function], Function]:
    """Add the options for the folder of results, the samples in it, and the requests that fill it."""

    def add(function: Function) -> Function:
        options = (
            click.option("--overwrite", is_flag=True, help="start anew: the replies in DIR are lost"),
            click.option(
                "--concurrency",
                metavar="N",
                type=click.IntRange(min=1),
                default=CONCURRENCY,
                show_default=True,
                help="requests in flight",
            ),
            click.option(
                "--out",
                metavar="DIR",
                type=click.Path(file_okay=False, path_type=Path),
                help=f"folder of the results  [default: {command}-HASH, a hash of questions and options]",
            ),
            click.option(
                "--repeat",
                "num_repeats",
                metavar="N",
                type=click.IntRange(min=1),
                default=1,
                show_default=True,
                help="samples of each question at each setting",
            ),
        )
        for option in options:
            function = option(function)
        return function

    return add


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an evaluation asks.

    Attributes:
        options: request options of all questions.
        num_repeats: samples of each question at each setting.
        max_attempts: requests of a slot of rejection sampling, at most.
        model: the model's name on the server.
    """

    task: Task
    protocol: Protocol
    options: Mapping[str, Any]
    num_repeats: int
    max_attempts: int
    model: str
    reward_model: str | None

    def identity(self) -> str:
        """Return a hash of task, options and model, which all samples of a folder share."""
        return digest_of({"task": self.task.digest(), "options": digest("", self.options), "model": self.model})

    def to_dict(self, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the manifest, which also has the settings of the manifest ``before``; their order is that of ``merged_with``."""
        protocol = self.protocol.merged_with(self.protocol.to_dict() if before is None else before["protocol"])
        return {
            "evaluation": self.identity(),
            "model": self.model,
            "reward_model": self.reward_model or (before or {}).get("reward_model"),
            "options": dict(self.options),
            "protocol": protocol.to_dict(),
            "task": self.task.to_dict(),
        }

    def slots(self, *kinds: str) -> list[Slot]:
        """Return the slots of the settings of these kinds."""
        settings = [setting for setting in self.protocol.settings() if setting.kind in kinds]
        return list(slots(self.task.questions, settings, self.num_repeats))

    def requests(self, attempt: int, rejected: Sequence[Slot] | None) -> Iterator[BatchRequest]:
        """Yield the requests of all slots or, after the first attempt, those of the ``rejected`` slots."""
        for slot in self.slots(*SINGLE_REQUEST_KINDS) if rejected is None else rejected:
            prompt, options = slot.setting.prompt(slot.question), slot.options(self.options)
            whole = digest(prompt, options, model=self.model)
            yield BatchRequest(prompt=prompt, options=options, key=slot.key, digest=whole, line=attempt + 1, meta=slot.meta)


def check_gradings(task: Task) -> None:
    """Raise Refused if a grading of the task lacks its package or its judge."""
    try:
        for kind in {question.grading for question in task.questions} & NEEDS.keys():
            NEEDS[kind]()
    except (ImportError, JudgeFailed) as error:
        raise Refused(str(error)) from None


def send_missing(plan: Plan, folder: Path, parameters: Mapping[str, Any]) -> Tally:
    """Send the requests that have no reply in the folder yet, and return the tally of the last run."""
    if plan.reward_model:
        with scorer_of(parameters) as scorer:
            scorer.check()
    make_folder(folder)
    samples, settings = folder / SAMPLES, folder / SETTINGS
    with open_results(samples, overwrite=parameters["overwrite"]) as results, connect(parameters) as client:
        is_new = parameters["overwrite"] or not any(path.exists() and path.stat().st_size for path in (samples, folder / TREES))
        before = check_same_run(settings, plan.to_dict(), kind="evaluation", is_new=is_new)
        save_manifest(settings, plan.to_dict(before))
        if parameters["overwrite"]:
            for other in (TREES, SCORES):
                (folder / other).unlink(missing_ok=True)
        first = list(plan.requests(0, None))
        tally = _run(client, plan, first, results, parameters) if first else Tally()
    for attempt in range(1, plan.max_attempts):
        rejected = _rejected(plan, samples, attempt)
        if not rejected or tally.exit_code:
            break
        echo(f"attempt {attempt + 1} of {plan.max_attempts}: sending {len(rejected)} requests whose thinking was rejected", err=True)
        with open_results(samples) as results, connect(parameters) as client:
            tally = _run(client, plan, list(plan.requests(attempt, rejected)), results, parameters)
    return _by_reward(plan, folder, parameters, tally) if plan.reward_model else tally


def _run(client: Client, plan: Plan, requests: list[BatchRequest], results: Results, parameters: Mapping[str, Any]) -> Tally:
    return run(client, requests, results, TerminalProgress(), where=plan.task.name, concurrency=parameters["concurrency"])


def _by_reward(plan: Plan, folder: Path, parameters: Mapping[str, Any], before: Tally) -> Tally:
    """Search the trees, score the samples of repeats, and return the tally with the worse exit code."""
    reward_model = str(plan.reward_model)
    with scorer_of(parameters) as scorer, connect(parameters) as client:
        missing = list(searches(plan.slots(REBASE), plan.options, models=(plan.model, reward_model)))
        tally = before
        if missing:
            with open_results(folder / TREES) as results:
                tally = search_all(client, missing, scorer, results, where=plan.task.name, concurrency=parameters["concurrency"])
        if plan.num_repeats > 1:
            with open_results(folder / SAMPLES):  # locks the folder against other writers of scores
                score_all(entries_in(folder / SAMPLES), folder / SCORES, scorer, reward_model, plan.task)
    return max(before, tally, key=lambda tally: tally.exit_code)


def _rejected(plan: Plan, samples: Path, attempt: int) -> list[Slot]:
    """Return the slots with ``attempt`` rejected replies and no accepted one."""
    rejecting = plan.slots("rejection")
    if not rejecting:
        return []
    ends: dict[tuple[str, str, int], list[str]] = {}
    for entry in entries_in(samples):
        meta = entry["meta"]
        if "reply" in entry and meta["attempt"] < attempt:
            ends.setdefault((meta["question"], meta["setting"], meta["repeat"]), []).append(entry["reply"]["result"]["thinking_end"])
    return [
        Slot(question=slot.question, setting=slot.setting, repeat=slot.repeat, attempt=attempt)
        for slot in rejecting
        if _is_rejected(slot.setting, ends.get((slot.question.id, slot.setting.name, slot.repeat), []))
    ]


def _is_rejected(setting: Setting, ends: Sequence[str]) -> bool:
    return bool(ends) and not any(is_accepted(setting.kind, end) for end in ends)
