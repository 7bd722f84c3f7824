# SPDX-License-Identifier: Apache-2.0
"""``s1 eval``: a task asked by a protocol of budget forcing, and the paper's metrics of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from s1_client import Client
from s1_client._suggest import suggestion
from s1_client.cli.batch import CONCURRENCY
from s1_client.cli.evaluate.searches import score_all, scorer_of, search_all, search_fields, searches
from s1_client.cli.evaluate.show import COMPARISON, SAMPLES, SCORES, SETTINGS, TREES, show_one, show_two
from s1_client.cli.evaluate.sweep import integers
from s1_client.cli.options import SectionedCommand, asked, completed, connect, connection_options, refuse_greedy, request_options
from s1_client.cli.output import echo
from s1_client.cli.progress import TerminalProgress
from s1_client.evaluation import GRADERS, Protocol, Setting, Task, load_task
from s1_client.evaluation._protocol import LONG, OWN, REBASE, SHORT, SINGLE_REQUEST_KINDS, Slot, is_accepted, slots
from s1_client.evaluation._questions import check_values
from s1_client.evaluation._recipes import NAMES as RECIPES
from s1_client.evaluation._task_loader import BUNDLED
from s1_client.evaluation.grading.graders import NEEDS, check_reference
from s1_client.evaluation.grading.judge import JudgeFailed
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

MAX_ATTEMPTS = 16


@click.command(cls=SectionedCommand)
@click.argument("task", required=False, shell_complete=completed((*BUNDLED, *RECIPES)))
@click.option("--max-thinking-tokens", "budgets", metavar="N,N,…", callback=integers(-1), help="budgets; -1 = what the context allows")
@click.option("--num-ignore", "ignores", metavar="N,N,…", callback=integers(0), help="how many ends of thinking to refuse  [default: 0]")
@click.option(
    "--ignore-str", "ignore_strs", metavar="TEXT", multiple=True, help='in place of refused ends; again: another setting; "" = none'
)
@click.option("--token-limits", metavar="N,N,…", callback=integers(1), help='"Think for up to N tokens." behind each question')
@click.option("--step-limits", metavar="N,N,…", callback=integers(1), help='"Think for up to N steps." behind each question')
@click.option("--capped", is_flag=True, help="token limits once more, kept by force")
@click.option("--told-budget", metavar="N", type=click.IntRange(min=-1), default=-1, help="budget of what is only told; -1 = the context")
@click.option("--class-prompts", is_flag=True, help="ask for long and for short thinking behind each question")
@click.option("--long-prompt", metavar="TEXT", default=LONG, help="the words for long")
@click.option("--short-prompt", metavar="TEXT", default=SHORT, help="the words for short")
@click.option("--rejection", metavar="N,N,…", callback=integers(1), help="ask again until the thought ends by itself within N tokens")
@click.option("--max-attempts", metavar="N", type=click.IntRange(min=1), default=MAX_ATTEMPTS, show_default=True, help="of --rejection")
@click.option("--rebase", "widths", metavar="N,N,…", callback=integers(1), help="search a tree of so many answers, by --reward-model")
@click.option("--rebase-tokens", metavar="N", type=click.IntRange(min=1), help="of a whole tree  [default: 16384]")
@click.option("--rebase-step-tokens", metavar="N", type=click.IntRange(min=1), help="of a step at most  [default: 256]")
@click.option("--reward-model", metavar="NAME", help="a model on Triton that scores answers: the best of --repeat, and --rebase")
@click.option("--reward-url", metavar="HOST:PORT", help="where it is  [default: --url]")
@click.option("--grading", metavar="KIND", type=click.Choice(sorted(GRADERS)), help="of all questions, whatever the task says")
@click.option("--repeat", "num_repeats", metavar="N", type=click.IntRange(min=1), default=1, show_default=True, help="samples of each")
@click.option("--out", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), help="default: eval-… by what is asked")
@click.option("--concurrency", metavar="N", type=click.IntRange(min=1), default=CONCURRENCY, show_default=True, help="requests at once")
@click.option("--overwrite", is_flag=True, help="begin anew: the samples in DIR are lost")
@click.option(
    "--show", metavar="DIR", multiple=True, type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="ask nothing, show what is there; given twice: compare the two",
)  # fmt: skip
@request_options(leave_out=OWN)
@connection_options
@click.pass_context
def eval(context: click.Context, /, task: str | None, show: tuple[Path, ...], **parameters: Any) -> None:  # noqa: A001  # the command's name
    """Ask the questions of TASK at every setting of a protocol, and tell accuracy, Control, Scaling and Performance
    as the s1 paper defines them, with 95% intervals (paired bootstrap over questions).

    TASK is "arithmetic", 40 questions that come with the command; s1_aime24, s1_aime25, s1_math500 or s1_gpqa_diamond
    (by package lm-eval, which fetches their data); or a file of questions, as s1 batch reads it, each with "expected"
    and perhaps "grading": integer, letter, text, math (by package math-verify), or judge (a language model: $S1_JUDGE_MODEL,
    $S1_JUDGE_URL, $S1_JUDGE_CACHE, $OPENAI_API_KEY).

    Settings are all combinations of --max-thinking-tokens, --num-ignore and --ignore-str, and one for each of
    --token-limits, --step-limits, --class-prompts, --rejection and --rebase. Repeat r (from 0) uses --seed + r. A search
    takes the sampling options; its steps are answers without a thought.

    Says in words which settings had no effect and which cannot be told apart. Writes settings.json, samples.jsonl (as
    s1 batch does), trees.jsonl, scores.json, summary.json, summary.csv and figures (PNG, SVG) into DIR. The same command
    goes on where it stopped; settings and repeats may be added.

    --show A --show B compares two evaluations, as of two models, setting by setting, over the questions that both asked.
    It writes comparison.json and a figure of both into --out (default: comparison, in B).

    Exit codes: as s1 batch.
    """
    if (task is None) != bool(show) or len(show) > 2:
        raise click.UsageError("give one of TASK and --show, the latter once or twice")
    if len(show) == 2:
        show_two(*show, parameters["out"] or show[1] / COMPARISON)
        return
    if show:
        show_one(show[0])
        return
    plan = _plan(str(task), parameters)
    folder = parameters["out"] or Path(f"eval-{plan.identity()[:8]}")
    tally = _ask(plan, folder, parameters)
    show_one(folder)
    context.exit(tally.exit_code)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is asked."""

    task: Task
    protocol: Protocol
    options: Mapping[str, Any]
    num_repeats: int
    max_attempts: int
    model: str
    reward_model: str | None

    def identity(self) -> str:
        """A hash of what all samples of a folder have in common."""
        return digest_of({"task": self.task.digest(), "options": digest("", self.options), "model": self.model})

    def to_dict(self, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What ``settings.json`` holds, with what it held ``before``."""
        protocol = self.protocol if before is None else self.protocol.merged_with(before["protocol"])
        return {
            "evaluation": self.identity(),
            "model": self.model,
            "reward_model": self.reward_model or (before or {}).get("reward_model"),
            "options": dict(self.options),
            "protocol": protocol.to_dict(),
            "task": self.task.to_dict(),
        }

    def slots(self, *kinds: str) -> list[Slot]:
        """Those of settings of these kinds."""
        settings = [setting for setting in self.protocol.settings() if setting.kind in kinds]
        return list(slots(self.task.questions, settings, self.num_repeats))

    def asked(self, attempt: int, rejected: Sequence[Slot] | None) -> Iterator[BatchRequest]:
        """The requests of all slots, then, attempt by attempt, of those whose thought was rejected."""
        for slot in self.slots(*SINGLE_REQUEST_KINDS) if rejected is None else rejected:
            prompt, options = slot.setting.prompt(slot.question), slot.options(self.options)
            whole = digest(prompt, options, model=self.model)
            yield BatchRequest(prompt=prompt, options=options, key=slot.key, digest=whole, line=attempt + 1, meta=slot.meta)


def _plan(name: str, parameters: Mapping[str, Any]) -> _Plan:
    options = asked(parameters)
    check_values(options)
    task = _task(name, parameters["grading"])
    chat = next((question.id for question in task.questions if not isinstance(question.prompt, str)), None)
    if chat is not None and parameters["reward_model"]:
        raise Refused(f"--reward-model: question {chat} is a chat ('messages'), allowed: questions with 'prompt'")
    protocol = _protocol(parameters)
    _refuse_equal_replies(parameters, protocol, options, {question.id: question.options for question in task.questions})
    return _Plan(
        task=task,
        protocol=protocol,
        options=options,
        num_repeats=parameters["num_repeats"],
        max_attempts=parameters["max_attempts"],
        model=parameters["model"],
        reward_model=parameters["reward_model"],
    )


def _refuse_equal_replies(
    parameters: Mapping[str, Any], protocol: Protocol, options: Mapping[str, Any], questions: Mapping[str | int, Mapping[str, Any]]
) -> None:
    """Whatever asks one thing several times needs a temperature. Raises UsageError."""
    asks_again = {
        "--repeat": parameters["num_repeats"] > 1 and any(setting.kind in SINGLE_REQUEST_KINDS for setting in protocol.settings()),
        "--rejection": bool(protocol.rejection_budgets) and parameters["max_attempts"] > 1,
    }
    for flag, is_given in asks_again.items():
        if is_given:
            refuse_greedy(flag, options, questions)
    if protocol.widths:  # a search thinks nothing, and has a temperature of its own, unless it is told another
        for key, own in questions.items():
            told = {**options, **own}.get("temperature")
            refuse_greedy("--rebase", {}, {key: {"temperature": 1.0 if told is None else told}})


def _task(name: str, grading: str | None) -> Task:
    """With what its grading needs."""
    known = (*BUNDLED, *RECIPES)
    if name not in known and (near := suggestion(name, known)) and not Path(name).exists():
        raise Refused(f"task: got {name!r}, which is neither a task nor a file; {near}")
    try:
        task = load_task(name)
        if grading is not None:
            for question in task.questions:
                check_reference(grading, question.expected)
            task = replace(task, questions=tuple(replace(question, grading=grading) for question in task.questions))
        for kind in {question.grading for question in task.questions} & NEEDS.keys():
            NEEDS[kind]()
    except (ValueError, ImportError, JudgeFailed) as error:
        raise Refused(str(error)) from None
    return task


def _protocol(parameters: Mapping[str, Any]) -> Protocol:
    names = ("budgets", "token_limits", "step_limits")
    given = {name: parameters[name] for name in names if parameters[name]}
    classes = {"long": parameters["long_prompt"], "short": parameters["short_prompt"]} if parameters["class_prompts"] else {}
    protocol = Protocol(
        **given,
        ignores=parameters["ignores"] or (0,),
        ignore_strs=parameters["ignore_strs"],
        is_capped=parameters["capped"],
        prompted_cap=parameters["told_budget"],
        class_prompts=classes,
        rejection_budgets=parameters["rejection"] or (),
        widths=parameters["widths"] or (),
        search=search_fields(parameters),
    )
    if not protocol.settings():
        known = "--max-thinking-tokens, --token-limits, --step-limits, --class-prompts, --rejection or --rebase"
        raise click.UsageError(f"no setting; give {known}")
    if parameters["capped"] and not protocol.token_limits:
        raise click.UsageError("--capped is for --token-limits, which are not given")
    if protocol.ignore_strs and not any(protocol.ignores):
        raise click.UsageError("--ignore-str is for --num-ignore of 1 or more, which is not given")
    return protocol


# --- asking ---------------------------------------------------------------------------------------


def _ask(plan: _Plan, folder: Path, parameters: Mapping[str, Any]) -> Tally:
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
        first = list(plan.asked(0, None))
        tally = _run(client, plan, first, results, parameters) if first else Tally()
    for attempt in range(1, plan.max_attempts):
        rejected = _rejected(plan, samples, attempt)
        if not rejected or tally.exit_code:
            break
        echo(f"attempt {attempt + 1} of {plan.max_attempts}: {len(rejected)} thoughts were rejected and are asked for again", err=True)
        with open_results(samples) as results, connect(parameters) as client:
            tally = _run(client, plan, list(plan.asked(attempt, rejected)), results, parameters)
    return _by_reward(plan, folder, parameters, tally) if plan.reward_model else tally


def _run(client: Client, plan: _Plan, requests: list[BatchRequest], results: Results, parameters: Mapping[str, Any]) -> Tally:
    return run(client, requests, results, TerminalProgress(), where=plan.task.name, concurrency=parameters["concurrency"])


def _by_reward(plan: _Plan, folder: Path, parameters: Mapping[str, Any], before: Tally) -> Tally:
    """Search, and have the samples of repeats scored; the tally of the worse run."""
    reward_model = str(plan.reward_model)
    with scorer_of(parameters) as scorer, connect(parameters) as client:
        wanted = list(searches(plan.slots(REBASE), plan.options, models=(plan.model, reward_model)))
        tally = before
        if wanted:
            with open_results(folder / TREES) as results:
                tally = search_all(client, wanted, scorer, results, where=plan.task.name, concurrency=parameters["concurrency"])
        if plan.num_repeats > 1:
            with open_results(folder / SAMPLES):  # nobody else writes scores meanwhile
                score_all(entries_in(folder / SAMPLES), folder / SCORES, scorer, reward_model, plan.task)
    return max(before, tally, key=lambda one: one.exit_code)


def _rejected(plan: _Plan, samples: Path, attempt: int) -> list[Slot]:
    """The slots that have ``attempt`` rejected replies and no other."""
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
