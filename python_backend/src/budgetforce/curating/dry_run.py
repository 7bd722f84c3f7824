# SPDX-License-Identifier: Apache-2.0
"""What a run would do: rows, tokens, calls of a costly teacher and their price. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

from budgetforce.building.stage import Stage
from budgetforce.curating.answers import Answers
from budgetforce.curating.collect import CollectSettings
from budgetforce.curating.domain_model import DomainModel
from budgetforce.curating.domains import domain_prompt
from budgetforce.curating.rows import question_id, read_rows
from budgetforce.curating.runner import STAGES, STEPS, Pipeline
from budgetforce.curating.sources import HubSource, Raw, num_rows_of
from budgetforce.curating.sources import read as read_source
from budgetforce.curating.teachers.base import Trace
from budgetforce.curating.teachers.chat_settings import ChatApiSettings
from budgetforce.curating.teachers.openai import OpenAISettings
from budgetforce.curating.trace import teacher_of

_CHARACTERS_PER_TOKEN = 4  # of a prompt, roughly


def dry_run(pipeline: Pipeline, steps: Sequence[str]) -> Iterator[str]:
    """Yield a line for each step. Raises BuildFailed for files of the recipe that cannot be read."""
    done = _finished(pipeline)
    for step in steps:
        if step in done:
            yield f"{step}: done, {_result(pipeline, step)}"
        elif step == "verify":
            yield "verify: to do"
        else:
            again = " again, since its inputs have changed" if _folder(pipeline, step).exists() else ""
            yield f"{step}: to do{again}{_estimate(pipeline, step, done)}"


def _finished(pipeline: Pipeline) -> dict[str, Stage]:
    """Return the finished steps, up to the first that is not."""
    done: dict[str, Stage] = {}
    if not pipeline.has_tokenizer():
        return done
    for step in (*STAGES, "card"):
        stage = pipeline.stage(step)
        if stage.stamp() is None:
            break
        done[step] = stage
    return done


def _folder(pipeline: Pipeline, step: str) -> Path:
    return pipeline.work / ("set" if step == "card" else f"{STEPS.index(step) + 1:02d}-{step}")


def _result(pipeline: Pipeline, step: str) -> str:
    if step == "card":
        found = pipeline.needed("card")["found"]
        return f"{found['num_rows']} rows, {found['num_tokens']} tokens"
    report = pipeline.report(step)
    tokens = report.found.get("num_thinking_tokens")
    return f"{report.rows_in} rows in, {report.rows_out} out" + (f", {tokens} tokens of thinking" if tokens is not None else "")


def _estimate(pipeline: Pipeline, step: str, done: dict[str, Stage]) -> str:
    if step == "collect":
        return f", {_sources(pipeline.recipe.collect, pipeline.limit)}"
    if step == "trace":
        return _teaching(pipeline, done)
    before, llm = STEPS[STEPS.index(step) - 1], pipeline.recipe.features.llm
    rows_in = f", {pipeline.report(before).rows_out} rows in" if before in done else ""
    return rows_in + (_choosing(pipeline, llm, done) if step == "features" and llm is not None else "")


def _sources(settings: CollectSettings, limit: int | None) -> str:
    counts = [(source.label, num_rows_of(source)) for source in settings.sources]
    limited = [(label, number if number is None or limit is None else min(number, limit)) for label, number in counts]
    return ", ".join(f"{label} {'an unknown number of' if number is None else number} rows" for label, number in limited)


def _teaching(pipeline: Pipeline, done: dict[str, Stage]) -> str:
    settings = pipeline.recipe.trace
    teacher = teacher_of(settings, pipeline.rng("trace"))
    if not teacher.is_costly:
        return f", teacher {teacher.name}, no calls"
    prompts = _questions_into(pipeline, "trace", done)
    if isinstance(settings, OpenAISettings) and prompts is not None:
        prompts = {key: settings.system + question for key, question in prompts.items()}
    api = settings if isinstance(settings, OpenAISettings) else None
    return f", teacher {teacher.name}, {_calls(pipeline, teacher.identity(), prompts, api)}"


def _choosing(pipeline: Pipeline, model: DomainModel, done: dict[str, Stage]) -> str:
    questions = _questions_into(pipeline, "features", done)
    prompts = None if questions is None else {key: domain_prompt(question) for key, question in questions.items()}
    return f", domains by {model.model}, {_calls(pipeline, model.identity(), prompts, model)}"


def _questions_into(pipeline: Pipeline, step: str, done: dict[str, Stage]) -> dict[str, str] | None:
    """Return the questions that come into a step at most, by id; None if a data set of the hub was not read yet."""
    before = [name for name in done if STEPS.index(name) < STEPS.index(step)]
    if before:
        return {row["id"]: row["question"] for row in read_rows(done[before[-1]].folder / "rows.jsonl")}
    sources, rng = pipeline.recipe.collect.sources, pipeline.rng("collect")
    if any(isinstance(source, HubSource) for source in sources):
        return None
    raws = (raw for source in sources for raw in islice(read_source(source, rng), pipeline.limit))
    return {question_id(raw.question): raw.question for raw in raws if isinstance(raw, Raw)}


def _calls(pipeline: Pipeline, identity: Mapping[str, Any], prompts: Mapping[str, str] | None, api: ChatApiSettings | None) -> str:
    """Return how many of the prompts, by the question's id, have to be sent, and their cost for an API with prices."""
    if prompts is None:
        return "a call for each question; their number is known when collect is done"
    known = Answers(folder=pipeline.work / "answers").known(identity)
    unknown = [prompt for key, prompt in prompts.items() if key not in known]
    cost = _Cost.of(api, unknown, list(known.values())) if api else ""
    return f"{len(unknown)} calls, {len(prompts) - len(unknown)} replies are kept from earlier{cost}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cost:
    """The estimated tokens and price of a teacher's calls."""

    num_input: int
    num_output: int
    is_limit: bool
    usd: float

    @classmethod
    def of(cls, api: ChatApiSettings, prompts: Sequence[str], known: Sequence[Trace]) -> _Cost:
        """Estimate from the lengths of the kept replies; without any, every reply counts with its limit."""
        lengths = [trace.num_tokens for trace in known if trace.num_tokens is not None]
        num_input = sum(map(len, prompts)) // _CHARACTERS_PER_TOKEN
        num_output = round(len(prompts) * (mean(lengths) if lengths else api.max_tokens))
        usd = (num_input * api.usd_per_million_input + num_output * api.usd_per_million_output) / 1e6
        return cls(num_input=num_input, num_output=num_output, is_limit=not lengths, usd=usd)

    def __str__(self) -> str:
        price = f", {self.usd:.2f} US dollars" if self.usd else ""
        about = "at most" if self.is_limit else "about"
        return f", about {self.num_input} tokens in and {about} {self.num_output} out{price}"
