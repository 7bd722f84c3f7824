# SPDX-License-Identifier: Apache-2.0
"""Run the stages of a recipe in a work folder, each once for the same inputs.

    WORK/tokenizer         the recipe's tokenizer
    WORK/01-collect        rows.jsonl, dropped.jsonl, report.json; likewise 02-trace … 07-render
    WORK/set               the published set: data.parquet, dataset.json, README.md, figures
    WORK/answers           replies of costly teachers, which no change of a recipe throws away

A stage depends on the rows of the stage before, on its own table of the recipe, on the files that the table names, on the
seed and on the code of this package: whatever changes, only the stages from there on are made again.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from budgetforce.building.code_version import code_commit
from budgetforce.building.stage import BuildFailed, Result, Stage, locked
from budgetforce.building.toolrun import duration
from budgetforce.curating import card, stages, verify
from budgetforce.curating.code_version import digest_of_code
from budgetforce.curating.history import History, StageReport, count_drops
from budgetforce.curating.inputs import settings_as_inputs
from budgetforce.curating.recipe import LoadedRecipe
from budgetforce.curating.rows import Outcome, Row, read_rows, write_rows
from budgetforce.curating.tokenizer_folder import tokenizer_stage, write_tokenizer_folder
from budgetforce.curating.tokens import Tokens, load

STAGES = ("collect", "trace", "grade", "features", "decontaminate", "select", "render")
STEPS = (*STAGES, "card", "verify")


class Pipeline:
    """The stages of one recipe in one work folder.

    Args:
        limit: the most rows of each source, for a trial; None = all.
    """

    def __init__(self, loaded: LoadedRecipe, work: Path, limit: int | None = None) -> None:
        self.loaded, self.recipe, self.work, self.limit = loaded, loaded.recipe, work.resolve(), limit
        self._rows: tuple[str, list[Row]] | None = None  # of the stage that has just run

    def run(self, steps: Sequence[str]) -> int:
        """Run steps in order, and return the exit code of ``verify``. Raises BuildFailed at the first that cannot be done."""
        code = 0
        with locked(self.work):
            for step in steps:
                try:
                    code = self._run_step(step)
                except OSError as error:  # disk full, or folder not writable
                    raise BuildFailed(f"stage {step}: {error.strerror}: {error.filename or self.work}") from error
        return code

    def _run_step(self, step: str) -> int:
        if step == "verify":
            self.needed("card")
            return verify.main(self.work / "set", self.loaded.folder)
        self._make(step)
        return 0

    # --- stages ---------------------------------------------------------------------------

    def stage(self, name: str) -> Stage:
        """Return a stage. Raises BuildFailed if the one before is not finished, since its rows are an input."""
        position = STEPS.index(name)
        inputs = {"settings": settings_as_inputs(getattr(self.recipe, name)), "seed": self.recipe.seed, "code": digest_of_code()}
        inputs |= {"tokenizer": self.tokens.sha256}
        if position == 0:
            inputs["limit"] = self.limit
        else:
            stamp = self.needed(STEPS[position - 1])
            inputs |= {"before": stamp["digest"], "rows_sha256": stamp["found"]["rows_sha256"]}
        if name == "card":
            return Stage(name=name, folder=self.work / "set", inputs=inputs | {"recipe": self.loaded.sha256})
        return Stage(name=name, folder=self.work / f"{position + 1:02d}-{name}", inputs=inputs)

    def needed(self, name: str) -> dict[str, Any]:
        """Return the stamp of a finished stage. Raises BuildFailed if it is not finished, or was made from other inputs."""
        stage = self.stage(name)
        stamp = stage.stamp()
        if stamp is None:
            raise BuildFailed(f"{stage.folder} does not exist, or was made from other inputs: run {name} first, or all")
        return stamp

    def _make(self, name: str) -> None:
        stage = self.stage(name)
        if stage.stamp() is not None:
            return say(f"{name}: already done, {stage.folder}")
        started = time.monotonic()
        with stage.making() as result:
            summary = self._publish(result) if name == "card" else self._fill(name, stage, result)
        return say(f"{name}: {summary}, {duration(time.monotonic() - started)}, {stage.folder}")

    def _fill(self, name: str, stage: Stage, result: Result) -> str:
        before = self._rows_before(name)
        outcome = stages.run(name, before, self._context(name))
        ordered = sorted(outcome.rows, key=lambda row: str(row["id"]))
        report = _report(stage, len(before), outcome)
        result.found["rows_sha256"] = write_rows(result.folder / "rows.jsonl", ordered)
        write_rows(result.folder / "dropped.jsonl", (asdict(drop) for drop in outcome.dropped))
        (result.folder / "report.json").write_text(json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        self._rows = (name, ordered)
        return _summary(report)

    def _context(self, name: str) -> stages.Context:
        return stages.Context(
            recipe=self.recipe,
            rng=self.rng(name),
            tokens=self.tokens,
            answers=self.work / "answers",
            limit=self.limit,
        )

    def rng(self, name: str) -> random.Random:
        """Return a stage's own generator: a further stage changes no other stage's draws."""
        return random.Random(f"{self.recipe.seed}/{name}")  # noqa: S311  # reproducible, not a secret

    def _publish(self, result: Result) -> str:
        rows = self._rows_before("card")
        result.found.update(card.write_set(result.folder, rows, self.recipe.card, self.history(), self.tokens.folder))
        return f"{len(rows)} rows"

    def _rows_before(self, name: str) -> list[Row]:
        position = STEPS.index(name)
        if position == 0:
            return []
        before = STEPS[position - 1]
        rows = self._rows[1] if self._rows and self._rows[0] == before else read_rows(self.stage(before).folder / "rows.jsonl")
        self._rows = None  # only one stage's rows stay in memory
        return rows

    # --- what the set's card tells ----------------------------------------------------------

    def history(self) -> History:
        """Return how the rows were made. Raises BuildFailed if a stage is not finished."""
        return History(
            recipe=self.loaded.data,
            recipe_name=self.recipe.name,
            recipe_sha256=self.loaded.sha256,
            tokenizer_sha256=self.tokens.sha256,
            stages=tuple(self.report(name) for name in STAGES),
            code=code_commit(),
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )

    def report(self, name: str) -> StageReport:
        """Return the report of a finished stage."""
        self.needed(name)
        return StageReport(**json.loads((self.stage(name).folder / "report.json").read_text(encoding="utf-8")))

    @cached_property
    def tokens(self) -> Tokens:
        """The recipe's tokenizer, which is made or downloaded once. Raises BuildFailed."""
        stage = self._tokenizer
        if stage.stamp() is None:
            with stage.making() as result:
                write_tokenizer_folder(self.recipe.tokenizer, self.recipe.tokenizer_revision, self.loaded.folder, result.folder)
        return load(str(stage.folder))

    def has_tokenizer(self) -> bool:
        """Return whether the recipe's tokenizer is in the work folder."""
        return self._tokenizer.stamp() is not None

    @property
    def _tokenizer(self) -> Stage:
        return tokenizer_stage(self.recipe.tokenizer, self.recipe.tokenizer_revision, self.loaded.folder, self.work)


def _report(stage: Stage, rows_in: int, outcome: Outcome) -> StageReport:
    """Return the report of a stage; ``collect`` takes in what it found in its sources."""
    rows_out, num_dropped = len(outcome.rows), len(outcome.dropped)
    if stage.name == "collect":
        rows_in = rows_out + num_dropped
    assert rows_in == rows_out + num_dropped, f"{stage.name}: {rows_in} rows in, {rows_out} out, {num_dropped} dropped"
    dropped, by_source = count_drops(outcome.dropped)
    if not outcome.rows:
        reasons = ", ".join(f"{reason} {number}" for reason, number in dropped.items())
        example = f"; the first: {outcome.dropped[0].detail}" if outcome.dropped and outcome.dropped[0].detail else ""
        raise BuildFailed(f"stage {stage.name}: no row of {rows_in} is left (dropped: {reasons or 'none'}){example}")
    return StageReport(
        name=stage.name,
        digest=stage.digest,
        rows_in=rows_in,
        rows_out=rows_out,
        dropped=dropped,
        dropped_by_source=by_source,
        found=outcome.found,
    )


def _summary(report: StageReport) -> str:
    reasons = ", ".join(f"{reason} {number}" for reason, number in report.dropped.items())
    return f"{report.rows_in} rows in, {report.rows_out} out" + (f" (dropped: {reasons})" if reasons else "")


def say(text: str) -> None:
    """Write a line to stderr."""
    print(text, file=sys.stderr, flush=True)
