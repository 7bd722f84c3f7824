# SPDX-License-Identifier: Apache-2.0
"""What a run would do: rows, tokens, calls of a costly teacher and their price. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from budgetforce.building.stage import Stage
from budgetforce.curating.answers import Answers
from budgetforce.curating.collect import CollectSettings
from budgetforce.curating.rows import read_rows
from budgetforce.curating.runner import STAGES, STEPS, Pipeline
from budgetforce.curating.sources import num_rows_of
from budgetforce.curating.teachers.base import Trace
from budgetforce.curating.teachers.openai import OpenAISettings
from budgetforce.curating.trace import teacher_of

_CHARACTERS_PER_TOKEN = 4  # of a question, roughly


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
    before = STEPS[STEPS.index(step) - 1]
    return f", {pipeline.report(before).rows_out} rows in" if before in done else ""


def _sources(settings: CollectSettings, limit: int | None) -> str:
    counts = [(source.label, num_rows_of(source)) for source in settings.sources]
    limited = [(label, number if number is None or limit is None else min(number, limit)) for label, number in counts]
    return ", ".join(f"{label} {'an unknown number of' if number is None else number} rows" for label, number in limited)


def _teaching(pipeline: Pipeline, done: dict[str, Stage]) -> str:
    teacher = teacher_of(pipeline.recipe.trace, pipeline.rng("trace"))
    if not teacher.is_costly:
        return f", teacher {teacher.name}, no calls"
    if "collect" not in done:
        return f", teacher {teacher.name}, a call for each question; their number is known when collect is done"
    known = Answers(folder=pipeline.work / "answers").known(teacher.identity())
    rows = read_rows(done["collect"].folder / "rows.jsonl")
    asked = [row["question"] for row in rows if row["id"] not in known]
    settings = pipeline.recipe.trace
    cost = _Cost.of(settings, asked, list(known.values())) if isinstance(settings, OpenAISettings) else ""
    return f", teacher {teacher.name}, {len(asked)} calls, {len(rows) - len(asked)} replies are kept from earlier{cost}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cost:
    """The estimated tokens and price of a teacher's calls."""

    num_input: int
    num_output: int
    is_limit: bool
    usd: float

    @classmethod
    def of(cls, settings: OpenAISettings, questions: Sequence[str], known: Sequence[Trace]) -> _Cost:
        """Estimate from the lengths of the kept replies; without any, every reply counts with its limit."""
        lengths = [trace.num_tokens for trace in known if trace.num_tokens is not None]
        num_input = sum(len(text) + len(settings.system) for text in questions) // _CHARACTERS_PER_TOKEN
        num_output = round(len(questions) * (mean(lengths) if lengths else settings.max_tokens))
        usd = (num_input * settings.usd_per_million_input + num_output * settings.usd_per_million_output) / 1e6
        return cls(num_input=num_input, num_output=num_output, is_limit=not lengths, usd=usd)

    def __str__(self) -> str:
        price = f", {self.usd:.2f} US dollars" if self.usd else ""
        about = "at most" if self.is_limit else "about"
        return f", about {self.num_input} tokens in and {about} {self.num_output} out{price}"
