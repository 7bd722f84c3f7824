# SPDX-License-Identifier: Apache-2.0
"""Check a published training set: its files, numbers and funnel, each row's ids and mask, and contamination once more."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgetforce.building.stage import BuildFailed
from budgetforce.curating import decontaminate, published
from budgetforce.curating.decontaminate import DecontaminateSettings
from budgetforce.curating.held_out import is_held_out
from budgetforce.curating.masking import ChatFormat
from budgetforce.curating.render import RenderSettings
from budgetforce.curating.rows import Row
from budgetforce.curating.settings import Reader
from budgetforce.curating.tokens import Tokens
from budgetforce.errors import ConfigError

_BATCH = 5_000  # rows that are encoded together


class Problem(Exception):
    """What a check has found wrong, as a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The result of one check.

    Attributes:
        detail: what holds, or the first problem.
    """

    name: str
    is_ok: bool
    detail: str

    def __str__(self) -> str:
        return f"{'ok' if self.is_ok else 'FAILED'}: {self.name}: {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSet:
    """A set as read for the checks.

    Attributes:
        description: content of ``dataset.json``.
        recipe_folder: relative paths of test sets are relative to it.
    """

    folder: Path
    description: Mapping[str, Any]
    rows: Sequence[Row]
    recipe_folder: Path

    def settings(self, kind: type[Any], name: str) -> Any:
        """Return a stage's settings of the recipe. Raises ConfigError if they are not usable."""
        reader = Reader(folder=self.recipe_folder, file=f"{published.DESCRIPTION}, recipe")
        return reader.settings(kind, self.description["recipe"].get(name, {}), name)

    @property
    def tokens(self) -> Tokens:
        """The set's own tokenizer. Raises BuildFailed if it cannot be read."""
        return Tokens(self.folder / published.TOKENIZER)


def main(folder: Path, recipe_folder: Path = Path()) -> int:
    """Print a line for each check, and return the exit code: 1 if a check fails, else 0."""
    results = []
    for check in checks(folder, recipe_folder):
        print(check, flush=True)
        results.append(check.is_ok)
    return 0 if all(results) else 1


def checks(folder: Path, recipe_folder: Path = Path()) -> Iterator[Check]:
    """Yield the result of each check; without readable files there is only one, which fails."""
    try:
        description = published.read_description(folder)
        rows = list(published.read_data(folder / published.DATA))
    except BuildFailed as error:
        yield Check(name="files", is_ok=False, detail=str(error.args[0]))
        return
    made = PublishedSet(folder=folder, description=description, rows=rows, recipe_folder=recipe_folder)
    for name, check in _CHECKS.items():
        yield _result(name, check, made)


def _result(name: str, check: Callable[[PublishedSet], str], made: PublishedSet) -> Check:
    try:
        return Check(name=name, is_ok=True, detail=check(made))
    except Problem as problem:
        return Check(name=name, is_ok=False, detail=str(problem))
    except ConfigError as error:  # a file that cannot be read
        return Check(name=name, is_ok=False, detail=str(error.args[0]))
    except (KeyError, TypeError, AttributeError) as error:
        return Check(name=name, is_ok=False, detail=f"{published.DESCRIPTION} lacks a field or has one of a wrong type: {error}")


def _digests(made: PublishedSet) -> str:
    found = {
        "sha256": published.file_sha256(made.folder / published.DATA),
        "tokenizer_sha256": made.tokens.sha256,
    }
    _compare(found, made.description)
    return f"data.parquet has SHA-256 {found['sha256'][:12]}, the tokenizer {found['tokenizer_sha256'][:12]}"


def _numbers(made: PublishedSet) -> str:
    rows = made.rows
    found = {
        "num_rows": len(rows),
        "num_tokens": sum(len(row["input_ids"]) for row in rows),
        "num_loss_tokens": published.num_loss_tokens(rows),
        "max_tokens": max((len(row["input_ids"]) for row in rows), default=0),
    }
    _compare(found, made.description)
    return f"{found['num_rows']} rows, {found['num_tokens']} tokens, {found['num_loss_tokens']} with a loss"


def _compare(found: Mapping[str, Any], described: Mapping[str, Any]) -> None:
    for name, value in found.items():
        if described[name] != value:
            raise Problem(f"{name}: {published.DESCRIPTION} says {described[name]}, found {value}")


def _ids(made: PublishedSet) -> str:
    seen: set[str] = set()
    for row in made.rows:
        if row["id"] in seen:
            raise Problem(f"two rows have the id {row['id']!r}")
        seen.add(row["id"])
    return "every row has an id of its own"


def _funnel(made: PublishedSet) -> str:
    """Check that each stage's rows in are its rows out and those left out, and those out of the stage before."""
    before, funnel = None, made.description["funnel"]
    for stage in funnel:
        name, rows_in, rows_out, left_out = stage["stage"], stage["rows_in"], stage["rows_out"], sum(stage["dropped"].values())
        if rows_in != rows_out + left_out:
            raise Problem(f"stage {name}: {rows_in} rows in, but {rows_out} out and {left_out} left out")
        if before is not None and rows_in != before:
            raise Problem(f"stage {name}: {rows_in} rows in, but {before} out of the stage before")
        before = rows_out
    if before != len(made.rows):
        raise Problem(f"the last stage has {before} rows out, the set has {len(made.rows)}")
    return f"{funnel[0]['rows_in']} rows in, {before} out, over {len(funnel)} stages"


def _encoding(made: PublishedSet) -> str:
    """Check that the tokenizer encodes each text to its ids; a row that the recipe cuts has the first of them."""
    tokens, settings = made.tokens, made.settings(RenderSettings, "render")
    for start in range(0, len(made.rows), _BATCH):
        batch = made.rows[start : start + _BATCH]
        for row, ids in zip(batch, tokens.encode_marked([row["text"] for row in batch]), strict=True):
            if (ids[: settings.max_tokens] if settings.on_too_long == "cut" else ids) != row["input_ids"]:
                raise Problem(f"row {row['id']}: the tokenizer encodes its text to other ids")
    return "the set's tokenizer encodes every text to its ids"


def _masks(made: PublishedSet) -> str:
    chat = ChatFormat.of(made.tokens)
    for row in made.rows:
        if row["labels"] != chat.labels(row["input_ids"]):
            raise Problem(f"row {row['id']}: its labels are not the ids behind the assistant marker")
    return "every row has a loss exactly behind the assistant marker"


def _lengths(made: PublishedSet) -> str:
    limit = made.settings(RenderSettings, "render").max_tokens
    for row in made.rows:
        if len(row["input_ids"]) > limit:
            raise Problem(f"row {row['id']}: {len(row['input_ids'])} tokens, the limit is {limit}")
    return f"no row has more than {limit} tokens"


def _controls(made: PublishedSet) -> str:
    tokens = made.tokens
    for row in made.rows:
        for field in ("question", "thinking", "attempt"):
            if found := tokens.controls_in(row[field]):
                raise Problem(f"row {row['id']}: control token {found[0]} in {field!r}")
    return "no question, thought or answer spells a control token"


def _contamination(made: PublishedSet) -> str:
    settings: DecontaminateSettings = made.settings(DecontaminateSettings, "decontaminate")
    tests = decontaminate.load_tests(settings)
    outcome = decontaminate.run(made.rows, settings, random.Random(0), tests)  # noqa: S311  # draws nothing
    if found := [drop for drop in outcome.dropped if drop.reason == "contaminated"]:
        raise Problem(f"{len(found)} rows; row {found[0].id}: {found[0].detail}")
    if not tests:
        return "the recipe names no test set"
    return f"no row shares {settings.ngram} words with {', '.join(test.name for test in tests)}"


def _held_out(made: PublishedSet) -> str:
    for row in made.rows:
        if is_held_out(row):
            raise Problem(f"row {row['id']}: its problem {row['metadata']['core']!r} is held out for the evaluation")
    return "no problem is held out for the evaluation"


_CHECKS: Mapping[str, Callable[[PublishedSet], str]] = {
    "digests": _digests,
    "numbers": _numbers,
    "ids": _ids,
    "funnel": _funnel,
    "encoding": _encoding,
    "mask": _masks,
    "lengths": _lengths,
    "control tokens": _controls,
    "contamination": _contamination,
    "held-out problems": _held_out,
}
