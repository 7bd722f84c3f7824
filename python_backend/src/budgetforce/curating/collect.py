# SPDX-License-Identifier: Apache-2.0
"""Stage ``collect``: questions from files, data sets of the hub and generators, each with its provenance.

Sources are read in the recipe's order. A question that an earlier source has, or that the same source repeats, is dropped;
the rows are then sorted by id, so that the order inside a source does not matter to any stage.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from budgetforce.building.stage import BuildFailed
from budgetforce.curating import sources
from budgetforce.curating.progress import progress
from budgetforce.curating.rows import Drop, Outcome, Row, question_id
from budgetforce.curating.settings import check
from budgetforce.curating.sources import FileSource, GeneratorSource, HubSource
from budgetforce.curating.sources.raw import BadRow, Raw
from budgetforce.curating.tokens import Tokens

_MAX_PROBLEMS = 10  # in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectSettings:
    """Settings of the stage.

    Attributes:
        sources: where questions come from, in the order of precedence.
        on_bad_row: ``refuse`` ends the stage at a row that is not usable; ``drop`` leaves the row out, with the reason.
    """

    sources: tuple[FileSource | HubSource | GeneratorSource, ...]
    on_bad_row: Literal["refuse", "drop"] = "refuse"

    def __post_init__(self) -> None:
        check("sources", list(self.sources), bool(self.sources), "at least one table [[collect.sources]]")


def run(settings: CollectSettings, rng: random.Random, tokens: Tokens, limit: int | None = None) -> Outcome:
    """Return the questions of all sources; of each at most ``limit`` rows, for a trial.

    No question may spell a control token of ``tokens``. Raises BuildFailed naming the file and line of a bad row, or a source
    that cannot be read.
    """
    gathering = _Gathering(tokens=tokens)
    for source in settings.sources:
        found: Iterable[Raw | BadRow] = islice(sources.read(source, rng), limit)
        raws = list(found)
        if not raws:
            raise BuildFailed(f"source {source.label}: no row")
        gathering.add_source(source.label, raws)
    if settings.on_bad_row == "refuse":
        _refuse(gathering.problems)
    dropped = sorted(gathering.dropped, key=lambda drop: (drop.id, drop.source, drop.detail))
    return Outcome(rows=sorted(gathering.rows.values(), key=lambda row: str(row["id"])), dropped=dropped, found=gathering.found)


def _refuse(problems: Sequence[BadRow]) -> None:
    if problems:
        lines = [str(problem) for problem in problems[:_MAX_PROBLEMS]]
        more = [f"and {len(problems) - _MAX_PROBLEMS} more bad rows"] if len(problems) > _MAX_PROBLEMS else []
        raise BuildFailed("\n".join([*lines, *more, 'mend the rows, or set collect.on_bad_row = "drop"']))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gathering:
    """The rows of the sources read so far."""

    tokens: Tokens
    rows: dict[str, Row] = field(default_factory=dict)
    dropped: list[Drop] = field(default_factory=list)
    problems: list[BadRow] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=lambda: {"sources": {}})

    def add_source(self, label: str, raws: Sequence[Raw | BadRow]) -> None:
        """Take the rows of a source, and count them."""
        checked = [self._checked(raw) for raw in raws]
        bad = [raw for raw in checked if isinstance(raw, BadRow)]
        good = [raw for raw in checked if not isinstance(raw, BadRow)]
        bad += _duplicate_ids(good)
        refused = {raw.where for raw in bad}
        kept = self._add(label, [raw for raw in good if raw.where not in refused])
        self.problems.extend(bad)
        self.dropped.extend(Drop(id="", source=label, reason=raw.reason, detail=str(raw)) for raw in bad)
        counts = self.found["sources"].setdefault(label, {"rows": 0, "kept": 0})
        counts["rows"] += len(raws)
        counts["kept"] += kept

    def _checked(self, raw: Raw | BadRow) -> Raw | BadRow:
        if isinstance(raw, BadRow):
            return raw
        if not raw.question.strip():
            return BadRow(where=raw.where, field="question", reason="empty-question", problem="empty, allowed: text")
        controls = self.tokens.controls_in(raw.question)
        if controls:
            problem = f"spells the control token {controls[0]!r}, allowed: text without control tokens"
            return BadRow(where=raw.where, field="question", reason="control-token", problem=problem)
        return raw

    def _add(self, label: str, raws: Sequence[Raw]) -> int:
        kept = 0
        for raw in progress(f"collect {label}", sorted(raws, key=Raw.order)):
            key = question_id(raw.question)
            if key in self.rows:
                first = self.rows[key]
                self.dropped.append(
                    Drop(id=key, source=label, reason="duplicate-question", detail=f"{raw.where}: also in {first['source']}")
                )
            else:
                self.rows[key] = raw.row(key)
                kept += 1
        return kept


def _duplicate_ids(raws: Sequence[Raw]) -> Iterator[BadRow]:
    first: dict[str, Raw] = {}
    for raw in raws:
        if raw.source_id is not None and (earlier := first.setdefault(raw.source_id, raw)) is not raw:
            problem = f"duplicate id {raw.source_id!r}, first at {earlier.where}"
            yield BadRow(where=raw.where, field="id", reason="duplicate-id", problem=problem)
