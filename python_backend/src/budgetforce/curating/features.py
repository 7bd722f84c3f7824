# SPDX-License-Identifier: Apache-2.0
"""Stage ``features``: by what a selection chooses: the domain, the length of the thought, and which weak models are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from budgetforce.curating.answers import Answers
from budgetforce.curating.domain_model import DomainModel, chosen_domains
from budgetforce.curating.domains import nearest_domains
from budgetforce.curating.rows import Outcome, Row, column_of
from budgetforce.curating.settings import check
from budgetforce.curating.tokens import Tokens
from budgetforce.curating.weak import WeakColumn, WeakFile, verdicts


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesSettings:
    """Settings of the stage.

    Attributes:
        domain: ``given`` by ``domain_column``, or by ``metadata.domain``; ``tfidf``, the nearest of ``domains.toml``, which costs
            nothing; or ``llm``, chosen from ``domains.toml`` by a language model.
        domain_column: column of the data set; "" = ``metadata.domain``.
        llm: the language model of domain ``llm``.
        weak: by name of a weak model, where to find whether its answers are right.
    """

    domain: Literal["given", "tfidf", "llm"] = "given"
    domain_column: str = ""
    llm: DomainModel | None = None
    weak: dict[str, WeakColumn | WeakFile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check("llm", self.llm and self.llm.model, (self.llm is not None) == (self.domain == "llm"), "a table with domain = 'llm' alone")
        check("domain_column", self.domain_column, not self.domain_column or self.domain == "given", "a column with domain = 'given' alone")


def run(rows: Sequence[Row], settings: FeaturesSettings, tokens: Tokens, answers: Answers) -> Outcome:
    """Return the rows with ``domain``, ``weak_correct`` and ``num_thinking_tokens``, and without their further columns."""
    domains = _domains(rows, settings, answers)
    weak = {name: verdicts(rows, source) for name, source in settings.weak.items()}
    lengths = tokens.count([row["thinking"] for row in rows])
    described = [
        {key: value for key, value in row.items() if key != "columns"}
        | {"domain": domain, "weak_correct": {name: found[place] for name, found in weak.items()}, "num_thinking_tokens": length}
        for place, (row, domain, length) in enumerate(zip(rows, domains, lengths, strict=True))
    ]
    return Outcome(rows=described, found=_found(described, settings.weak))


def _domains(rows: Sequence[Row], settings: FeaturesSettings, answers: Answers) -> list[str | None]:
    if settings.domain == "tfidf":
        return list(nearest_domains([row["question"] for row in rows]))
    if settings.llm is not None:
        return chosen_domains(rows, settings.llm, answers)
    if settings.domain_column:
        return [_text(value) for value in column_of(rows, settings.domain_column, "features.domain_column")]
    return [_text(row["metadata"].get("domain")) for row in rows]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _found(rows: Sequence[Row], weak: Sequence[str] | Any) -> dict[str, Any]:
    domains = Counter(row["domain"] for row in rows)
    return {
        "domains": {str(domain): number for domain, number in sorted(domains.items(), key=lambda entry: (-entry[1], str(entry[0])))},
        "weak_correct": {name: sum(row["weak_correct"][name] is True for row in rows) for name in weak},
        "num_thinking_tokens": sum(row["num_thinking_tokens"] for row in rows),
    }
