# SPDX-License-Identifier: Apache-2.0
"""``s1 eval``: evaluate a served model on a task by a protocol of budget forcing, with the paper's metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from s1_client.cli.evaluate.plan import Plan, budget_options, check_gradings, folder_options, send_missing
from s1_client.cli.evaluate.searches import search_fields
from s1_client.cli.evaluate.show import COMPARISON, show_one, show_two
from s1_client.cli.evaluate.tasks import KNOWN, puzzle_options, task_named
from s1_client.cli.options import (
    SectionedCommand,
    complete_from,
    connection_options,
    given_options,
    integer_list,
    refuse_greedy,
    request_options,
)
from s1_client.evaluation import GRADERS, Protocol, Setting, Task
from s1_client.evaluation._protocol import LONG, OWN, SHORT, SINGLE_REQUEST_KINDS
from s1_client.evaluation._questions import check_values
from s1_client.evaluation.grading.graders import check_reference
from s1_client.runs import Refused

MAX_ATTEMPTS, VOTE_TEMPERATURE = 16, 1.0


@click.command(cls=SectionedCommand)
@click.argument("task", required=False, shell_complete=complete_from(KNOWN))
@puzzle_options
@budget_options
@click.option("--ignore-at", metavar="N,N,…", callback=integer_list(-1), help="budgets at which ends are refused  [default: all]")
@click.option(
    "--ignore-str",
    "ignore_strs",
    metavar="TEXT",
    multiple=True,
    help='text put in place of refused ends, "" = no text (repeatable: one setting each)',
)
@click.option("--token-limits", metavar="N,N,…", callback=integer_list(1), help='append "Think for up to N tokens." to each question')
@click.option("--step-limits", metavar="N,N,…", callback=integer_list(1), help='append "Think for up to N steps." to each question')
@click.option("--capped", is_flag=True, help="add the settings of --token-limits with N as hard cap of the thinking")
@click.option(
    "--prompted-cap",
    metavar="N",
    type=click.IntRange(min=-1),
    default=-1,
    help="hard cap of the thinking where only the prompt sets a length; -1 = what the context allows (default)",
)
@click.option("--class-prompts", is_flag=True, help="append --long-prompt and --short-prompt to each question, one setting each")
@click.option("--long-prompt", metavar="TEXT", default=LONG, show_default=True, help="words that ask for long thinking")
@click.option("--short-prompt", metavar="TEXT", default=SHORT, show_default=True, help="words that ask for short thinking")
@click.option(
    "--rejection", metavar="N,N,…", callback=integer_list(1), help="repeat a request until its thinking ends by itself within N tokens"
)
@click.option(
    "--max-attempts", metavar="N", type=click.IntRange(min=1), default=MAX_ATTEMPTS, show_default=True, help="attempts of --rejection"
)
@click.option(
    "--votes",
    "num_votes",
    metavar="N",
    type=click.IntRange(min=2),
    help="sample each question N times without a budget, for majority votes of 1, 2, 4, … N samples",
)
@click.option(
    "--vote-temperature",
    metavar="X",
    type=click.FloatRange(min=0, min_open=True),
    help=f"temperature of --votes, of thinking and answer  [default: {VOTE_TEMPERATURE:g}]",
)
@click.option("--rebase", "widths", metavar="N,N,…", callback=integer_list(1), help="search a tree of N answers, guided by --reward-model")
@click.option("--rebase-tokens", metavar="N", type=click.IntRange(min=1), help="tokens of a whole tree  [default: 16384]")
@click.option("--rebase-step-tokens", metavar="N", type=click.IntRange(min=1), help="tokens of a step of a tree  [default: 256]")
@click.option("--reward-model", metavar="NAME", help="model on Triton that scores answers, for best of --repeat and for --rebase")
@click.option("--reward-url", metavar="HOST:PORT", help="address of the reward model  [default: --url]")
@click.option("--grading", metavar="KIND", type=click.Choice(sorted(GRADERS)), help="grading of all questions, instead of the task's")
@folder_options("eval")
@click.option(
    "--show",
    metavar="DIR",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="send no request, show the evaluation in DIR; given twice: compare the two",
)
@request_options(leave_out=OWN)
@connection_options
@click.pass_context
def eval(context: click.Context, /, task: str | None, show: tuple[Path, ...], **parameters: Any) -> None:  # noqa: A001  # the command's name
    """Ask the questions of TASK at every setting of a protocol, and print accuracy, Control, Scaling and Performance
    as the s1 paper defines them, with 95% intervals (paired bootstrap over questions).

    TASK is "letters", "chain" or "sums", several of them separated by commas, or "puzzles" (all three): generated problems
    that model s1-tiny was not trained on; "arithmetic", 40 questions that come with the command; s1_aime24, s1_aime25,
    s1_math500 or s1_gpqa_diamond (read by package lm-eval, which downloads their data); or a file of questions as s1 batch
    reads it, each with "expected" and optionally "grading": integer, letter, text, math (needs package math-verify), or
    judge (a language model: $S1_JUDGE_MODEL, $S1_JUDGE_URL, $S1_JUDGE_CACHE, $OPENAI_API_KEY).

    Settings are all combinations of --max-thinking-tokens, --num-ignore and --ignore-str, and one for each value of
    --token-limits, --step-limits, --class-prompts, --rejection and --rebase; --votes adds one. --ignore-at leaves out
    combinations with refused ends: "--ignore-at -1" makes the curve of the paper's figure 1, on which refused ends follow
    the largest budget. Repeat r (from 0) uses --seed + r. A search takes the sampling options; its steps are answers
    without thinking.

    Sentences say which settings had no effect and which cannot be told apart. DIR gets settings.json, samples.jsonl (as
    s1 batch writes it), trees.jsonl, scores.json, summary.json, summary.csv and figures (PNG, SVG). The same command
    continues a run that was stopped; settings and repeats may be added.

    --show A --show B compares two evaluations, such as of two models, setting by setting over their common questions.
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
    plan = plan_of(str(task), parameters)
    folder = parameters["out"] or Path(f"eval-{plan.identity()[:8]}")
    tally = send_missing(plan, folder, parameters)
    show_one(folder)
    context.exit(tally.exit_code)


def plan_of(name: str, parameters: Mapping[str, Any]) -> Plan:
    """Return the plan of a task's name and the command's parameters. Raises Refused and UsageError for what makes no sense."""
    options = given_options(parameters)
    check_values(options)
    task = _task(name, parameters)
    chat = next((question.id for question in task.questions if not isinstance(question.prompt, str)), None)
    if chat is not None and parameters["reward_model"]:
        raise Refused(f"--reward-model: question {chat} is a chat ('messages'), allowed: questions with 'prompt'")
    protocol = _protocol(parameters)
    _refuse_equal_replies(parameters, protocol, options, {question.id: question.options for question in task.questions})
    return Plan(
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
    """Raise UsageError if requests that differ only in their repeat or attempt would get equal replies."""
    repeats = {
        "--repeat": parameters["num_repeats"] > 1 and any(map(_is_repeated, protocol.settings())),
        "--rejection": bool(protocol.rejection_budgets) and parameters["max_attempts"] > 1,
    }
    for flag, is_given in repeats.items():
        if is_given:
            refuse_greedy(flag, options, questions)
    if protocol.widths:  # a search has no thinking, and a default temperature of its own
        for key, own in questions.items():
            temperature = {**options, **own}.get("temperature")
            refuse_greedy("--rebase", {}, {key: {"temperature": 1.0 if temperature is None else temperature}})


def _is_repeated(setting: Setting) -> bool:
    """Return whether --repeat sends the requests of a setting several times."""
    return setting.kind in SINGLE_REQUEST_KINDS and setting.num_samples is None


def _task(name: str, parameters: Mapping[str, Any]) -> Task:
    """Return the task with its grading. Raises Refused if it cannot be read or graded."""
    task = task_named(name, parameters)
    grading = parameters["grading"]
    try:
        if grading is not None:
            for question in task.questions:
                if question.expected is not None:
                    check_reference(grading, question.expected)
            task = replace(task, questions=tuple(replace(question, grading=grading) for question in task.questions))
    except ValueError as error:
        raise Refused(str(error)) from None
    check_gradings(task)
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
        prompted_cap=parameters["prompted_cap"],
        class_prompts=classes,
        rejection_budgets=parameters["rejection"] or (),
        widths=parameters["widths"] or (),
        search=search_fields(parameters),
        ignore_at=parameters["ignore_at"] or (),
        num_votes=parameters["num_votes"] or 0,
        vote_temperatures=_vote_temperatures(parameters),
    )
    _check(protocol, parameters)
    return protocol


def _vote_temperatures(parameters: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the temperature of --votes, if it is given. Raises UsageError for one without votes."""
    temperature = parameters["vote_temperature"]
    if parameters["num_votes"] is None:
        if temperature is not None:
            raise click.UsageError("--vote-temperature is for --votes, which is not given")
        return ()
    if temperature is not None and not math.isfinite(temperature):
        raise click.UsageError(f"--vote-temperature: got {temperature}, allowed: a finite number > 0")
    return (VOTE_TEMPERATURE if temperature is None else temperature,)


def _check(protocol: Protocol, parameters: Mapping[str, Any]) -> None:
    """Raise UsageError for a protocol without a setting, or with an option that none of its settings uses."""
    if not protocol.settings():
        known = "--max-thinking-tokens, --token-limits, --step-limits, --class-prompts, --rejection, --votes or --rebase"
        raise click.UsageError(f"no setting; give {known}")
    if parameters["capped"] and not protocol.token_limits:
        raise click.UsageError("--capped is for --token-limits, which are not given")
    if protocol.ignore_strs and not any(protocol.ignores):
        raise click.UsageError("--ignore-str is for --num-ignore of 1 or more, which is not given")
    if protocol.ignore_at and not any(protocol.ignores):
        raise click.UsageError("--ignore-at is for --num-ignore of 1 or more, which is not given")
    unknown = [budget for budget in protocol.ignore_at if budget not in protocol.budgets]
    if unknown:
        allowed = ", ".join(map(str, protocol.budgets)) or "none is given"
        raise click.UsageError(f"--ignore-at: got {unknown[0]}, allowed: the budgets of --max-thinking-tokens ({allowed})")
    if parameters["num_repeats"] > 1 and all(setting.num_samples for setting in protocol.settings()):
        raise click.UsageError("--repeat is for settings other than --votes, and none is given")
