# SPDX-License-Identifier: Apache-2.0
"""What ``s1 eval`` needs a reward model for: tree searches, each a line of a file of results, and scores of samples.

Both files go on where a run stopped, as that of the samples does.
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
_SEEDS_APART = 100_003  # of repeats: more requests than a search makes


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched(BatchRequest):
    """A search, and what its line of results needs."""

    search: Search


def search_fields(parameters: Mapping[str, Any]) -> dict[str, int]:
    """What is not left to ``Search``. Raises UsageError for what does not go together."""
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
    """The reward model, asked with the certificates and secrets that ``s1`` is asked with. Raises UsageError."""
    settings = settings_of({**parameters, "url": parameters["reward_url"] or parameters["url"]})
    return ServedScorer(settings.address, parameters["reward_model"], tls=settings.tls, headers=dict(settings.metadata))


def searches(slots: Sequence[Slot], options: Mapping[str, Any], *, models: Sequence[str]) -> Iterator[Searched]:
    """The searches of slots by these models, one of which scores; ``options`` are those of all requests."""
    for slot in slots:
        merged = {name: value for name, value in {**options, **slot.question.options}.items() if value is not None}
        kept = {name: value for name, value in merged.items() if name in _SAMPLING}
        seed = merged.get("seed", 0) + _SEEDS_APART * slot.repeat
        search = Search(**{**slot.setting.options, "seed": seed})
        told = digest_of({"prompt": slot.question.prompt, "options": kept, "search": repr(search), "models": list(models)})
        yield Searched(prompt=slot.question.prompt, options=kept, key=slot.key, digest=told, line=1, meta=slot.meta, search=search)


def search_all(client: Client, asked: Sequence[Searched], scorer: Scorer, results: Results, *, where: str, concurrency: int) -> Tally:
    """Search where there is no tree yet; so many at once that about ``concurrency`` requests run.

    Raises what ``_run.run`` does, and Refused for scores that are none.
    """
    progress = TerminalProgress()
    tally = find_missing(asked, results, progress, where)
    missing = [one for one in asked if not results.has_reply(one, where)]
    width = max((one.search.width for one in missing), default=1)
    executor = ThreadPoolExecutor(max(1, concurrency // width), thread_name_prefix="s1-search")
    try:
        with keep_on_stop(results, progress), progress.show(tally) as changed:
            running = {executor.submit(_tree, client, one, scorer): one for one in missing}
            for future in as_completed(running):
                _keep(running[future], future, results, tally)
                changed()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)  # what still runs ends with the client
    return tally


def _tree(client: Client, asked: Searched, scorer: Scorer) -> Tree:
    return rebase(client, str(asked.prompt), scorer, asked.search, **asked.options)


def _keep(asked: Searched, future: Future[Tree], results: Results, tally: Tally) -> None:
    try:
        tree = future.result()
    except S1Error as error:
        failed = Outcome(index=0, request=asked, error=error)
        results.write(failed)
        tally.add(failed)
        if tally.num_unreached >= MAX_UNREACHED:
            raise
    except ValueError as error:
        raise Refused(str(error)) from None
    else:
        results.append(result_line(asked, {"reply": tree_to_dict(tree)}))
        tally.num_done += 1
        tally.num_answer_tokens += tree.num_tokens
        tally.num_unreached = 0


# --- scores of samples ----------------------------------------------------------------------------


def scores_in(path: Path) -> dict[str, dict[str, float]]:
    """Reward model -> id of a sample -> its score. Raises Refused for what is no file of scores."""
    try:
        found: dict[str, dict[str, float]] = read_file(path, is_log=True) if path.exists() else {}
        return {model: {key: float(score) for key, score in scores.items()} for model, scores in found.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise Refused(f"{path}: not a file of scores ({error}); without it they are asked for again") from None


def score_all(entries: Iterable[Mapping[str, Any]], path: Path, scorer: Scorer, reward_model: str, task: Task) -> None:
    """Ask for the scores that are not there yet, question by question, and keep them at once. Raises S1Error."""
    scores = scores_in(path)
    known = scores.setdefault(reward_model, {})
    prompts = {question.id: str(question.prompt) for question in task.questions}  # no chat: see eval
    answers: dict[str, dict[str, Sequence[str]]] = defaultdict(dict)
    for entry in entries:
        if "reply" in entry and entry["id"] not in known and entry["meta"]["question"] in prompts:
            answers[entry["meta"]["question"]][entry["id"]] = steps_of(entry["reply"]["answer"])
    for question, missing in answers.items():
        known.update(zip(missing, scorer(prompts[question], list(missing.values())), strict=True))
        write_text(path, json.dumps(scores, indent=1) + "\n")
    if answers:
        echo(f"{sum(map(len, answers.values()))} answers scored by {reward_model}", err=True)
