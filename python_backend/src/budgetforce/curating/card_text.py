# SPDX-License-Identifier: Apache-2.0
"""The text of a dataset card: numbers of rows and tokens, sources, domains, funnel, contamination, and how it was made."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean, median
from typing import Any

from budgetforce.curating.history import History, StageReport
from budgetforce.curating.rows import Row

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))
_LARGEST = "n>10M"
_LICENCE_ID = re.compile(r"[A-Za-z0-9.+-]+")  # the form of an SPDX identifier
_LOADING = """\
```python
import pyarrow.parquet as parquet

rows = parquet.read_table("data.parquet").to_pylist()
print(rows[0]["text"])
```

`input_ids` and `labels` are what the model is trained on (label -100: no loss); `text` is the same as text. `metadata`,
`teacher` and `weak_correct` are JSON. `tokenizer/` encodes `text` to `input_ids`. `dataset.json` has the digest of
`data.parquet`, the recipe and the number of rows behind each stage."""


def card_text(rows: Sequence[Row], title: str, summary: str, licence: str, history: History, description: dict[str, Any]) -> str:
    """Return the content of README.md, with the header that the hub of Hugging Face reads."""
    sections = (
        _header(rows, licence, history),
        f"# {title or history.recipe_name}",
        summary,
        _numbers(rows, description),
        f"## Loading\n\n{_LOADING}",
        f"## Sources\n\n{_sources(rows, history.stages)}",
        f"## Domains\n\n![Domains](domains.png)\n\n{_domains(rows)}",
        f"## Lengths\n\n![Lengths](lengths.png)\n\n{_lengths(rows)}",
        f"## Selection\n\n![Funnel](funnel.png)\n\n{_funnel(history.stages)}",
        f"## Contamination\n\n{_contamination(history)}",
        f"## How it was made\n\n{_making(rows, history)}",
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def _header(rows: Sequence[Row], licence: str, history: History) -> str:
    found = {row.get("licence") or "" for row in rows}
    only = found.pop() if len(found) == 1 else ""
    whole = licence or (only if _LICENCE_ID.fullmatch(only) else "other")  # other text would break the header, which is YAML
    size = next((name for limit, name in _SIZES if len(rows) < limit), _LARGEST)
    lines = (
        *("---", f"pretty_name: {json.dumps(history.recipe_name, ensure_ascii=False)}", f"license: {whole.lower()}"),
        *("task_categories:", "- text-generation", "size_categories:", f"- {size}"),
        *("configs:", "- config_name: default", "  data_files: data.parquet", "---"),
    )
    return "\n".join(lines)


def _numbers(rows: Sequence[Row], description: dict[str, Any]) -> str:
    return (
        f"{len(rows):,} questions with thoughts and answers: {description['num_tokens']:,} tokens, of which"
        f" {description['num_loss_tokens']:,} have a loss. {_right(rows)} of the answers are right."
    )


def _right(rows: Iterable[Row]) -> str:
    """Return the share of graded answers that are right, or a dash if none is graded."""
    graded = [row["is_correct"] for row in rows if row.get("is_correct") is not None]
    return f"{100 * sum(graded) / len(graded):.1f} %" if graded else "–"


def _mean_thinking(rows: Iterable[Row]) -> str:
    found = [row["num_thinking_tokens"] for row in rows if row.get("num_thinking_tokens") is not None]
    return f"{fmean(found):,.0f}" if found else "–"


def _by(rows: Sequence[Row], field: str) -> list[tuple[str, list[Row]]]:
    """Return the rows by the value of a field, the largest group first."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row.get(field) or "unknown"), []).append(row)
    return sorted(groups.items(), key=lambda entry: (-len(entry[1]), entry[0]))


def _sources(rows: Sequence[Row], stages: Sequence[StageReport]) -> str:
    collected = Counter(row["source"] for row in rows)
    for stage in stages:
        collected.update({source: sum(reasons.values()) for source, reasons in stage.dropped_by_source.items()})
    selected = dict(_by(rows, "source"))
    lines = [_source(name, selected.get(name, []), num) for name, num in sorted(collected.items(), key=lambda entry: (-entry[1], entry[0]))]
    lines.append(("all", "", "", f"{collected.total():,}", f"{len(rows):,}", _right(rows), _mean_thinking(rows)))
    return table(("source", "revision", "licence", "collected", "rows", "right", "thinking tokens (mean)"), lines, align="lllrrrr")


def _source(name: str, rows: Sequence[Row], num_collected: int) -> tuple[str, ...]:
    revisions, licences = (", ".join(name for name, _ in _by(rows, field)) for field in ("source_revision", "licence"))
    return name, revisions, licences, f"{num_collected:,}", f"{len(rows):,}", _right(rows), _mean_thinking(rows)


def _domains(rows: Sequence[Row]) -> str:
    lines = [(name, f"{len(group):,}", _right(group), _mean_thinking(group)) for name, group in _by(rows, "domain")]
    lines.append(("all", f"{len(rows):,}", _right(rows), _mean_thinking(rows)))
    return table(("domain", "rows", "right", "thinking tokens (mean)"), lines, align="lrrr")


def _lengths(rows: Sequence[Row]) -> str:
    measures = {
        "whole row": [len(row["input_ids"]) for row in rows],
        "thinking": [row["num_thinking_tokens"] for row in rows if row.get("num_thinking_tokens") is not None],
    }
    lines = [(name, *(f"{number:,.0f}" for number in _summary(sorted(numbers)))) for name, numbers in measures.items() if numbers]
    return table(("tokens of", "shortest", "median", "mean", "95th percentile", "longest", "sum"), lines, align="lrrrrrr")


def _summary(numbers: Sequence[int]) -> tuple[float, ...]:
    highest_of_95 = numbers[-(-95 * len(numbers) // 100) - 1]
    return numbers[0], median(numbers), fmean(numbers), highest_of_95, numbers[-1], sum(numbers)


def funnel(stages: Sequence[StageReport]) -> Iterator[tuple[str, int, int, str]]:
    """Yield (step, rows in, rows out, reasons) of each stage; stage select has a step for each filter."""
    for stage in stages:
        steps = stage.found.get("funnel", []) if stage.name == "select" else []
        for step in steps:
            yield f"select: {step['step']}", step["rows_in"], step["rows_out"], ""
        if not steps:
            yield stage.name, stage.rows_in, stage.rows_out, ", ".join(f"{reason} {num:,}" for reason, num in stage.dropped.items())


def _funnel(stages: Sequence[StageReport]) -> str:
    lines = [
        (step, f"{rows_in:,}", f"{rows_out:,}", f"{rows_in - rows_out:,}", reasons) for step, rows_in, rows_out, reasons in funnel(stages)
    ]
    return table(("stage", "rows in", "rows out", "left out", "by reason"), lines, align="lrrrl")


def _contamination(history: History) -> str:
    found = next((stage.found for stage in history.stages if stage.name == "decontaminate"), {})
    tests = found.get("test_sets", [])
    if not tests:
        return "No test set was compared with these rows."
    rule = found["rule"]
    lines = [
        (line["source"], line["test_set"], f"{line['num_rows']:,}", f"{line['num_hits']:,}", _example(line["example"]))
        for line in found["table"]
    ]
    sizes = ", ".join(f"{test['name']} ({test['num_questions']:,} rows of {test['origin']})" for test in tests)
    return (
        f"A row is left out if its {' or '.join(rule['fields'])} shares {rule['min_hits']} or more {rule['ngram']}-grams of words with a"
        f" question of {sizes}. Words are split by {' and by '.join(rule['normalisations'])}.\n\n"
        + table(("source", "test set", "rows compared", "left out", "example"), lines, align="llrrl")
    )


def _example(example: dict[str, str] | None) -> str:
    return f"`{example['ngram']}` in the {example['field']}, {example['test_set']} {example['test_id']}" if example else ""


def _making(rows: Sequence[Row], history: History) -> str:
    code = f"commit `{history.code}`" if history.code else "an unknown commit"
    recipe = json.dumps(history.recipe, indent=1, ensure_ascii=False)
    return (
        f"{_teachers(rows)} The rows were made {history.created} by `build/data.py` of {code} from recipe `{history.recipe_name}` (SHA-256"
        f" `{history.recipe_sha256[:12]}`), with the tokenizer of SHA-256 `{history.tokenizer_sha256[:12]}`. The same recipe, code and"
        f" sources give the same rows.\n\nThe recipe:\n\n```json\n{recipe}\n```"
    )


def _teachers(rows: Sequence[Row]) -> str:
    """Return a sentence that names who has written the thoughts."""
    names = Counter(" ".join(dict.fromkeys(str(part) for part in _teacher(row) if part)) or "an unknown teacher" for row in rows)
    return f"The thoughts and answers are by {', '.join(f'{name} ({num:,} rows)' for name, num in names.most_common())}."


def _teacher(row: Row) -> tuple[Any, ...]:
    teacher = row.get("teacher") or {}
    return teacher.get("name"), teacher.get("model")


def table(heads: Sequence[str], lines: Iterable[Sequence[str]], *, align: str) -> str:
    """Return a Markdown table. ``align`` has a letter for each column: l for texts, r for numbers."""
    rules = ["---:" if letter == "r" else "---" for letter in align]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in (heads, rules, *lines))


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
