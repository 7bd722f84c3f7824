# SPDX-License-Identifier: Apache-2.0
"""The parts of ``s1 eval`` that need a reward model: tree searches and scores of samples.

Each tree is a line of a file of results. The files of trees and of scores continue a run that was stopped, as the file
of samples does.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from s1_client import Client, Outcome, S1Error
from s1_client._fields import SAMPLING, SCHEDULING, in_section
from s1_client._jsonl import read_file
from s1_client.cli.options import settings_of
from s1_client.cli.output import echo
from s1_client.cli.progress import TerminalProgress
from s1_client.evaluation import Scorer, Search, ServedScorer, Task, Tree, rebase
from s1_client.evaluation._protocol import Slot
from s1_client.evaluation.search.tree_json import steps_of, tree_to_dict
from s1_client.runs import (
    MAX_UNREACHED,
    BatchRequest,
    Refused,
    Results,
    Tally,
    digest_of,
    find_missing,
    keep_on_stop,
    result_line,
    write_text,
)

# The request fields that a search passes on: it sets the seed and the number of samples itself.
_SAMPLING = {"preset", *in_section(SAMPLING, SCHEDULING)} - {"seed", "num_samples"}
_SEEDS_APART = 100_003  # between the seeds of repeats: more than the requests of a search


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest(BatchRequest):
    """A tree search as a request whose line of results holds the tree."""

    search: Search


def search_fields(parameters: Mapping[str, Any]) -> dict[str, int]:
    """Return the fields of ``Search`` that the options set. Raises UsageError for options that exclude each other."""
    options = {"max_tokens": "rebase_tokens", "max_step_tokens": "rebase_step_tokens"}
    given = {name: parameters[option] for name, option in options.items() if parameters[option] is not None}
    if given and not parameters["widths"]:
        raise click.UsageError("--rebase-tokens and --rebase-step-tokens are for --rebase, which is not given")
    if parameters["reward_url"] and not parameters["reward_model"]:
        raise click.UsageError("--reward-url is for --reward-model, which is not given")
    if parameters["widths"] and not parameters["reward_model"]:
        raise click.UsageError("--rebase needs --reward-model, which guides the search")
    if parameters["reward_model"] and not parameters["widths"] and parameters["num_repeats"] == 1:
        raise click.UsageError("--reward-model is for --rebase, or --repeat of 2 or more; neither is given")
    try:
        for width in parameters["widths"] or ():
            Search(width=width, **given)
    except ValueError as error:
        raise click.UsageError(f"--rebase: {error}") from None
    return given


def scorer_of(parameters: Mapping[str, Any]) -> ServedScorer:
    """Return the reward model, reached with the same certificates and secrets as s1. Raises UsageError."""
    settings = settings_of({**parameters, "url": parameters["reward_url"] or parameters["url"]})
    return ServedScorer(settings.address, parameters["reward_model"], tls=settings.tls, headers=dict(settings.metadata))


def searches(slots: Sequence[Slot], options: Mapping[str, Any], *, models: Sequence[str]) -> Iterator[SearchRequest]:
    """Yield the searches of the slots. ``models`` names the model and the reward model; ``options`` apply to all questions."""
    for slot in slots:
        merged = {name: value for name, value in {**options, **slot.question.options}.items() if value is not None}
        kept = {name: value for name, value in merged.items() if name in _SAMPLING}
        seed = merged.get("seed", 0) + _SEEDS_APART * slot.repeat
        search = Search(**{**slot.setting.options, "seed": seed})
        digest = digest_of({"prompt": slot.question.prompt, "options": kept, "search": repr(search), "models": list(models)})
        yield SearchRequest(prompt=slot.question.prompt, options=kept, key=slot.key, digest=digest, line=1, meta=slot.meta, search=search)


def search_all(
    client: Client, requests: Sequence[SearchRequest], scorer: Scorer, results: Results, *, where: str, concurrency: int
) -> Tally:
    """Search the trees that are missing; searches in parallel keep about ``concurrency`` requests in flight.

    Raises the errors of ``runs.run``, and Refused for invalid scores.
    """
    progress = TerminalProgress()
    tally = find_missing(requests, results, progress, where)
    missing = [request for request in requests if not results.has_reply(request, where)]
    width = max((request.search.width for request in missing), default=1)
    executor = ThreadPoolExecutor(max(1, concurrency // width), thread_name_prefix="s1-search")
    try:
        with keep_on_stop(results, progress), progress.show(tally) as changed:
            running = {executor.submit(_tree, client, request, scorer): request for request in missing}
            for future in as_completed(running):
                _keep(running[future], future, results, tally)
                changed()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)  # running searches end with the client
    return tally


def _tree(client: Client, request: SearchRequest, scorer: Scorer) -> Tree:
    return rebase(client, str(request.prompt), scorer, request.search, **request.options)


def _keep(request: SearchRequest, future: Future[Tree], results: Results, tally: Tally) -> None:
    try:
        tree = future.result()
    except S1Error as error:
        failed = Outcome(index=0, request=request, error=error)
        results.write(failed)
        tally.add(failed)
        if tally.num_unreached >= MAX_UNREACHED:
            raise
    except ValueError as error:
        raise Refused(str(error)) from None
    else:
        results.append(result_line(request, {"reply": tree_to_dict(tree)}))
        tally.num_done += 1
        tally.num_answer_tokens += tree.num_tokens
        tally.num_unreached = 0


# --- scores of samples ----------------------------------------------------------------------------


def scores_in(path: Path) -> dict[str, dict[str, float]]:
    """Return reward model -> id of a sample -> score. Raises Refused if the file holds no scores."""
    try:
        found: dict[str, dict[str, float]] = read_file(path, is_log=True) if path.exists() else {}
        return {model: {key: float(score) for key, score in scores.items()} for model, scores in found.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise Refused(f"{path}: not a file of scores ({error}); without it they are computed again") from None


def score_all(entries: Iterable[Mapping[str, Any]], path: Path, scorer: Scorer, reward_model: str, task: Task) -> None:
    """Request the missing scores question by question, and write them after each question. Raises S1Error."""
    scores = scores_in(path)
    known = scores.setdefault(reward_model, {})
    prompts = {question.id: str(question.prompt) for question in task.questions}  # never a chat: eval refuses it
    answers: dict[str, dict[str, Sequence[str]]] = defaultdict(dict)
    for entry in entries:
        if "reply" in entry and entry["id"] not in known and entry["meta"]["question"] in prompts:
            answers[entry["meta"]["question"]][entry["id"]] = steps_of(entry["reply"]["answer"])
    for question, missing in answers.items():
        known.update(zip(missing, scorer(prompts[question], list(missing.values())), strict=True))
        write_text(path, json.dumps(scores, indent=1) + "\n")
    if answers:
        echo(f"{sum(map(len, answers.values()))} answers scored by {reward_model}", err=True)
