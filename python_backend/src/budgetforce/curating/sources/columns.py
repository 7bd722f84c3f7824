# SPDX-License-Identifier: Apache-2.0
"""From the columns of a data set to the fields of a question. Pure.

Layout ``rows`` has columns named like the fields: question, solution, expected, grading, id, source, licence, metadata.
Layout ``s1`` has those of s1's data sets: ``source_type`` names the source, and ``metadata`` is the Python repr of the
original row, which is read as a literal, never evaluated. Further columns are kept for the stages behind.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from budgetforce.curating.settings import check
from budgetforce.curating.sources.raw import BadRow, Raw
from s1_client.evaluation.grading.graders import GRADERS, check_reference, grading_of
from s1_client.evaluation.grading.statements import result_of, stated

FIELDS = ("question", "solution", "expected", "grading", "id", "source", "licence", "metadata")
LAYOUTS = {"rows": {}, "s1": {"source": "source_type"}}
_TEXTS = ("solution", "expected", "grading", "id", "source", "licence")


def check_columns(names: Mapping[str, str]) -> None:
    """Raise ConfigError for a field that a question does not have."""
    for name in names:
        check("columns", name, name in FIELDS, ", ".join(FIELDS))


def check_grading(grading: str | None) -> None:
    """Raise ConfigError for an unknown kind of grading."""
    check("grading", grading, grading is None or grading in GRADERS, ", ".join(GRADERS))


class _BadValue(ValueError):
    """A column has a value that is not usable."""

    def __init__(self, field: str, reason: str, problem: str) -> None:
        self.field, self.reason, self.problem = field, reason, problem
        super().__init__(problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """How the columns of one source are read.

    Attributes:
        label: the source's name, for rows that name none.
        revision: revision of the source.
        licence: the source's licence, for rows that name none.
        names: column of a field, where it has another name than in the layout.
        expected_from: ``column``; or ``solution``, the result that the solution states in a box or behind "Answer:".
        grading: the kind of grading, a key of ``GRADERS``; None = the row's, or by the expected answer: a whole number is
            graded as integer, a single letter as letter, anything else as math.
    """

    label: str
    revision: str | None
    licence: str | None
    layout: str
    names: Mapping[str, str]
    expected_from: str
    grading: str | None

    def raw(self, where: str, values: Mapping[str, Any] | BadRow) -> Raw | BadRow:
        """Return the question of a row, or the problem with it."""
        if isinstance(values, BadRow):
            return values
        try:
            return self._raw(where, values)
        except _BadValue as error:
            return BadRow(where=where, field=error.field, reason=error.reason, problem=error.problem)

    def _raw(self, where: str, values: Mapping[str, Any]) -> Raw:
        names = {field: field for field in FIELDS} | LAYOUTS[self.layout] | dict(self.names)
        texts = {field: _text(names[field], values.get(names[field])) for field in _TEXTS}
        question = values.get(names["question"])
        if question is None:
            raise _BadValue(names["question"], "missing-field", f"missing, allowed: text; the row has {', '.join(values) or 'no field'}")
        if not isinstance(question, str):
            raise _BadValue(names["question"], "bad-field", f"got {str(question)[:60]!r}, allowed: text")
        expected = texts["expected"] if self.expected_from == "column" else _stated_in(texts["solution"])
        return Raw(
            where=where,
            question=question,
            solution=texts["solution"],
            expected=expected,
            grading=self._grading(names["expected"], texts["grading"], expected),
            source=texts["source"] or self.label,
            source_revision=self.revision,
            source_id=texts["id"],
            licence=texts["licence"] or self.licence,
            metadata=_metadata(names["metadata"], values.get(names["metadata"])),
            columns={key: _as_json(value) for key, value in values.items() if key not in names.values() and value is not None},
        )

    def _grading(self, column: str, own: str | None, expected: str | None) -> str | None:
        if expected is None:
            return None
        fitting = grading_of(expected)
        grading = own or self.grading or ("math" if fitting == "text" else fitting)
        if grading not in GRADERS:
            raise _BadValue("grading", "bad-field", f"got {grading!r}, allowed: {', '.join(GRADERS)}")
        try:
            check_reference(grading, expected)
        except ValueError as error:
            raise _BadValue(column, "bad-field", str(error).removeprefix("expected: ")) from None
        return grading


def _text(column: str, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return str(value)  # an expected answer or an id may be written as a number
    raise _BadValue(column, "bad-field", f"got {str(value)[:60]!r}, allowed: text")


def _stated_in(solution: str | None) -> str | None:
    statement = stated(solution or "")
    return result_of(statement) or None if statement.kind in ("boxed", "marked") else None


def _metadata(column: str, value: Any) -> dict[str, Any]:
    """Return the metadata: an object, or the JSON or Python repr of an object; None has none."""
    if value is None:
        return {}
    if isinstance(value, str):
        value = _literal(column, value)
    if not isinstance(value, dict):
        raise _BadValue(column, "bad-field", f"got {str(value)[:60]!r}, allowed: an object")
    kept = _as_json(value)
    return kept if isinstance(kept, dict) else {"repr": kept}


def _as_json(value: Any) -> Any:
    """Return a value as JSON has it; bytes, sets, dates, NaN, half characters and whatever contains them as the text of their repr."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()  # fails for half a character: "\\ud800" in a literal
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return repr(value)


def _literal(column: str, text: str) -> Any:
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    raise _BadValue(column, "bad-field", f"got {text[:60]!r}, allowed: an object as JSON or as a Python literal")
